"""Which sockets there are: identity, ids in the order of opening, the end of each.

The handlers (descriptors.py, connecting.py, ktls.py, waiting.py) act on one `World`.
"""

from collections import deque
from collections.abc import Callable

from ktrace.events import BEGIN, END, AcceptDetail, Endpoint, Event, FdNote, Kind, OptionDetail
from ktrace.sequencer.processes import Processes
from ktrace.sequencer.tables import Open
from ktrace.sequencer.tracked import Tracked
from ktrace.timelines import Place

Finished = Callable[[Tracked], None]
MAX_WAITING = 64  # connections that wait for an older socket to show what it is
INET = ("AF_INET", "AF_INET6")
RING_CALLS = (Kind.CONNECT, Kind.ULP, Kind.KEY)


class World:
    """The sockets of one trace, from the first event to the last.

    `in_flight` are those whose connect() was started and has neither succeeded nor failed,
    `unsettled` those that a data call could still prove; `held` (live) those on their way between
    two processes.
    """

    def __init__(self, finished: Finished, first_id: int) -> None:
        self._finished = finished
        self._next_number = 1
        self.next_id = first_id
        self._queue: deque[Tracked] = deque()  # in the order of opening, without an id so far
        self._waiting = 0
        self.processes = Processes(self.released)
        self.in_flight: dict[int, Tracked] = {}
        self.unsettled: dict[int, Tracked] = {}
        self.by_sock: dict[int, Tracked] = {}
        self.held: dict[int, Tracked] = {}
        self.sent: list[Open | None] = []
        self.cloning: dict[int, Event] = {}
        self.inside: dict[int, Tracked] = {}
        self.rings: dict[int, bool] = {}  # live: processes with an io_uring; are its calls seen
        self.changes = 0  # of the unsettled sockets, and of the numbers they have

    def asked_changed(self) -> None:
        """Note that a socket may have got another number."""
        self.changes += 1

    def unsettle(self, tracked: Tracked) -> None:
        """From now on a data call could prove this socket."""
        self.unsettled[tracked.number] = tracked
        self.changes += 1

    def settle(self, tracked: Tracked) -> None:
        """No data call can prove more of this socket."""
        if self.unsettled.pop(tracked.number, None) is not None:
            self.changes += 1

    @property
    def numbered(self) -> int:
        """The number that the next socket gets."""
        return self._next_number

    # who is meant

    def new(self, event: Event, fd: int, *, queued: bool = True) -> Tracked:
        """Begin a socket that `event` opened, or showed first."""
        opened = Place(event.source, event.line, event.tid)
        pid = self.processes.tgid(event.tid) or event.tid  # the process may have had no prefix
        tracked = Tracked(self._next_number, opened, pid, fd)
        tracked.comm = event.comm
        tracked.blind = not self.rings.get(pid, True)
        self._next_number += 1
        tracked.queued = queued
        if queued:
            self._queue.append(tracked)
        if event.sock is not None:
            self.recognise(tracked, event.sock)
        return tracked

    def subject(self, event: Event) -> Tracked | None:
        """Return the socket that a call is about.

        The second half of a call is about the socket its first half named, whatever has become of
        the descriptor since; a call in progress keeps its socket alive.
        """
        if event.phase is END:
            begun = self.inside.pop(event.tid, None)
            if begun is not None:
                begun.inside -= 1
                return begun
        tracked = self.tracked(event)
        if event.phase is BEGIN and tracked is not None:
            self.leave(event.tid)
            self.inside[event.tid] = tracked
            tracked.inside += 1
        return tracked

    def leave(self, tid: int) -> None:
        """A thread is no longer inside a call: it made another one, or is gone."""
        tracked = self.inside.pop(tid, None)
        if tracked is not None:
            tracked.inside -= 1
            self.end_if_closed(tracked)

    def tracked(self, event: Event) -> Tracked | None:
        """Return the socket behind the event's fd; an unknown fd is taken in as from before the
        trace.
        """
        if event.fd is None:
            return self._without_descriptor(event)
        found = self.processes.get(event.tid, event.fd)
        if isinstance(found, Tracked) and event.note is not found.noted:
            if _is_another(found, event.note):
                self.processes.close(event.tid, event.fd)
                found = None
            else:
                found.learn(event.note)
        if isinstance(found, Tracked):
            if event.sock is not None and found.sock is None:
                self.recognise(found, event.sock)
            if not found.queued:
                self._promote(found, event)
            return found
        if found is not None and not _takes_ktls(event):
            return None
        if found is not None:
            self.processes.close(event.tid, event.fd)  # the number was reused unseen
        elif event.note is not None and event.note.protocol and not is_tcp_note(event.note):
            self.processes.other(event.tid, event.fd)
            return None
        return self.adopt(event)

    def _without_descriptor(self, event: Event) -> Tracked | None:
        """Return the socket of a call made through io_uring, which only the kernel's socket names.

        It is held until a descriptor shows up, or the kernel says that its connection is over.
        """
        if event.sock is None or event.kind not in RING_CALLS:
            return None
        known = self.by_sock.get(event.sock)
        if known is not None and not known.ended:
            known.learn(event.note)
            return known
        tracked = self.new(event, -1)
        tracked.before_trace = True
        tracked.limits.add("before-trace")
        tracked.learn(event.note)
        tracked.refs = 1
        self.held[tracked.number] = tracked
        return tracked

    def adopt(self, event: Event) -> Tracked:
        """Take in a descriptor from before the trace; a connection once a call shows TCP."""
        assert event.fd is not None
        known = self.by_sock.get(event.sock) if event.sock is not None else None
        if known is not None and not known.ended:
            # live: the kernel's socket is known; the descriptor came by a way that was not seen
            self.processes.open(event.tid, event.fd, known, cloexec=False)
            if self.held.pop(known.number, None) is not None:
                known.refs -= 1
            if known.fd < 0:
                known.fd = event.fd
            return known
        tracked = self.new(event, event.fd, queued=False)
        tracked.before_trace = True
        tracked.is_tcp = False
        tracked.limits.add("before-trace")
        tracked.learn(event.note)
        self.unsettle(tracked)
        self.processes.open(event.tid, event.fd, tracked, cloexec=False)
        self._promote(tracked, event)
        return tracked

    def _promote(self, tracked: Tracked, event: Event) -> None:
        """Let a descriptor from before the trace become a connection once a call shows TCP."""
        if tracked.queued or not (tracked.is_tcp or event.sock is not None or _shows_tcp(event)):
            return
        tracked.is_tcp = tracked.is_tcp or event.kind is not Kind.CONNECT
        tracked.queued = True
        self._queue.append(tracked)

    def recognise(self, tracked: Tracked, sock: int) -> None:
        """Live: learn which of the kernel's sockets this is."""
        tracked.sock = sock
        self.by_sock[sock] = tracked

    # the end

    def released(self, tracked: Tracked) -> None:
        """The last descriptor of a socket is gone."""
        tracked.closed = True
        self.end_if_closed(tracked)

    def end_if_closed(self, tracked: Tracked) -> None:
        """Finish a closed socket once no call is in progress on it."""
        if tracked.closed and tracked.inside <= 0:
            self.finish(tracked)

    def finish(self, tracked: Tracked) -> None:
        """End a socket as it is; listed ones are passed on in the order of their ids."""
        if tracked.ended:
            return
        tracked.ended = True
        self.in_flight.pop(tracked.number, None)
        self.settle(tracked)
        for epoll in list(tracked.epolls):
            epoll.remove(tracked)
        if tracked.sock is not None and self.by_sock.get(tracked.sock) is tracked:
            del self.by_sock[tracked.sock]
        if tracked.id_number:
            if tracked.listed:
                self._finished(tracked)
            return
        if tracked.listed:
            self._waiting += 1
        self._number()

    def finish_all(self) -> None:
        """End the trace: every socket still open is finished as it is."""
        still_open = {t.number: t for t in self.processes.tracked()}
        still_open.update({t.number: t for t in self._queue if not t.ended})
        still_open.update({t.number: t for t in (*self.held.values(), *self.inside.values())})
        for number in sorted(still_open):
            self.finish(still_open[number])

    def _number(self) -> None:
        """Give ids in the order of opening, and pass on what has ended.

        A socket that may still turn out to be no connection holds the younger ones up, but not for
        long.
        """
        queue = self._queue
        while self._waiting and queue:
            tracked = queue[0]
            may_come = not tracked.ended and not tracked.listed
            if may_come and self._waiting <= MAX_WAITING:
                return
            queue.popleft()
            if tracked.ended and not tracked.listed:
                continue
            tracked.id_number = self.next_id
            self.next_id += 1
            if tracked.ended:
                self._waiting -= 1
                self._finished(tracked)


Handler = Callable[[World, Event], None]
_TCP_ANSWERS = (None, "ENOENT", "EEXIST", "ENOTCONN", "ENOTSUPP")  # to TCP_ULP


def returned_fd(event: Event) -> bool:
    """Tell whether a call has returned a descriptor."""
    return (
        event.phase is not BEGIN
        and event.errno is None
        and event.result is not None
        and event.result >= 0
    )


def is_tcp_note(note: FdNote) -> bool:
    return note.protocol in ("TCP", "TCPv6")


def says_inet(event: Event) -> bool:
    """Tell whether an accept() of an unknown listener shows an internet address."""
    detail = event.detail
    if isinstance(detail, AcceptDetail) and detail.peer is not None and detail.peer.family in INET:
        return True
    return event.result_note is not None and is_tcp_note(event.result_note)


def _shows_tcp(event: Event) -> bool:
    """Tell whether a call on a descriptor that nobody saw opened shows a TCP socket."""
    if event.kind in (Kind.ULP, Kind.KEY, Kind.TCP_INFO, Kind.LISTEN):
        return True
    if event.kind is Kind.CONNECT:
        return isinstance(event.detail, Endpoint) and event.detail.family in INET
    if event.kind is Kind.SOCKOPT:
        return isinstance(event.detail, OptionDetail) and event.detail.level == "SOL_TCP"
    return event.kind is Kind.ACCEPT and says_inet(event)


def _takes_ktls(event: Event) -> bool:
    """Tell a kTLS call with a result that only a TCP socket gives."""
    if event.phase is BEGIN or event.result is None:
        return False
    if event.kind is Kind.ULP:
        return event.errno in _TCP_ANSWERS
    return event.kind is Kind.KEY and event.errno in (None, "EBUSY")


def _is_another(tracked: Tracked, note: FdNote | None) -> bool:
    """Tell whether the inode that strace printed shows that the number was reused unseen."""
    if note is None:
        return False
    if note.protocol is not None and not is_tcp_note(note):
        return True
    return note.inode is not None and tracked.inode is not None and note.inode != tracked.inode
