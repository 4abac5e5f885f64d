"""Attach a loaded probe, and detach it."""

import os
import struct
from typing import TYPE_CHECKING, Protocol

from ktrace.errors import KtraceError
from ktrace.sources.live import kernel
from ktrace.sources.live.hooks import PREFIXES, Hook, Inside, Syscall

if TYPE_CHECKING:
    from ktrace.sources.live.hooks import Method


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
    def method(self) -> "Method | None":
        """How its probe looks into the kernel's functions, None where it cannot."""
        ...

    @property
    def inside(self) -> tuple[Inside, ...]: ...

    @property
    def syscalls(self) -> tuple[Syscall, ...]: ...

    @property
    def by_call(self) -> tuple[str, ...]:
        """Its programs that hang on the kernel's function of one call each, in place of two that
        see all calls; in the order of attaching.
        """
        ...

    def program(self, name: str) -> int: ...

    def map(self, name: str) -> int: ...

    def close(self) -> None: ...


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
    from ktrace.sources.live.tracefs import Tracefs

    tracefs = Tracefs()
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
