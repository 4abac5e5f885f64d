"""What every source (strace text, capture file, eBPF probe) produces: calls as intervals.

A call is an interval because a race is an overlap.  A source that sees a call in two halves emits
it twice: once with `Phase.BEGIN` where the call starts and once with `Phase.END` where it returns,
each at its place in the order of the trace.  A call seen whole, with nothing of another thread
between its start and its return, is emitted once with `Phase.WHOLE`.  Nothing after the sources
sees raw text, and no key byte ever enters an event: decoders keep the first four bytes of
crypto_info and drop the rest.
"""

import enum
from typing import Literal, get_args

import msgspec

Family = Literal[
    "socket",
    "connect",
    "accept",
    "listen",
    "setsockopt",
    "getsockopt",
    "close",
    "dup",
    "wait",
    "io",
    "process",
]
FAMILIES: tuple[Family, ...] = get_args(Family)


class Phase(enum.IntEnum):
    """Which part of a call an event shows."""

    WHOLE = 0
    BEGIN = 1
    END = 2


# for the busy places: Python 3.11 takes as long to find a member of an Enum as to call a function
WHOLE, BEGIN, END = Phase.WHOLE, Phase.BEGIN, Phase.END


class Kind(enum.IntEnum):
    """What an event means to the sequencer; a small closed set, whatever the syscall was called."""

    SOCKET = enum.auto()  # result is the new fd; detail SocketDetail
    SOCKETPAIR = enum.auto()  # detail FdPair; never a connection, but it takes two slots
    CONNECT = enum.auto()  # detail Endpoint | None
    ACCEPT = enum.auto()  # fd is the listener, result the new fd; detail AcceptDetail
    BIND = enum.auto()  # detail Endpoint | None
    LISTEN = enum.auto()
    ULP = enum.auto()  # a TCP_ULP attempt for "tls"; detail UlpDetail
    KEY = enum.auto()  # a TLS_TX or TLS_RX install; detail KeyDetail
    SOCKOPT = enum.auto()  # any other setsockopt; detail OptionDetail
    SO_ERROR = enum.auto()  # getsockopt(SO_ERROR); detail IntDetail (an errno number) | None
    TCP_INFO = enum.auto()  # getsockopt(TCP_INFO); detail IntDetail (a TCP state number) | None
    GETSOCKOPT = enum.auto()  # any other getsockopt
    GETPEERNAME = enum.auto()  # detail Endpoint | None
    GETSOCKNAME = enum.auto()  # detail Endpoint | None
    READ = enum.auto()  # result: bytes, 0 is FIN; detail IoDetail | None
    WRITE = enum.auto()  # result: bytes; detail IoDetail | None
    SHUTDOWN = enum.auto()  # detail IntDetail (0 SHUT_RD, 1 SHUT_WR, 2 SHUT_RDWR)
    CLOSE = enum.auto()
    CLOSE_RANGE = enum.auto()  # detail CloseRangeDetail
    DUP = enum.auto()  # fd to result; detail DupDetail
    SETFD = enum.auto()  # FD_CLOEXEC on or off; detail IntDetail (0 or 1)
    EPOLL_CREATE = enum.auto()  # result is the epoll fd; detail CloexecDetail
    EPOLL_CTL = enum.auto()  # fd is the epoll fd; detail EpollCtlDetail
    WAIT = (
        enum.auto()
    )  # epoll_wait, poll, select and kin; fd is the epoll fd or None; detail WaitDetail
    CLONE = enum.auto()  # result is the child's tid; detail CloneDetail
    EXEC = enum.auto()  # result 0: descriptors with FD_CLOEXEC are gone
    EXIT = enum.auto()  # this thread is gone; detail IntDetail(1) for the whole process
    SEND_FDS = enum.auto()  # SCM_RIGHTS; detail FdList
    RECV_FDS = enum.auto()  # SCM_RIGHTS; detail FdList
    PIDFD_OPEN = enum.auto()  # result a pidfd; detail IntDetail (the pid)
    PIDFD_GETFD = (
        enum.auto()
    )  # fd is the pidfd, result the new fd; detail IntDetail (the target's fd)
    OPENS_OTHER = (
        enum.auto()
    )  # result is an fd that is no socket (openat, pipe2, eventfd2, ...); detail FdPair|None
    # completions that the trace does not show; detail IntDetail(1): a ring that needs no calls;
    # live: told once a process, detail RingDetail
    IO_URING = enum.auto()
    STATE = enum.auto()  # live only: the kernel changed the TCP state; detail StateDetail
    OTHER = enum.auto()  # kept only for coverage
    # strace: the process has a seccomp filter from here on, and what that refuses is not shown
    SECCOMP = enum.auto()


class Endpoint(msgspec.Struct, frozen=True, gc=False):
    """A socket address as the call showed it.

    `family` is AF_INET, AF_INET6 or another AF_ name; `address` is None where the family has none
    or the trace cut it.  `str()` gives `ip:port`, `[ip6]:port`.
    """

    family: str
    address: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        if self.address is None:
            return self.family
        port = "?" if self.port is None else str(self.port)
        return f"[{self.address}]:{port}" if ":" in self.address else f"{self.address}:{port}"


class SocketDetail(msgspec.Struct, frozen=True, gc=False):
    """Arguments of socket(): names without flags; `protocol` 0 is "the family's own"."""

    family: str
    type: str
    protocol: str
    cloexec: bool = False
    nonblock: bool = False

    @property
    def is_tcp(self) -> bool:
        return (
            self.family in ("AF_INET", "AF_INET6")
            and self.type == "SOCK_STREAM"
            and self.protocol in ("IPPROTO_IP", "IPPROTO_TCP", "IPPROTO_MPTCP")
        )

    @property
    def is_mptcp(self) -> bool:
        return self.protocol == "IPPROTO_MPTCP"


class AcceptDetail(msgspec.Struct, frozen=True, gc=False):
    peer: Endpoint | None
    cloexec: bool = False


class UlpDetail(msgspec.Struct, frozen=True, gc=False):
    """A TCP_ULP call.  `name` is None where the trace does not show it (counts as "tls")."""

    name: str | None
    optlen: int | None = None


class KeyDetail(msgspec.Struct, frozen=True, gc=False):
    """A key install: what the first four bytes of crypto_info say, never more.

    `version` is 0x0303, 0x0304 or another number, `cipher` the cipher_type number; None where not
    shown.
    """

    direction: Literal["tx", "rx"]
    version: int | None
    cipher: int | None
    optlen: int | None = None


class OptionDetail(msgspec.Struct, frozen=True, gc=False):
    """Another socket option.  `name` is e.g. "TCP_FASTOPEN_CONNECT"; `value` the int where it was
    one.
    """

    level: str
    name: str
    value: int | None = None


class IntDetail(msgspec.Struct, frozen=True, gc=False):
    value: int


class IoDetail(msgspec.Struct, frozen=True, gc=False):
    """`fastopen`: MSG_FASTOPEN was given.  `source`: what splice() took the data from."""

    fastopen: bool = False
    source: int | None = None


class CloseRangeDetail(msgspec.Struct, frozen=True, gc=False):
    first: int
    last: int
    cloexec: bool = False
    unshare: bool = False


class DupDetail(msgspec.Struct, frozen=True, gc=False):
    """`target` is dup2's or dup3's wanted number: it is closed first."""

    target: int | None = None
    cloexec: bool = False


class CloexecDetail(msgspec.Struct, frozen=True, gc=False):
    cloexec: bool = False


class FdPair(msgspec.Struct, frozen=True, gc=False):
    first: int
    second: int
    cloexec: bool = False


class FdList(msgspec.Struct, frozen=True, gc=False):
    fds: tuple[int, ...]
    cloexec: bool = False


class EpollCtlDetail(msgspec.Struct, frozen=True, gc=False):
    """`op` is "ADD", "MOD" or "DEL"; `data` epoll_data as u64 (u32 where only that is shown)."""

    op: str
    fd: int
    events: int | None = None
    data: int | None = None


class Ready(msgspec.Struct, frozen=True, gc=False):
    """One descriptor that a wait call reported: by `fd` (poll, select) or by `data` (epoll).

    `events` are EPOLL*/POLL* bits (the two agree where it matters): 1 IN, 4 OUT, 8 ERR, 0x10 HUP,
    0x2000 RDHUP.
    """

    fd: int | None
    data: int | None
    events: int


class WaitDetail(msgspec.Struct, frozen=True, gc=False):
    """What a wait call returned.

    `hidden`: the result is not shown or was cut (`...`), so it could have held any descriptor.
    `watched`: the fds that poll or select was asked about, where the trace shows them all.
    """

    ready: tuple[Ready, ...]
    hidden: bool = False
    watched: tuple[int, ...] | None = None


class CloneDetail(msgspec.Struct, frozen=True, gc=False):
    """`files`: CLONE_FILES (one fd table); `thread`: CLONE_THREAD (one tgid)."""

    files: bool = False
    thread: bool = False


class StateDetail(msgspec.Struct, frozen=True, gc=False):
    """A transition seen in the kernel (tracepoint sock:inet_sock_set_state)."""

    old: str
    new: str


class RingDetail(msgspec.Struct, frozen=True, gc=False):
    """Live: the process has an io_uring.  `seen`: connects and kTLS calls made through it are."""

    seen: bool


class FdNote(msgspec.Struct, frozen=True, gc=False):
    """What strace -y/-yy wrote behind an fd, or what the probe read from the socket."""

    protocol: str | None = None  # "TCP", "TCPv6", "UDP", "UNIX", ..., None: only an inode or a path
    inode: int | None = None
    local: str | None = None
    peer: str | None = None


Detail = (
    Endpoint
    | SocketDetail
    | AcceptDetail
    | UlpDetail
    | KeyDetail
    | OptionDetail
    | IntDetail
    | IoDetail
    | CloseRangeDetail
    | DupDetail
    | CloexecDetail
    | FdPair
    | FdList
    | EpollCtlDetail
    | WaitDetail
    | CloneDetail
    | StateDetail
    | RingDetail
)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One call, or half of one, as its source saw it.

    `result` is the return value, None when the call has not returned (or never did) or the trace
    does not show it; `errno` is the symbol ("ENOTCONN") of a failed call.  Times are nanoseconds of
    the trace's clock. `line` is where the call begins (strace), None in captures.  `note` describes
    `fd`, `result_note` the fd that the call returned.
    """

    kind: Kind
    phase: Phase
    tid: int
    call: str
    fd: int | None = None
    result: int | None = None
    errno: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    source: int = 0
    line: int | None = None
    detail: Detail | None = None
    note: FdNote | None = None
    result_note: FdNote | None = None
    tgid: int | None = None
    comm: str | None = None
    stack: tuple[str, ...] | None = None
    sock: int | None = None  # live: the identity of the kernel's socket (pointer plus generation)
    state: str | None = None  # live: the TCP state the probe read at the entry of this call
    told: bool | None = None  # live: whether a proof had reached this thread before this attempt
