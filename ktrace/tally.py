"""Count connections as they end: the summary, its rates, and the peers."""

from typing import Literal, Protocol

from ktrace.findings import Outcome, Peer, Summary
from ktrace.statistics import wilson
from ktrace.timelines import Judged

PeerKey = tuple[Literal["client", "server"], str]

# The outcomes that a fallback rate is about: TLS records were encrypted, by the kernel or not.
_DECIDED: frozenset[Outcome] = frozenset({"fallback", "offloaded", "tx-only", "rx-only"})


class Counted(Protocol):
    """What is counted of a connection."""

    @property
    def role(self) -> str: ...
    @property
    def outcome(self) -> Outcome: ...
    @property
    def ordering(self) -> str | None: ...
    @property
    def peer(self) -> str | None: ...
    @property
    def recovered(self) -> bool: ...
    @property
    def has_ktls(self) -> bool: ...


class _PeerCounts:
    """Running counts of one peer; one is kept for every peer of a trace, so it has slots."""

    __slots__ = ("attempted", "connections", "decided", "fallback", "raced")

    def __init__(self) -> None:
        self.connections = self.attempted = self.fallback = self.raced = self.decided = 0

    def add(self, connection: Counted) -> None:
        self.connections += 1
        self.attempted += connection.has_ktls
        self.fallback += connection.outcome == "fallback"
        self.raced += connection.ordering == "raced"
        self.decided += connection.outcome in _DECIDED


class Tally:
    """Streaming counts; memory grows with the number of peers only."""

    def __init__(self) -> None:
        self._listeners = 0
        self._connections = 0
        self._attempted = 0
        self._recovered = 0
        self._attempted_clients = 0
        self._raced_clients = 0
        self._unordered_clients = 0
        self._outcomes: dict[str, int] = {}
        self._orderings: dict[str | None, int] = {}
        self._peers: dict[PeerKey, _PeerCounts] = {}

    def add(self, judged: Judged) -> None:
        """Count one connection."""
        self.count(judged.connection)

    def count(self, connection: Counted) -> None:
        """Count one connection; a listener is counted as such and nowhere else."""
        if connection.role == "listener":
            self._listeners += 1
            return
        self._connections += 1
        outcome, ordering = connection.outcome, connection.ordering
        self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1
        self._orderings[ordering] = self._orderings.get(ordering, 0) + 1
        self._recovered += connection.recovered
        if connection.has_ktls:
            self._attempted += 1
            self._count_client(connection)
        self._count_peer(connection)

    def _count_client(self, connection: Counted) -> None:
        if connection.role == "client":
            self._attempted_clients += 1
            self._raced_clients += connection.ordering == "raced"
            self._unordered_clients += connection.ordering == "unordered"

    def _count_peer(self, connection: Counted) -> None:
        key = peer_key(connection)
        if key is None:
            return
        counts = self._peers.get(key)
        if counts is None:
            counts = self._peers[key] = _PeerCounts()
        counts.add(connection)

    def summary(self) -> Summary:
        """Return the counts so far with their rates."""
        outcome, ordering = self._outcomes.get, self._orderings.get
        decided = sum(outcome(name, 0) for name in _DECIDED)
        return Summary(
            connections=self._connections,
            listeners=self._listeners,
            attempted=self._attempted,
            offloaded=outcome("offloaded", 0),
            tx_only=outcome("tx-only", 0),
            rx_only=outcome("rx-only", 0),
            fallback=outcome("fallback", 0),
            not_connected=outcome("not-connected", 0),
            ulp_only=outcome("ulp-only", 0),
            none=outcome("none", 0),
            unknown=outcome("unknown", 0),
            raced=ordering("raced", 0),
            unordered=ordering("unordered", 0),
            unconnected=ordering("unconnected", 0),
            late=ordering("late", 0),
            recovered=self._recovered,
            fallback_rate=wilson(outcome("fallback", 0), decided),
            race_rate=wilson(self._raced_clients, self._attempted_clients),
            unordered_rate=wilson(self._unordered_clients, self._attempted_clients),
        )

    def peers(self) -> tuple[Peer, ...]:
        """Return an entry a peer, the worst first: most fallbacks, then races, then connections."""
        peers = (_peer(key, counts) for key, counts in self._peers.items())
        return tuple(sorted(peers, key=_worst_first))


def peer_key(connection: Counted) -> PeerKey | None:
    """Return what a connection's peer is counted under, None where it has none to count.

    A client's peer is `address:port`; accepted connections fold by address, since a client's port
    is no peer.  A connection opened before the trace has no side that could be told.
    """
    if connection.peer is None:
        return None
    if connection.role == "client":
        return "client", connection.peer
    if connection.role == "server":
        return "server", _address(connection.peer)
    return None


def _address(endpoint: str) -> str:
    """Return the address of `ip:port` or `[ip6]:port`."""
    if endpoint.startswith("["):
        return endpoint[1:].partition("]")[0]
    address, colon, _ = endpoint.rpartition(":")
    return address if colon and ":" not in address else endpoint


def _peer(key: PeerKey, counts: _PeerCounts) -> Peer:
    role, name = key
    return Peer(
        peer=name,
        role=role,
        connections=counts.connections,
        attempted=counts.attempted,
        fallback=counts.fallback,
        raced=counts.raced,
        fallback_rate=wilson(counts.fallback, counts.decided),
    )


def _worst_first(peer: Peer) -> tuple[int, int, int, int, str, str]:
    return (-peer.fallback, -peer.raced, -peer.attempted, -peer.connections, peer.role, peer.peer)
