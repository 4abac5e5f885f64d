"""Capabilities: refuse to start without the needed ones, drop the others once attached."""

import ctypes
import os
import struct

from ktrace.errors import KtraceError
from ktrace.sources.live.kernel import text_of

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_KILL = 1, 2, 5
CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 19, 21, 38, 39
# Kept: counters and maps of the probe (BPF), /proc of the traced processes and their libraries
# (PTRACE, DAC), the files the user asked for (DAC), and passing signals to the command (KILL).
KEPT = (CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE, CAP_KILL)
PROC_PID_INIT_INO = 0xEFFFFFFC  # the first pid namespace has this inode on every kernel
_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_LIBC = ctypes.CDLL(None, use_errno=True)


def effective() -> int:
    """Return this process's effective capabilities as a bit mask."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("CapEff:"))
    return int(line.split()[1], 16)


def require() -> None:
    """Raise where live capture has no chance, with what is missing."""
    if os.stat("/proc/self/ns/pid").st_ino != PROC_PID_INIT_INO:
        raise KtraceError(
            "pid-namespace",
            "inside a container the kernel's process ids are others than those seen here",
            "capture on the host (or with its pid namespace: docker run --pid=host --privileged)",
        )
    have = effective()
    if have >> CAP_SYS_ADMIN & 1:
        return
    needed = {"CAP_BPF": CAP_BPF, "CAP_PERFMON": CAP_PERFMON}
    missing = [name for name, bit in needed.items() if not have >> bit & 1]
    if missing:
        raise KtraceError(
            "no-privilege",
            f"live capture needs {' and '.join(missing)}",
            "run it with sudo, or use `ktrace record`, which needs none for your own programs",
        )


def drop() -> None:
    """Give up every capability that a running capture does not need, for good."""
    have = effective()
    mask = sum(1 << bit for bit in KEPT) & have
    last = int(text_of("/proc/sys/kernel/cap_last_cap"))
    for bit in range(last + 1):
        if not mask >> bit & 1:
            _LIBC.prctl(_PR_CAPBSET_DROP, bit, 0, 0, 0)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0))
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0))
    if _LIBC.capset(header, data) != 0:
        error = ctypes.get_errno()
        raise KtraceError(
            "drop-privileges",
            f"cannot give up privileges: {os.strerror(error)}",
            "report this with the output of `ktrace doctor`",
        )
