"""One decoder a syscall: from the text of its arguments to the fields of an event.

A decoder gets the arguments as strace printed them and what came back (None for the first half of a
split call), and returns a `Decoded`, or None for a call that the analysis does not need.  It raises
`Unreadable` when a call that matters cannot be read.
"""

import re

from ktrace import uapi
from ktrace.events import (
    AcceptDetail,
    CloexecDetail,
    CloneDetail,
    CloseRangeDetail,
    DupDetail,
    Family,
    FdList,
    FdPair,
    IntDetail,
    IoDetail,
    Kind,
    SocketDetail,
)
from ktrace.sources.strace import options, values, waits
from ktrace.sources.strace.decoded import Decoded, Decoder, Unreadable, arg_of, fd_of
from ktrace.sources.strace.lines import Outcome


def _simple(kind: Kind) -> Decoder:
    def decode(args: list[str], out: Outcome | None) -> Decoded:
        return Decoded(kind, *fd_of(args))

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
    protocol = values.constant(arg_of(args, 2), uapi.PROTOCOLS)
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
        numbers = values.fd_set(arg_of(args, index)) if out is not None else []
        cloexec = "CLOEXEC" in arg_of(args, index + 1) or "CLOEXEC" in arg_of(args, 1)
        pair = FdPair(numbers[0], numbers[1], cloexec) if len(numbers) >= 2 else None
        return Decoded(kind, detail=pair)

    return decode


def _addressed(kind: Kind) -> Decoder:
    def decode(args: list[str], out: Outcome | None) -> Decoded:
        return Decoded(kind, *fd_of(args), detail=values.endpoint(arg_of(args, 1)))

    return decode


def _accept(args: list[str], out: Outcome | None) -> Decoded:
    peer = values.endpoint(arg_of(args, 1)) if out is not None else None
    cloexec = bool(values.flags(arg_of(args, 3), uapi.SOCK_FLAGS) & uapi.SOCK_CLOEXEC)
    return Decoded(Kind.ACCEPT, *fd_of(args), detail=AcceptDetail(peer, cloexec))


def _shutdown(args: list[str], out: Outcome | None) -> Decoded:
    how = values.constant(arg_of(args, 1).split(" ")[0], uapi.SHUTDOWN)
    return Decoded(Kind.SHUTDOWN, *fd_of(args), detail=IntDetail(2 if how is None else how))


def _close_range(args: list[str], out: Outcome | None) -> Decoded:
    first, last = values.integer(arg_of(args, 0)), values.integer(arg_of(args, 1))
    if first is None or last is None:
        raise Unreadable("close_range() without its bounds")
    bits = values.flags(arg_of(args, 2), uapi.CLOSE_RANGE_FLAGS)
    return Decoded(
        Kind.CLOSE_RANGE,
        detail=CloseRangeDetail(first, last & 0xFFFFFFFF, bool(bits & 4), bool(bits & 2)),
    )


def _dup(args: list[str], out: Outcome | None) -> Decoded:
    fd, note = fd_of(args)
    target = values.descriptor(args[1])[0] if len(args) > 1 else None
    return Decoded(Kind.DUP, fd, note, DupDetail(target, "CLOEXEC" in arg_of(args, 2)))


def _fcntl(args: list[str], out: Outcome | None) -> Decoded | None:
    command = values.constant(arg_of(args, 1), uapi.FCNTL)
    if command in (0, 1030):
        return Decoded(Kind.DUP, *fd_of(args), detail=DupDetail(None, command == 1030))
    if command == 2:
        bits = values.flags(arg_of(args, 2), uapi.O_CLOEXEC)
        return Decoded(Kind.SETFD, *fd_of(args), detail=IntDetail(bits & 1))
    return None


def _ioctl(args: list[str], out: Outcome | None) -> Decoded | None:
    request = values.constant(arg_of(args, 1), uapi.IOCTLS)
    if request not in uapi.IOCTLS.values():
        return None
    return Decoded(
        Kind.SETFD, *fd_of(args), detail=IntDetail(int(request == uapi.IOCTLS["FIOCLEX"]))
    )


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
        Kind.PIDFD_OPEN, detail=IntDetail(values.integer(arg_of(args, 0).split("<")[0]) or 0)
    )


def _pidfd_getfd(args: list[str], out: Outcome | None) -> Decoded:
    fd, note = fd_of(args)
    return Decoded(
        Kind.PIDFD_GETFD, fd, note, IntDetail(values.descriptor(arg_of(args, 1))[0] or 0)
    )


def _data(kind: Kind) -> Decoder:
    def decode(args: list[str], out: Outcome | None) -> Decoded:
        fd, note = fd_of(args)
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
        text = arg_of(args, 1)
        rights = _RIGHTS.search(text) if "cmsg_type" in text else None
        if rights is None:
            return plain([args[0] if args else "", "", *args[2:]], out)
        fds = values.fd_set(rights[1]) if rights[1][0] == "[" else _raw_fds(rights[1])
        cloexec = "MSG_CMSG_CLOEXEC" in arg_of(args, 2)
        return Decoded(passing, *fd_of(args), detail=FdList(tuple(fds), cloexec))

    return decode


def _raw_fds(text: str) -> list[int]:
    raw, _ = values.string(text)
    return [int.from_bytes(raw[i : i + 4], "little") for i in range(0, len(raw) - 3, 4)]


def _sendfile(args: list[str], out: Outcome | None) -> Decoded:
    return Decoded(Kind.WRITE, *fd_of(args), detail=IoDetail())


def _splice(args: list[str], out: Outcome | None) -> Decoded:
    """Read splice() as a write to its second descriptor; the first may be the socket instead."""
    fd, note = fd_of(args, 2)
    return Decoded(Kind.WRITE, fd, note, IoDetail(source=fd_of(args)[0]))


def _io_uring_setup(args: list[str], out: Outcome | None) -> Decoded:
    return Decoded(Kind.IO_URING, detail=IntDetail(int("SQPOLL" in arg_of(args, 1))))


def _prctl(args: list[str], out: Outcome | None) -> Decoded | None:
    chosen = (
        values.constant(arg_of(args, 0), uapi.PRCTL),
        values.constant(arg_of(args, 1), uapi.MODE),
    )
    return Decoded(Kind.SECCOMP) if chosen == (uapi.PR_SET_SECCOMP, uapi.MODE_FILTER) else None


def _seccomp(args: list[str], out: Outcome | None) -> Decoded | None:
    operation = values.constant(arg_of(args, 0), uapi.SECCOMP)
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
    "setsockopt": options.setsockopt,
    "getsockopt": options.getsockopt,
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
    "epoll_create1": waits.epoll_create,
    "epoll_ctl": waits.epoll_ctl,
    **dict.fromkeys(("epoll_wait", "epoll_pwait", "epoll_pwait2"), waits.epoll_wait),
    **dict.fromkeys(("poll", "ppoll", "ppoll_time64", "poll_time64"), waits.poll),
    **dict.fromkeys(("select", "_newselect", "pselect6", "pselect6_time64"), waits.select),
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
