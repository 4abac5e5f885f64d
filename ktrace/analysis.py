"""The pipeline on one screen: sources, sequencer, verdicts, rules, report."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Literal, Protocol

import msgspec

from ktrace import __version__
from ktrace.events import Event, Family
from ktrace.findings import SCHEMA, Connection, Report, Tool, Trace
from ktrace.packed import packed
from ktrace.rules import FindingFolder
from ktrace.sequencer import Sequencer
from ktrace.sequencer.judge import judge, plain, with_timeline
from ktrace.sequencer.tracked import Tracked
from ktrace.tally import Tally
from ktrace.timelines import Judged, TraceFacts


class Options(msgspec.Struct, frozen=True):
    """How to analyse.

    `keep`: which connections stay in the report; `on_connection` is called with each when it ends.
    Without `timelines` a connection that no finding shows has none, which is much faster.
    `progress(done, total)` counts bytes read; `total` is None for pipes.  `jobs` is the number of
    processes that scan; it changes no result.
    """

    keep: Literal["all", "ktls", "none"] = "all"
    jobs: int = 1
    on_connection: Callable[[Judged], None] | None = None
    timelines: bool = True
    progress: Callable[[int, int | None], None] | None = None


class Covering(Protocol):
    """Says whether a trace covers a family; None: it may still come."""

    def has(self, family: Family) -> bool | None: ...


class Undecided(Exception):
    """A verdict hangs on a family of calls that a pipe may still bring."""


class Analysis:
    """Collects what the sequencer finishes; one for all traces of a run."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._tally = Tally()
        self._findings = FindingFolder()
        self._connections: list[tuple[int, Connection]] = []
        self._deferred: list[Tracked] = []
        self._coverage: Covering | None = None
        self._next_id = 1
        looked_at = options.keep != "none" or options.on_connection is not None
        self._detailed = options.timelines and looked_at
        self._counts_only = not looked_at

    def run(
        self, events: Iterator[Event], coverage: Covering, consumed_by: Callable[[Sequencer], None]
    ) -> None:
        """Sequence one trace to its end."""
        self._coverage = coverage
        sequencer = Sequencer(self._finished, self._next_id, detailed=self._detailed)
        consumed_by(sequencer)
        feed = sequencer.feed
        with few_collections():
            for event in events:
                feed(event)
        self._next_id = sequencer.close_all()
        for tracked in self._deferred:
            self._judge(tracked)
        self._deferred.clear()

    def _finished(self, tracked: Tracked) -> None:
        if not self._judge(tracked):
            self._deferred.append(tracked)

    def _judge(self, tracked: Tracked) -> bool:
        """Judge a connection; False when its verdict hangs on coverage that is not known yet."""
        coverage = self._coverage
        assert coverage is not None

        def covers(family: Family) -> bool:
            there = coverage.has(family)
            if there is None:
                raise Undecided
            return there

        try:
            verdict = plain(tracked, covers) if self._counts_only else None
            if verdict is not None:
                self._tally.count(verdict)
                return True
            judged = judge(tracked, covers, detailed=self._detailed)
        except Undecided:
            return False
        self._tally.add(judged)
        self._findings.add(judged, cache(partial(with_timeline, judged, tracked)))
        connection = judged.connection
        if self.options.keep == "all" or (self.options.keep == "ktls" and connection.has_ktls):
            self._connections.append((judged.facts.number, packed(connection)))
        if self.options.on_connection is not None:
            self.options.on_connection(judged)
        return True

    def report(self, facts: TraceFacts) -> Report:
        """Return the report over all traces."""
        self._connections.sort(key=lambda numbered: numbered[0])
        summary = self._tally.summary()
        return Report(
            schema=SCHEMA,
            tool=Tool("ktrace", __version__),
            trace=_trace(facts),
            summary=summary,
            peers=self._tally.peers(),
            connections=tuple(connection for _, connection in self._connections),
            findings=self._findings.finish(facts, summary),
        )


def analyse(paths: Sequence[str], options: Options | None = None) -> Report:
    """Analyse saved strace logs and captures.

    Raises KtraceError when a file cannot be read or is no trace.
    """
    # A live capture starts without all this.
    from ktrace.sources.capture import is_capture
    from ktrace.sources.recorded import open_capture
    from ktrace.sources.strace import StraceTrace, open_traces

    analysis = Analysis(options or Options())
    if any(is_capture(path) for path in paths):
        capture = open_capture(paths)
        analysis.run(capture.events(), capture, capture.consumed_by)
        return analysis.report(capture.facts())
    traces = open_traces(paths, jobs=analysis.options.jobs, progress=analysis.options.progress)
    for trace in traces:
        analysis.run(trace.events(), trace.coverage, trace.consumed_by)
    return analysis.report(StraceTrace.facts_of(traces))


@contextmanager
def few_collections() -> Iterator[None]:
    """Let the garbage collector, which looks for cycles, run rarely: an analysis makes none."""
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _trace(facts: TraceFacts) -> Trace:
    return Trace(
        kind=facts.kind,
        sources=facts.sources,
        lines=facts.lines,
        events=facts.events,
        not_understood=facts.not_understood,
        lost_events=facts.lost_events,
        clock=facts.clock,
        duration_s=facts.duration_s,
        covered=facts.covered,
        warnings=facts.warnings,
    )
