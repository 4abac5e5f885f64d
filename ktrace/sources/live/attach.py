"""Which program of the probe handles which call, and attaching them all."""

import os
import struct
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from ktrace.errors import KtraceError
from ktrace.sources.live import kernel

if TYPE_CHECKING:
    from ktrace.events import Family


class Hook(NamedTuple):
    """A program and its tracepoint; `category` None: a raw one."""

    program: str
    category: str | None
    tracepoint: str


Method = Literal["fentry", "kprobe"]


class Inside(NamedTuple):
    """A function of the kernel that the probe looks into: the name of its programs, and its own.

    `since`: the first kernel where it tells more than the system calls do.
    """

    name: str
    function: str
    since: tuple[int, int] = (0, 0)


ULP = Inside("ulp", "tcp_set_ulp")
INSIDE = (
    ULP,
    Inside("connect4", "tcp_v4_connect"),
    Inside("connect6", "tcp_v6_connect"),
    Inside("key", "sock_common_setsockopt", (6, 7)),  # when io_uring learnt setsockopt
)
PREFIXES: dict[Method, tuple[str, str]] = {
    "fentry": ("fexit", "fentry"),  # returns first: no call is seen beginning whose end is not
    "kprobe": ("kretprobe", "kprobe"),
}


def ways_in() -> tuple[Method, ...]:
    """Return how this kernel lets programs look into its functions, the cheapest first."""
    fentry: tuple[Method, ...] = ("fentry",) if kernel.takes_fentry() else ()
    kprobes: tuple[Method, ...] = ("kprobe",) if kernel.KPROBES.is_dir() else ()
    return fentry + kprobes


# The two that see all system calls: the first looks up which program handles the call.
ANY = (Hook("any_exit", None, "sys_exit"), Hook("any_enter", None, "sys_enter"))


class Loaded(Protocol):
    """What a loader supplies: descriptors of programs and maps by name, and what hangs where.

    `hooks` are in the order of attaching: exits before entries, so that no call is seen beginning
    whose end is not.
    """

    @property
    def name(self) -> str: ...

    @property
    def walks(self) -> bool:
        """Its probe follows the kernel's pointers from a descriptor to the socket."""
        ...

    @property
    def hooks(self) -> tuple[Hook, ...]: ...

    @property
    def method(self) -> Method | None:
        """How its probe looks into the kernel's functions, None where it cannot."""
        ...

    @property
    def inside(self) -> tuple[Inside, ...]: ...

    @property
    def syscalls(self) -> "tuple[Syscall, ...]": ...

    @property
    def by_call(self) -> tuple[str, ...]:
        """Its programs that hang on the kernel's function of one call each, in place of two that
        see all calls; in the order of attaching.
        """
        ...

    def program(self, name: str) -> int: ...

    def map(self, name: str) -> int: ...

    def close(self) -> None: ...


# Since then the kernel may preempt the programs of tracepoints, and skips a program on that CPU
# until its preempted run goes on: two that see every call would miss whole time slices.
PREEMPTS_SINCE = (7, 0)
# One of these sees calls that never come to their function, since a seccomp filter refused them.
REFUSED = ("return_permitted", "return_computed")


class Syscall(NamedTuple):
    """A traced system call: its exit program is shared by its kin, None where entry is enough."""

    name: str
    exit_program: str | None
    family: "Family"
    entry: str | None = None  # the entry program, where it is shared too


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


class Attached:
    """The attached probe.  Closing it, or the end of this process however it ends, detaches all.

    `method` is how it looks into the kernel's functions, None where it does not.
    """

    def __init__(self) -> None:
        self._fds: list[int] = []
        self.programs: set[int] = set()
        self.method: Method | None = None

    def add(self, program: int, fd: int) -> None:
        self._fds.append(fd)
        self.programs.add(program)

    def take(self, other: "Attached") -> None:
        """Take over what another one has attached."""
        self._fds += other._fds
        self.programs |= other.programs

    def misses(self) -> int:
        """Return how many runs of the probe the kernel skipped."""
        return sum(kernel.recursion_misses(program) for program in self.programs)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())


def attach(loaded: Loaded) -> Attached:
    """Attach everything, or nothing."""
    attached = Attached()
    try:
        if not loaded.by_call:
            _fill_tables(loaded)
        _look_inside(loaded, attached)
        for hook in loaded.hooks:
            program = loaded.program(hook.program)
            attached.add(program, _hang(program, hook))
        for name in loaded.by_call:
            program = loaded.program(name)
            attached.add(program, kernel.attach_tracing(program))
    except OSError as error:
        attached.close()
        raise KtraceError(
            "bpf-attach",
            f"the probe cannot be attached: {error.strerror}",
            "it needs root, or CAP_BPF and CAP_PERFMON; see `ktrace doctor`",
        ) from None
    except KtraceError:
        attached.close()
        raise
    return attached


def _look_inside(loaded: Loaded, attached: Attached) -> None:
    """Attach to the kernel's functions, to all or none: where it refuses, calls tell enough."""
    if loaded.method is None:
        return
    within = Attached()
    try:
        for at_return, prefix in zip((True, False), PREFIXES[loaded.method], strict=True):
            for one in loaded.inside:
                program = loaded.program(f"{prefix}_{one.name}")
                if loaded.method == "fentry":
                    fd = kernel.attach_tracing(program)
                else:
                    fd = kernel.attach_kprobe(program, one.function, at_return=at_return)
                within.add(program, fd)
    except OSError:
        within.close()
        return
    attached.take(within)
    attached.method = loaded.method


def _hang(program: int, hook: Hook) -> int:
    if hook.category is None:
        return kernel.attach_raw_tracepoint(program, hook.tracepoint)
    tracefs = kernel.Tracefs()
    try:
        number = tracefs.number(hook.category, hook.tracepoint)
    finally:
        tracefs.close()
    if number is None:
        raise KtraceError(
            "no-tracepoint",
            f"this kernel has no tracepoint {hook.category}:{hook.tracepoint}",
            "it needs Linux 5.8 or later; use `ktrace record` here",
        )
    return kernel.attach_tracepoint(program, number)


def _fill_tables(loaded: Loaded) -> None:
    """Tell the probe which program handles which system call, by this machine's numbers."""
    numbers = kernel.SYSCALLS[kernel.architecture()]
    entries, exits = loaded.map("entries"), loaded.map("exits")
    for syscall in loaded.syscalls:
        number = numbers.get(syscall.name)
        if number is None:
            continue
        if syscall.exit_program is not None:
            _put(exits, number, loaded.program(f"exit_of_{syscall.exit_program}"))
        _put(entries, number, loaded.program(f"enter_{syscall.entry or syscall.name}"))
    for number in kernel.FOREIGN[kernel.architecture()]:
        _put(entries, number, loaded.program("enter_foreign"))


def _put(table: int, number: int, program: int) -> None:
    kernel.map_update(table, struct.pack("=I", number), struct.pack("=I", program))
