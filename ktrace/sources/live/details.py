"""What the fields of a record mean, call by call: Details, addresses."""

import socket as _socket
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from ktrace import uapi
from ktrace.events import (
    AcceptDetail,
    CloneDetail,
    Detail,
    DupDetail,
    Endpoint,
    FdNote,
    IntDetail,
    KeyDetail,
    Kind,
    OptionDetail,
    Ready,
    SocketDetail,
    UlpDetail,
    WaitDetail,
)
from ktrace.sources.live import layout
from ktrace.sources.live.layout import PLACE

# by plain numbers: a member of socket's Enum is found slowly
_AF_INET = int(_socket.AF_INET)
_PROTOCOLS = {_AF_INET: "TCP", int(_socket.AF_INET6): "TCPv6"}


class Where(NamedTuple):
    """What a record's place says: the note for its descriptor, the inode, the peer's address."""

    note: FdNote | None
    inode: int
    family: int
    dport: int
    daddr: bytes

    @property
    def peer(self) -> Endpoint | None:
        return endpoint(self.family, self.daddr, self.dport) if self.dport else None


def where(place: bytes) -> Where:
    """Read a place: which socket, and its addresses."""
    family, inode, sport, dport, saddr, daddr = PLACE.unpack(place)
    protocol = _PROTOCOLS.get(family)
    if protocol is None:
        return Where(None, inode, 0, dport, daddr)
    local = f"{_host(family, saddr)}:{sport}" if sport else None
    peer = f"{_host(family, daddr)}:{dport}" if dport else None
    return Where(FdNote(protocol, inode or None, local, peer), inode, family, dport, daddr)


@lru_cache(65536)
def _host(family: int, address: bytes) -> str:
    """Return an address as it stands before a port."""
    if family == _AF_INET:
        return _socket.inet_ntop(_socket.AF_INET, address[:4])
    return f"[{_socket.inet_ntop(_socket.AF_INET6, address)}]"


def endpoint(family: int, address: bytes, port: int) -> Endpoint | None:
    """Return an address, None for a family that has none that matters here."""
    if family == _socket.AF_INET:
        return Endpoint("AF_INET", _host(family, address), port)
    if family == _socket.AF_INET6:
        return Endpoint("AF_INET6", _host(family, address)[1:-1], port)
    return None


class What(NamedTuple):
    """The fields of a record's `what` that make details; `begun`: it is a call's first half."""

    arg0: int
    arg1: int
    flags: int
    begun: bool

    @property
    def cloexec(self) -> bool:
        return bool(self.flags & layout.CLOEXEC)


def fixed(kind: Kind, what: What) -> Detail | None:
    """Return the detail of a call that `what` alone tells."""
    make = FIXED.get(kind)
    return None if make is None else make(what)


def _socket_detail(what: What) -> SocketDetail:
    family, protocol, kind = what.arg0 & 0xFFFF, what.arg0 >> 16, what.arg1
    return SocketDetail(
        family=uapi.AF_NAMES.get(family, str(family)),
        type=uapi.SOCK_TYPE_NAMES.get(kind & 0xF, str(kind & 0xF)),
        protocol=uapi.PROTOCOL_NAMES.get(protocol, str(protocol)),
        cloexec=bool(kind & uapi.SOCK_CLOEXEC),
        nonblock=bool(kind & uapi.SOCK_NONBLOCK),
    )


def _key_detail(what: What) -> KeyDetail:
    optlen = what.arg0 >> 16
    shown = optlen >= 4
    return KeyDetail(
        direction="tx" if what.arg0 & 0xFFFF == uapi.TLS_TX else "rx",
        version=what.arg1 & 0xFFFF if shown else None,
        cipher=what.arg1 >> 16 if shown else None,
        optlen=optlen,
    )


def _option_detail(what: What) -> OptionDetail:
    number = what.arg0 & 0xFFFF
    return OptionDetail("SOL_TCP", uapi.TCP_OPTION_NAMES.get(number, str(number)), what.arg1)


def _wait_detail(what: What) -> WaitDetail:
    if what.flags & layout.HIDDEN:
        return WaitDetail((), hidden=True)
    return WaitDetail((Ready(what.arg0, None, what.arg1),))


def _clone_detail(what: What) -> CloneDetail:
    return CloneDetail(bool(what.flags & layout.FILES), bool(what.flags & layout.THREAD))


FIXED: dict[Kind, Callable[[What], Detail]] = {
    Kind.SOCKET: _socket_detail,
    Kind.ULP: lambda w: UlpDetail(None if w.flags & layout.OTHER_ULP else "tls", w.arg0 or None),
    Kind.KEY: _key_detail,
    Kind.SOCKOPT: _option_detail,
    Kind.CLOSE: lambda w: IntDetail(w.arg0),
    Kind.SHUTDOWN: lambda w: IntDetail(w.arg0),
    Kind.DUP: lambda w: DupDetail(w.arg0 if w.arg0 < 1 << 31 else None, w.cloexec),
    Kind.SETFD: lambda w: IntDetail(int(w.cloexec)),
    Kind.WAIT: _wait_detail,
    Kind.CLONE: _clone_detail,
    Kind.EXIT: lambda w: IntDetail(int(bool(w.flags & layout.THREAD))),
}

# Details that also need the result, or what the place says.
Maker = Callable[[int, Where], Detail | None]


def maker(kind: Kind, what: What) -> Maker | None:
    """Return what makes the detail of a call of which `what` is not enough."""
    if kind is Kind.CONNECT:
        return _connect_maker(what)
    if kind is Kind.ACCEPT:
        return lambda result, at: AcceptDetail(at.peer, what.cloexec)
    if kind in (Kind.SO_ERROR, Kind.TCP_INFO):
        return lambda result, at: None if result < 0 else IntDetail(what.arg0)
    if kind is Kind.GETPEERNAME:
        return lambda result, at: at.peer
    return None


def _connect_maker(what: What) -> Maker:
    if what.arg0 == _socket.AF_UNSPEC:
        return lambda result, at: Endpoint("AF_UNSPEC")
    if what.begun:
        # what it asked for stands in place of the socket's own
        return lambda result, at: endpoint(what.arg0, at.daddr, at.dport)
    return lambda result, at: at.peer
