"""A TCP socket while the trace goes on: what is known of it so far."""

from collections import deque
from typing import Protocol

import msgspec

from ktrace.events import Endpoint, Event, FdNote, KeyDetail
from ktrace.timelines import Limit, Place

TAIL = 24  # data calls kept in case a kTLS call follows: they are then part of the setup
MAX_ROWS = 256


class Row(msgspec.Struct, frozen=True, gc=False):
    """A call on the connection with the TCP state around it; becomes a TimelineRow at the end."""

    event: Event
    before: str
    after: str
    observed: bool = False
    text: str | None = None


class Attempt:
    """A TCP_ULP call: what was known when it began, and what came of it."""

    __slots__ = ("event", "limits", "observed", "order", "proof_ns", "result", "returned", "state")

    def __init__(
        self, event: Event, order: str, state: str, observed: bool, limits: frozenset[Limit]
    ) -> None:
        self.event = event
        self.order = order  # proved, in-flight, unconnected, unknown: what was known at its start
        self.state = state
        self.observed = observed
        self.limits = limits
        self.result: str | None = None
        self.returned = False
        self.proof_ns: int | None = None


class Install(msgspec.Struct, frozen=True, gc=False):
    """A TLS_TX or TLS_RX call that has begun; `result` is filled in by replacing it."""

    event: Event
    detail: KeyDetail
    result: str | None


class Watcher(Protocol):
    """An epoll instance, as a socket knows it."""

    def remove(self, socket: "Tracked") -> None: ...


class Tracked:
    """One TCP socket, from the call that made it to its last close.  Mutable, private to the
    sequencer.
    """

    __slots__ = (
        "accepted",
        "attempts",
        "before_connect",
        "before_trace",
        "blind",
        "closed",
        "comm",
        "connect_begun",
        "connect_called",
        "data_calls",
        "ended",
        "epolls",
        "established_ns",
        "failure",
        "family",
        "fastopen",
        "fastopen_child",
        "fastopen_listener",
        "fd",
        "id_number",
        "inode",
        "inside",
        "is_tcp",
        "keys",
        "limits",
        "listening",
        "local",
        "mptcp",
        "noted",
        "number",
        "observed",
        "omitted",
        "opened",
        "peer",
        "pid",
        "proof_ns",
        "proved",
        "proved_by_select",
        "queued",
        "refs",
        "rows",
        "sock",
        "state",
        "tail",
        "tid",
        "told",
        "ulp_ok",
    )

    def __init__(self, number: int, opened: Place, pid: int, fd: int) -> None:
        self.number = number
        self.id_number = 0
        self.opened = opened
        self.pid = pid
        self.tid = opened.tid or 0
        self.comm: str | None = None
        self.fd = fd
        self.family: str | None = None
        self.local: str | None = None
        self.peer: str | None = None
        self.inode: int | None = None
        self.noted: FdNote | None = None  # the last note: strace writes the same one at every call
        self.sock: int | None = None
        self.refs = 0
        self.epolls: list[Watcher] = []  # where it is registered: the kernel forgets it at the end
        self.queued = True  # in the line for an id
        self.inside = 0  # calls that have begun and not returned: they keep the socket alive
        self.is_tcp = True
        self.mptcp = False
        self.before_connect: str | None = None  # the state that connect() met, while it goes on
        self.before_trace = False
        self.blind = False  # kTLS calls on it may have been made where the trace does not look
        self.accepted = False
        self.listening = False
        self.connect_called = False
        self.connect_begun = False
        self.fastopen = False
        self.fastopen_child = False
        self.fastopen_listener = False
        self.state = "UNKNOWN"
        self.observed = False
        self.proved = False
        self.told = False  # by a call of the program's own, not by the ULP's success alone
        self.proved_by_select = False
        self.proof_ns: int | None = None  # when the first proof had ended
        self.established_ns: int | None = None  # live: when the kernel made the transition
        self.failure: str | None = None
        self.closed = False
        self.ended = False
        self.limits: set[Limit] = set()
        self.attempts: list[Attempt] = []
        self.keys: list[Install] = []
        self.ulp_ok = False
        self.rows: list[Row] = []
        self.tail: deque[Row] = deque()
        self.omitted = 0
        self.data_calls = 0  # since the last kTLS call

    @property
    def in_flight(self) -> bool:
        """connect() was started, and nobody was told that it succeeded or failed."""
        return self.connect_begun and not self.proved and self.failure is None

    @property
    def has_ktls(self) -> bool:
        return bool(self.attempts or self.keys)

    @property
    def listed(self) -> bool:
        if not self.is_tcp:
            return self.has_ktls
        seen_peer = self.before_trace and self.peer is not None
        return self.connect_called or self.accepted or self.listening or self.has_ktls or seen_peer

    @property
    def settled(self) -> bool:
        """No data call can change what is known, short of an error or a FIN."""
        return (self.proved and not self.fastopen_child) or self.listening

    def keep(self, row: Row) -> None:
        """Keep a row that the timeline always shows."""
        if len(self.rows) >= MAX_ROWS:
            self.omitted += 1
            return
        self.rows.append(row)

    def keep_if_room(self, row: Row) -> None:
        """Keep a row that matters, or the newest of very many."""
        self.keep_maybe(row) if len(self.rows) > MAX_ROWS // 2 else self.keep(row)

    def keep_setup(self, row: Row) -> None:
        """Keep a kTLS call, and the data calls that led to it."""
        if self.tail:
            room = MAX_ROWS - len(self.rows)
            self.omitted += max(0, len(self.tail) - room)
            self.rows.extend(list(self.tail)[:room])
            self.tail.clear()
        self.data_calls = 0
        self.keep(row)

    def drop(self, event: Event) -> None:
        """Forget the row of a call's first half, now that the whole call is known."""
        for index in range(len(self.rows) - 1, -1, -1):
            if self.rows[index].event is event:
                del self.rows[index]
                return

    def keep_maybe(self, row: Row) -> None:
        """Keep a data call for the case that a kTLS call follows."""
        self.data_calls += 1
        if len(self.tail) >= TAIL:
            self.tail.popleft()
            self.omitted += 1
        self.tail.append(row)

    def learn(self, note: FdNote | None) -> None:
        """Take addresses and the inode from what -yy wrote behind the fd."""
        if note is None:
            return
        self.noted = note
        if note.inode is not None and self.inode is None:
            self.inode = note.inode
        if note.peer is not None and self.peer is None:
            self.peer = note.peer
        if note.local is not None and (self.local is None or note.peer is not None):
            self.local = note.local
        if note.protocol in ("TCP", "TCPv6"):
            self.is_tcp = True
            if self.family is None:
                self.family = "AF_INET6" if note.protocol == "TCPv6" else "AF_INET"

    def learn_peer(self, endpoint: Endpoint | None) -> None:
        if endpoint is not None and endpoint.address is not None:
            self.peer = str(endpoint)
            self.family = endpoint.family
