"""Records of the probe -> Events."""

import socket as _socket
from collections.abc import Callable, Iterator

from ktrace import uapi
from ktrace.events import (
    AcceptDetail,
    CloneDetail,
    CloseRangeDetail,
    Detail,
    DupDetail,
    Endpoint,
    Event,
    FdNote,
    IntDetail,
    KeyDetail,
    Kind,
    OptionDetail,
    Phase,
    Ready,
    SocketDetail,
    StateDetail,
    UlpDetail,
    WaitDetail,
)
from ktrace.sources.live import layout
from ktrace.sources.live.identity import Identities
from ktrace.sources.live.layout import BY_NUMBER, RECORD, Record
from ktrace.sources.live.ring import HEADER, STRIDE

SYN_RECV, ESTABLISHED = 3, 1
PHASES = (Phase.WHOLE, Phase.BEGIN, Phase.END)
Stacks = Callable[[int, int], tuple[str, ...] | None]


class Decoder:
    """Turns drained chunks into Events, in the order of the ring.

    `offset_ns` turns the probe's clock (monotonic) into the epoch; `stacks` names the frames of a
    recorded user stack by (tgid, slot).
    """

    def __init__(self, offset_ns: int, stacks: Stacks | None = None) -> None:
        self._offset = offset_ns
        self._stacks = stacks
        self._identities = Identities()
        self._comms: dict[bytes, str] = {}
        self._named: dict[int, tuple[str, ...]] = {}  # stacks of attempts under way, by thread
        self._details: dict[Kind, Callable[[Record], Detail | None]] = {
            Kind.SOCKET: _socket_detail,
            Kind.CONNECT: _connect_detail,
            Kind.ACCEPT: _accept_detail,
            Kind.ULP: lambda r: UlpDetail(None if r.flags & layout.OTHER_ULP else "tls", r.arg0),
            Kind.KEY: _key_detail,
            Kind.SOCKOPT: _option_detail,
            Kind.SO_ERROR: _asked_detail,
            Kind.TCP_INFO: _asked_detail,
            Kind.GETPEERNAME: lambda r: _endpoint(r.family, r.daddr, r.dport),
            Kind.CLOSE_RANGE: lambda r: CloseRangeDetail(
                r.arg0, r.arg1, bool(r.aux_ns & 4), bool(r.aux_ns & 2)
            ),
            Kind.CLOSE: lambda r: IntDetail(r.arg0),
            Kind.SHUTDOWN: lambda r: IntDetail(r.arg0),
            Kind.DUP: _dup_detail,
            Kind.SETFD: lambda r: IntDetail(int(bool(r.flags & layout.CLOEXEC))),
            Kind.WAIT: _wait_detail,
            Kind.CLONE: lambda r: CloneDetail(
                bool(r.flags & layout.FILES), bool(r.flags & layout.THREAD)
            ),
            Kind.EXIT: lambda r: IntDetail(int(bool(r.flags & layout.THREAD))),
        }

    def events(self, chunk: bytes) -> Iterator[Event]:
        """Decode one drained chunk."""
        for start in range(HEADER, len(chunk), STRIDE):
            yield from self.event(Record._make(RECORD.unpack_from(chunk, start)))

    def event(self, record: Record) -> Iterator[Event]:
        """Decode one record: one Event, or two where it tells of two things."""
        call = BY_NUMBER.get(record.call)
        if call is None:
            return
        identity = self._identities.of(record, call.kind)
        if call.kind is Kind.STATE:
            yield self._state_change(record, identity, record.start_ns, record.arg0, record.arg1)
            return
        yield self._plain(record, call, identity)
        if call.kind is Kind.ACCEPT and record.aux_ns:
            # it happened before accept() returned, but only now is it known whose it is
            yield self._state_change(record, identity, record.aux_ns, SYN_RECV, ESTABLISHED)

    def _plain(self, r: Record, call: layout.Call, identity: int | None) -> Event:
        begun = r.phase == Phase.BEGIN
        failed = r.result < 0 and not begun
        note = _note(r)
        opens = call.kind in (Kind.SOCKET, Kind.ACCEPT)
        return Event(
            kind=call.kind,
            phase=PHASES[r.phase],
            # the thread that called execve() goes on under its process's number
            tid=r.arg0 if call.kind is Kind.EXEC and r.arg0 else r.tid,
            call=call.name,
            fd=None if r.fd < 0 else r.fd,
            result=None if begun else -1 if failed else r.result,
            errno=_errno(-r.result) if failed else None,
            start_ns=r.start_ns + self._offset,
            end_ns=r.end_ns + self._offset if r.end_ns else None,
            detail=self._detail(r, call.kind),
            note=None if opens else note,
            result_note=note if opens else None,
            tgid=r.tgid,
            comm=self._comm(r.comm),
            stack=self._stack(r) if call.kind is Kind.ULP else None,
            sock=identity,
            state=_state(r.state) if r.state else None,
            told=bool(r.flags & layout.TOLD) if r.flags & layout.TOLD_KNOWN else None,
        )

    def _detail(self, r: Record, kind: Kind) -> Detail | None:
        make = self._details.get(kind)
        return None if make is None else make(r)

    def _state_change(
        self, r: Record, identity: int | None, when_ns: int, old: int, new: int
    ) -> Event:
        when = when_ns + self._offset
        inside = r.fd >= 0
        return Event(
            kind=Kind.STATE,
            phase=Phase.WHOLE,
            tid=r.tid if inside else 0,
            tgid=r.tgid if inside else None,
            fd=r.fd if inside else None,
            call="state",
            start_ns=when,
            end_ns=when,
            detail=StateDetail(_state(old), _state(new)),
            note=_note(r),
            sock=identity,
        )

    def _comm(self, raw: bytes) -> str:
        known = self._comms.get(raw)
        if known is None:
            if len(self._comms) > 4096:  # a program may rename its threads all the time
                self._comms.clear()
            known = raw.split(b"\0", 1)[0].decode(errors="backslashreplace")
            self._comms[raw] = known
        return known

    def _stack(self, r: Record) -> tuple[str, ...] | None:
        """Name the stack taken at the entry; the exit's event tells it again."""
        if r.phase == Phase.END:
            return self._named.pop(r.tid, None)
        if self._stacks is None or not r.flags & layout.STACK:
            return None
        frames = self._stacks(r.tgid, r.arg1)
        if frames is not None:
            self._named[r.tid] = frames
        return frames


def _state(number: int) -> str:
    return uapi.TCP_STATES.get(number, "UNKNOWN")


def _errno(number: int) -> str:
    if number in (512, 513, 514, 516):  # restarted by the kernel: a signal came
        return {512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND"}.get(
            number, "ERESTART_RESTARTBLOCK"
        )
    return uapi.ERRNO_NAMES.get(number, f"ERRNO_{number}")


def _endpoint(family: int, address: bytes, port: int) -> Endpoint | None:
    if family == _socket.AF_INET:
        return Endpoint("AF_INET", _socket.inet_ntop(_socket.AF_INET, address[:4]), port)
    if family == _socket.AF_INET6:
        return Endpoint("AF_INET6", _socket.inet_ntop(_socket.AF_INET6, address), port)
    return None


def _note(r: Record) -> FdNote | None:
    if not r.family:
        return None
    local = _endpoint(r.family, r.saddr, r.sport) if r.sport else None
    peer = _endpoint(r.family, r.daddr, r.dport) if r.dport else None
    return FdNote(
        protocol="TCPv6" if r.family == _socket.AF_INET6 else "TCP",
        inode=r.ino or None,
        local=None if local is None else str(local),
        peer=None if peer is None else str(peer),
    )


def _socket_detail(r: Record) -> SocketDetail:
    family, protocol, kind = r.arg0 & 0xFFFF, r.arg0 >> 16, r.arg1
    return SocketDetail(
        family=uapi.AF_NAMES.get(family, str(family)),
        type=uapi.SOCK_TYPE_NAMES.get(kind & 0xF, str(kind & 0xF)),
        protocol=uapi.PROTOCOL_NAMES.get(protocol, str(protocol)),
        cloexec=bool(kind & uapi.SOCK_CLOEXEC),
        nonblock=bool(kind & uapi.SOCK_NONBLOCK),
    )


def _connect_detail(r: Record) -> Endpoint | None:
    if r.arg0 == _socket.AF_UNSPEC:
        return Endpoint("AF_UNSPEC")
    if r.phase == Phase.BEGIN:
        return _endpoint(r.arg0, r.daddr, r.dport)
    return _endpoint(r.family, r.daddr, r.dport) if r.dport else None


def _accept_detail(r: Record) -> AcceptDetail:
    peer = _endpoint(r.family, r.daddr, r.dport) if r.dport else None
    return AcceptDetail(peer, bool(r.flags & layout.CLOEXEC))


def _key_detail(r: Record) -> KeyDetail:
    optlen = r.arg0 >> 16
    shown = optlen >= 4
    return KeyDetail(
        direction="tx" if r.arg0 & 0xFFFF == uapi.TLS_TX else "rx",
        version=r.arg1 & 0xFFFF if shown else None,
        cipher=r.arg1 >> 16 if shown else None,
        optlen=optlen,
    )


def _option_detail(r: Record) -> OptionDetail:
    number = r.arg0 & 0xFFFF
    return OptionDetail("SOL_TCP", uapi.TCP_OPTION_NAMES.get(number, str(number)), r.arg1)


def _asked_detail(r: Record) -> IntDetail | None:
    return None if r.result < 0 else IntDetail(r.arg0)


def _dup_detail(r: Record) -> DupDetail:
    target = r.arg0 if r.arg0 < 1 << 31 else None
    return DupDetail(target, bool(r.flags & layout.CLOEXEC))


def _wait_detail(r: Record) -> WaitDetail:
    if r.flags & layout.HIDDEN:
        return WaitDetail((), hidden=True)
    return WaitDetail((Ready(r.arg0, None, r.arg1),))
