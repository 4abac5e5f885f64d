"""The probe's records in Python: the same layout and numbers as bpf/ktrace.h."""

import struct
from typing import NamedTuple

from ktrace.events import Kind

LAYOUT = 2


class Call(NamedTuple):
    """One `enum kt_call` of the header: its number, its name for users, what it means."""

    number: int
    symbol: str
    name: str
    kind: Kind


CALLS = (
    Call(1, "KT_SOCKET", "socket", Kind.SOCKET),
    Call(2, "KT_CONNECT", "connect", Kind.CONNECT),
    Call(3, "KT_ACCEPT", "accept", Kind.ACCEPT),
    Call(4, "KT_ACCEPT4", "accept4", Kind.ACCEPT),
    Call(5, "KT_LISTEN", "listen", Kind.LISTEN),
    Call(6, "KT_ULP", "setsockopt", Kind.ULP),
    Call(7, "KT_KEY", "setsockopt", Kind.KEY),
    Call(8, "KT_SOCKOPT", "setsockopt", Kind.SOCKOPT),
    Call(9, "KT_SO_ERROR", "getsockopt", Kind.SO_ERROR),
    Call(10, "KT_TCP_INFO", "getsockopt", Kind.TCP_INFO),
    Call(11, "KT_GETPEERNAME", "getpeername", Kind.GETPEERNAME),
    Call(12, "KT_CLOSE", "close", Kind.CLOSE),
    Call(13, "KT_CLOSE_RANGE", "close_range", Kind.CLOSE_RANGE),
    Call(14, "KT_SHUTDOWN", "shutdown", Kind.SHUTDOWN),
    Call(15, "KT_DUP", "dup", Kind.DUP),
    Call(16, "KT_DUP2", "dup2", Kind.DUP),
    Call(17, "KT_DUP3", "dup3", Kind.DUP),
    Call(18, "KT_DUPFD", "fcntl", Kind.DUP),
    Call(19, "KT_SETFD", "fcntl", Kind.SETFD),
    Call(20, "KT_EPOLL_WAIT", "epoll_wait", Kind.WAIT),
    Call(21, "KT_EPOLL_PWAIT", "epoll_pwait", Kind.WAIT),
    Call(22, "KT_EPOLL_PWAIT2", "epoll_pwait2", Kind.WAIT),
    Call(23, "KT_POLL", "poll", Kind.WAIT),
    Call(24, "KT_PPOLL", "ppoll", Kind.WAIT),
    Call(25, "KT_SELECT", "select", Kind.WAIT),
    Call(26, "KT_PSELECT6", "pselect6", Kind.WAIT),
    Call(27, "KT_READ", "recv", Kind.READ),
    Call(28, "KT_WRITE", "write", Kind.WRITE),
    Call(29, "KT_CLONE", "clone", Kind.CLONE),
    Call(30, "KT_EXEC", "execve", Kind.EXEC),
    Call(31, "KT_EXIT", "exit", Kind.EXIT),
    Call(32, "KT_IO_URING", "io_uring_enter", Kind.IO_URING),
    Call(33, "KT_STATE", "state", Kind.STATE),
)
BY_NUMBER = {call.number: call for call in CALLS}
NUMBERS = {call.symbol: call.number for call in CALLS}

TOLD = 0x01
TOLD_KNOWN = 0x02
HIDDEN = 0x04
STACK = 0x08
CLOEXEC = 0x10
MPTCP = 0x20
THREAD = 0x40
FILES = 0x80
OTHER_ULP = 0x100
AT_CALL = 0x200
RING = 0x400


# A record as it is unpacked.  Fields that repeat together stay bytes, so that they are decoded
# once: `what` (arg0, arg1, flags, call, phase, state), and `place` (family, ino, sport, dport,
# saddr, daddr).
FORMAT = "QQQQIIii13sx42s16s"
RECORD = struct.Struct("=" + FORMAT)
WHAT = struct.Struct("=IIHBBB")
PLACE = struct.Struct("=HIHH16s16s")
COUNTERS = struct.Struct("=QQQQ")  # lost, untracked, stacks, foreign
STACKS = 256
STACK_BYTES = 8192
STACK_HEAD = struct.Struct("=QQQII")  # ip, sp, bp, size, tgid; then the bytes
