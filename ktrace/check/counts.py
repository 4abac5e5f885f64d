"""Counts of connections, whole and for each peer: all that the rules of a check look at.

They are taken while a trace is read, so a check needs no list of connections; a report of an
earlier run that left some out of its list still has them in its peers.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Annotated, NamedTuple

import msgspec

from ktrace.errors import KtraceError
from ktrace.findings import Connection, Ordering, Outcome, Report, Role
from ktrace.tally import peer_key
from ktrace.timelines import Judged

# An attempt of unknown order that ended in one of these may have been a race.
_RACE_RESULTS = frozenset({"ENOTCONN", "ENOTSUPP", None})


Count = Annotated[int, msgspec.Meta(ge=0)]


class Counts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Connections to one peer, or of a whole trace; listeners are in none of them.

    `*_up` are the connections on which kTLS could have been tried (they came up, or tried) and
    `*_tried` those that tried.  Outcomes and orderings are of connections that tried.
    `order_unknown` are clients whose ordering the trace cannot tell, `maybe_raced` are connections
    of unknown ordering that may have lost a race.
    """

    connections: Count = 0
    attempted: Count = 0
    clients: Count = 0
    client_up: Count = 0
    client_tried: Count = 0
    server_up: Count = 0
    server_tried: Count = 0
    offloaded: Count = 0
    tx_only: Count = 0
    rx_only: Count = 0
    fallback: Count = 0
    ulp_only: Count = 0
    raced: Count = 0
    unordered: Count = 0
    order_known: Count = 0
    order_unknown: Count = 0
    maybe_raced: Count = 0

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f) - getattr(other, f) for f in self.__struct_fields__))

    def fault(self) -> str | None:
        """Say which count is larger than the one it is a part of."""
        pairs = (
            ("attempted", "connections"),
            ("clients", "connections"),
            ("client_tried", "client_up"),
            ("server_tried", "server_up"),
            ("raced", "client_tried"),
            ("unordered", "client_tried"),
            ("came_up", "attempted"),
        )
        for part, whole in pairs:
            if getattr(self, part) > getattr(self, whole):
                return f"{part} is larger than {whole}"
        return None

    @property
    def decided(self) -> int:
        """Connections that came up and encrypted, in the kernel or not: the whole of a fallback."""
        return self.offloaded + self.tx_only + self.rx_only + self.fallback

    @property
    def came_up(self) -> int:
        """Connections that tried and came up; one that attached the ULP and gave no keys counts."""
        return self.decided + self.ulp_only


class RunCounts(msgspec.Struct, frozen=True):
    """Counts of a run; `peers` is None where they were not kept (a baseline without addresses)."""

    total: Counts
    peers: dict[str, Counts] | None = None

    def without(self, other: "RunCounts") -> "RunCounts":
        """Leave out the connections that `other` counts."""
        mine, theirs = self.peers or {}, other.peers or {}
        peers = {peer: counts - theirs.get(peer, Counts()) for peer, counts in mine.items()}
        return RunCounts(self.total - other.total, None if self.peers is None else peers)

    def peer(self, name: str) -> Counts:
        return (self.peers or {}).get(name, Counts())

    def rest(self, named: Iterable[str]) -> Counts:
        """Return the counts of everything but the named peers."""
        left = self.total
        for name in named:
            left -= self.peer(name)
        return left


class Group(NamedTuple):
    """What connections have in common that rules tell apart; `doubtful`: may have lost a race."""

    role: Role
    peer: str | None
    outcome: Outcome
    ordering: Ordering | None
    tried: bool
    doubtful: bool


class Census:
    """The numbers of the connections in each group, taken as they end.

    Eight bytes a connection: a check of a long trace must not need its connections in memory.
    """

    def __init__(self, connections: Iterable[Connection] = ()) -> None:
        self._groups: dict[Group, array[int]] = {}
        for connection in connections:
            self.add(connection)

    def add(self, connection: Connection) -> None:
        """Take a connection; listeners are none."""
        if connection.role != "listener":
            self._groups.setdefault(_group(connection), array("Q")).append(number_of(connection.id))

    def add_judged(self, judged: Judged) -> None:
        self.add(judged.connection)

    def counts(self, only: frozenset[int] | None = None) -> RunCounts:
        """Count all connections, or those with some numbers."""
        total: Counter[str] = Counter()
        peers: dict[str, Counter[str]] = {}
        for group, numbers in self._groups.items():
            n = len(numbers) if only is None else sum(1 for number in numbers if number in only)
            marks = dict.fromkeys(_marks(group), n) if n else {}
            total.update(marks)
            if group.peer is not None and marks:
                peers.setdefault(group.peer, Counter()).update(marks)
        return RunCounts(Counts(**total), {peer: Counts(**peers[peer]) for peer in sorted(peers)})

    def numbers(self, wanted: Callable[[Group], bool]) -> list[int]:
        """Return the numbers of the connections in the wanted groups, in the order of opening."""
        found = (numbers for group, numbers in self._groups.items() if wanted(group))
        return sorted(chain.from_iterable(found))


def number_of(connection_id: str) -> int:
    """Return 12 of "c12"; ValueError where it is none."""
    return int(connection_id.removeprefix("c"))


def _group(connection: Connection) -> Group:
    ordering = connection.ordering
    doubtful = ordering == "unknown" and any(a.result in _RACE_RESULTS for a in connection.ulp)
    return Group(
        connection.role,
        peer_of(connection),
        connection.outcome,
        ordering,
        connection.has_ktls,
        doubtful,
    )


def peer_of(connection: Connection) -> str | None:
    """Return the name a policy has for the connection's peer.

    That is `ip:port` for a client, the address alone for an accepted connection, and whatever the
    trace shows for one that was opened before it.
    """
    key = peer_key(connection)
    return connection.peer if key is None else key[1]


def counts_of(report: Report, census: Census) -> RunCounts:
    """Count a report; connections without kTLS calls that its list leaves out are in its peers."""
    listed, summary = census.counts(), report.summary
    if listed.total.attempted != summary.attempted:
        raise KtraceError(
            "report-incomplete",
            f"the report lists {listed.total.attempted} of {summary.attempted} kTLS connections",
            "write it with: ktrace parse LOG --json FILE",
        )
    return _add_plain(report, listed) if listed.total.connections < summary.connections else listed


def _marks(group: Group) -> Iterator[str]:
    """Name every count that the connections of a group are in."""
    yield "connections"
    if group.role in ("client", "server"):
        if group.role == "client":
            yield "clients"
        if group.tried or group.outcome not in ("not-connected", "unknown"):
            yield f"{group.role}_up"
        if group.tried:
            yield f"{group.role}_tried"
    if group.tried:
        yield "attempted"
        yield from _verdict_marks(group)


def _verdict_marks(group: Group) -> Iterator[str]:
    outcome = group.outcome.replace("-", "_")
    if outcome in ("offloaded", "tx_only", "rx_only", "fallback", "ulp_only"):
        yield outcome
    if group.ordering in ("raced", "unordered"):
        yield group.ordering
    if group.ordering == "unknown":
        if group.role == "client":
            yield "order_unknown"
        if group.doubtful:
            yield "maybe_raced"
    elif group.ordering is not None:
        yield "order_known"


def _add_plain(report: Report, listed: RunCounts) -> RunCounts:
    """Add the connections without kTLS calls, which the list left out but the peers count."""
    total, peers = Counter(_fields(listed.total)), dict(listed.peers or {})
    for peer in report.peers:
        known = peers.get(peer.peer, Counts())
        plain = max(0, peer.connections - peer.attempted)
        marks = {"connections": plain, f"{peer.role}_up": plain}
        if peer.role == "client":
            marks["clients"] = plain
        peers[peer.peer] = Counts(**(Counter(_fields(known)) + Counter(marks)))
        total.update({name: n for name, n in marks.items() if name != "connections"})
    total["connections"] = report.summary.connections
    return RunCounts(Counts(**total), peers)


def _fields(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in counts.__struct_fields__}
