"""Short cuts for the few forms that make up nearly every record that matters.

Each reads a whole record with one regular expression and gives what the decoder in calls.py gives
for it, or None for any other form; a test holds the two against each other.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

from ktrace import uapi
from ktrace.events import (
    AcceptDetail,
    Detail,
    Endpoint,
    EpollCtlDetail,
    FdNote,
    IntDetail,
    KeyDetail,
    Kind,
    OptionDetail,
    Ready,
    UlpDetail,
    WaitDetail,
)
from ktrace.sources.strace import calls, values


class Read(msgspec.Struct, frozen=True, gc=False):
    """A record read at once: the fields of an event that come from its text."""

    kind: Kind
    fd: int | None
    note: FdNote | None
    detail: Detail | None
    result: int
    errno: str | None
    result_note: FdNote | None
    duration_ns: int | None
    key_bytes: bool = False


Short = Callable[[bytes, int], Read | None]
_NOTE = rb"(?:<([^<>\n]*+(?:(?<=-)>[^<>\n]*+)?)>)?"
_FD = rb"(\d{1,9})" + _NOTE
_TAIL = rb"\) = (?:(\d{1,9})" + _NOTE + rb"|-1 (E[A-Z0-9]+) \([^()\n]*\))(?: <(\d{1,6}\.\d{6})>)?$"
_V4 = (
    rb"\{sa_family=AF_INET, sin_port=htons\((\d{1,5})\), sin_addr=inet_addr\(\"([0-9.]{7,15})\"\)\}"
)


def _pattern(middle: bytes) -> re.Pattern[bytes]:
    return re.compile(_FD + middle + _TAIL)


@lru_cache(maxsize=8192)
def _note(raw: bytes) -> FdNote | None:
    return values.note(raw.decode("utf-8", "replace"))


@lru_cache(maxsize=64)
def _errno(raw: bytes) -> str:
    return raw.decode()


def _read(
    kind: Kind,
    fd: bytes | None,
    note: bytes | None,
    detail: Detail | None,
    result: bytes | None,
    result_note: bytes | None,
    errno: bytes | None,
    seconds: bytes | None,
    *,
    key_bytes: bool = False,
) -> Read:
    return Read(
        kind,
        None if fd is None else int(fd),
        None if note is None else _note(note),
        detail,
        -1 if result is None else int(result),
        None if errno is None else _errno(errno),
        None if result_note is None else _note(result_note),
        None if seconds is None else int(seconds.replace(b".", b"")) * 1000,
        key_bytes,
    )


# found once: Python 3.11 takes as long to find a member of an Enum as to call a function
_KIND_ACCEPT, _KIND_CLOSE, _KIND_CONNECT = Kind.ACCEPT, Kind.CLOSE, Kind.CONNECT
_KIND_EPOLL_CTL, _KIND_KEY, _KIND_SHUTDOWN = Kind.EPOLL_CTL, Kind.KEY, Kind.SHUTDOWN
_KIND_SOCKET, _KIND_WAIT = Kind.SOCKET, Kind.WAIT

_CLOSE = _pattern(b"")


def _close(text: bytes, start: int) -> Read | None:
    match = _CLOSE.match(text, start)
    if match is None:
        return None
    fd, note, result, result_note, errno, seconds = match.groups()
    return _read(_KIND_CLOSE, fd, note, None, result, result_note, errno, seconds)


_SETSOCKOPT = _pattern(rb", (SOL_[A-Z0-9]{2,8}), ([A-Z][A-Z0-9_]{1,40}), \[(-?\d{1,10})\], (4)")
_BYTE = rb"(?>\\(?:x[0-9a-fA-F]{1,2}|[0-7]{1,3}|[a-z\"\\])|[^\"\\\n\x80-\xff])"
# version and cipher_type apart from the rest, which is looked at and dropped
_TLS = _pattern(
    rb", SOL_TLS, TLS_(TX|RX), \"(?!<|\.\.\.)(%s{4}+)((?:[^\"\\\n]++|\\.)*+)\"(?:\.\.\.)?" % _BYTE
    + rb", (\d{1,4})"
)
# a first byte that is neither filler nor the bracket before a word
_KEY_BYTE = re.compile(rb"[^\"\\\n<\[X\x80-\xff]|\\(?!130|74|133)[1-7]")


@lru_cache(maxsize=512)
def _option(level: bytes, name: bytes, value: bytes, optlen: bytes) -> tuple[Kind, Detail] | None:
    if level == b"SOL_TCP" and name == b"TCP_ULP":
        ulp = calls.ulp_name(f"[{value.decode()}]")
        if ulp in (None, "tls"):
            return Kind.ULP, UlpDetail(ulp, int(optlen))
        return Kind.SOCKOPT, OptionDetail("SOL_TCP", "TCP_ULP")
    if level == b"SOL_TCP":
        return Kind.SOCKOPT, OptionDetail("SOL_TCP", name.decode(), int(value))
    if level in (b"SOL_SOCKET", b"SOL_IP", b"SOL_IPV6"):
        return Kind.SOCKOPT, OptionDetail(level.decode(), name.decode())
    return None


def _setsockopt(text: bytes, start: int) -> Read | None:
    match = _SETSOCKOPT.match(text, start)
    if match is None:
        return _key(text, start)
    fd, note, level, name, value, optlen, result, result_note, errno, seconds = match.groups()
    option = _option(level, name, value, optlen)
    if option is None:
        return None
    kind, detail = option
    return _read(kind, fd, note, detail, result, result_note, errno, seconds)


def _key(text: bytes, start: int) -> Read | None:
    match = _TLS.match(text, start)
    if match is None:
        return None
    fd, note, direction, four, rest, optlen, result, result_note, errno, seconds = match.groups()
    shown = _KEY_BYTE.match(rest) is not None or (rest != b"" and _shows_key(four, rest))
    detail = _key_detail(direction, four, optlen)
    return _read(_KIND_KEY, fd, note, detail, result, result_note, errno, seconds, key_bytes=shown)


def _shows_key(four: bytes, rest: bytes) -> bool:
    return calls.crypto_info((b'"%s%s"' % (four, rest)).decode("utf-8", "replace"))[2]


@lru_cache(maxsize=64)
def _key_detail(direction: bytes, four: bytes, optlen: bytes) -> KeyDetail:
    version, cipher, _ = calls.crypto_info(f'"{four.decode()}"')
    return KeyDetail("tx" if direction == b"TX" else "rx", version, cipher, int(optlen))


_EPOLL_CTL = _pattern(
    rb", EPOLL_CTL_(ADD|MOD|DEL), (\d{1,9})(?:<[^<>\n]*+(?:(?<=-)>[^<>\n]*+)?>)?, "
    rb"(?:\{events=(EPOLL[A-Z|]+), data=(?:\{u32=\d+, u64=(\d{1,20})\}|(0x[0-9a-f]{1,16}))\}"
    rb"|NULL|0x[0-9a-f]+)"
)


def _epoll_ctl(text: bytes, start: int) -> Read | None:
    match = _EPOLL_CTL.match(text, start)
    if match is None:
        return None
    epfd, note, op, fd, events, data, hexed, result, result_note, errno, seconds = match.groups()
    shown = int(data) if data else int(hexed, 16) if hexed else None
    bits = None if events is None else _bits(events)
    detail = EpollCtlDetail(_OPS[op], int(fd), bits, shown)
    return _read(_KIND_EPOLL_CTL, epfd, note, detail, result, result_note, errno, seconds)


_OPS = {op.encode(): op for op in ("ADD", "MOD", "DEL")}


@lru_cache(maxsize=256)
def _bits(events: bytes) -> int:
    return values.event_bits(events.decode())


_EPOLL_WAIT = _pattern(rb", \[([^\]\n.]*)\], \d{1,9}, -?\d{1,9}(?:, NULL, 8)?")


def _epoll_wait(text: bytes, start: int) -> Read | None:
    match = _EPOLL_WAIT.match(text, start)
    if match is None:
        return None
    epfd, note, array, result, result_note, errno, seconds = match.groups()
    entries = values.epoll_events(array.decode("utf-8", "replace"))
    ready = tuple(Ready(None, data, bits) for bits, data in entries)
    count = int(result) if result else 0
    detail = WaitDetail(ready if count else (), len(entries) < count)
    return _read(_KIND_WAIT, epfd, note, detail, result, result_note, errno, seconds)


_CONNECT = _pattern(rb", " + _V4 + rb", 16")


def _connect(text: bytes, start: int) -> Read | None:
    match = _CONNECT.match(text, start)
    if match is None:
        return None
    fd, note, port, address, result, result_note, errno, seconds = match.groups()
    detail = Endpoint("AF_INET", address.decode(), int(port))
    return _read(_KIND_CONNECT, fd, note, detail, result, result_note, errno, seconds)


_ACCEPT = _pattern(rb", " + _V4 + rb", \[[^\]\n]*\](?:, (0|SOCK_[A-Z_|]+))?")


def _accept(text: bytes, start: int) -> Read | None:
    match = _ACCEPT.match(text, start)
    if match is None:
        return None
    fd, note, port, address, flags, result, result_note, errno, seconds = match.groups()
    peer = Endpoint("AF_INET", address.decode(), int(port))
    detail = AcceptDetail(peer, b"CLOEXEC" in (flags or b""))
    return _read(_KIND_ACCEPT, fd, note, detail, result, result_note, errno, seconds)


_SHUTDOWN = _pattern(rb", (SHUT_RD|SHUT_WR|SHUT_RDWR)")


def _shutdown(text: bytes, start: int) -> Read | None:
    match = _SHUTDOWN.match(text, start)
    if match is None:
        return None
    fd, note, how, result, result_note, errno, seconds = match.groups()
    return _read(_KIND_SHUTDOWN, fd, note, _HOW[how], result, result_note, errno, seconds)


_HOW = {name.encode(): IntDetail(number) for name, number in uapi.SHUTDOWN.items()}

_SOCKET = re.compile(rb"([A-Z_0-9]{2,20}), ([A-Z_|]{2,60}), ([A-Z_0-9]{1,20})" + _TAIL)


@lru_cache(maxsize=256)
def _arguments(family: bytes, kind: bytes, protocol: bytes) -> Detail | None:
    decoded = calls.DECODERS["socket"]([family.decode(), kind.decode(), protocol.decode()], None)
    return decoded.detail if decoded is not None else None


def _socket(text: bytes, start: int) -> Read | None:
    match = _SOCKET.match(text, start)
    if match is None:
        return None
    *arguments, result, result_note, errno, seconds = match.groups()
    detail = _arguments(*arguments)
    return _read(_KIND_SOCKET, None, None, detail, result, result_note, errno, seconds)


SHORT: dict[str, Short] = {
    "close": _close,
    "setsockopt": _setsockopt,
    "epoll_ctl": _epoll_ctl,
    "epoll_wait": _epoll_wait,
    "connect": _connect,
    "accept": _accept,
    "accept4": _accept,
    "shutdown": _shutdown,
    "socket": _socket,
}
