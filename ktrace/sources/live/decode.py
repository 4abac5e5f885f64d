"""Records of the probe -> Events.

In bulk: one iterator unpacks a chunk, and what repeats (the call with its arguments, addresses,
names) is decoded once and kept.
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from msgspec.structs import replace

from ktrace import uapi
from ktrace.events import (
    BEGIN,
    END,
    WHOLE,
    CloseRangeDetail,
    Detail,
    Event,
    FdNote,
    Kind,
    Phase,
    RingDetail,
    StateDetail,
)
from ktrace.sources.live import layout
from ktrace.sources.live.details import Maker, What, Where, fixed, maker, where
from ktrace.sources.live.identity import Identities
from ktrace.sources.live.layout import BY_NUMBER, FORMAT, WHAT

ESTABLISHED, SYN_SENT, SYN_RECV, CLOSE = 1, 2, 3, 7
PHASES = (WHOLE, BEGIN, END)
STATE = Kind.STATE  # found once: Python 3.11 takes long to find a member of an Enum
WITH_HEADER = struct.Struct("=8x" + FORMAT)  # the ring puts 8 bytes before each record
RESTARTED = {  # by the kernel, since a signal came
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    516: "ERESTART_RESTARTBLOCK",
}
OPENING = (Kind.SOCKET, Kind.ACCEPT)
APART = (Kind.ACCEPT, Kind.CLONE, Kind.EXEC, Kind.EXIT, Kind.IO_URING, Kind.CLOSE_RANGE)
MOST_KEPT = 65536
INODE = struct.Struct("=I").unpack_from  # of a place, at 2
Stacks = Callable[[int, int], tuple[str, ...] | None]


@lru_cache(512)
def _change(old: int, new: int) -> StateDetail:
    names = uapi.TCP_STATES
    return StateDetail(names.get(old, "UNKNOWN"), names.get(new, "UNKNOWN"))


CONNECTING = _change(CLOSE, SYN_SENT)


class Row(NamedTuple):
    """All that a record's `what` says, decoded.

    `kind` None: an unknown call.  `opens`: the place is that of the descriptor it returned.
    `apart`: there is more to do than to make an Event.
    """

    kind: Kind | None
    call: str = ""
    phase: Phase = WHOLE
    state: str | None = None
    told: bool | None = None
    detail: Detail | None = None
    make: Maker | None = None
    opens: bool = False
    apart: bool = False


def row_of(raw: bytes) -> Row:
    """Decode a `what`."""
    arg0, arg1, flags, number, phase, state = WHAT.unpack(raw)
    call = BY_NUMBER.get(number)
    if call is None:
        return Row(None)
    kind, what = call.kind, What(arg0, arg1, flags, PHASES[phase] is BEGIN)
    return Row(
        kind,
        call.name,
        PHASES[phase],
        uapi.TCP_STATES.get(state, "UNKNOWN") if state else None,
        bool(flags & layout.TOLD) if flags & layout.TOLD_KNOWN else None,
        _change(arg0, arg1) if kind is Kind.STATE else fixed(kind, what),
        maker(kind, what),
        kind in OPENING,
        kind in APART
        or (kind is Kind.ULP and (PHASES[phase] is END or bool(flags & layout.STACK))),
    )


class Decoder:
    """Turns drained chunks into Events, in the order of the ring.

    `offset_ns` turns the probe's clock (monotonic) into the epoch; `stacks` names the frames of a
    recorded user stack by (tgid, slot); `inside` says that calls through io_uring are seen.  After
    `decode()`, `processes` holds those of its events that begin or end threads.  `rings` says that
    some process has an io_uring.
    """

    def __init__(
        self, offset_ns: int, stacks: Stacks | None = None, *, inside: bool = False
    ) -> None:
        self.processes: list[Event] = []
        self.rings = False
        self._ring = RingDetail(inside)
        self._offset = offset_ns
        self._stacks = stacks
        self._identities = Identities()
        self._rows: dict[bytes, Row] = {}
        self._places: dict[bytes, Where] = {}
        self._comms: dict[bytes, str] = {}
        self._names: dict[int, str] = {}  # of threads and processes, as last told
        self._named: dict[int, tuple[str, ...]] = {}  # stacks of attempts under way, by thread

    def decode(self, chunk: bytes) -> list[Event]:
        """Decode one drained chunk: one Event a record, or two where it tells of two things."""
        events: list[Event] = []
        self.processes = []
        add, offset, names = events.append, self._offset, self._names
        rows, places, identify = self._rows, self._places, self._identities.of
        for record in WITH_HEADER.iter_unpack(chunk):
            start, end, sk, aux, tgid, tid, fd, result, what, place, comm = record
            row = rows.get(what) or self._row(what)
            kind, call, phase, state, told, detail, make, opens, apart = row
            if kind is None:
                continue
            if kind is STATE:  # half of all events of a connection: its calls tell the rest
                whose = identify(sk, INODE(place, 2)[0], kind, fd, detail)
                # by io_uring, maybe: then nothing else tells the peer
                note = where(place).note if self.rings and detail is CONNECTING else None
                add(_state_change(start + offset, detail, whose, note, tid, tgid, fd))
                continue
            at = places.get(place) or self._place(place)
            sock = identify(sk, at.inode, kind, fd, detail) if sk else None
            if make is not None:
                detail = make(result, at)
            errno = None
            if result < 0:
                errno, result = _errno(-result), -1
            add(
                Event(
                    kind,
                    phase,
                    tid,
                    call,
                    fd if fd >= 0 else None,
                    None if phase is BEGIN else result,
                    errno,
                    start + offset,
                    end + offset if end else None,
                    0,
                    None,
                    detail,
                    None if opens else at.note,
                    at.note if opens else None,
                    tgid,
                    self._name(tid, comm) if comm[0] else names.get(tid) or names.get(tgid),
                    None,
                    sock,
                    state,
                    told,
                )
            )
            if apart:
                self._apart(events, what, aux)
        return events

    def _apart(self, events: list[Event], what: bytes, aux: int) -> None:
        """Do what else a record asks for, now that its Event is the last one."""
        event = events[-1]
        arg0, arg1, flags, *_ = WHAT.unpack(what)
        if event.kind is Kind.ULP:
            events[-1] = replace(event, stack=self._stack(event, flags, arg1))
        elif event.kind is Kind.ACCEPT:
            if aux:
                # it happened before accept() returned, but only now is it known whose it is
                change = _change(SYN_RECV, ESTABLISHED)
                events.append(_state_change(aux + self._offset, change, event.sock, None, 0, 0, -1))
        elif event.kind is Kind.IO_URING:
            self.rings = True
            events[-1] = replace(event, detail=self._ring)
        elif event.kind is Kind.CLOSE_RANGE:
            detail = CloseRangeDetail(arg0, arg1, bool(aux & 4), bool(aux & 2))
            events[-1] = replace(event, detail=detail)
        elif event.kind is Kind.EXEC:
            # the thread that called execve() goes on under its process's number
            events[-1] = replace(event, tid=arg0 or event.tid)
        else:
            self._process(event)

    def _process(self, event: Event) -> None:
        """Keep account of threads: a child has its parent's name, which ends with the thread."""
        self.processes.append(event)
        if event.kind is Kind.EXIT:
            self._names.pop(event.tid, None)
        elif event.result and event.comm is not None:
            self._names[event.result] = event.comm

    def _row(self, what: bytes) -> Row:
        if len(self._rows) >= MOST_KEPT:
            self._rows.clear()
        row = self._rows[what] = row_of(what)
        return row

    def _place(self, place: bytes) -> Where:
        if len(self._places) >= MOST_KEPT:
            self._places.clear()
        at = self._places[place] = where(place)
        return at

    def _name(self, tid: int, raw: bytes) -> str:
        known = self._comms.get(raw)
        if known is None:
            if len(self._comms) >= MOST_KEPT:  # a program may rename its threads all the time
                self._comms.clear()
            known = raw.split(b"\0", 1)[0].decode(errors="backslashreplace")
            self._comms[raw] = known
        self._names[tid] = known
        return known

    def _stack(self, event: Event, flags: int, slot: int) -> tuple[str, ...] | None:
        """Name the stack taken at the entry; the exit's event tells it again."""
        if event.phase is END:
            return self._named.pop(event.tid, None)
        if self._stacks is None or event.tgid is None:
            return None
        frames = self._stacks(event.tgid, slot)
        if frames is not None and event.phase is BEGIN:
            self._named[event.tid] = frames
        return frames


def _state_change(
    when: int,
    change: Detail | None,
    sock: int | None,
    note: FdNote | None,
    tid: int,
    tgid: int,
    fd: int,
) -> Event:
    inside = fd >= 0  # a call on this descriptor; else the thread is whichever was running
    return Event(  # by position, which is faster
        STATE,
        WHOLE,
        tid if inside else 0,
        "state",
        fd if inside else None,
        None,
        None,
        when,
        when,
        0,
        None,
        change,
        note,
        None,
        tgid if inside else None,
        None,
        None,
        sock,
    )


@lru_cache(512)
def _errno(number: int) -> str:
    return RESTARTED.get(number) or uapi.ERRNO_NAMES.get(number, f"ERRNO_{number}")
