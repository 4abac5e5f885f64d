"""One decoder a syscall: from the text of its arguments to the fields of an event.

A decoder gets the arguments as strace printed them and what came back (None for the first half of a
split call), and returns a `Decoded`, or None for a call that the analysis does not need.  It raises
`Unreadable` when a call that matters cannot be read.  Key bytes end here: only four bytes of
crypto_info are decoded.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from ktrace import uapi
from ktrace.events import (
    AcceptDetail,
    CloexecDetail,
    CloneDetail,
    CloseRangeDetail,
    Detail,
    DupDetail,
    EpollCtlDetail,
    Family,
    FdList,
    FdNote,
    FdPair,
    IntDetail,
    IoDetail,
    KeyDetail,
    Kind,
    OptionDetail,
    Ready,
    SocketDetail,
    UlpDetail,
    WaitDetail,
)
from ktrace.sources.strace import values
from ktrace.sources.strace.lines import Outcome


class Unreadable(Exception):
    """A call that matters could not be read; the text says why and holds nothing of the line."""


class Decoded(NamedTuple):
    kind: Kind
    fd: int | None = None
    note: FdNote | None = None
    detail: Detail | None = None
    key_bytes: bool = False


Decoder = Callable[[list[str], Outcome | None], Decoded | None]


def _fd(args: list[str], index: int = 0) -> tuple[int | None, FdNote | None]:
    number, note = values.descriptor(args[index]) if len(args) > index else (None, None)
    if number is None:
        raise Unreadable("the descriptor is missing")
    return number, note


def _arg(args: list[str], index: int) -> str:
    return args[index] if len(args) > index else ""


def _simple(kind: Kind) -> Decoder:
    def decode(args: list[str], out: Outcome | None) -> Decoded:
        return Decoded(kind, *_fd(args))

    return decode


def _plain(kind: Kind) -> Decoder:
    def decode(args: list[str], out: Outcome | None) -> Decoded:
        return Decoded(kind)

    return decode


def _socket(args: list[str], out: Outcome | None) -> Decoded:
    if len(args) < 2:
        raise Unreadable("socket() without a type")
    bits = values.flags(args[1], {**uapi.SOCK_TYPES, **uapi.SOCK_FLAGS})
    family = values.constant(args[0].replace("PF_", "AF_"), uapi.AF)
    protocol = values.constant(_arg(args, 2), uapi.PROTOCOLS)
    return Decoded(
        Kind.SOCKET,
        detail=SocketDetail(
            uapi.AF_NAMES.get(-1 if family is None else family, args[0][:16]),
            uapi.SOCK_TYPE_NAMES.get(bits & 0xF, "other"),
            uapi.PROTOCOL_NAMES.get(-1 if protocol is None else protocol, "other"),
            bool(bits & uapi.SOCK_CLOEXEC),
            bool(bits & uapi.SOCK_NONBLOCK),
        ),
    )


def _pair(kind: Kind, index: int) -> Decoder:
    def decode(args: list[str], out: Outcome | None) -> Decoded:
        numbers = values.fd_set(_arg(args, index)) if out is not None else []
        cloexec = "CLOEXEC" in _arg(args, index + 1) or "CLOEXEC" in _arg(args, 1)
        pair = FdPair(numbers[0], numbers[1], cloexec) if len(numbers) >= 2 else None
        return Decoded(kind, detail=pair)

    return decode


def _addressed(kind: Kind) -> Decoder:
    def decode(args: list[str], out: Outcome | None) -> Decoded:
        return Decoded(kind, *_fd(args), detail=values.endpoint(_arg(args, 1)))

    return decode


def _accept(args: list[str], out: Outcome | None) -> Decoded:
    peer = values.endpoint(_arg(args, 1)) if out is not None else None
    cloexec = bool(values.flags(_arg(args, 3), uapi.SOCK_FLAGS) & uapi.SOCK_CLOEXEC)
    return Decoded(Kind.ACCEPT, *_fd(args), detail=AcceptDetail(peer, cloexec))


def _setsockopt(args: list[str], out: Outcome | None) -> Decoded:
    fd, note = _fd(args)
    level = values.constant(_arg(args, 1), uapi.LEVELS)
    if level == uapi.SOL_TCP:
        return _tcp_option(fd, note, args)
    if level == uapi.SOL_TLS:
        return _tls_option(fd, note, args)
    if level is None and len(args) < 3:
        raise Unreadable("setsockopt() without level and option")
    level_name = uapi.LEVEL_NAMES.get(-1 if level is None else level, "other")
    return Decoded(Kind.SOCKOPT, fd, note, OptionDetail(level_name, _word(_arg(args, 2))))


_WORD = re.compile(r"[A-Z][A-Z0-9_]{1,40}")


def _word(text: str) -> str:
    """Return the constant's name in `text`: a word of the kernel, never text of the program."""
    match = _WORD.search(text)
    return match[0] if match else str(values.integer(text.split(" ")[0] if text else ""))


def _tcp_option(fd: int | None, note: FdNote | None, args: list[str]) -> Decoded:
    option = values.constant(_arg(args, 2), uapi.TCP_OPTIONS)
    if option is None and _WORD.search(_arg(args, 2)) is None:
        raise Unreadable("setsockopt(SOL_TCP) without an option")
    if option != uapi.TCP_ULP:
        name = uapi.TCP_OPTION_NAMES.get(option, "") if option is not None else ""
        return Decoded(
            Kind.SOCKOPT,
            fd,
            note,
            OptionDetail("SOL_TCP", name or _word(_arg(args, 2)), values.integer(_arg(args, 3))),
        )
    optlen = values.integer(_arg(args, 4))
    name_shown = ulp_name(_arg(args, 3))
    if name_shown is not None and name_shown != "tls":
        return Decoded(Kind.SOCKOPT, fd, note, OptionDetail("SOL_TCP", "TCP_ULP"))
    return Decoded(Kind.ULP, fd, note, UlpDetail(name_shown, optlen))


def ulp_name(text: str) -> str | None:
    """Return the ULP's name by value: an int of four bytes, a string of any form, None when not
    shown.
    """
    if values.is_string(text):
        raw, cut = values.string(text, 16)
        name, nul, _ = raw.partition(b"\0")
        if cut and not nul and b"tls".startswith(name):
            return None
        return name.decode("ascii", "replace")
    shown = text.isdigit() or (text.startswith("[") and text.endswith("]"))  # not torn by the end
    number = values.integer(text) if shown else None
    if number is None or not 0 < number < 1 << 32:
        return None
    little = number.to_bytes(4, "little").partition(b"\0")[0]
    big = number.to_bytes(4, "big").partition(b"\0")[0]
    return "tls" if b"tls" in (little, big) else little.decode("ascii", "replace")


def _tls_option(fd: int | None, note: FdNote | None, args: list[str]) -> Decoded:
    option = values.constant(_arg(args, 2), uapi.TLS_OPTIONS)
    if option not in (uapi.TLS_TX, uapi.TLS_RX):
        if option is None and _WORD.search(_arg(args, 2)) is None:
            raise Unreadable("setsockopt(SOL_TLS) without an option")
        return Decoded(Kind.SOCKOPT, fd, note, OptionDetail("SOL_TLS", _word(_arg(args, 2))))
    version, cipher, key_bytes = crypto_info(_arg(args, 3))
    detail = KeyDetail(
        "tx" if option == uapi.TLS_TX else "rx", version, cipher, values.integer(_arg(args, 4))
    )
    return Decoded(Kind.KEY, fd, note, detail, key_bytes)


# What `ktrace scrub` puts in place of key bytes; anything else behind the fourth byte is key
# material.
FILLERS = (0x00, 0x58)
_REDACTED = re.compile(rb"[<\[][a-z _-]{3,40}[>\]]$")  # people write <redacted>


def is_key_material(rest: bytes) -> bool:
    """Tell whether what stands behind version and cipher can be a key: not filler, not words."""
    return any(byte not in FILLERS for byte in rest) and _REDACTED.match(rest) is None


def crypto_info(text: str) -> tuple[int | None, int | None, bool]:
    """Read version and cipher_type, and tell whether key bytes are shown; keeps nothing else."""
    if not values.is_string(text) or text.startswith(('"...', '"<')):
        return None, None, False
    raw, _ = values.string(text, 512)
    shown = is_key_material(raw[4:])
    version = _u16(raw, 0)
    cipher = _u16(raw, 2)
    if version is not None and version >> 8 != 3 and raw[:1] == b"\3":
        version = int.from_bytes(raw[:2], "big")  # a big-endian machine
    if cipher is not None and cipher > 0xFF and cipher & 0xFF == 0:
        cipher = int.from_bytes(raw[2:4], "big")
        version = int.from_bytes(raw[:2], "big")
    return version, cipher, shown


def _u16(raw: bytes, start: int) -> int | None:
    return int.from_bytes(raw[start : start + 2], "little") if len(raw) >= start + 2 else None


_STATE = re.compile(r"tcpi_state=(\w+)(?:\s*/\*\s*(\w+))?")


def _getsockopt(args: list[str], out: Outcome | None) -> Decoded:
    fd, note = _fd(args)
    level = values.constant(_arg(args, 1), uapi.LEVELS)
    if (
        level == uapi.SOL_SOCKET
        and values.constant(_arg(args, 2), uapi.SOCKET_OPTIONS) == uapi.SO_ERROR
    ):
        number = values.errno_number(_arg(args, 3)) if out is not None else None
        return Decoded(Kind.SO_ERROR, fd, note, None if number is None else IntDetail(number))
    if level == uapi.SOL_TCP and values.constant(_arg(args, 2), uapi.TCP_OPTIONS) == uapi.TCP_INFO:
        return Decoded(
            Kind.TCP_INFO, fd, note, _tcp_state(_arg(args, 3)) if out is not None else None
        )
    shown = level == uapi.SOL_TLS and crypto_info(_arg(args, 3))[2]
    return Decoded(Kind.GETSOCKOPT, fd, note, key_bytes=shown)


def _tcp_state(text: str) -> IntDetail | None:
    if values.is_string(text):
        raw, _ = values.string(text, 1)
        return IntDetail(raw[0]) if raw else None
    match = _STATE.search(text)
    if match is None:
        return None
    number = values.constant(match[2] or match[1], uapi.TCP_STATE_NUMBERS)
    return None if number is None else IntDetail(number)


def _shutdown(args: list[str], out: Outcome | None) -> Decoded:
    how = values.constant(_arg(args, 1).split(" ")[0], uapi.SHUTDOWN)
    return Decoded(Kind.SHUTDOWN, *_fd(args), detail=IntDetail(2 if how is None else how))


def _close_range(args: list[str], out: Outcome | None) -> Decoded:
    first, last = values.integer(_arg(args, 0)), values.integer(_arg(args, 1))
    if first is None or last is None:
        raise Unreadable("close_range() without its bounds")
    bits = values.flags(_arg(args, 2), uapi.CLOSE_RANGE_FLAGS)
    return Decoded(
        Kind.CLOSE_RANGE,
        detail=CloseRangeDetail(first, last & 0xFFFFFFFF, bool(bits & 4), bool(bits & 2)),
    )


def _dup(args: list[str], out: Outcome | None) -> Decoded:
    fd, note = _fd(args)
    target = values.descriptor(args[1])[0] if len(args) > 1 else None
    return Decoded(Kind.DUP, fd, note, DupDetail(target, "CLOEXEC" in _arg(args, 2)))


def _fcntl(args: list[str], out: Outcome | None) -> Decoded | None:
    command = values.constant(_arg(args, 1), uapi.FCNTL)
    if command in (0, 1030):
        return Decoded(Kind.DUP, *_fd(args), detail=DupDetail(None, command == 1030))
    if command == 2:
        bits = values.flags(_arg(args, 2), uapi.O_CLOEXEC)
        return Decoded(Kind.SETFD, *_fd(args), detail=IntDetail(bits & 1))
    return None


def _ioctl(args: list[str], out: Outcome | None) -> Decoded | None:
    request = values.constant(_arg(args, 1), uapi.IOCTLS)
    if request not in uapi.IOCTLS.values():
        return None
    return Decoded(Kind.SETFD, *_fd(args), detail=IntDetail(int(request == uapi.IOCTLS["FIOCLEX"])))


def _epoll_create(args: list[str], out: Outcome | None) -> Decoded:
    bits = values.flags(_arg(args, 0), uapi.O_CLOEXEC)
    return Decoded(Kind.EPOLL_CREATE, detail=CloexecDetail(bool(bits & 0o2000000)))


_OP_NAMES = {1: "ADD", 2: "DEL", 3: "MOD"}


def _epoll_ctl(args: list[str], out: Outcome | None) -> Decoded:
    epfd, note = _fd(args)
    op = _OP_NAMES.get(values.constant(_arg(args, 1), uapi.EPOLL_OPS) or 0)
    fd, _ = _fd(args, 2)
    if op is None or fd is None:
        raise Unreadable("epoll_ctl() without an operation")
    entries = values.epoll_events(_arg(args, 3))
    events, data = entries[0] if entries else (None, None)
    return Decoded(Kind.EPOLL_CTL, epfd, note, EpollCtlDetail(op, fd, events, data))


_CUT = re.compile(r"\.\.\.\s*\]")


def _epoll_wait(args: list[str], out: Outcome | None) -> Decoded:
    epfd, note = _fd(args)
    if out is None or not out.result or out.result < 0:
        return Decoded(Kind.WAIT, epfd, note, WaitDetail(()))
    array = _arg(args, 1)
    entries = values.epoll_events(array)
    ready = tuple(Ready(None, data, bits) for bits, data in entries)
    return Decoded(Kind.WAIT, epfd, note, WaitDetail(ready, len(entries) < out.result))


def _poll(args: list[str], out: Outcome | None) -> Decoded:
    asked = _arg(args, 0)
    watched = tuple(fd for fd, _ in values.poll_events(asked))
    all_shown = asked.startswith("[") and _CUT.search(asked) is None
    if out is None or not out.result or out.result < 0:
        return Decoded(Kind.WAIT, detail=WaitDetail((), watched=watched if all_shown else None))
    came = values.poll_events(out.suffix)
    ready = tuple(Ready(fd, None, bits) for fd, bits in came)
    hidden = len(came) < out.result
    return Decoded(Kind.WAIT, detail=WaitDetail(ready, hidden, watched if all_shown else None))


_SETS = re.compile(rf"\b(in|out|exc(?:ept)?) ({values.FD_SET})")
_SET_BITS = {"in": uapi.EPOLLIN, "out": uapi.EPOLLOUT}


def _select(args: list[str], out: Outcome | None) -> Decoded:
    asked = [arg for arg in args[1:4] if arg.startswith("[")]
    hidden_sets = any(arg.startswith("0x") for arg in args[1:4])
    watched = None if hidden_sets else tuple({fd for arg in asked for fd in values.fd_set(arg)})
    if out is None or not out.result or out.result < 0:
        return Decoded(Kind.WAIT, detail=WaitDetail((), watched=watched))
    ready = tuple(
        Ready(fd, None, _SET_BITS.get(name, 0x2))
        for name, members in _SETS.findall(out.suffix)
        for fd in values.fd_set(members)
    )
    return Decoded(Kind.WAIT, detail=WaitDetail(ready, len(ready) < out.result, watched))


def _clone(args: list[str], out: Outcome | None) -> Decoded:
    match = re.search(r"flags=([A-Za-z0-9_|/* ]+)", ", ".join(args))
    shown = match[1] if match else _clone_flags(args)
    if shown is None:
        return Decoded(Kind.CLONE)  # clone3 of which only the address of its arguments is shown
    bits = values.flags(shown, uapi.CLONE_FLAGS)
    return Decoded(Kind.CLONE, detail=CloneDetail(bool(bits & 0x400), bool(bits & 0x10000)))


def _clone_flags(args: list[str]) -> str | None:
    """Find the flags among the addresses of clone(), whose names have been dropped."""
    for arg in args:
        if "CLONE_" in arg or "SIG" in arg:
            return arg
    numbers = [(values.integer(arg), arg) for arg in args if len(args) > 2]
    return next((arg for number, arg in numbers if number and 0 < number < 1 << 32), None)


def _fork(args: list[str], out: Outcome | None) -> Decoded:
    return Decoded(Kind.CLONE, detail=CloneDetail())


def _exit(whole: bool) -> Decoder:
    def decode(args: list[str], out: Outcome | None) -> Decoded:
        return Decoded(Kind.EXIT, detail=IntDetail(int(whole)))

    return decode


def _pidfd_open(args: list[str], out: Outcome | None) -> Decoded:
    return Decoded(
        Kind.PIDFD_OPEN, detail=IntDetail(values.integer(_arg(args, 0).split("<")[0]) or 0)
    )


def _pidfd_getfd(args: list[str], out: Outcome | None) -> Decoded:
    fd, note = _fd(args)
    return Decoded(Kind.PIDFD_GETFD, fd, note, IntDetail(values.descriptor(_arg(args, 1))[0] or 0))


def _data(kind: Kind) -> Decoder:
    def decode(args: list[str], out: Outcome | None) -> Decoded:
        fd, note = _fd(args)
        text = "".join(arg for arg in args[2:] if "MSG_" in arg or arg.startswith("0x"))
        bits = values.flags(text, uapi.MSG_FLAGS) if text else 0
        if bits & uapi.MSG_ERRQUEUE:
            return Decoded(Kind.GETSOCKOPT, fd, note)  # the error queue is readable in any state
        return Decoded(kind, fd, note, IoDetail(bool(bits & uapi.MSG_FASTOPEN)))

    return decode


_RIGHTS = re.compile(
    r"cmsg_level=(?:SOL_SOCKET|0x1\b)[^,]*, cmsg_type=(?:SCM_RIGHTS|0x1\b)[^,]*, (?:cmsg_data=)?"
    rf"({values.FD_SET}|{values.STRING})"
)


def _message(kind: Kind, passing: Kind) -> Decoder:
    plain = _data(kind)

    def decode(args: list[str], out: Outcome | None) -> Decoded | None:
        text = _arg(args, 1)
        rights = _RIGHTS.search(text) if "cmsg_type" in text else None
        if rights is None:
            return plain([args[0] if args else "", "", *args[2:]], out)
        fds = values.fd_set(rights[1]) if rights[1][0] == "[" else _raw_fds(rights[1])
        cloexec = "MSG_CMSG_CLOEXEC" in _arg(args, 2)
        return Decoded(passing, *_fd(args), detail=FdList(tuple(fds), cloexec))

    return decode


def _raw_fds(text: str) -> list[int]:
    raw, _ = values.string(text)
    return [int.from_bytes(raw[i : i + 4], "little") for i in range(0, len(raw) - 3, 4)]


def _sendfile(args: list[str], out: Outcome | None) -> Decoded:
    return Decoded(Kind.WRITE, *_fd(args), detail=IoDetail())


def _splice(args: list[str], out: Outcome | None) -> Decoded:
    """Read splice() as a write to its second descriptor; the first may be the socket instead."""
    fd, note = _fd(args, 2)
    return Decoded(Kind.WRITE, fd, note, IoDetail(source=_fd(args)[0]))


def _io_uring_setup(args: list[str], out: Outcome | None) -> Decoded:
    return Decoded(Kind.IO_URING, detail=IntDetail(int("SQPOLL" in _arg(args, 1))))


def _prctl(args: list[str], out: Outcome | None) -> Decoded | None:
    chosen = (values.constant(_arg(args, 0), uapi.PRCTL), values.constant(_arg(args, 1), uapi.MODE))
    return Decoded(Kind.SECCOMP) if chosen == (uapi.PR_SET_SECCOMP, uapi.MODE_FILTER) else None


def _seccomp(args: list[str], out: Outcome | None) -> Decoded | None:
    operation = values.constant(_arg(args, 0), uapi.SECCOMP)
    return Decoded(Kind.SECCOMP) if operation == uapi.SET_MODE_FILTER else None


# A call that is not here is no candidate of the scanner, or matters for coverage only.
DECODERS: dict[str, Decoder] = {
    "socket": _socket,
    "socketpair": _pair(Kind.SOCKETPAIR, 3),
    "connect": _addressed(Kind.CONNECT),
    "accept": _accept,
    "accept4": _accept,
    "bind": _addressed(Kind.BIND),
    "listen": _simple(Kind.LISTEN),
    "setsockopt": _setsockopt,
    "getsockopt": _getsockopt,
    "getpeername": _addressed(Kind.GETPEERNAME),
    "getsockname": _addressed(Kind.GETSOCKNAME),
    "close": _simple(Kind.CLOSE),
    "close_range": _close_range,
    "shutdown": _shutdown,
    "dup": _dup,
    "dup2": _dup,
    "dup3": _dup,
    "fcntl": _fcntl,
    "fcntl64": _fcntl,
    "ioctl": _ioctl,
    "epoll_create": lambda args, out: Decoded(Kind.EPOLL_CREATE, detail=CloexecDetail()),
    "epoll_create1": _epoll_create,
    "epoll_ctl": _epoll_ctl,
    **dict.fromkeys(("epoll_wait", "epoll_pwait", "epoll_pwait2"), _epoll_wait),
    **dict.fromkeys(("poll", "ppoll", "ppoll_time64", "poll_time64"), _poll),
    **dict.fromkeys(("select", "_newselect", "pselect6", "pselect6_time64"), _select),
    **dict.fromkeys(("clone", "clone2", "clone3"), _clone),
    **dict.fromkeys(("fork", "vfork"), _fork),
    **dict.fromkeys(("execve", "execveat"), _plain(Kind.EXEC)),
    "exit": _exit(False),
    "exit_group": _exit(True),
    "io_uring_enter": _plain(Kind.IO_URING),
    "io_uring_setup": _io_uring_setup,
    "pidfd_open": _pidfd_open,
    "pidfd_getfd": _pidfd_getfd,
    "prctl": _prctl,
    "seccomp": _seccomp,
    **dict.fromkeys(("pipe", "pipe2"), _pair(Kind.OPENS_OTHER, 0)),
    **dict.fromkeys(
        (
            "open",
            "openat",
            "openat2",
            "creat",
            "eventfd",
            "eventfd2",
            "timerfd_create",
            "signalfd",
            "signalfd4",
        ),
        _plain(Kind.OPENS_OTHER),
    ),
    **dict.fromkeys(("memfd_create", "inotify_init", "inotify_init1"), _plain(Kind.OPENS_OTHER)),
    **dict.fromkeys(("read", "readv", "recv", "recvfrom"), _data(Kind.READ)),
    **dict.fromkeys(("pread64", "preadv", "preadv2"), _data(Kind.READ)),
    **dict.fromkeys(("write", "writev", "send", "sendto", "sendmmsg"), _data(Kind.WRITE)),
    **dict.fromkeys(("pwrite64", "pwritev", "pwritev2"), _data(Kind.WRITE)),
    "recvmmsg": _data(Kind.READ),
    "sendmsg": _message(Kind.WRITE, Kind.SEND_FDS),
    "recvmsg": _message(Kind.READ, Kind.RECV_FDS),
    **dict.fromkeys(("sendfile", "sendfile64"), _sendfile),
    "splice": _splice,
}

# Calls whose results are printed as arguments, so that their second half needs the text of the
# first.
OUT_ARGUMENTS = frozenset(
    [
        "socketpair",
        "accept",
        "accept4",
        "getsockopt",
        "getpeername",
        "getsockname",
        "epoll_wait",
        "epoll_pwait",
        "epoll_pwait2",
        "poll",
        "ppoll",
        "ppoll_time64",
        "poll_time64",
        "select",
        "_newselect",
        "pselect6",
        "pselect6_time64",
        "pipe",
        "pipe2",
        "recvmsg",
        "clone",
        "clone2",
        "clone3",
    ]
)

FAMILY_OF: dict[str, Family] = {
    **dict.fromkeys(("socket", "socketpair"), "socket"),
    "connect": "connect",
    **dict.fromkeys(("accept", "accept4"), "accept"),
    "listen": "listen",
    "setsockopt": "setsockopt",
    **dict.fromkeys(("getsockopt", "getpeername"), "getsockopt"),
    **dict.fromkeys(("close", "close_range", "shutdown"), "close"),
    **dict.fromkeys(("dup", "dup2", "dup3", "fcntl", "fcntl64"), "dup"),
    **dict.fromkeys(
        [
            "epoll_create",
            "epoll_create1",
            "epoll_ctl",
            "epoll_wait",
            "epoll_pwait",
            "epoll_pwait2",
            "poll",
            "ppoll",
            "ppoll_time64",
            "poll_time64",
            "select",
            "_newselect",
            "pselect6",
            "pselect6_time64",
        ],
        "wait",
    ),
    **dict.fromkeys(
        [
            "read",
            "readv",
            "recv",
            "recvfrom",
            "recvmsg",
            "recvmmsg",
            "pread64",
            "preadv",
            "preadv2",
            "write",
            "writev",
            "send",
            "sendto",
            "sendmsg",
            "sendmmsg",
            "pwrite64",
            "pwritev",
            "pwritev2",
            "sendfile",
            "sendfile64",
            "splice",
            "tee",
            "vmsplice",
        ],
        "io",
    ),
    **dict.fromkeys(
        ["clone", "clone2", "clone3", "fork", "vfork", "execve", "execveat", "exit", "exit_group"],
        "process",
    ),
}
