"""The peers table: the Report's peers, with what their connections tell besides."""

from collections.abc import Iterable

import msgspec

from ktrace.findings import Connection, Peer, Rate, Report
from ktrace.reporters.htmlreport.words import process
from ktrace.statistics import wilson
from ktrace.tally import PeerKey, peer_key
from ktrace.wording import plural

SHOWN = 100


class PeerRow(msgspec.Struct, frozen=True):
    """One peer; `race` is None for accepted connections, `worst` the smallest margin (µs)."""

    name: str
    filter: str
    process: str
    connections: int
    attempted: int
    fallback: Rate
    race: Rate | None
    worst: float | None
    bound: bool


class PeerTable(msgspec.Struct, frozen=True):
    """The peers with kTLS, and what was left out."""

    rows: tuple[PeerRow, ...]
    left_out: str


class _Seen(msgspec.Struct):
    names: dict[str, None]
    ports: set[str]
    worst: float | None = None
    bound: bool = False


def peer_table(report: Report) -> PeerTable:
    """Sort the peers that tried kTLS by race rate, then fallback rate."""
    seen = _seen(report.connections)
    tried = [peer for peer in report.peers if peer.attempted]
    rows = [_row(peer, seen.get((peer.role, peer.peer))) for peer in tried]
    rows.sort(key=_worst_first)
    plain = sum(peer.connections for peer in report.peers if not peer.attempted)
    notes = []
    if plain:
        verb = "is" if plain == 1 else "are"
        notes.append(f"{plural(plain, 'connection')} without kTLS {verb} left out.")
    if len(rows) > SHOWN:
        notes.append(f"The {SHOWN} worst of {len(rows):,} peers are shown.")
    return PeerTable(tuple(rows[:SHOWN]), " ".join(notes))


def _worst_first(row: PeerRow) -> tuple[float, float, int, str]:
    race = row.race.value if row.race and row.race.value is not None else -1.0
    return (-race, -(row.fallback.value or 0.0), -row.attempted, row.name)


def _seen(connections: Iterable[Connection]) -> dict[PeerKey, _Seen]:
    """Collect process names, ports and the smallest margin of each peer."""
    found: dict[PeerKey, _Seen] = {}
    for connection in connections:
        key = peer_key(connection)
        if key is None or connection.peer is None:
            continue
        seen = found.setdefault(key, _Seen({}, set()))
        if len(seen.names) < 3:
            seen.names[process(connection)] = None
        seen.ports.add(connection.peer)
        margin = connection.margin_us
        if margin is not None and (seen.worst is None or margin < seen.worst):
            seen.worst, seen.bound = margin, connection.margin_basis == "inferred"
    return found


def _row(peer: Peer, seen: _Seen | None) -> PeerRow:
    names = list(seen.names) if seen else []
    ports = len(seen.ports) if seen else 0
    name = peer.peer
    if peer.role == "server" and ports > 1:
        name = f"{peer.peer} ({plural(ports, 'port')})"
    shown = ", ".join(names[:2]) + (" and others" if len(names) > 2 else "")
    return PeerRow(
        name=name,
        filter=peer.peer,
        process=f"{shown}, {peer.role}" if shown else peer.role,
        connections=peer.connections,
        attempted=peer.attempted,
        fallback=peer.fallback_rate,
        race=wilson(peer.raced, peer.attempted) if peer.role == "client" else None,
        worst=seen.worst if seen else None,
        bound=seen.bound if seen else False,
    )
