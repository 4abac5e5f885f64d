"""Makes up what a program did: sockets whose calls get the results that the kernel would give.

A small model of the kernel answers the calls, so no scenario is impossible; every call is an
interval that can overlap calls of other threads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from tests.programs.oracle import ERR, HUP, OUT, Fact

IN, RDHUP = 0x1, 0x2000
MAIN_TID = 674
CIPHERS = ((0x0303, 51, 40), (0x0304, 52, 56), (0x0304, 54, 56), (0x0303, 52, 56), (0x0304, 53, 40))
TCP_STATE = {"CLOSE": 7, "SYN_SENT": 2, "FAST": 2, "UP": 1, "FAILED": 7, "HALF": 8, "LISTEN": 10}
EVENTS = {
    "CLOSE": OUT | HUP,
    "SYN_SENT": 0,
    "FAST": OUT,
    "UP": OUT,
    "FAILED": IN | OUT | ERR | HUP | RDHUP,
    "HALF": IN | OUT | RDHUP,
    "LISTEN": 0,
}
ACTIONS = (
    "open", "open", "connect", "connect", "connect_blocking", "refuse", "accept", "net_up",
    "net_up", "net_fail", "net_half", "fastopen", "epoll", "epoll", "poll", "select", "ulp", "ulp",
    "ulp", "tx", "rx", "getpeername", "so_error", "tcp_info", "write", "read", "dup", "close",
    "noise",
)  # fmt: skip


@dataclass
class Socket:
    """The kernel's object and what was done with it."""

    number: int
    family: str
    port: int
    inode: int
    cipher: tuple[int, int, int]
    state: str = "CLOSE"
    fds: list[int] = field(default_factory=list)
    connecting: bool = False
    accepted: bool = False
    fast: bool = False
    ulp: bool = False
    keyed: set[str] = field(default_factory=set)
    pending_error: int = 0
    data: int | None = None  # epoll_data once it is registered
    facts: list[tuple[Fact, "Op"]] = field(default_factory=list)

    @property
    def peer(self) -> str | None:
        host = "[fe00::5]" if self.family == "AF_INET6" else "10.1.0.3"
        return f"{host}:{self.port}" if self.connecting or self.accepted else None


@dataclass
class Ready:
    fd: int
    data: int
    events: int


@dataclass
class Op:
    """One system call; `begin` and `end` are its places in the order of the log."""

    tid: int
    call: str
    fd: int = -1
    sock: Socket | None = None
    result: int = 0
    errno: str | None = None
    ready: tuple[Ready, ...] = ()
    watched: tuple[int, ...] = ()
    value: int = 0
    text: str = ""
    up_front: bool = False  # the connect had begun: -yy shows both ends
    begin: int = 0
    end: int = 0
    watches: tuple[int, ...] = ()  # numbers of the sockets that this wait looks at


@dataclass
class Scenario:
    """A finished run: calls in the order of beginning, TCP sockets in the order of opening."""

    tids: tuple[int, ...]
    ops: list[Op]
    sockets: list[Socket]

    def facts(self, sock: Socket) -> list[Fact]:
        return [replace(fact, begin=op.begin, end=op.end) for fact, op in sock.facts]


Draw = tuple[int, int, int, int]  # thread, socket, action, choice


class Machine:
    """Plays a list of draws; those that make no sense in the state they meet do nothing."""

    def __init__(self, threads: int, module: bool, tidy: bool = True) -> None:
        self.tidy = tidy
        self.tids = tuple(MAIN_TID + i for i in range(threads))
        self.module = module
        self.ops: list[Op] = []
        self.sockets: list[Socket] = []
        self.free = list(range(5, 60))  # 3 is the epoll fd, 4 the listener

    def play(self, draws: Sequence[Draw]) -> Scenario:
        for thread, slot, action, choice in draws:
            tid = self.tids[thread % len(self.tids)]
            self._act(ACTIONS[action % len(ACTIONS)], tid, slot, choice)
        return Scenario(
            self.tids, schedule(self.ops, [d[3] for d in draws], self.tidy), self.sockets
        )

    def _act(self, action: str, tid: int, slot: int, choice: int) -> None:
        if action in ("open", "accept"):
            self._open(tid, choice, accepted=action == "accept")
            return
        live = [s for s in self.sockets if s.fds]
        if action == "noise":
            self._do(tid, "noise", value=choice)
        elif live:
            sock = live[slot % len(live)]
            if action.startswith("net_"):
                self._net(sock, action)
            else:
                getattr(self, "_" + action)(tid, sock, choice)

    def _do(
        self, tid: int, call: str, sock: Socket | None = None, fd: int = -1, **more: object
    ) -> Op:
        op = Op(tid, call, sock.fds[0] if sock and fd < 0 else fd, sock, **more)  # type: ignore[arg-type]
        op.up_front = bool(sock and (sock.connecting or sock.accepted))
        self.ops.append(op)
        return op

    def _note(self, op: Op, call: str, value: int = 0, index: int = 0) -> None:
        assert op.sock
        op.sock.facts.append((Fact(call, op.errno or "ok", value, index), op))

    def _open(self, tid: int, choice: int, accepted: bool) -> None:
        number = len(self.sockets)
        if number >= 8:
            return
        family = "AF_INET6" if choice % 5 == 0 else "AF_INET"
        sock = Socket(
            number, family, 4040 + number, 46_990 + number, CIPHERS[choice % len(CIPHERS)]
        )
        fd = self.free.pop(0)
        self.sockets.append(sock)
        if accepted:
            sock.accepted, sock.state, sock.family = True, "UP", "AF_INET"
            op = self._do(tid, "accept4", None, fd=4, result=fd)
            op.sock = sock
            self._note(op, "accept")
        else:
            op = self._do(tid, "socket", None, fd=fd, result=fd)
            op.sock = sock
        sock.fds.append(fd)

    def _net(self, sock: Socket, action: str) -> None:
        moves = {
            ("SYN_SENT", "net_up"): "UP",
            ("FAST", "net_up"): "UP",
            ("SYN_SENT", "net_fail"): "FAILED",
            ("UP", "net_half"): "HALF",
        }
        sock.state = moves.get((sock.state, action), sock.state)
        if sock.state == "FAILED" and action == "net_fail":
            sock.pending_error = 111

    def _connect(self, tid: int, sock: Socket, choice: int) -> None:
        answers = {
            "CLOSE": ("SYN_SENT", "EINPROGRESS"),
            "SYN_SENT": ("SYN_SENT", "EALREADY"),
            "FAST": ("FAST", "EALREADY"),
            "UP": ("UP", "EISCONN"),
        }
        if sock.accepted or sock.state not in answers:
            return
        state, errno = answers[sock.state]
        fast_now = sock.fast and sock.state == "CLOSE"
        self._connected(tid, sock, "FAST" if fast_now else state, None if fast_now else errno)

    def _connect_blocking(self, tid: int, sock: Socket, choice: int) -> None:
        if sock.state == "CLOSE" and not sock.fast:
            self._connected(tid, sock, "UP", None)

    def _refuse(self, tid: int, sock: Socket, choice: int) -> None:
        if sock.state == "CLOSE" and not sock.fast:
            self._connected(tid, sock, "FAILED", "ECONNREFUSED")

    def _connected(self, tid: int, sock: Socket, state: str, errno: str | None) -> None:
        op = self._do(tid, "connect", sock, errno=errno)
        sock.connecting, sock.state = True, state
        self._note(op, "connect")

    def _fastopen(self, tid: int, sock: Socket, choice: int) -> None:
        if sock.state == "CLOSE":
            sock.fast = True
            self._note(self._do(tid, "fastopen", sock), "fastopen")

    def _ready(self, socks: Sequence[Socket]) -> list[tuple[Socket, Ready]]:
        return [
            (s, Ready(s.fds[0], s.data or 0, EVENTS[s.state])) for s in socks if EVENTS[s.state]
        ]

    def _waited(self, tid: int, call: str, socks: Sequence[Socket], fd: int) -> None:
        ready = self._ready(socks)
        op = self._do(tid, call, None, fd=fd, result=len(ready), ready=tuple(r for _, r in ready))
        op.watched = tuple(s.fds[0] for s in socks)
        op.watches = tuple(s.number for s in socks)
        places = {s.number: i for i, (s, _) in enumerate(ready)}
        # One that is not reported could be in the part that a short -s hides; which sockets poll
        # was asked about is hidden then too.
        for s in [x for x in self.sockets if x.fds] if call == "poll" else socks:
            index = places.get(s.number, len(ready) - 1)
            events = EVENTS[s.state] if s.number in places else 0
            s.facts.append((Fact(call, "ok", events, index), op))

    def _epoll(self, tid: int, sock: Socket, choice: int) -> None:
        if len(sock.fds) > 1 or sock.state == "LISTEN":
            return
        if sock.data is None:
            sock.data = sock.fds[0] if choice % 3 else 0x7F00_0000_1000 + 64 * sock.number
            self._do(tid, "epoll_ctl", sock, value=sock.data)
        self._waited(tid, "epoll", [s for s in self.sockets if s.fds and s.data is not None], 3)

    def _poll(self, tid: int, sock: Socket, choice: int) -> None:
        others = [s for s in self.sockets if s.fds and s is not sock]
        self._waited(tid, "poll", [sock, *others[: choice % 4]], -1)

    def _select(self, tid: int, sock: Socket, choice: int) -> None:
        # select() reports an error as writable too: nobody can tell, so it is left out.
        if sock.state in ("SYN_SENT", "UP", "HALF"):
            self._waited(tid, "select", [sock], -1)

    def _ulp(self, tid: int, sock: Socket, choice: int) -> None:
        errno = None
        if not self.module:
            errno = "ENOENT"
        elif sock.ulp:
            errno = "EEXIST"
        elif sock.state != "UP":
            errno = "ENOTCONN"
        op = self._do(tid, "ulp", sock, errno=errno, value=3 if choice % 4 == 0 else 4)
        sock.ulp = sock.ulp or errno is None
        self._note(op, "ulp", op.value)

    def _tx(self, tid: int, sock: Socket, choice: int) -> None:
        self._key(tid, sock, choice, "tx")

    def _rx(self, tid: int, sock: Socket, choice: int) -> None:
        self._key(tid, sock, choice, "rx")

    def _key(self, tid: int, sock: Socket, choice: int, way: str) -> None:
        errno = None
        if not sock.ulp:
            errno = "ENOPROTOOPT"
        elif way in sock.keyed:
            errno = "EBUSY"
        elif choice % 4 == 0:
            errno = "EINVAL"
        else:
            sock.keyed.add(way)
        self._note(self._do(tid, way, sock, errno=errno), way)

    def _getpeername(self, tid: int, sock: Socket, choice: int) -> None:
        errno = None if sock.state in ("UP", "HALF") else "ENOTCONN"
        self._note(self._do(tid, "getpeername", sock, errno=errno), "getpeername")

    def _so_error(self, tid: int, sock: Socket, choice: int) -> None:
        op = self._do(tid, "so_error", sock, value=sock.pending_error)
        sock.pending_error = 0
        self._note(op, "so_error", op.value)

    def _tcp_info(self, tid: int, sock: Socket, choice: int) -> None:
        op = self._do(tid, "tcp_info", sock, value=TCP_STATE[sock.state])
        self._note(op, "tcp_info", op.value)

    def _write(self, tid: int, sock: Socket, choice: int) -> None:
        answers: dict[str, tuple[int, str | None]] = {
            "UP": (5, None), "HALF": (5, None), "FAST": (5, None), "SYN_SENT": (-1, "EAGAIN"),
        }  # fmt: skip
        if sock.state in answers:
            result, errno = answers[sock.state]
            op = self._do(tid, "write", sock, result=result, errno=errno, value=choice)
            self._note(op, "write", result)

    def _read(self, tid: int, sock: Socket, choice: int) -> None:
        answers: dict[str, tuple[int, str | None]] = {
            "UP": (7, None) if choice % 2 else (-1, "EAGAIN"), "HALF": (0, None),
            "SYN_SENT": (-1, "EAGAIN"), "FAST": (-1, "EAGAIN"),
        }  # fmt: skip
        if sock.state in answers:
            result, errno = answers[sock.state]
            op = self._do(tid, "read", sock, result=result, errno=errno, value=choice)
            self._note(op, "read", result)

    def _dup(self, tid: int, sock: Socket, choice: int) -> None:
        if len(sock.fds) == 1 and sock.data is None:
            fd = self.free.pop(0)
            self._do(tid, "dup", sock, result=fd)
            sock.fds.append(fd)

    def _close(self, tid: int, sock: Socket, choice: int) -> None:
        op = self._do(tid, "close", sock)
        fd = sock.fds.pop(0)
        self.free = sorted([*self.free, fd])
        if not sock.fds:
            self._note(op, "close")


OPENERS = ("socket", "accept4", "dup")


def schedule(ops: list[Op], stretch: Sequence[int], tidy: bool) -> list[Op]:
    """Give every call its interval: some begin earlier or end later than the moment they act.

    No call begins before its socket was opened, or connect() on it had begun, or before the same
    thread's last call ended; no wait ends after the close of a socket that it watched, whose number
    could then be another's, or after its connect() began, since what it tells is from before.
    A `tidy` program closes no descriptor that another thread is using.
    """
    places: list[tuple[tuple[int, int], Op, bool]] = []
    ended: dict[int, int] = {}
    floor: dict[int, int] = {}
    for i, op in enumerate(ops):
        seed = stretch[i % len(stretch)] if stretch else 0
        early = 0 if op.call in (*OPENERS, "close") else seed % 4
        late = 0 if op.call in OPENERS else seed // 4 % 4
        begin = 10 * i - 10 * early - 4
        begin = max(begin, ended.get(op.tid, -99) + 1, _floor(op, floor) + 1)
        end = min(10 * i + 10 * late + 4, 10 * _limit(ops, i, tidy) - 5)
        ended[op.tid] = end
        _raise_floor(op, floor, begin, end)
        places += [((begin, i), op, True), ((end, i), op, False)]
    for rank, (_, op, is_begin) in enumerate(sorted(places, key=lambda p: p[0])):
        if is_begin:
            op.begin = rank
        else:
            op.end = rank
    return sorted(ops, key=lambda o: o.begin)


def _uses(op: Op, setter: Op) -> bool:
    assert setter.sock
    return op.sock is setter.sock or setter.sock.number in op.watches


def _floor(op: Op, floor: dict[int, int]) -> int:
    numbers = [op.sock.number] if op.sock else list(op.watches)
    if op.call == "connect" and op.sock:
        numbers.append(-1 - op.sock.number)
    return max((floor.get(n, -99) for n in numbers), default=-99)


def _raise_floor(op: Op, floor: dict[int, int], begin: int, end: int) -> None:
    if op.sock is None:
        for number in op.watches:
            floor[-1 - number] = max(end, floor.get(-1 - number, -99))
        return
    if op.call in (*OPENERS, "epoll_ctl", "fastopen"):
        floor[op.sock.number] = max(end, floor.get(op.sock.number, -99))
    elif op.call == "connect":
        floor[op.sock.number] = max(begin, floor.get(op.sock.number, -99))


def _limit(ops: list[Op], i: int, tidy: bool) -> int:
    """Return the index of the first later call that this one must have ended before."""
    op = ops[i]
    for j in range(i + 1, len(ops)):
        later = ops[j]
        number = later.sock.number if later.sock else -1
        gone = later.call in ("close", "connect") and number in op.watches
        needs_it = op.call in ("epoll_ctl", "fastopen") and _uses(later, op)
        in_use = tidy and later.call == "close" and later.fd in (op.fd, op.result) and later.sock
        if later.tid == op.tid or gone or needs_it or in_use:
            return j
    return len(ops)


def lines_between(ops: Sequence[Op]) -> Iterator[tuple[Op, str]]:
    """Yield (call, "whole" | "begin" | "end") in the order of the log."""
    marks = sorted([(op.begin, op, "begin") for op in ops] + [(op.end, op, "end") for op in ops],
                   key=lambda m: m[0])  # fmt: skip
    skip = False
    for (_, op, what), follower in zip(marks, [*marks, None][1:], strict=True):
        if skip:
            skip = False
        elif what == "begin" and follower is not None and follower[1] is op:
            skip = True
            yield op, "whole"
        else:
            yield op, what
