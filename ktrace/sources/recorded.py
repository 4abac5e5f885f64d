"""A live capture as a trace: while it runs, or from its file.  Keeps the account of what came."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ktrace.errors import KtraceError
from ktrace.events import FAMILIES, Event, Family, Kind
from ktrace.sources.capture import Capture, Header, Writer
from ktrace.timelines import Gap, TraceFacts

IO_URING = "the program uses io_uring: calls made through it are not in the capture"
IO_URING_INSIDE = (
    "the program uses io_uring: connects and kTLS calls made through it are in the capture,"
    " waits, accepts and closes are not"
)


class Source(Protocol):
    """A live session or a capture file; `on_loss(total)` is called where events are missing."""

    on_loss: Callable[[int], None]

    def events(self) -> Iterator[Event]: ...


class Consumer(Protocol):
    """Whoever draws conclusions from absence must hear of losses."""

    def lost_events(self) -> None: ...


class RecordedTrace:
    """Reads a source once; then `facts()` is complete."""

    def __init__(self, source: Source, header: Header) -> None:
        self.header = header
        self._ring_warning = IO_URING_INSIDE if header.inside else IO_URING
        self.count = 0
        self.lost = 0
        self.warnings: list[str] = list(header.warnings)
        self.writer: Writer | None = None
        self._source = source
        self._gaps: list[Gap] = []
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._consumer: Consumer | None = None
        source.on_loss = self._lose

    def has(self, family: Family) -> bool:
        """Coverage, as the analysis asks for it."""
        return family in self.header.covered

    def consumed_by(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def events(self) -> Iterator[Event]:
        """Yield the events, and store them where they are to be stored."""
        for event in self._source.events():
            self.count += 1
            self._note_time(event)
            if event.kind is Kind.IO_URING and self._ring_warning not in self.warnings:
                self.warnings.append(self._ring_warning)
            if self.writer is not None:
                self.writer.add(event)
            yield event

    def cut(self, warning: str) -> None:
        """Note that the source ended before its end: what is missing is not known."""
        self.warnings.append(warning)
        self._gaps.append(Gap(self._last_ns, None, 0, "truncated"))

    def facts(self) -> TraceFacts:
        """Return the account."""
        first, last = self._first_ns, self._last_ns
        return TraceFacts(
            kind="live",
            sources=(self.header.source,),
            lines=None,
            events=self.count,
            not_understood=0,
            lost_events=self.lost,
            clock="epoch",
            duration_s=None if first is None or last is None else (last - first) / 1e9,
            covered=tuple(family for family in FAMILIES if self.has(family)),
            warnings=tuple(self.warnings),
            gaps=tuple(self._gaps),
        )

    def _note_time(self, event: Event) -> None:
        when = event.start_ns
        if when is not None:
            if self._first_ns is None or when < self._first_ns:
                self._first_ns = when
            self._last_ns = max(self._last_ns or 0, event.end_ns or when)

    def _lose(self, total: int) -> None:
        """Events are missing here: no absence around this point proves anything."""
        if total > self.lost:
            self._gaps.append(Gap(self._last_ns, None, total - self.lost, "lost-events"))
        self.lost = total
        if self._consumer is not None:
            self._consumer.lost_events()
        if self.writer is not None:
            self.writer.lost(total)


class CaptureTrace(RecordedTrace):
    """A capture file."""

    def __init__(self, path: str) -> None:
        self._capture = Capture(path)
        super().__init__(self._capture, self._capture.header)

    def events(self) -> Iterator[Event]:
        yield from super().events()
        footer = self._capture.footer
        if footer is None:
            self.cut("the capture has no end: it was cut, or ktrace was killed")
        else:
            self.warnings = list(footer.warnings)


def open_capture(paths: Sequence[str]) -> CaptureTrace:
    """Open the capture among `paths`, which must be alone.

    Each capture has processes and a clock of its own, so that several are no one trace.
    """
    if len(paths) != 1:
        raise KtraceError(
            "mixed-traces",
            "a capture cannot be analysed together with other traces",
            "call `ktrace parse` once for each",
        )
    return CaptureTrace(paths[0])
