"""Counts of connections, whole and for each peer: all that the rules of a check look at.

They are taken while a trace is read, so a check needs no list of connections; a report of an
earlier run that left some out of its list still has them in its peers.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from ktrace.errors import KtraceError
from ktrace.findings import Connection, Report
from ktrace.tally import peer_key
from ktrace.timelines import Judged

# An attempt of unknown order that ended in one of these may have been a race.
_RACE_RESULTS = frozenset({"ENOTCONN", "ENOTSUPP", None})


class Counts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Connections to one peer, or of a whole trace; listeners are in none of them.

    `*_up` are the connections on which kTLS could have been tried (they came up, or tried) and
    `*_tried` those that tried.  Outcomes and orderings are of connections that tried.
    `order_unknown` are clients whose ordering the trace cannot tell, `maybe_raced` are connections
    of unknown ordering that may have lost a race.
    """

    connections: int = 0
    attempted: int = 0
    clients: int = 0
    client_up: int = 0
    client_tried: int = 0
    server_up: int = 0
    server_tried: int = 0
    offloaded: int = 0
    tx_only: int = 0
    rx_only: int = 0
    fallback: int = 0
    ulp_only: int = 0
    raced: int = 0
    unordered: int = 0
    order_known: int = 0
    order_unknown: int = 0
    maybe_raced: int = 0

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f) - getattr(other, f) for f in self.__struct_fields__))

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


class Counting:
    """Counts connections as they end; memory grows with the number of peers only."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._peers: dict[str, Counter[str]] = {}

    def add(self, connection: Connection) -> None:
        marks = tuple(_marks(connection))
        self._total.update(marks)
        peer = peer_of(connection)
        if peer is not None and marks:
            self._peers.setdefault(peer, Counter()).update(marks)

    def add_judged(self, judged: Judged) -> None:
        self.add(judged.connection)

    def finish(self) -> RunCounts:
        peers = {peer: Counts(**self._peers[peer]) for peer in sorted(self._peers)}
        return RunCounts(Counts(**self._total), peers)


def count(connections: Iterable[Connection]) -> RunCounts:
    """Count a list of connections."""
    counting = Counting()
    for connection in connections:
        counting.add(connection)
    return counting.finish()


def peer_of(connection: Connection) -> str | None:
    """Return the name a policy has for the connection's peer.

    That is `ip:port` for a client, the address alone for an accepted connection, and whatever the
    trace shows for one that was opened before it.
    """
    key = peer_key(connection)
    return connection.peer if key is None else key[1]


def counts_of(report: Report) -> RunCounts:
    """Count a report; connections without kTLS calls that its list leaves out are in its peers."""
    listed = count(report.connections)
    summary = report.summary
    if listed.total.attempted != summary.attempted:
        raise KtraceError(
            "report-incomplete",
            f"the report lists {listed.total.attempted} of {summary.attempted} kTLS connections",
            "write it with: ktrace parse LOG --json FILE",
        )
    if len(report.connections) < summary.connections + summary.listeners:
        return _add_plain(report, listed)
    return listed


def _marks(connection: Connection) -> Iterator[str]:
    """Name every count that the connection is in."""
    if connection.role == "listener":
        return
    tried = connection.has_ktls
    yield "connections"
    if connection.role in ("client", "server"):
        if connection.role == "client":
            yield "clients"
        if tried or connection.outcome not in ("not-connected", "unknown"):
            yield f"{connection.role}_up"
        if tried:
            yield f"{connection.role}_tried"
    if tried:
        yield "attempted"
        yield from _verdict_marks(connection)


def _verdict_marks(connection: Connection) -> Iterator[str]:
    outcome = connection.outcome.replace("-", "_")
    if outcome in ("offloaded", "tx_only", "rx_only", "fallback", "ulp_only"):
        yield outcome
    ordering = connection.ordering
    if ordering in ("raced", "unordered"):
        yield ordering
    if ordering == "unknown":
        if connection.role == "client":
            yield "order_unknown"
        if any(attempt.result in _RACE_RESULTS for attempt in connection.ulp):
            yield "maybe_raced"
    elif ordering is not None:
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
