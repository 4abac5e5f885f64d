"""Which program of the probe handles which call, and where it hangs.

Like all that loads the probe, this module imports next to nothing (no `typing`, no `pathlib`): a
capture begins only when the kernel has loaded it.  `tests/test_live_ahead.py` watches that.
"""

from ktrace.sources.live import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from ktrace.events import Family

    Method = Literal["fentry", "kprobe"]


class Hook:
    """A program and its tracepoint; `category` None: a raw one."""

    __slots__ = ("category", "program", "tracepoint")

    def __init__(self, program: str, category: str | None, tracepoint: str) -> None:
        self.program = program
        self.category = category
        self.tracepoint = tracepoint


class Inside:
    """A function of the kernel that the probe looks into: the name of its programs, and its own.

    `since`: the first kernel where it tells more than the system calls do.
    """

    __slots__ = ("function", "name", "since")

    def __init__(self, name: str, function: str, since: tuple[int, int] = (0, 0)) -> None:
        self.name = name
        self.function = function
        self.since = since


ULP = Inside("ulp", "tcp_set_ulp")
INSIDE = (
    ULP,
    Inside("connect4", "tcp_v4_connect"),
    Inside("connect6", "tcp_v6_connect"),
    Inside("key", "sock_common_setsockopt", (6, 7)),  # when io_uring learnt setsockopt
)
PREFIXES: "dict[Method, tuple[str, str]]" = {
    "fentry": ("fexit", "fentry"),  # returns first: no call is seen beginning whose end is not
    "kprobe": ("kretprobe", "kprobe"),
}


def ways_in() -> "tuple[Method, ...]":
    """Return how this kernel lets programs look into its functions, the cheapest first."""
    fentry: tuple[Method, ...] = ("fentry",) if kernel.takes_fentry() else ()
    kprobes: tuple[Method, ...] = ("kprobe",) if kernel.has_kprobes() else ()
    return fentry + kprobes


# The two that see all system calls: the first looks up which program handles the call.
ANY = (Hook("any_exit", None, "sys_exit"), Hook("any_enter", None, "sys_enter"))

# Since then the kernel may preempt the programs of tracepoints, and skips a program on that CPU
# until its preempted run goes on: two that see every call would miss whole time slices.
PREEMPTS_SINCE = (7, 0)
# One of these sees calls that never come to their function, since a seccomp filter refused them.
REFUSED = ("return_permitted", "return_computed")


class Syscall:
    """A traced system call: its exit program is shared by its kin, None where entry is enough.

    `entry` is its entry program where that is shared too.
    """

    __slots__ = ("entry", "exit_program", "family", "name")

    def __init__(
        self, name: str, exit_program: str | None, family: "Family", entry: str | None = None
    ) -> None:
        self.name = name
        self.exit_program = exit_program
        self.family = family
        self.entry = entry


SYSCALLS = (
    Syscall("socket", "socket", "socket"),
    Syscall("connect", "connect", "connect"),
    Syscall("accept", "accept", "accept", "accept"),
    Syscall("accept4", "accept", "accept", "accept"),
    Syscall("listen", "listen", "listen"),
    Syscall("setsockopt", "setsockopt", "setsockopt"),
    Syscall("getsockopt", "asking", "getsockopt", "asking"),
    Syscall("getpeername", "asking", "getsockopt", "asking"),
    Syscall("close", None, "close"),
    Syscall("close_range", None, "close"),
    Syscall("shutdown", None, "close"),
    Syscall("dup", "dup", "dup", "dup"),
    Syscall("dup2", "dup", "dup", "dup"),
    Syscall("dup3", "dup", "dup", "dup"),
    Syscall("fcntl", "dup", "dup", "dup"),
    Syscall("epoll_ctl", None, "wait"),
    Syscall("epoll_wait", "epoll", "wait", "wait"),
    Syscall("epoll_pwait", "epoll", "wait", "wait"),
    Syscall("epoll_pwait2", "epoll", "wait", "wait"),
    Syscall("poll", "poll", "wait", "wait"),
    Syscall("ppoll", "poll", "wait", "wait"),
    Syscall("select", "select", "wait", "wait"),
    Syscall("pselect6", "select", "wait", "wait"),
    Syscall("io_uring_setup", None, "wait", "io_uring"),
    Syscall("io_uring_enter", None, "wait", "io_uring"),
)
