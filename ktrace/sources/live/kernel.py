"""The few system calls that attaching needs.

Both loaders attach through here, so that a probe is attached in one way whatever loaded it.
"""

import ctypes
import errno
import os
import struct

from ktrace.errors import KtraceError

_LIBC = ctypes.CDLL(None, use_errno=True)
_NUMBERS = {
    "x86_64": {"bpf": 321, "perf_event_open": 298},
    "aarch64": {"bpf": 280, "perf_event_open": 241},
}

# Numbers of the traced calls; a call that an architecture lacks is left out.
SYSCALLS = {
    "x86_64": {
        "socket": 41,
        "connect": 42,
        "accept": 43,
        "accept4": 288,
        "listen": 50,
        "setsockopt": 54,
        "getsockopt": 55,
        "getpeername": 52,
        "close": 3,
        "close_range": 436,
        "shutdown": 48,
        "dup": 32,
        "dup2": 33,
        "dup3": 292,
        "fcntl": 72,
        "epoll_ctl": 233,
        "epoll_wait": 232,
        "epoll_pwait": 281,
        "epoll_pwait2": 441,
        "poll": 7,
        "ppoll": 271,
        "select": 23,
        "pselect6": 270,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "read": 0,
        "write": 1,
        "readv": 19,
        "writev": 20,
        "recvfrom": 45,
        "sendto": 44,
        "recvmsg": 47,
        "sendmsg": 46,
        "sendfile": 40,
        "recvmmsg": 299,
        "sendmmsg": 307,
        "splice": 275,
        "socketpair": 53,
        "clone": 56,
        "clone3": 435,
    },
    "aarch64": {
        "socket": 198,
        "connect": 203,
        "accept": 202,
        "accept4": 242,
        "listen": 201,
        "setsockopt": 208,
        "getsockopt": 209,
        "getpeername": 205,
        "close": 57,
        "close_range": 436,
        "shutdown": 210,
        "dup": 23,
        "dup3": 24,
        "fcntl": 25,
        "epoll_ctl": 21,
        "epoll_pwait": 22,
        "epoll_pwait2": 441,
        "ppoll": 73,
        "pselect6": 72,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "read": 63,
        "write": 64,
        "readv": 65,
        "writev": 66,
        "recvfrom": 207,
        "sendto": 206,
        "recvmsg": 212,
        "sendmsg": 211,
        "sendfile": 71,
        "recvmmsg": 243,
        "sendmmsg": 269,
        "splice": 76,
        "socketpair": 199,
        "clone": 220,
        "clone3": 435,
    },
}

# How 32-bit programs number the calls that are counted: socketcall, socket, connect, setsockopt.
FOREIGN = {"x86_64": (102, 359, 362, 366), "aarch64": (102, 281, 283, 294)}

MAP_LOOKUP, MAP_UPDATE, PROG_LOAD, PROG_GET_NEXT_ID, OBJ_INFO = 1, 2, 5, 11, 15
RAW_TRACEPOINT_OPEN = 17
PROG_TYPE_RAW_TRACEPOINT, PROG_TYPE_TRACING, TRACE_FENTRY = 17, 26, 24
RETURN_ZERO = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
PROG_INFO_SIZE, PROG_INFO_MISSES = 232, 208  # struct bpf_prog_info, .recursion_misses

PERF_TYPE_TRACEPOINT = 2
PERF_ATTR_SIZE = 112
PERF_FLAG_FD_CLOEXEC = 8
PERF_EVENT_IOC_ENABLE = 0x2400
FIRST = b"\0\0\0\0"  # the key of the only entry of a map
KPROBES = "/sys/bus/event_source/devices/kprobe"
PERF_EVENT_IOC_SET_BPF = 0x40042408


def architecture() -> str:
    """Return this machine's name, or refuse one that the probe was not built for."""
    machine = os.uname().machine
    if machine not in _NUMBERS:
        raise KtraceError(
            "architecture",
            f"live capture knows no {machine}",
            f"it works on {' and '.join(_NUMBERS)}; use `ktrace record` here",
        )
    return machine


def release() -> tuple[int, int]:
    """Return the kernel's version as two numbers."""
    major, _, rest = os.uname().release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]  # of "1+", or "18-rc3"
    return (int(major), int(minor)) if major.isdecimal() and minor else (0, 0)


def text_of(path: str) -> str:
    """Return what a small file of /proc or /sys says."""
    with open(path, errors="replace") as file:
        return file.read()


def call(number: int, *args: object) -> int:
    """Make a system call by its number; OSError where it fails."""
    result = _LIBC.syscall(ctypes.c_long(number), *args)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)


def bpf(command: int, attributes: bytes) -> int:
    """Call bpf(2)."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return call(_NUMBERS[architecture()]["bpf"], command, buffer, len(attributes))


def map_lookup(fd: int, key: bytes, size: int) -> bytes:
    """Return the value of one key, `size` bytes long."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value = ctypes.create_string_buffer(size)
    pair = (ctypes.addressof(key_buffer), ctypes.addressof(value))
    bpf(MAP_LOOKUP, struct.pack("=IIQQQ", fd, 0, *pair, 0))
    return value.raw


def map_has(fd: int, key: int) -> bool:
    """Tell whether a map of 32-bit keys and values has a key."""
    try:
        map_lookup(fd, struct.pack("=I", key), 4)
    except OSError:
        return False
    return True


def map_update(fd: int, key: bytes, value: bytes) -> None:
    """Set the value of one key."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value_buffer = ctypes.create_string_buffer(value, len(value))
    pair = (ctypes.addressof(key_buffer), ctypes.addressof(value_buffer))
    bpf(MAP_UPDATE, struct.pack("=IIQQQ", fd, 0, *pair, 0))


def recursion_misses(program: int) -> int:
    """Return how often the kernel skipped a program because another ran on the CPU.

    Kernels before 5.12 do not count; they answer 0.
    """
    info = ctypes.create_string_buffer(PROG_INFO_SIZE)
    bpf(OBJ_INFO, struct.pack("=IIQ", program, PROG_INFO_SIZE, ctypes.addressof(info)))
    return int.from_bytes(info.raw[PROG_INFO_MISSES : PROG_INFO_MISSES + 8], "little")


def next_program(after: int) -> int:
    """Return the id of the kernel's next loaded program; OSError (ENOENT) after the last."""
    buffer = ctypes.create_string_buffer(struct.pack("=III", after, 0, 0), 12)
    call(_NUMBERS[architecture()]["bpf"], PROG_GET_NEXT_ID, buffer, 12)
    following: int = struct.unpack("=III", buffer.raw)[1]
    return following


def load_nothing(kind: int, attach: int = 0, target: int = 0) -> int:
    """Load a program that does nothing, as one of a kind, and return its descriptor."""
    code, licence = ctypes.create_string_buffer(RETURN_ZERO), ctypes.create_string_buffer(b"GPL")
    head = struct.pack("=IIQQ", kind, 2, ctypes.addressof(code), ctypes.addressof(licence))
    return bpf(PROG_LOAD, head + struct.pack("=IIQII16xII36xII", *(0,) * 6, attach, target, 0))


def takes_fentry() -> bool:
    """Tell whether the kernel lets programs hang on its functions; some builds refuse them all.

    Asked with a program that hangs on nothing: where it is refused for that, others are welcome.
    """
    try:
        os.close(load_nothing(PROG_TYPE_TRACING, TRACE_FENTRY, 1))
    except OSError as error:
        return error.errno not in (errno.EPERM, errno.EACCES, errno.ENOTSUP)
    return True


def has_kprobes() -> bool:
    """Tell whether the kernel lets programs hang on kprobes."""
    return os.path.isdir(KPROBES)


def attach_tracing(program: int) -> int:
    """Attach an fentry or fexit program where it was loaded for; closing detaches it."""
    return bpf(RAW_TRACEPOINT_OPEN, struct.pack("=QI4x", 0, program))


def attach_kprobe(program: int, function: str, *, at_return: bool) -> int:
    """Attach a program to the entry or the return of a function of the kernel."""
    kind = int(text_of(f"{KPROBES}/type"))
    bit = text_of(f"{KPROBES}/format/retprobe").strip().removeprefix("config:")
    name = ctypes.create_string_buffer(function.encode())
    config = 1 << int(bit) if at_return else 0
    head = struct.pack("=IIQQQQ", kind, PERF_ATTR_SIZE, config, 0, 0, 0)
    attributes = head.ljust(56, b"\0") + struct.pack("=QQ", ctypes.addressof(name), 0)
    return _attach_perf(program, attributes)


def attach_raw_tracepoint(program: int, name: str) -> int:
    """Attach a program to a raw tracepoint; closing the descriptor detaches it."""
    text = ctypes.create_string_buffer(name.encode())
    return bpf(RAW_TRACEPOINT_OPEN, struct.pack("=QI4x", ctypes.addressof(text), program))


def attach_tracepoint(program: int, number: int) -> int:
    """Attach a program to a classic tracepoint; closing the descriptor detaches it."""
    head = struct.pack("=IIQQQ", PERF_TYPE_TRACEPOINT, PERF_ATTR_SIZE, number, 1, 0)
    return _attach_perf(program, head)


def _attach_perf(program: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, PERF_ATTR_SIZE)
    # One event on one CPU does: the program hangs on the tracepoint, not on the event.
    event = call(
        _NUMBERS[architecture()]["perf_event_open"], buffer, -1, 0, -1, PERF_FLAG_FD_CLOEXEC
    )
    try:
        for request, argument in ((PERF_EVENT_IOC_SET_BPF, program), (PERF_EVENT_IOC_ENABLE, 0)):
            if _LIBC.ioctl(event, ctypes.c_ulong(request), ctypes.c_long(argument)) < 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))
    except OSError:
        os.close(event)
        raise
    return event
