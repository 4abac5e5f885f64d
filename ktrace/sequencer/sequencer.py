"""The sequencer: applies events, in the order of the trace, to the sockets they concern.

A call that came in two halves acts at both: a connect() is started when it begins, close() frees the number
when it begins, a proof counts from its end.  So a proof that overlaps an attempt never excuses it.
"""

from collections import deque
from collections.abc import Callable, Collection

import msgspec

from ktrace.events import (
    AcceptDetail,
    CloexecDetail,
    CloneDetail,
    CloseRangeDetail,
    DupDetail,
    Endpoint,
    EpollCtlDetail,
    Event,
    FdList,
    FdNote,
    FdPair,
    IntDetail,
    IoDetail,
    KeyDetail,
    Kind,
    OptionDetail,
    Phase,
    Ready,
    SocketDetail,
    StateDetail,
    WaitDetail,
)
from ktrace.sequencer.processes import Processes
from ktrace.sequencer.tables import OTHER, Epoll, Open, Other, Pidfd
from ktrace.sequencer.tracked import TAIL, Attempt, Install, Row, Tracked
from ktrace.tcp_state import (
    AFTER_CLOSE,
    AFTER_ESTABLISHED,
    AFTER_SHUTDOWN,
    BROKEN,
    IN_PROGRESS,
    NOT_CONNECTED,
    Effect,
    of_call,
    of_readiness,
)
from ktrace.timelines import Limit
from ktrace.uapi import EPOLLOUT, ERRNO_NAMES

Finished = Callable[[Tracked], None]
MAX_WAITING = 64  # connections that wait for an older socket to show what it is
MAX_FD = 1 << 20  # no process has more, unless somebody raised fs.nr_open
INET = ("AF_INET", "AF_INET6")
_DATA = (Kind.READ, Kind.WRITE, Kind.SEND_FDS, Kind.RECV_FDS)
_MINOR = (*_DATA, Kind.SOCKOPT, Kind.GETSOCKOPT, Kind.GETSOCKNAME, Kind.BIND, Kind.SETFD)


class Sequencer:
    """Feeds on events, gives each socket to `finished` when it has ended.

    Ids count connections in the order of opening, from `first_id` on.
    `detailed`: timelines will be shown, so the data calls of a connection's setup matter.
    """

    def __init__(self, finished: Finished, first_id: int = 1, *, detailed: bool = True) -> None:
        self._finished = finished
        self._detailed = detailed
        self._next = 1
        self._next_id = first_id
        self._queue: deque[Tracked] = deque()  # in the order of opening, without an id so far
        self._waiting = 0
        self._processes = Processes(self._released)
        self._inside: dict[int, list[tuple[str, Tracked]]] = {}
        self._calling: dict[int, Attempt | int] = {}
        self._in_flight: dict[int, Tracked] = {}
        self._unsettled: dict[int, Tracked] = {}  # those that a data call could prove
        self._asked_of: set[int] | None = None
        self._asked: list[bytes] | None = None
        self._by_sock: dict[int, Tracked] = {}
        self._sent: list[Open] = []
        self._cloning: dict[int, Event] = {}
        self._held: dict[int, Tracked] = {}
        self._handlers: dict[Kind, Callable[[Event], None]] = {
            Kind.SOCKET: self._socket,
            Kind.SOCKETPAIR: self._pair,
            Kind.OPENS_OTHER: self._opens_other,
            Kind.CONNECT: self._connect,
            Kind.ACCEPT: self._accept,
            Kind.LISTEN: self._listen,
            Kind.BIND: self._bind,
            Kind.ULP: self._ulp,
            Kind.KEY: self._key,
            Kind.SOCKOPT: self._option,
            Kind.CLOSE: self._close,
            Kind.CLOSE_RANGE: self._close_range,
            Kind.SHUTDOWN: self._shutdown,
            Kind.DUP: self._dup,
            Kind.SETFD: self._setfd,
            Kind.EPOLL_CREATE: self._epoll_create,
            Kind.EPOLL_CTL: self._epoll_ctl,
            Kind.WAIT: self._wait,
            Kind.CLONE: self._clone,
            Kind.EXEC: self._exec,
            Kind.EXIT: self._exit,
            Kind.SEND_FDS: self._send_fds,
            Kind.RECV_FDS: self._recv_fds,
            Kind.PIDFD_OPEN: self._pidfd_open,
            Kind.PIDFD_GETFD: self._pidfd_getfd,
            Kind.IO_URING: self._io_uring,
            Kind.STATE: self._state,
            Kind.READ: self._on_socket,
            Kind.WRITE: self._on_socket,
            Kind.SO_ERROR: self._on_socket,
            Kind.TCP_INFO: self._on_socket,
            Kind.GETSOCKOPT: self._on_socket,
            Kind.GETPEERNAME: self._on_socket,
            Kind.GETSOCKNAME: self._on_socket,
        }

    # the way in and out

    def feed(self, event: Event) -> None:
        """Apply one event."""
        if event.tgid is not None:
            self._processes.set_tgid(event.tid, event.tgid)
        if self._cloning and not self._processes.knows(event.tid):
            # a child's first call can be printed before its parent's clone() comes back
            parent = next(iter(self._cloning))
            self._born(self._cloning.pop(parent), event.tid)
        handler = self._handlers.get(event.kind)
        if handler is not None:
            handler(event)

    @property
    def generation(self) -> int:
        """Changes when an earlier answer of `settled` may be wrong."""
        return self._processes.generation

    def settled(self, tid: int, fd: int) -> Tracked | Other | None:
        """Return what `fd` stands for if its data calls can change nothing, else None."""
        found = self._processes.get(tid, fd)
        if isinstance(found, Tracked):
            setup_is_over = not self._detailed or found.data_calls >= TAIL
            return found if found.settled and setup_is_over else None
        return found if isinstance(found, Other) else None

    @property
    def asked(self) -> Collection[bytes] | None:
        """`(fd` for each socket that a data call could prove something of; None: ask for all.

        Only without timelines: with them every data call is counted for its connection.
        """
        if self._asked_of != self._unsettled.keys():
            self._asked_of = set(self._unsettled)
            few = len(self._unsettled) <= 16 and not self._detailed
            # a socket with several numbers is asked for by all of them
            alone = all(tracked.refs == 1 for tracked in self._unsettled.values())
            names = [b"(%d" % tracked.fd for tracked in self._unsettled.values()]
            self._asked = names if few and alone else None
        return self._asked

    def close_all(self) -> int:
        """End the trace: every socket still open is finished as it is; return the next free id."""
        still_open = {t.number: t for t in self._processes.tracked()}
        still_open.update({t.number: t for t in self._queue if not t.ended})
        for number in sorted(still_open):
            self._finish(still_open[number])
        return self._next_id

    def lost_events(self) -> None:
        """Events are missing from here on: no absence before this point proves anything."""
        for tracked in self._in_flight.values():
            tracked.limits.add("lost-events")

    def _released(self, tracked: Tracked) -> None:
        tracked.closed = True
        if tracked.inside <= 0:
            self._finish(tracked)

    def _finish(self, tracked: Tracked) -> None:
        if tracked.ended:
            return
        tracked.ended = True
        self._in_flight.pop(tracked.number, None)
        self._unsettled.pop(tracked.number, None)
        if tracked.sock is not None:
            self._by_sock.pop(tracked.sock, None)
        if tracked.id_number:
            if tracked.listed:
                self._finished(tracked)
            return
        if not tracked.listed:
            self._number()
            return
        self._waiting += 1
        self._number()

    def _number(self) -> None:
        """Give ids in the order of opening, and pass on what has ended.

        A socket that may still turn out to be no connection holds the younger ones up, but not for long.
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
            tracked.id_number = self._next_id
            self._next_id += 1
            if tracked.ended:
                self._waiting -= 1
                self._finished(tracked)

    # who is meant

    def _new(self, event: Event, fd: int, *, queued: bool = True) -> Tracked:
        tracked = Tracked(self._next, event, self._processes.tgid(event.tid), fd)
        self._next += 1
        tracked.queued = queued
        if queued:
            self._queue.append(tracked)
        tracked.sock = event.sock
        if event.sock is not None:
            self._by_sock[event.sock] = tracked
        return tracked

    def _tracked(self, event: Event) -> Tracked | None:
        """Return the socket a call names; one from before the trace is taken in when it must be TCP."""
        if event.fd is None:
            return None
        found = self._processes.get(event.tid, event.fd)
        if isinstance(found, Tracked):
            if not _is_another(found, event.note):
                if event.note is not None:
                    found.learn(event.note)
                if event.sock is not None and found.sock is None:
                    self._recognise(found, event.sock)
                if not found.queued:
                    self._promote(found, event)
                return found
            self._processes.close(event.tid, event.fd)
            found = None
        if found is not None:
            return None
        if event.note is not None and event.note.protocol and not _is_tcp_note(event.note):
            self._processes.other(event.tid, event.fd)
            return None
        return self._adopt(event)

    def _adopt(self, event: Event) -> Tracked:
        """Take in a descriptor from before the trace; until a call shows TCP it is no connection."""
        assert event.fd is not None
        known = self._by_sock.get(event.sock) if event.sock is not None else None
        if known is not None and not known.ended:
            # live: the kernel's socket is known; the descriptor came by a way that was not seen
            self._processes.open(event.tid, event.fd, known, cloexec=False)
            if self._held.pop(known.number, None) is not None:
                known.refs -= 1
            return known
        tracked = self._new(event, event.fd, queued=False)
        tracked.before_trace = True
        tracked.is_tcp = False
        tracked.limits.add("before-trace")
        tracked.learn(event.note)
        self._unsettled[tracked.number] = tracked
        self._processes.open(event.tid, event.fd, tracked, cloexec=False)
        self._promote(tracked, event)
        return tracked

    def _promote(self, tracked: Tracked, event: Event) -> None:
        """Let a descriptor from before the trace become a connection once a call shows TCP."""
        if tracked.queued or not (tracked.is_tcp or event.sock is not None or _shows_tcp(event)):
            return
        tracked.is_tcp = tracked.is_tcp or event.kind is not Kind.CONNECT
        tracked.queued = True
        self._queue.append(tracked)

    def _recognise(self, tracked: Tracked, sock: int) -> None:
        """Live: learn which of the kernel's sockets this is."""
        tracked.sock = sock
        self._by_sock[sock] = tracked

    # opening and closing

    def _socket(self, event: Event) -> None:
        if not _returned_fd(event):
            return
        assert event.result is not None
        detail = event.detail
        if not isinstance(detail, SocketDetail) or not detail.is_tcp:
            self._processes.other(
                event.tid, event.result, isinstance(detail, SocketDetail) and detail.cloexec
            )
            return
        tracked = self._new(event, event.result)
        tracked.family = detail.family
        tracked.mptcp = detail.is_mptcp
        tracked.state = "CLOSE"
        tracked.learn(event.result_note)
        self._processes.open(event.tid, event.result, tracked, detail.cloexec)
        tracked.keep(Row(event, "CLOSE", "CLOSE"))

    def _pair(self, event: Event) -> None:
        if event.phase is not Phase.BEGIN and isinstance(event.detail, FdPair) and not event.errno:
            self._processes.other(event.tid, event.detail.first, event.detail.cloexec)
            self._processes.other(event.tid, event.detail.second, event.detail.cloexec)

    def _opens_other(self, event: Event) -> None:
        if isinstance(event.detail, FdPair):
            self._pair(event)
        elif _returned_fd(event):
            assert event.result is not None
            self._processes.other(event.tid, event.result)

    def _accept(self, event: Event) -> None:
        listener = self._tracked(event) if event.fd is not None else None
        if listener is not None and listener.before_trace and _returned_fd(event):
            listener.listening = True
            listener.state = "LISTEN"
        if not _returned_fd(event) or (listener is None and not _says_inet(event)):
            if _returned_fd(event):
                assert event.result is not None
                self._processes.other(event.tid, event.result)
            return
        assert event.result is not None
        detail = event.detail if isinstance(event.detail, AcceptDetail) else AcceptDetail(None)
        tracked = self._new(event, event.result)
        tracked.accepted = True
        tracked.fastopen_child = listener is not None and listener.fastopen_listener
        tracked.mptcp = listener is not None and listener.mptcp
        tracked.family = listener.family if listener is not None else None
        tracked.learn_peer(detail.peer)
        tracked.learn(event.result_note)
        self._processes.open(event.tid, event.result, tracked, detail.cloexec)
        if tracked.fastopen_child:
            tracked.state = "SYN_RECV"
            self._unsettled[tracked.number] = tracked
        else:
            self._prove(tracked, event)
        tracked.keep(Row(event, tracked.state, tracked.state))

    def _close(self, event: Event) -> None:
        if event.phase is Phase.END or event.fd is None or event.errno == "EBADF":
            return
        found = self._processes.get(event.tid, event.fd)
        if isinstance(found, Tracked) and found.refs == 1 and _held_elsewhere(event):
            found.refs += 1  # live: on its way to somebody, who takes it over or lets it end
            self._held[found.number] = found
        elif isinstance(found, Tracked) and found.refs == 1:
            after = AFTER_CLOSE.get(found.state, "CLOSE") if found.state != "UNKNOWN" else "UNKNOWN"
            self._keep(found, Row(event, found.state, after))
            found.state = after
        self._processes.close(event.tid, event.fd)

    def _close_range(self, event: Event) -> None:
        detail = event.detail
        if event.phase is Phase.BEGIN or not isinstance(detail, CloseRangeDetail) or event.errno:
            return
        if detail.unshare:
            self._processes.unshare(event.tid)
        if detail.cloexec:
            self._processes.set_cloexec(event.tid, detail.first, detail.last, True)
        else:
            self._processes.close_range(event.tid, detail.first, detail.last)

    def _dup(self, event: Event) -> None:
        if event.fd is None or not _returned_fd(event):
            return
        assert event.result is not None
        detail = event.detail if isinstance(event.detail, DupDetail) else DupDetail()
        found: Open | None = self._processes.get(event.tid, event.fd)
        if found is None and event.note is not None and _is_tcp_note(event.note):
            found = self._adopt(event)
        if event.result != event.fd:
            self._processes.open(event.tid, event.result, found or OTHER, detail.cloexec)
            self._asked_of = None

    def _setfd(self, event: Event) -> None:
        if event.fd is not None and isinstance(event.detail, IntDetail) and not event.errno:
            self._processes.set_cloexec(event.tid, event.fd, event.fd, bool(event.detail.value))

    # processes

    def _clone(self, event: Event) -> None:
        if event.phase is Phase.BEGIN:
            self._cloning[event.tid] = event
            return
        self._cloning.pop(event.tid, None)
        if event.result and event.result > 0 and not self._processes.knows(event.result):
            self._born(event, event.result)

    def _born(self, clone: Event, child: int) -> None:
        """Give a new thread the table that its clone() says."""
        self._asked_of = None
        if clone.call in ("fork", "vfork") or isinstance(clone.detail, CloneDetail):
            detail = clone.detail if isinstance(clone.detail, CloneDetail) else CloneDetail()
            self._processes.fork(clone.tid, child, files=detail.files, thread=detail.thread)
        else:
            self._processes.loosen(clone.tid)  # a thread or a process: only its calls will tell

    def _exec(self, event: Event) -> None:
        if event.phase is not Phase.BEGIN and event.result == 0:
            self._processes.exec(event.tid)

    def _exit(self, event: Event) -> None:
        if event.phase is not Phase.END:
            self._processes.exit(
                event.tid, isinstance(event.detail, IntDetail) and event.detail.value == 1
            )

    def _send_fds(self, event: Event) -> None:
        if event.phase is not Phase.BEGIN and isinstance(event.detail, FdList) and not event.errno:
            sent = [self._processes.get(event.tid, fd) or OTHER for fd in event.detail.fds]
            for opened in sent:
                if isinstance(opened, Tracked):
                    opened.refs += 1  # in flight between the two processes it stays open
            self._asked_of = None
            self._sent.extend(sent)
            del self._sent[:-4096]

    def _recv_fds(self, event: Event) -> None:
        if event.phase is Phase.BEGIN or not isinstance(event.detail, FdList) or event.errno:
            return
        for fd in event.detail.fds:
            opened = self._sent.pop(0) if self._sent else OTHER
            self._processes.open(event.tid, fd, opened, event.detail.cloexec)
            if isinstance(opened, Tracked):
                opened.refs -= 1

    def _pidfd_open(self, event: Event) -> None:
        if _returned_fd(event) and isinstance(event.detail, IntDetail):
            assert event.result is not None
            self._processes.open(event.tid, event.result, Pidfd(event.detail.value), True)

    def _pidfd_getfd(self, event: Event) -> None:
        if not _returned_fd(event) or event.fd is None or not isinstance(event.detail, IntDetail):
            return
        assert event.result is not None
        pidfd = self._processes.get(event.tid, event.fd)
        taken = (
            self._processes.get(pidfd.pid, event.detail.value) if isinstance(pidfd, Pidfd) else None
        )
        self._processes.open(event.tid, event.result, taken or OTHER, True)
        self._asked_of = None

    # connecting

    def _connect(self, event: Event) -> None:
        tracked = self._tracked(event)
        if tracked is None:
            return
        endpoint = event.detail if isinstance(event.detail, Endpoint) else None
        if endpoint is not None and endpoint.family == "AF_UNSPEC":
            if event.phase is not Phase.BEGIN and not event.errno:
                self._disconnect(tracked, event)
            return
        before = tracked.state
        if event.phase is not Phase.END:
            self._begin_connect(tracked, event, endpoint)
        self._enter(tracked, event)
        if event.phase is not Phase.BEGIN:
            if event.errno in IN_PROGRESS or event.errno in BROKEN:
                tracked.is_tcp = True
            self._apply(tracked, event)
            tracked.keep(Row(event, before, tracked.state, tracked.observed))
            self._leave(event)

    def _begin_connect(self, tracked: Tracked, event: Event, endpoint: Endpoint | None) -> None:
        if (
            not tracked.connect_called
            and tracked.before_trace
            and not tracked.rows
            and not tracked.has_ktls
        ):
            tracked.before_trace = False  # its way to ESTABLISHED begins here, in the trace
            tracked.limits.discard("before-trace")
            # a datagram socket connects too: only what follows tells, unless strace said so
            tracked.is_tcp = event.note is not None and _is_tcp_note(event.note)
        tracked.connect_called = True
        if tracked.proved and tracked.failure is None:
            return
        if not tracked.connect_begun or tracked.failure is not None:
            tracked.connect_ns = event.start_ns
        tracked.connect_begun = True
        tracked.failure = None
        tracked.proved = False
        if not tracked.observed:
            tracked.state = "SYN_SENT"
        tracked.learn_peer(endpoint)
        self._in_flight[tracked.number] = tracked
        self._unsettled[tracked.number] = tracked

    def _disconnect(self, tracked: Tracked, event: Event) -> None:
        tracked.keep(Row(event, tracked.state, "CLOSE"))
        tracked.state = "CLOSE"
        tracked.connect_begun = tracked.proved = False
        self._in_flight.pop(tracked.number, None)

    def _listen(self, event: Event) -> None:
        tracked = self._tracked(event)
        if tracked is not None and event.phase is not Phase.BEGIN and not event.errno:
            tracked.listening = True
            tracked.before_trace = False
            tracked.keep(Row(event, tracked.state, "LISTEN"))
            tracked.state = "LISTEN"

    def _bind(self, event: Event) -> None:
        tracked = self._tracked(event)
        if tracked is None or event.phase is Phase.BEGIN or event.errno:
            return
        if isinstance(event.detail, Endpoint) and event.detail.address and event.detail.port:
            tracked.local = str(event.detail)
        tracked.keep_maybe(Row(event, tracked.state, tracked.state))

    def _shutdown(self, event: Event) -> None:
        tracked = self._tracked(event)
        if tracked is None or event.phase is Phase.BEGIN:
            return
        before = tracked.state
        how = event.detail.value if isinstance(event.detail, IntDetail) else 2
        if not event.errno and how != 0 and not tracked.observed:
            tracked.state = AFTER_SHUTDOWN.get(before, before)
        self._keep(tracked, Row(event, before, tracked.state, tracked.observed))

    def _option(self, event: Event) -> None:
        tracked = self._tracked(event)
        detail = event.detail
        if tracked is None or event.phase is Phase.BEGIN or not isinstance(detail, OptionDetail):
            return
        if detail.level == "SOL_TCP" and not event.errno:
            tracked.is_tcp = True
            if detail.name == "TCP_FASTOPEN_CONNECT":
                tracked.fastopen = detail.value != 0
            elif detail.name == "TCP_FASTOPEN":
                tracked.fastopen_listener = detail.value != 0
        tracked.keep_maybe(Row(event, tracked.state, tracked.state, tracked.observed))

    # kTLS

    def _ulp(self, event: Event) -> None:
        if event.phase is Phase.END:
            self._ulp_returns(event, self._leave(event))
            return
        tracked = self._tracked(event)
        if tracked is None:
            return
        attempt = self._attempt(tracked, event)
        tracked.attempts.append(attempt)
        if event.phase is Phase.WHOLE:
            self._ulp_settles(tracked, attempt, event)
        else:
            tracked.keep_setup(Row(event, attempt.state, attempt.state, attempt.observed))
            self._enter(tracked, event)
            self._calling[event.tid] = attempt

    def _attempt(self, tracked: Tracked, event: Event) -> Attempt:
        """Note what was known when the attempt began: nothing that ends later can excuse it."""
        if tracked.proved:
            order = "proved"
        elif tracked.listening or tracked.failure is not None:
            order = "unconnected"
        elif event.told:
            order = "proved"  # live: the socket had moved data, by calls that are not recorded
        elif tracked.connect_begun:
            order = "in-flight"
        else:
            order = "unknown" if tracked.before_trace or tracked.accepted else "unconnected"
        state = event.state or tracked.state
        limits: frozenset[Limit] = frozenset(tracked.limits)
        attempt = Attempt(event, order, state, event.state is not None or tracked.observed, limits)
        attempt.proof_ns = tracked.proof_ns if tracked.proved else None
        return attempt

    def _ulp_returns(self, event: Event, tracked: Tracked | None) -> None:
        attempt = self._calling.pop(event.tid, None)
        if tracked is None or not isinstance(attempt, Attempt):
            return
        for index in range(len(tracked.rows) - 1, -1, -1):
            if tracked.rows[index].event is attempt.event:
                del tracked.rows[index]
                break
        self._ulp_settles(tracked, attempt, event)
        self._end_if_closed(tracked)

    def _end_if_closed(self, tracked: Tracked) -> None:
        if tracked.closed and tracked.inside <= 0:
            self._finish(tracked)

    def _ulp_settles(self, tracked: Tracked, attempt: Attempt, event: Event) -> None:
        attempt.event = event
        attempt.returned = event.result is not None
        attempt.result = result_of(event)
        if event.result == 0:
            tracked.ulp_ok = True
            if not attempt.observed:
                attempt.state = "ESTABLISHED" if attempt.order != "proved" else attempt.state
        elif attempt.order == "proved" and attempt.result in NOT_CONNECTED and not attempt.observed:
            attempt.state = "UNKNOWN" if attempt.state == "ESTABLISHED" else attempt.state
        before = attempt.state
        self._apply(tracked, event)
        tracked.keep_setup(Row(event, before, tracked.state, attempt.observed))

    def _key(self, event: Event) -> None:
        if event.phase is Phase.END:
            tracked = self._leave(event)
            index = self._calling.pop(event.tid, None)
            if (
                tracked is not None
                and isinstance(index, int)
                and isinstance(event.detail, KeyDetail)
            ):
                tracked.keys[index] = Install(event, event.detail, result_of(event))
                self._key_settles(tracked, event)
                self._end_if_closed(tracked)
            return
        tracked = self._tracked(event)
        if tracked is None or not isinstance(event.detail, KeyDetail):
            return
        tracked.keys.append(Install(event, event.detail, result_of(event)))
        if event.phase is Phase.WHOLE:
            self._key_settles(tracked, event)
        else:
            self._enter(tracked, event)
            self._calling[event.tid] = len(tracked.keys) - 1

    def _key_settles(self, tracked: Tracked, event: Event) -> None:
        before = tracked.state
        self._apply(tracked, event)
        tracked.keep_setup(Row(event, before, tracked.state, tracked.observed))

    # what other calls show

    def _on_socket(self, event: Event) -> None:
        tracked = self._tracked(event)
        if tracked is None or event.phase is Phase.BEGIN:
            if tracked is not None and isinstance(event.detail, IoDetail) and event.detail.fastopen:
                self._begin_connect(tracked, event, None)
                tracked.fastopen = True
            return
        if (
            event.phase is Phase.WHOLE
            and isinstance(event.detail, IoDetail)
            and event.detail.fastopen
        ):
            self._begin_connect(tracked, event, None)
            tracked.fastopen = True
        before = tracked.state
        known = tracked.proved
        if (
            event.kind is Kind.GETPEERNAME
            and event.result == 0
            and isinstance(event.detail, Endpoint)
        ):
            tracked.learn_peer(event.detail)
        if (
            event.kind is Kind.GETSOCKNAME
            and event.result == 0
            and isinstance(event.detail, Endpoint)
        ):
            tracked.local = str(event.detail) if event.detail.address else tracked.local
        if event.kind is Kind.TCP_INFO and event.result == 0 and event.detail is None:
            tracked.limits.add("hidden-wait")  # the state it returned is not shown
        self._apply(tracked, event)
        row = Row(event, before, tracked.state, tracked.observed)
        if before != tracked.state or tracked.proved != known or event.kind is Kind.SO_ERROR:
            self._keep(tracked, row)
        else:
            tracked.keep_maybe(row)

    def _keep(self, tracked: Tracked, row: Row) -> None:
        """Keep a row that matters; the data calls before it stay candidates."""
        tracked.keep_maybe(row) if len(tracked.rows) > 128 else tracked.keep(row)

    def _apply(self, tracked: Tracked, event: Event) -> None:
        """Let a finished call change what is known of the socket."""
        effect = of_call(event, fastopen=tracked.fastopen, fastopen_child=tracked.fastopen_child)
        if effect is Effect.NOTHING:
            return
        if effect is Effect.FAILURE or (effect is Effect.RESET and tracked.in_flight):
            self._fail(tracked, _reason(event))
        elif effect is Effect.RESET:
            if not tracked.observed:
                tracked.state = "CLOSE"
        elif (
            tracked.connect_begun
            or tracked.accepted
            or tracked.before_trace
            or effect is Effect.PROOF
        ):
            self._prove(tracked, event)
            if effect is Effect.FIN and tracked.state == "ESTABLISHED" and not tracked.observed:
                tracked.state = "CLOSE_WAIT"
            elif (
                effect is Effect.FIN
                and tracked.state in ("FIN_WAIT1", "FIN_WAIT2")
                and not tracked.observed
            ):
                tracked.state = "TIME_WAIT"

    def _prove(self, tracked: Tracked, event: Event) -> None:
        if tracked.listening:
            return
        if event.kind is not Kind.ULP and event.kind is not Kind.KEY:
            tracked.told = True
        if tracked.proved:
            return
        tracked.proved = True
        tracked.failure = None
        tracked.proof_ns = event.end_ns if event.end_ns is not None else event.start_ns
        self._in_flight.pop(tracked.number, None)
        if not tracked.fastopen_child:
            self._unsettled.pop(tracked.number, None)
        if tracked.state in ("SYN_SENT", "SYN_RECV", "UNKNOWN", "CLOSE") and not tracked.observed:
            tracked.state = "ESTABLISHED"

    def _fail(self, tracked: Tracked, reason: str) -> None:
        if tracked.proved and not tracked.proved_by_select:
            if not tracked.observed:
                tracked.state = "CLOSE"
            return
        # select() calls a failed socket writable too: what follows tells
        tracked.proved = tracked.proved_by_select = False
        if tracked.connect_begun or tracked.before_trace:
            tracked.failure = tracked.failure or reason
        if not tracked.observed:
            tracked.state = "CLOSE"
        self._in_flight.pop(tracked.number, None)

    # waiting

    def _epoll_create(self, event: Event) -> None:
        if _returned_fd(event):
            assert event.result is not None
            cloexec = isinstance(event.detail, CloexecDetail) and event.detail.cloexec
            self._processes.open(event.tid, event.result, Epoll(True), cloexec)

    def _epoll(self, event: Event) -> Epoll | None:
        if event.fd is None:
            return None
        found = self._processes.get(event.tid, event.fd)
        if isinstance(found, Epoll):
            return found
        epoll = Epoll(False)
        self._processes.open(event.tid, event.fd, epoll, False)
        return epoll

    def _epoll_ctl(self, event: Event) -> None:
        detail = event.detail
        if event.phase is Phase.BEGIN or not isinstance(detail, EpollCtlDetail) or event.errno:
            return
        epoll = self._epoll(event)
        tracked = self._processes.get(event.tid, detail.fd)
        if epoll is None or not isinstance(tracked, Tracked):
            return
        if detail.op == "DEL":
            epoll.remove(tracked)
        else:
            epoll.add(tracked, detail.data, detail.events)
        tracked.keep_maybe(Row(event, tracked.state, tracked.state, tracked.observed))

    def _wait(self, event: Event) -> None:
        detail = event.detail
        if event.phase is Phase.BEGIN or not isinstance(detail, WaitDetail):
            return
        epoll = self._epoll(event) if event.fd is not None else None
        may_tell = self._unsettled or detail.hidden or (epoll is not None and not epoll.complete)
        if not may_tell and not any(ready.events & 0x2018 for ready in detail.ready):
            return
        for ready in detail.ready:
            for tracked, certain in self._reported(event, epoll, ready):
                self._readiness(tracked, event, ready, certain)
        if detail.hidden:
            self._hidden(event, epoll, detail)

    def _reported(
        self, event: Event, epoll: Epoll | None, ready: Ready
    ) -> list[tuple[Tracked, bool]]:
        """Return the sockets that an entry can mean, and whether it is certain."""
        if ready.fd is not None:
            found = self._processes.get(event.tid, ready.fd)
            if found is None:
                found = self._adopt(msgspec.structs.replace(event, fd=ready.fd, note=None))
            return [(found, True)] if isinstance(found, Tracked) else []
        if epoll is None or ready.data is None:
            return []
        meant = [t for t in epoll.by_data.get(ready.data, ()) if not t.ended]
        if meant:
            return [(tracked, len(meant) == 1) for tracked in meant]
        # no registration in the trace: data is often the descriptor itself
        number = ready.data & 0xFFFFFFFF
        found = self._processes.get(event.tid, number)
        if found is None and not epoll.complete and number < MAX_FD:
            found = self._adopt(msgspec.structs.replace(event, fd=number, note=None))
        return [(found, True)] if isinstance(found, Tracked) and not found.listening else []

    def _readiness(self, tracked: Tracked, event: Event, ready: Ready, certain: bool) -> None:
        if tracked.listening:
            return
        if not certain:
            if tracked.in_flight and ready.events & EPOLLOUT:
                tracked.limits.add("ambiguous-epoll")
            return
        effect = of_readiness(ready.events, fastopen=tracked.fastopen, in_flight=tracked.in_flight)
        before, known = tracked.state, tracked.told
        if effect is Effect.FAILURE:
            self._fail(tracked, "EPOLLERR" if ready.events & 0x8 else "EPOLLHUP")
        elif effect in (Effect.PROOF, Effect.FIN) and (
            tracked.connect_begun or tracked.accepted or tracked.before_trace
        ):
            self._prove(tracked, event)
            tracked.proved_by_select = not known and "select" in event.call
        elif effect is Effect.RESET and not tracked.observed and tracked.proved:
            tracked.state = "CLOSE"
        if effect is not Effect.NOTHING or ready.events & 0x2000:
            if ready.events & 0x2000 and tracked.state == "ESTABLISHED" and not tracked.observed:
                tracked.state = "CLOSE_WAIT"
            if before != tracked.state or known != tracked.told:
                self._keep(
                    tracked,
                    Row(
                        event,
                        before,
                        tracked.state,
                        tracked.observed,
                        ready_text(event, tracked, ready),
                    ),
                )

    def _hidden(self, event: Event, epoll: Epoll | None, detail: WaitDetail) -> None:
        """A result that was cut or not shown could have held the proof of any socket in flight."""
        for tracked in self._in_flight.values():
            if epoll is not None and not epoll.could_report(tracked):
                continue
            if detail.watched is not None and not self._watches(event, detail, tracked):
                continue
            tracked.limits.add("hidden-wait")

    def _watches(self, event: Event, detail: WaitDetail, tracked: Tracked) -> bool:
        assert detail.watched is not None
        return any(self._processes.get(event.tid, fd) is tracked for fd in detail.watched)

    def _io_uring(self, event: Event) -> None:
        if event.phase is not Phase.BEGIN and not event.errno:
            table = self._processes.table(event.tid)
            for tracked in self._in_flight.values():
                if any(opened is tracked for opened in table.fds.values()):
                    tracked.limits.add("io_uring")

    # calls in progress

    def _enter(self, tracked: Tracked, event: Event) -> None:
        if event.phase is Phase.BEGIN:
            tracked.inside += 1
            self._inside.setdefault(event.tid, []).append((event.call, tracked))

    def _leave(self, event: Event) -> Tracked | None:
        if event.phase is not Phase.END:
            return None
        stack = self._inside.pop(event.tid, [])
        tracked = stack[-1][1] if stack else None
        if tracked is not None:
            tracked.inside -= 1
            if tracked.closed and tracked.inside <= 0 and event.kind not in (Kind.ULP, Kind.KEY):
                self._finish(tracked)
        return tracked

    # live captures

    def _state(self, event: Event) -> None:
        detail = event.detail
        tracked = self._by_sock.get(event.sock) if event.sock is not None else None
        if tracked is None and event.fd is not None and event.sock is not None:
            # it began inside a call on this descriptor, and that is how the socket shows itself
            inside = self._processes.get(event.tid, event.fd)
            if isinstance(inside, Tracked):
                self._recognise(inside, event.sock)
                tracked = inside
        if tracked is None or not isinstance(detail, StateDetail):
            return
        before = tracked.state if tracked.observed else detail.old
        tracked.observed = True
        tracked.state = detail.new
        if detail.new == "ESTABLISHED" or (
            detail.new in AFTER_ESTABLISHED and tracked.established_ns is None
        ):
            tracked.established_ns = event.start_ns
        self._keep(tracked, Row(event, before, detail.new, True))
        if detail.new == "CLOSE" and self._held.pop(tracked.number, None) is not None:
            tracked.refs -= 1
            if tracked.refs <= 0:
                self._released(tracked)


def result_of(event: Event) -> str | None:
    """Return "ok", the errno, or None for a call that never returned."""
    if event.errno is not None:
        return event.errno
    return None if event.result is None else "ok"


def ready_text(event: Event, tracked: Tracked, ready: Ready) -> str:
    from ktrace.sequencer.texts import ready as text

    return text(event, tracked.fd, ready.events)


def _returned_fd(event: Event) -> bool:
    return (
        event.phase is not Phase.BEGIN
        and event.errno is None
        and event.result is not None
        and event.result >= 0
    )


def _held_elsewhere(event: Event) -> bool:
    """Tell whether the probe saw other holders of a descriptor that is closed."""
    return isinstance(event.detail, IntDetail) and event.detail.value > 0


def _says_inet(event: Event) -> bool:
    detail = event.detail
    if isinstance(detail, AcceptDetail) and detail.peer is not None and detail.peer.family in INET:
        return True
    return event.result_note is not None and _is_tcp_note(event.result_note)


def _is_tcp_note(note: FdNote) -> bool:
    return note.protocol in ("TCP", "TCPv6")


def _shows_tcp(event: Event) -> bool:
    """Tell whether a call on a descriptor that nobody saw opened shows a TCP socket."""
    if event.kind in (Kind.ULP, Kind.KEY, Kind.TCP_INFO, Kind.LISTEN):
        return True
    if event.kind is Kind.CONNECT:
        return isinstance(event.detail, Endpoint) and event.detail.family in INET
    if event.kind is Kind.SOCKOPT:
        return isinstance(event.detail, OptionDetail) and event.detail.level == "SOL_TCP"
    return event.kind is Kind.ACCEPT and _says_inet(event)


def _is_another(tracked: Tracked, note: FdNote | None) -> bool:
    """Tell whether the inode that strace printed shows that the number was reused unseen."""
    if note is None:
        return False
    if note.protocol is not None and not _is_tcp_note(note):
        return True
    return note.inode is not None and tracked.inode is not None and note.inode != tracked.inode


def _reason(event: Event) -> str:
    if event.kind is Kind.SO_ERROR and isinstance(event.detail, IntDetail):
        return f"SO_ERROR {ERRNO_NAMES.get(event.detail.value, event.detail.value)}"
    return event.errno or event.call
