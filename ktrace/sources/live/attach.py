"""Which program of the probe handles which call, and attaching them all."""

import os
import struct
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from ktrace.errors import KtraceError
from ktrace.events import Family
from ktrace.sources.live import kernel


class Loaded(Protocol):
    """What a loader supplies: descriptors of programs and maps by name."""

    name: str

    def program(self, name: str) -> int: ...

    def map(self, name: str) -> int: ...

    def close(self) -> None: ...


class Syscall(NamedTuple):
    """A traced system call: its exit program is shared by its kin, None where entry is enough."""

    name: str
    exit_program: str | None
    family: Family


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
    Syscall("recvfrom", "asking", "io"),
    Syscall("recvmsg", "asking", "io"),
    Syscall("io_uring_enter", None, "wait"),
)
# What the programs of either loader hang on, in the order of attaching: exits before entries, so
# that no call is seen beginning whose end is not.
RAW_TRACEPOINTS = (
    ("state_change", "inet_sock_set_state"),
    ("process_fork", "sched_process_fork"),
    ("process_exec", "sched_process_exec"),
    ("process_exit", "sched_process_exit"),
    ("any_exit", "sys_exit"),
    ("any_enter", "sys_enter"),
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


def attach(loaded: Loaded, syscalls: Iterable[Syscall] = SYSCALLS) -> Attached:
    """Attach everything, or nothing."""
    attached = Attached()
    try:
        fill_tables(loaded, syscalls)
        for program, tracepoint in RAW_TRACEPOINTS:
            fd = loaded.program(program)
            attached.add(fd, kernel.attach_raw_tracepoint(fd, tracepoint))
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


def fill_tables(loaded: Loaded, syscalls: Iterable[Syscall]) -> None:
    """Tell the probe which program handles which system call, by this machine's numbers."""
    numbers = kernel.SYSCALLS[kernel.architecture()]
    entries, exits = loaded.map("entries"), loaded.map("exits")
    for syscall in syscalls:
        number = numbers.get(syscall.name)
        if number is None:
            continue
        if syscall.exit_program is not None:
            _put(exits, number, loaded.program(f"exit_of_{syscall.exit_program}"))
        _put(entries, number, loaded.program(f"enter_{syscall.name}"))


def _put(table: int, number: int, program: int) -> None:
    kernel.map_update(table, struct.pack("=I", number), struct.pack("=I", program))
