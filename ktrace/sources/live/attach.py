"""Which program of the probe hangs on which tracepoint, and attaching them all.

Exits come before entries, so that no call is seen beginning whose end is not.
"""

import os
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
    optional: bool = False  # not on every architecture or kernel


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
    Syscall("close_range", None, "close", optional=True),
    Syscall("shutdown", None, "close"),
    Syscall("dup", "dup", "dup"),
    Syscall("dup2", "dup", "dup", optional=True),
    Syscall("dup3", "dup", "dup"),
    Syscall("fcntl", "dup", "dup"),
    Syscall("epoll_ctl", None, "wait"),
    Syscall("epoll_wait", "epoll", "wait", optional=True),
    Syscall("epoll_pwait", "epoll", "wait"),
    Syscall("epoll_pwait2", "epoll", "wait", optional=True),
    Syscall("poll", "poll", "wait", optional=True),
    Syscall("ppoll", "poll", "wait"),
    Syscall("select", "select", "wait", optional=True),
    Syscall("pselect6", "select", "wait"),
    Syscall("io_uring_enter", None, "wait", optional=True),
)
STATE = ("state_change", "sock", "inet_sock_set_state")
PROCESS = (
    ("process_fork", "sched", "sched_process_fork"),
    ("process_exec", "sched", "sched_process_exec"),
    ("process_exit", "sched", "sched_process_exit"),
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


def attach(
    loaded: Loaded, raw: bool, extra: Iterable[Syscall] = ()
) -> tuple[Attached, set[Family]]:
    """Attach everything; return it with the families that are covered.

    `raw`: state and process programs are written for raw tracepoints.
    """
    tracefs = kernel.Tracefs()
    attached = Attached()
    try:
        for program, category, name in (STATE, *PROCESS):
            _attach_kernel(loaded, attached, tracefs, program, category, name, raw)
        covered: set[Family] = {"process"}
        for syscall in (*SYSCALLS, *extra):
            if _attach_syscall(loaded, attached, tracefs, syscall):
                covered.add(syscall.family)
    except OSError as error:
        attached.close()
        raise KtraceError(
            "bpf-attach",
            f"the probe cannot be attached: {error.strerror}",
            "it needs root, or CAP_BPF, CAP_PERFMON and a readable tracefs; see `ktrace doctor`",
        ) from None
    except KtraceError:
        attached.close()
        raise
    finally:
        tracefs.close()
    return attached, covered


def _attach_kernel(
    loaded: Loaded,
    attached: Attached,
    tracefs: kernel.Tracefs,
    program: str,
    category: str,
    name: str,
    raw: bool,
) -> None:
    fd = loaded.program(program)
    if raw:
        attached.add(fd, kernel.attach_raw_tracepoint(fd, name))
        return
    number = tracefs.number(category, name)
    if number is None:
        raise _missing(f"{category}:{name}")
    attached.add(fd, kernel.attach_tracepoint(fd, number))


def _attach_syscall(
    loaded: Loaded, attached: Attached, tracefs: kernel.Tracefs, syscall: Syscall
) -> bool:
    halves = [("enter", f"enter_{syscall.name}")]
    if syscall.exit_program is not None:
        halves.insert(0, ("exit", f"exit_of_{syscall.exit_program}"))
    for half, program in halves:
        number = tracefs.number("syscalls", f"sys_{half}_{syscall.name}")
        if number is None:
            if syscall.optional:
                return False
            raise _missing(f"syscalls:sys_{half}_{syscall.name}")
        fd = loaded.program(program)
        attached.add(fd, kernel.attach_tracepoint(fd, number))
    return True


def _missing(name: str) -> KtraceError:
    return KtraceError(
        "no-tracepoint",
        f"this kernel has no tracepoint {name}",
        "it needs CONFIG_FTRACE_SYSCALLS and Linux 5.8 or later; use `ktrace record` here",
    )
