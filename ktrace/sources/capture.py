"""Capture files: the Events of a live run, to be analysed again without the kernel that made them.

A line of magic with the format's version, then frames: type, length and CRC-32 of a payload that is
MessagePack under zstd.  Every frame stands alone, so a file that was cut anywhere opens up to its
last complete frame.  Frames are H (header), E (events), L (events are missing from here on) and
F (the end).
"""

import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar, get_args

import msgspec

from ktrace import places
from ktrace.errors import KtraceError
from ktrace.events import Detail, Event, Family, FdNote, Kind, Phase

FORMAT_VERSION = 1
MAGIC = b"ktrace capture "
MAX_MAGIC = 32
FRAME = struct.Struct("<cII")
MAX_FRAME = 1 << 28
EVENTS_IN_FRAME = 2048
FLUSH_EVERY_S = 1.0
DETAILS: tuple[type, ...] = get_args(Detail)  # by place: append to the union, never reorder it


class Header(msgspec.Struct, frozen=True):
    """What was captured.  `source` is what reports call it.

    `inside`: the probe looked into the kernel's functions, so that it saw connects and kTLS calls
    that were made through io_uring.
    """

    version: int
    tool: str
    source: str
    backend: str
    covered: tuple[Family, ...]
    warnings: tuple[str, ...] = ()
    inside: bool = False


class Footer(msgspec.Struct, frozen=True):
    """Written when the capture ended in order."""

    events: int
    lost: int
    warnings: tuple[str, ...] = ()


class Loss(msgspec.Struct, frozen=True):
    """`lost` events in all are missing up to here."""

    lost: int


class Row(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An Event as it is stored: the detail apart, by its place in `DETAILS` (-1: none)."""

    kind: int
    phase: int
    tid: int
    call: str
    fd: int | None
    result: int | None
    errno: str | None
    start_ns: int | None
    end_ns: int | None
    tgid: int | None
    comm: str | None
    stack: tuple[str, ...] | None
    sock: int | None
    state: str | None
    told: bool | None
    note: FdNote | None
    result_note: FdNote | None
    detail_kind: int
    detail: msgspec.Raw


Content = TypeVar("Content", Header, Footer, Loss)
_encode = msgspec.msgpack.Encoder().encode
_place = {kind: place for place, kind in enumerate(DETAILS)}
_decoders: list[msgspec.msgpack.Decoder[Detail]] = [
    msgspec.msgpack.Decoder(kind) for kind in DETAILS
]
_rows = msgspec.msgpack.Decoder(list[Row])
_NOTHING = msgspec.Raw(_encode(None))


def _to_row(event: Event) -> Row:
    detail = event.detail
    return Row(
        event.kind,
        event.phase,
        event.tid,
        event.call,
        event.fd,
        event.result,
        event.errno,
        event.start_ns,
        event.end_ns,
        event.tgid,
        event.comm,
        event.stack,
        event.sock,
        event.state,
        event.told,
        event.note,
        event.result_note,
        -1 if detail is None else _place[type(detail)],
        _NOTHING if detail is None else msgspec.Raw(_encode(detail)),
    )


def _to_event(row: Row, source: int) -> Event:
    return Event(
        kind=Kind(row.kind),
        phase=Phase(row.phase),
        tid=row.tid,
        call=row.call,
        fd=row.fd,
        result=row.result,
        errno=row.errno,
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        source=source,
        detail=None if row.detail_kind < 0 else _decoders[row.detail_kind].decode(row.detail),
        note=row.note,
        result_note=row.result_note,
        tgid=row.tgid,
        comm=row.comm,
        stack=row.stack,
        sock=row.sock,
        state=row.state,
        told=row.told,
    )


class Writer:
    """Writes a capture as it is made; `close()` ends it in order."""

    def __init__(self, path: str, header: Header, force: bool = False) -> None:
        fd = places.claim(path, force)
        if fd is None:
            raise KtraceError(
                "capture-exists",
                f"{path} exists",
                "choose another name, or --force to overwrite it",
            )
        self._file: BinaryIO = os.fdopen(fd, "wb")
        import zstandard

        self._squeeze = zstandard.ZstdCompressor(level=3).compress
        self._waiting: list[Row] = []
        self._flushed = time.monotonic()
        self._events = 0
        self._lost = 0
        self._file.write(MAGIC + str(FORMAT_VERSION).encode() + b"\n")
        self._frame(b"H", header)

    def add(self, event: Event) -> None:
        """Store one event; it is in the file within about a second."""
        self._waiting.append(_to_row(event))
        self._events += 1
        if len(self._waiting) >= EVENTS_IN_FRAME:
            self.flush()

    def lost(self, total: int) -> None:
        """Note that events are missing here."""
        self.flush()
        self._lost = total
        self._frame(b"L", Loss(total))

    def tick(self) -> None:
        """Flush when it is time; called now and then, also when nothing happens."""
        if self._waiting and time.monotonic() - self._flushed >= FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._frame(b"E", self._waiting)
            self._waiting = []
        self._flushed = time.monotonic()

    def close(self, warnings: tuple[str, ...] = ()) -> None:
        self.flush()
        self._frame(b"F", Footer(self._events, self._lost, warnings))
        self._file.close()

    def _frame(self, kind: bytes, content: object) -> None:
        payload = self._squeeze(_encode(content))
        self._file.write(FRAME.pack(kind, len(payload), zlib.crc32(payload)) + payload)
        self._file.flush()


def is_capture(path: str) -> bool:
    """Tell a capture by its first bytes."""
    if path == "-" or not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


class Capture:
    """A capture file, read once by `events()`; then `footer` and `lost` are known.

    `on_loss(lost)` is called where events are missing.  `truncated` says that the file ends without
    its footer.
    """

    def __init__(self, path: str, source: int = 0) -> None:
        self.path = path
        self._source = source
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - read as a stream
        import zstandard

        self._expand = zstandard.ZstdDecompressor()
        _check_version(path, self._file.readline(MAX_MAGIC))
        self._frames = self._read_frames()
        self.header = self._read_header()
        self.on_loss: Callable[[int], None] = lambda lost: None
        self.lost = 0
        self.footer: Footer | None = None
        self.truncated = False

    def has(self, family: Family) -> bool:
        """Tell whether the capture covers a family."""
        return family in self.header.covered

    def events(self) -> Iterator[Event]:
        """Yield the events in order."""
        for kind, payload in self._frames:
            if kind == b"E":
                yield from self._decoded(payload)
            elif kind == b"L":
                self.lost = self._content(payload, Loss).lost
                self.on_loss(self.lost)
            elif kind == b"F":
                self.footer = self._content(payload, Footer)
        self.truncated = self.footer is None
        if self.truncated:
            self.on_loss(self.lost)
        self._file.close()

    def _read_header(self) -> Header:
        first = next(self._frames, None)
        if first is None or first[0] != b"H":
            raise KtraceError(
                "empty-capture", f"{self.path}: a capture with nothing in it", "record it again"
            )
        return self._content(first[1], Header)

    def _content(self, payload: bytes, kind: type[Content]) -> Content:
        try:
            return msgspec.msgpack.decode(payload, type=kind)
        except (msgspec.DecodeError, ValueError):
            raise _damaged(self.path) from None

    def _decoded(self, payload: bytes) -> list[Event]:
        """Decode a frame of events; whole and not to be decoded, it is none of ours."""
        try:
            return [_to_event(row, self._source) for row in _rows.decode(payload)]
        except (msgspec.DecodeError, ValueError, IndexError):
            raise _damaged(self.path) from None

    def _read_frames(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the complete frames; the first broken one ends the file."""
        while len(head := self._file.read(FRAME.size)) == FRAME.size:
            kind, length, checksum = FRAME.unpack(head)
            payload = self._file.read(length) if length <= MAX_FRAME else b""
            if len(payload) < length or zlib.crc32(payload) != checksum or length > MAX_FRAME:
                return
            yield kind, self._expand.decompress(payload, max_output_size=MAX_FRAME)


def _damaged(path: str) -> KtraceError:
    return KtraceError("damaged-capture", f"{path}: a damaged capture", "record it again")


def _check_version(path: str, magic: bytes) -> None:
    """Refuse what this ktrace cannot read; older versions are upgraded where they are decoded."""
    text = magic.removeprefix(MAGIC).strip()
    if not text.isdigit():
        raise _damaged(path)
    if int(text) > FORMAT_VERSION:
        raise KtraceError(
            "newer-capture",
            f"{path}: a capture of format {int(text)}; this ktrace reads up to {FORMAT_VERSION}",
            "use a newer ktrace",
        )
