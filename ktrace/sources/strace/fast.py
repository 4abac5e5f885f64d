"""Short cuts for the few forms that make up nearly every record that matters.

A record is parted into descriptor, arguments and end.  Each of these comes again and again, so most
are read once and remembered. What comes out is what the decoder in calls.py gives, or None for any
other form; a test holds the two against each other.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import msgspec

from ktrace import uapi
from ktrace.events import (
    AcceptDetail,
    Detail,
    Endpoint,
    EpollCtlDetail,
    FdNote,
    IntDetail,
    IoDetail,
    KeyDetail,
    Kind,
    OptionDetail,
    Ready,
    UlpDetail,
    WaitDetail,
)
from ktrace.sources.strace import calls, options, values

Known = TypeVar("Known")


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


Result = tuple[int, str | None, FdNote | None]  # with the errno, the note behind a descriptor
Short = Callable[[bytes, Result, int | None], Read | None]
_NOTE = rb"(?:<([^<>\n]*+(?:(?<=-)>[^<>\n]*+)?)>)?"
_FD = re.compile(rb"(\d{1,9})" + _NOTE)
_RESULT = re.compile(rb"(\d{1,9})" + _NOTE + rb"|-1 (E[A-Z0-9]+) \([^()\n]*\)")
_V4_SOCKET = re.compile(
    rb"(\d{1,9})<TCP:\[([0-9.]{7,15}:[1-9]\d{0,4})->([0-9.]{7,15}:[1-9]\d{0,4})\]>"
)
_DURATION = re.compile(rb"(\d{1,6})\.(\d{6})>")
_V4 = (
    rb"\{sa_family=AF_INET, sin_port=htons\((\d{1,5})\), sin_addr=inet_addr\(\"([0-9.]{7,15})\"\)\}"
)
MOST_KEPT = 8192


class _Texts(dict[bytes, Known | None]):
    """What was read of short texts that come again and again.

    A text that was not understood is not kept: it may be a torn one, with a piece of a key in it.
    """

    def __init__(self, read: Callable[[bytes], Known | None]) -> None:
        self._read = read

    def __missing__(self, text: bytes) -> Known | None:
        known = self._read(text)
        if known is not None:
            if len(self) >= MOST_KEPT:
                self.clear()
            self[text] = known
        return known


def _v4_socket(text: bytes) -> tuple[int, FdNote] | None:
    """Read the commonest descriptor of -yy, a connected socket."""
    match = _V4_SOCKET.fullmatch(text)
    if match is None:
        return None
    number, local, peer = match.groups()
    return int(number), FdNote("TCP", None, local.decode(), peer.decode())


def _descriptor(text: bytes) -> tuple[int, FdNote | None] | None:
    known = _v4_socket(text)
    if known is not None:
        return known
    match = _FD.fullmatch(text)
    if match is None:
        return None
    return int(match[1]), _note(match[2])


def _result(text: bytes) -> Result | None:
    opened = _v4_socket(text)
    if opened is not None:
        return opened[0], None, opened[1]
    match = _RESULT.fullmatch(text)
    if match is None:
        return None
    result, result_note, errno = match.groups()
    if result is None:
        return -1, errno.decode(), None
    return int(result), None, _note(result_note)


def _duration_ns(text: bytes) -> int | None:
    match = _DURATION.fullmatch(text)
    return None if match is None else int(match[1] + match[2]) * 1000


def _note(raw: bytes | None) -> FdNote | None:
    return None if raw is None else values.note(raw.decode("utf-8", "replace"))


_DESCRIPTORS = _Texts(_descriptor)
_RESULTS = _Texts(_result)


def read(name: str, text: bytes) -> Read | None:
    """Read a whole record of the usual form; `text` is what follows `name(`."""
    body, lasted, seconds = text.rpartition(b" <")
    if not lasted:
        return read_lasting(name, text, None)
    duration_ns = _duration_ns(seconds)
    return read_lasting(name, body, duration_ns) if duration_ns is not None else None


def read_lasting(name: str, text: bytes, duration_ns: int | None) -> Read | None:
    """Read a record whose end, with the duration, was read and cut off."""
    short = SHORT.get(name)
    if short is None:
        return None
    args, _, result = text.rpartition(b") = ")
    known = _RESULTS[result]
    return short(args, known, duration_ns) if known is not None else None


def read_zero(name: str, args: bytes, duration_ns: int) -> Read | None:
    """Read the arguments of a call that returned 0 after so long."""
    short = SHORT.get(name)
    return short(args, _ZERO, duration_ns) if short is not None else None


_ZERO: Result = (0, None, None)
# found once: Python 3.11 takes as long to find a member of an Enum as to call a function
_KIND_ACCEPT, _KIND_CLOSE, _KIND_CONNECT = Kind.ACCEPT, Kind.CLOSE, Kind.CONNECT
_KIND_EPOLL_CTL, _KIND_KEY, _KIND_SHUTDOWN = Kind.EPOLL_CTL, Kind.KEY, Kind.SHUTDOWN
_KIND_SOCKET, _KIND_WAIT = Kind.SOCKET, Kind.WAIT


def _made(
    kind: Kind,
    fd: bytes,
    detail: Detail | None,
    result: Result,
    duration_ns: int | None,
    key_bytes: bool = False,
) -> Read | None:
    described = _DESCRIPTORS[fd]
    if described is None:
        return None
    number, note = described
    value, errno, result_note = result
    return Read(kind, number, note, detail, value, errno, result_note, duration_ns, key_bytes)


def _close(text: bytes, result: Result, duration_ns: int | None) -> Read | None:
    return _made(_KIND_CLOSE, text, None, result, duration_ns)


_SETSOCKOPT = re.compile(rb"(SOL_[A-Z0-9]{2,8}), ([A-Z][A-Z0-9_]{1,40}), \[(-?\d{1,10})\], (4)")
_BYTE = rb"(?>\\(?:x[0-9a-fA-F]{1,2}|[0-7]{1,3}|[a-z\"\\])|[^\"\\\n\x80-\xff])"
# version and cipher_type apart from the rest, which is looked at and dropped
_TLS = re.compile(
    rb"SOL_TLS, TLS_(TX|RX), \"(?!<|\.\.\.)(%s{4}+)((?:[^\"\\\n]++|\\.)*+)\"(?:\.\.\.)?" % _BYTE
    + rb", (\d{1,4})"
)
# a first byte that is neither filler nor the bracket before a word
_KEY_BYTE = re.compile(rb"[^\"\\\n<\[X\x80-\xff]|\\(?!130|74|133)[1-7]")


def _option(text: bytes) -> tuple[Kind, Detail] | None:
    match = _SETSOCKOPT.fullmatch(text)
    if match is None:
        return None
    level, name, value, optlen = match.groups()
    if level == b"SOL_TCP" and name == b"TCP_ULP":
        ulp = options.ulp_name(f"[{value.decode()}]")
        if ulp in (None, "tls"):
            return Kind.ULP, UlpDetail(ulp, int(optlen))
        return Kind.SOCKOPT, OptionDetail("SOL_TCP", "TCP_ULP")
    if level == b"SOL_TCP":
        return Kind.SOCKOPT, OptionDetail("SOL_TCP", name.decode(), int(value))
    if level in (b"SOL_SOCKET", b"SOL_IP", b"SOL_IPV6"):
        return Kind.SOCKOPT, OptionDetail(level.decode(), name.decode())
    return None


_OPTIONS = _Texts(_option)


def _setsockopt(text: bytes, result: Result, duration_ns: int | None) -> Read | None:
    fd, _, option = text.partition(b", ")
    if option.startswith(b"SOL_TLS"):
        return _key(fd, option, result, duration_ns)
    known = _OPTIONS[option]
    return _made(known[0], fd, known[1], result, duration_ns) if known is not None else None


def _key(fd: bytes, text: bytes, result: Result, duration_ns: int | None) -> Read | None:
    match = _TLS.fullmatch(text)
    if match is None:
        return None
    direction, four, rest, optlen = match.groups()
    shown = _KEY_BYTE.match(rest) is not None or (rest != b"" and _shows_key(four, rest))
    return _made(_KIND_KEY, fd, _key_detail(direction, four, optlen), result, duration_ns, shown)


def _shows_key(four: bytes, rest: bytes) -> bool:
    return options.crypto_info((b'"%s%s"' % (four, rest)).decode("utf-8", "replace"))[2]


@lru_cache(maxsize=64)
def _key_detail(direction: bytes, four: bytes, optlen: bytes) -> KeyDetail:
    version, cipher, _ = options.crypto_info(f'"{four.decode()}"')
    return KeyDetail("tx" if direction == b"TX" else "rx", version, cipher, int(optlen))


_EPOLL_CTL = re.compile(
    rb"EPOLL_CTL_(ADD|MOD|DEL), (\d{1,9})(?:<[^<>\n]*+(?:(?<=-)>[^<>\n]*+)?>)?, "
    rb"(?:\{events=(EPOLL[A-Z|]+), data=(?:\{u32=\d+, u64=(\d{1,20})\}|(0x[0-9a-f]{1,16}))\}"
    rb"|NULL|0x[0-9a-f]+)"
)


def _epoll_ctl(text: bytes, result: Result, duration_ns: int | None) -> Read | None:
    epfd, _, rest = text.partition(b", ")
    match = _EPOLL_CTL.fullmatch(rest)
    if match is None:
        return None
    op, fd, events, data, hexed = match.groups()
    shown = int(data) if data else int(hexed, 16) if hexed else None
    bits = None if events is None else _bits(events)
    detail = EpollCtlDetail(_OPS[op], int(fd), bits, shown)
    return _made(_KIND_EPOLL_CTL, epfd, detail, result, duration_ns)


_OPS = {op.encode(): op for op in ("ADD", "MOD", "DEL")}


@lru_cache(maxsize=256)
def _bits(events: bytes) -> int:
    return values.event_bits(events.decode())


def _ready(array: bytes) -> tuple[Ready, ...]:
    entries = values.epoll_events(array.decode("utf-8", "replace"))
    return tuple([Ready(None, data, bits) for bits, data in entries])


_remembered = lru_cache(maxsize=MOST_KEPT)(_ready)
MOST_SHOWN = 120  # bytes; longer arrays hardly come twice
_EPOLL_WAIT = re.compile(rb"\[([^\]\n.]*)\], \d{1,9}, -?\d{1,9}(?:, NULL, 8)?")


def _epoll_wait(text: bytes, result: Result, duration_ns: int | None) -> Read | None:
    epfd, _, rest = text.partition(b", ")
    match = _EPOLL_WAIT.fullmatch(rest)
    if match is None:
        return None
    array, count = match[1], max(result[0], 0)
    ready = _remembered(array) if len(array) < MOST_SHOWN else _ready(array)
    detail = WaitDetail(ready if count else (), len(ready) < count)
    return _made(_KIND_WAIT, epfd, detail, result, duration_ns)


_CONNECT = re.compile(_V4 + rb", 16")
_ACCEPT = re.compile(_V4 + rb", \[[^\]\n]*\](?:, (0|SOCK_[A-Z_|]+))?")


def _address(text: bytes) -> Endpoint | None:
    match = _CONNECT.fullmatch(text)
    return None if match is None else Endpoint("AF_INET", match[2].decode(), int(match[1]))


_ADDRESSES = _Texts(_address)


def _connect(text: bytes, result: Result, duration_ns: int | None) -> Read | None:
    fd, _, address = text.partition(b", ")
    endpoint = _ADDRESSES[address]
    return _made(_KIND_CONNECT, fd, endpoint, result, duration_ns) if endpoint is not None else None


def _accept(text: bytes, result: Result, duration_ns: int | None) -> Read | None:
    fd, _, rest = text.partition(b", ")
    match = _ACCEPT.fullmatch(rest)
    if match is None:
        return None
    port, address, flags = match.groups()
    peer = Endpoint("AF_INET", address.decode(), int(port))
    detail = AcceptDetail(peer, b"CLOEXEC" in (flags or b""))
    return _made(_KIND_ACCEPT, fd, detail, result, duration_ns)


_HOW = {name.encode(): IntDetail(number) for name, number in uapi.SHUTDOWN.items()}


def _shutdown(text: bytes, result: Result, duration_ns: int | None) -> Read | None:
    fd, _, how = text.partition(b", ")
    detail = _HOW.get(how)
    return _made(_KIND_SHUTDOWN, fd, detail, result, duration_ns) if detail is not None else None


_SOCKET = re.compile(rb"([A-Z_0-9]{2,20}), ([A-Z_|]{2,60}), ([A-Z_0-9]{1,20})")


def _arguments(text: bytes) -> Detail | None:
    if _SOCKET.fullmatch(text) is None:
        return None
    decoded = calls.DECODERS["socket"](text.decode().split(", "), None)
    return decoded.detail if decoded is not None else None


_ARGUMENTS: "_Texts[Detail]" = _Texts(_arguments)


def _socket(text: bytes, result: Result, duration_ns: int | None) -> Read | None:
    detail = _ARGUMENTS[text]
    if detail is None:
        return None
    value, errno, result_note = result
    return Read(_KIND_SOCKET, None, None, detail, value, errno, result_note, duration_ns)


_PLAIN_IO = IoDetail()
# a data call with one of these words or with flags in numbers may do more than move data; with an
# equals sign it may be two records on one line
_SPECIAL = re.compile(rb"cmsg|FASTOPEN|MSG_ERRQUEUE|, 0x| = ")


def _moves(kind: Kind) -> Short:
    def short(text: bytes, result: Result, duration_ns: int | None) -> Read | None:
        fd, _, rest = text.partition(b", ")
        if _SPECIAL.search(rest) is not None:
            return None
        return _made(kind, fd, _PLAIN_IO, result, duration_ns)

    return short


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
    **dict.fromkeys(("read", "readv", "recv", "recvfrom", "recvmsg"), _moves(Kind.READ)),
    **dict.fromkeys(("write", "writev", "send", "sendto", "sendmsg"), _moves(Kind.WRITE)),
}
