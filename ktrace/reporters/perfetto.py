"""Chrome trace events (JSON) for ui.perfetto.dev: processes, connections, calls, TCP states.

Each connection has a track for its TCP state, one for its kTLS setup and one for each thread that
called on it.  Times are microseconds from the first event; where the trace has none, a call counts
as 1 ms.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from ktrace.findings import Connection, Report, TimelineRow
from ktrace.packed import ends
from ktrace.reporters.htmlreport.moments import Moments, moments
from ktrace.reporters.htmlreport.words import clean, number_of, short_sources

_TRACKS = 32  # numbers set apart for the tracks of one connection
_FIRST = (
    10_000_000  # above any thread of the traced programs, so that tracks and threads do not mix
)
_CALL = 1000.0  # microseconds that stand for one call where the trace has no times

TraceEvent = dict[str, Any]


def render(report: Report) -> bytes:
    """Return the whole trace as JSON."""
    return b"".join(chunks(report))


def chunks(report: Report) -> Iterator[bytes]:
    """Yield the trace one connection at a time."""
    encoder = msgspec.json.Encoder()
    about = {"tool": f"{report.tool.name} {report.tool.version}", "clock": report.trace.clock}
    about["sources"] = ", ".join(map(clean, short_sources(report.trace.sources).values()))
    yield b'{"displayTimeUnit":"ms","otherData":' + encoder.encode(about) + b',"traceEvents":['
    between = b"\n"
    for events in _blocks(report):
        for event in events:
            yield between + encoder.encode(event)
            between = b",\n"
    yield b"\n]}\n"


def _blocks(report: Report) -> Iterator[list[TraceEvent]]:
    yield _process_names(report)
    by_order = report.trace.clock == "none"
    start = _start(report)
    for connection in report.connections:
        times = moments(connection, by_order)
        zero = 0.0 if times.zero is None else (times.zero - start) * 1e6
        yield _Block(connection, times, zero).events()


def _start(report: Report) -> float:
    """Return the earliest time of the trace, in seconds of its clock."""
    times = (ends(connection.timeline)[0] for connection in report.connections)
    return min((time for time in times if time is not None), default=0.0)


def _process_names(report: Report) -> list[TraceEvent]:
    names: dict[int, str] = {}
    for connection in report.connections:
        if connection.comm or connection.pid not in names:
            names[connection.pid] = clean(connection.comm or f"pid {connection.pid}")
    return [_meta("process_name", pid, 0, name=name) for pid, name in names.items()]


def _meta(kind: str, pid: int, tid: int, **args: object) -> TraceEvent:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": args}


class _Block:
    """The events of one connection."""

    def __init__(self, connection: Connection, times: Moments, zero: float) -> None:
        self._connection = connection
        self._times = times
        self._zero = zero
        self._base = _FIRST + number_of(connection.id) * _TRACKS
        self._unit = _CALL if times.by_order else 1.0
        self._threads: dict[int, int] = {}

    def events(self) -> list[TraceEvent]:
        """Return tracks, states, calls, marks and flows."""
        found = [*self._states(), *self._calls(), *self._marks(), *self._flow()]
        return [*self._names(), *found]

    def _names(self) -> Iterator[TraceEvent]:
        c = self._connection
        who = clean(f"{c.id} {c.role} {c.peer or 'peer not shown'}")
        tracks = [(0, f"{who}: TCP state"), (1, f"{who}: kTLS")]
        tracks += [
            (track, f"{c.id}: calls of thread {tid}") for tid, track in self._threads.items()
        ]
        for track, name in tracks:
            yield _meta("thread_name", c.pid, self._base + track, name=name)
            yield _meta(
                "thread_sort_index", c.pid, self._base + track, sort_index=self._base + track
            )

    def _event(self, phase: str, name: str, at: float, track: int, **more: object) -> TraceEvent:
        ts = max(round(self._zero + at * self._unit, 3), 0.0)  # rounding may go below the start
        tid = self._base + track
        return {
            "ph": phase,
            "name": name,
            "ts": ts,
            "pid": self._connection.pid,
            "tid": tid,
            **more,
        }

    def _slice(
        self, name: str, start: float, end: float, track: int, kind: str, args: dict[str, object]
    ) -> TraceEvent:
        length = round(max(end - start, 0.0) * self._unit, 3)
        return self._event("X", name, start, track, dur=length, cat=kind, args=args)

    def _states(self) -> Iterator[TraceEvent]:
        for span in self._times.spans:
            yield self._slice(span.state, span.start, span.end, 0, "tcp", {"basis": span.basis})

    def _calls(self) -> Iterator[TraceEvent]:
        for row, at in self._rows():
            if row.tid is None:
                continue
            track = self._track(row.tid)
            name = clean(row.text if row.result is None else f"{row.text} = {row.result}")
            length = 0.9 if self._times.by_order else row.duration_us or 0.0
            yield self._slice(name, at, at + length, track, "call", _args(row))

    def _rows(self) -> Iterator[tuple[TimelineRow, float]]:
        yield from zip(self._connection.timeline, self._times.at, strict=True)

    def _track(self, tid: int) -> int:
        """Return the track of a thread; what does not fit shares the last one."""
        return self._threads.setdefault(tid, min(2 + len(self._threads), _TRACKS - 1))

    def _marks(self) -> Iterator[TraceEvent]:
        c, times = self._connection, self._times
        if c.ordering == "raced" and times.attempt is not None:
            up = times.established
            came_up = up is not None and up > times.attempt
            end = up if came_up and up is not None else times.end
            name = "too early" if came_up else "too early, never established"
            yield self._slice(name, times.attempt, end, 1, "race", {"margin_us": c.margin_us})
        for row, at in self._rows():
            name = _mark_name(row)
            if name:
                yield self._event("i", name, at, 1, s="t", cat="ktls", args=_args(row))

    def _flow(self) -> Iterator[TraceEvent]:
        """Join the attempt with the event that showed ESTABLISHED; the earlier one is the start."""
        times = self._times
        if times.attempt_row is None or times.established_row is None or times.established is None:
            return
        attempt, proof = self._end_of(times.attempt_row), self._end_of(times.established_row)
        if attempt == proof:
            return
        early = self._connection.ordering == "raced"
        first, last = (attempt, proof) if early else (proof, attempt)
        name = "too early for" if early else "proof of ESTABLISHED"
        number = number_of(self._connection.id)
        yield self._event("s", name, *first, cat="order", id=number)
        yield self._event("f", name, *last, cat="order", id=number, bp="e")

    def _end_of(self, index: int) -> tuple[float, int]:
        """Return (time, track) at which a flow touches the slice of a timeline row."""
        row = self._connection.timeline[index]
        if row.tid is not None:
            return self._times.at[index], self._track(row.tid)
        established = self._times.established
        return self._times.at[index] if established is None else established, 0


def _mark_name(row: TimelineRow) -> str:
    if "TCP_ULP" in row.text:
        return f"ULP {_said(row)}"
    if "SOL_TLS" in row.text:
        return f"{'RX' if 'TLS_RX' in row.text else 'TX'} key {_said(row)}"
    return ""


def _said(row: TimelineRow) -> str:
    return row.result or "never returned"


def _args(row: TimelineRow) -> dict[str, object]:
    args: dict[str, object] = {"state": row.state_after, "basis": row.basis}
    if row.line is not None:
        args["line"] = row.line
    if row.tid is not None:
        args["thread"] = row.tid
    return args
