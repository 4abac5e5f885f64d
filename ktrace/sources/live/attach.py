"""Which program of the probe handles which call, and attaching them all."""

import os
import struct
from typing import NamedTuple, Protocol

from ktrace.errors import KtraceError
from ktrace.events import Family
from ktrace.sources.live import kernel


class Hook(NamedTuple):
    """A program and its tracepoint; `category` None: a raw one."""

    program: str
    category: str | None
    tracepoint: str


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
    def syscalls(self) -> "tuple[Syscall, ...]": ...

    def program(self, name: str) -> int: ...

    def map(self, name: str) -> int: ...

    def close(self) -> None: ...


class Syscall(NamedTuple):
    """A traced system call: its exit program is shared by its kin, None where entry is enough."""

    name: str
    exit_program: str | None
    family: Family
    entry: str | None = None  # the entry program, where it is shared too


SYSCALLS = (
    Syscall("socket", "socket", "socket"),
    Syscall("connect", "connect", "connect"),
    Syscall("accept", "accept", "accept"),
    Syscall("accept4", "accept", "accept"),
    Syscall("listen", "listen", "listen"),
    Syscall("setsockopt", "setsockopt", "setsockopt"),
    Syscall("getsockopt", "asking", "getsockopt"),
    Syscall("getpeername", "asking", "getsockopt"),
    Syscall("close", None, "close"),
    Syscall("close_range", None, "close"),
    Syscall("shutdown", None, "close"),
    Syscall("dup", "dup", "dup"),
    Syscall("dup2", "dup", "dup"),
    Syscall("dup3", "dup", "dup"),
    Syscall("fcntl", "dup", "dup"),
    Syscall("epoll_ctl", None, "wait"),
    Syscall("epoll_wait", "epoll", "wait"),
    Syscall("epoll_pwait", "epoll", "wait"),
    Syscall("epoll_pwait2", "epoll", "wait"),
    Syscall("poll", "poll", "wait"),
    Syscall("ppoll", "poll", "wait"),
    Syscall("select", "select", "wait"),
    Syscall("pselect6", "select", "wait"),
    Syscall("io_uring_enter", None, "wait"),
)


class Attached:
    """The attached probe.  Closing it, or the end of this process however it ends, detaches all."""

    def __init__(self) -> None:
        self._fds: list[int] = []
        self.programs: set[int] = set()

    def add(self, program: int, fd: int) -> None:
        self._fds.append(fd)
        self.programs.add(program)

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
        _fill_tables(loaded)
        for hook in loaded.hooks:
            program = loaded.program(hook.program)
            attached.add(program, _hang(program, hook))
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


def _put(table: int, number: int, program: int) -> None:
    kernel.map_update(table, struct.pack("=I", number), struct.pack("=I", program))
