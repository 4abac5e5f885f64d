"""One trace: its files, scanned by one process or several, and what it covers."""

import itertools
import os
import re
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, cast

from ktrace.errors import KtraceError
from ktrace.events import FAMILIES, Event, Family
from ktrace.sources.strace import dialect, files, scan
from ktrace.sources.strace.account import Account
from ktrace.sources.strace.calls import FAMILY_OF
from ktrace.sources.strace.datacalls import Consumer
from ktrace.sources.strace.lone import first_thread
from ktrace.sources.strace.merge import merge
from ktrace.sources.strace.reader import Reader
from ktrace.sources.strace.rows import Block
from ktrace.timelines import TraceFacts


class Coverage:
    """Tells which syscall families a trace covers, while it is still being read.

    A family that was not seen yet may come later: files are searched ahead once; of a pipe nobody
    can tell before its end (None).
    """

    def __init__(self, account: Account, entry: files.Input) -> None:
        self._account = account
        self._entry = entry
        self._ahead: dict[Family, bool | None] = {}
        self._seen: set[Family] = set()

    def has(self, family: Family) -> bool | None:
        if family in self._seen:
            return True
        if family in self._account.covered:
            self._seen.add(family)
            return True
        if self._account.complete:
            return False
        if family not in self._ahead:
            self._ahead[family] = self._search(family)
        return self._ahead[family]

    def _search(self, family: Family) -> bool | None:
        if files.total_size(self._entry.paths) is None:
            return None
        names = [name for name, of in FAMILY_OF.items() if of == family]
        pattern = re.compile(
            rf"(?:\b(?:{'|'.join(names)})\()|(?:<\.\.\. (?:{'|'.join(names)}) resumed)".encode()
        )
        hints = [f"{name}(".encode() for name in names]
        for path in self._entry.paths:
            for chunk in files.chunks(path):
                data = chunk.data
                if (
                    any(hint in data for hint in hints)
                    and pattern.search(data)
                    and self._really(data, names)
                ):
                    return True
                if scan.is_unfiltered(data):
                    return True
        return False

    @staticmethod
    def _really(data: bytes, names: list[str]) -> bool:
        return any(row.name in names for row in scan.scan(data).rows)


class StraceTrace:
    """One trace of strace; `events()` is read once, then `account` is complete."""

    def __init__(
        self,
        entry: files.Input,
        first_source: int,
        *,
        jobs: int = 1,
        progress: files.Progress | None = None,
        done_before: int = 0,
        total: int | None = None,
    ) -> None:
        self.entry = entry
        self.account = Account()
        self.coverage = Coverage(self.account, entry)
        self._first_source = first_source
        self._jobs = jobs
        self._progress = progress
        self._done_before = done_before
        self._total = total
        self._consumer: Consumer | None = None

    def consumed_by(self, consumer: Consumer) -> None:
        """Let the sequencer tell which data calls can change nothing."""
        if len(self.entry.paths) == 1:  # merged files are read ahead of the sequencer
            self._consumer = consumer

    def events(self) -> Iterator[Event]:
        """Yield the events in the order of the trace."""
        if len(self.entry.paths) == 1:
            yield from self._file(0)
        elif self._is_timed():
            files.allow_open(len(self.entry.paths))
            yield from merge([self._file(index) for index in range(len(self.entry.paths))])
        else:
            self.account.warnings.append(
                f"{self.entry.name}: the files of this -ff family have no usable timestamps, so"
                " calls of different"
                " threads have no order; record with -ttt"
            )
            for index in range(len(self.entry.paths)):
                yield from self._file(index)
        self._close()

    def _is_timed(self) -> bool:
        for path in self.entry.paths:
            head = _head(path)
            if head and not dialect.has_clock(head):
                return False
        return True

    def _file(self, index: int) -> Iterator[Event]:
        path = self.entry.paths[index]
        tid = self.entry.tids[index] if self.entry.tids else None
        chunks = files.chunks(path, self._progress, self._done_before, self._total)
        first = next(chunks, None)
        if first is None:
            return
        unnamed = _unnamed(path, first) if tid is None else None
        reader = Reader(self._first_source + index, self.account, tid, self._consumer, unnamed)
        detailed = self._consumer is not None and self._consumer.detailed
        form = dialect.of(first.data[: dialect.HEAD_BYTES])
        work = partial(scan.scan, dialect=form, detailed=detailed)
        data = self._data(itertools.chain((first,), chunks), self._first_source + index)
        small = 0 if (files.total_size([path]) or 0) > LARGE * files.BLOCK else LARGE
        yield from reader.events(_scanned(data, work, self._jobs, small))

    def _data(self, chunks: Iterator[files.Chunk], source: int) -> Iterator[bytes]:
        for chunk in chunks:
            for _ in range(chunk.skipped):
                self.account.not_read(
                    source, self.account.lines + 1, "a line too long for a record"
                )
            if chunk.data:
                yield chunk.data
            if chunk.cut:
                self.account.not_read(
                    source, self.account.lines + 1, "the compressed file is cut here"
                )

    def _close(self) -> None:
        account = self.account
        account.complete = True
        if not account.lines and account.bad:
            why = account.bad[0][2]
            raise KtraceError(
                "no-trace",
                f"{self.entry.name}: no line of it could be read: {why}",
                files.RECORD_HELP,
            )
        if not account.lines:
            raise KtraceError("empty", f"{self.entry.name}: is empty", files.RECORD_HELP)
        came_back = account.successes + account.failures
        if not came_back and account.not_understood * 4 >= account.records:
            raise KtraceError(
                "no-trace",
                f"{self.entry.name}: not an strace log: expected a thread id, a time or a call"
                + _first_line(self.entry),
                files.RECORD_HELP,
            )
        account.warnings.extend(_doubts(self.entry, account))

    @staticmethod
    def facts_of(traces: Sequence["StraceTrace"]) -> TraceFacts:
        """Return the account of all traces of a run together."""
        accounts = [trace.account for trace in traces]
        clocks = {account.clock for account in accounts}
        covered = set(FAMILIES).intersection(*(account.covered for account in accounts))
        spans = [
            a.last_ns - a.first_ns
            for a in accounts
            if a.first_ns is not None and a.last_ns is not None
        ]
        return TraceFacts(
            kind="strace",
            sources=tuple(path for trace in traces for path in trace.entry.paths),
            lines=sum(account.lines for account in accounts),
            events=sum(account.events for account in accounts),
            not_understood=sum(account.not_understood for account in accounts),
            lost_events=0,
            clock=cast(
                Literal["epoch", "time-of-day", "relative", "none"],
                clocks.pop() if len(clocks) == 1 else "none",
            ),
            duration_s=sum(spans) / 1e9 if spans else None,
            covered=tuple(family for family in FAMILIES if family in covered),
            warnings=tuple(warning for account in accounts for warning in account.warnings),
            bad_lines=tuple(bad for account in accounts for bad in account.bad)[:10],
            key_lines=tuple(place for account in accounts for place in account.key_lines)[:10],
            key_line_count=sum(account.key_line_count for account in accounts),
        )


FEW = 100  # calls that may all succeed


def _shows_a_failure(entry: files.Input, account: Account) -> bool:
    """Tell whether a call failed, or the log is too short to show one; programs start with some."""
    if account.successes < FEW and "execve" not in account.names:
        return True
    if files.total_size(entry.paths) is None:
        return account.successes < FEW
    return any(b" -1 E" in chunk.data for path in entry.paths for chunk in files.chunks(path))


def _doubts(entry: files.Input, account: Account) -> Iterator[str]:
    """What the shape of the whole trace says against its completeness."""
    name = entry.name
    if not account.names.isdisjoint(("io_uring_enter", "io_uring_setup")):
        yield (
            f"{name}: the program uses io_uring: calls and completions that pass through it"
            " are not in the trace"
        )
    if account.seccomp and not account.unfiltered:
        yield (
            f"{name}: the program installed a seccomp filter: with strace --seccomp-bpf, which"
            " `ktrace record -- COMMAND` uses, a call that it refuses is not in the trace, so its"
            " connections without a kTLS call are unknown; `ktrace live` sees them"
        )
    many = account.unfiltered or account.successes >= FEW
    if many and account.failures == 0 and not _shows_a_failure(entry, account):
        yield f"{name}: no call failed; with strace -z failed ULP attempts are not in the log"
    if account.failures >= 20 and account.successes == 0:
        yield f"{name}: no call succeeded; with strace -Z successful calls are not in the log"


def _unnamed(path: str, first: files.Chunk) -> int | None:
    """Return whose the lines without a pid are; a pipe is searched as far as it has been read."""
    blocks = iter((first.data,))
    if files.total_size([path]) is None:
        return first_thread(blocks)
    return first_thread(itertools.chain(blocks, (chunk.data for chunk in files.chunks(path))))


def _head(path: str) -> bytes:
    with files.open_log(path) as stream:
        return stream.read(1 << 14)


def _first_line(entry: files.Input) -> str:
    """Return the first line for an error message, shortened, without control characters."""
    if entry.paths[0] == "-":
        return ""
    whole = _head(entry.paths[0]).lstrip().split(b"\n", 1)[0]
    if b"\\" in whole or b'"' in whole:
        return ""  # it may be a piece of a string, and the string a key
    line = whole[:40].decode("utf-8", "replace")
    shown = "".join(c if c.isprintable() else "?" for c in line)
    return f", got '{shown}'"


MAX_JOBS = 16  # processes that scan; more than there are CPUs only wait for each other
LARGE = 4  # blocks (4 MB): a longer log is worth a scanner that takes a while to load
LOOKED_AT = 8  # blocks (8 MB) that are searched for calls that no filter lets through


def _scanned(
    chunks: Iterator[bytes], work: Callable[..., Block], jobs: int, small: int
) -> Iterator[tuple[bytes, Block]]:
    """Scan blocks here, or in `jobs` processes; the order, and so the result, is the same.

    `small`: how many blocks are scanned without the scanner for large logs.
    """
    jobs = min(jobs, os.cpu_count() or 1, MAX_JOBS)
    if jobs <= 1:
        for number, data in enumerate(chunks):
            yield data, work(data, look=number < LOOKED_AT, large=number >= small)
        return
    from concurrent.futures import Future, ProcessPoolExecutor

    # Ctrl-C reaches every process of the terminal; one of them is enough to end it.
    with ProcessPoolExecutor(
        jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    ) as pool:
        pending: deque[tuple[bytes, Future[Block]]] = deque()
        for number, data in enumerate(chunks):
            pending.append(
                (data, pool.submit(work, data, look=number < LOOKED_AT, large=number >= small))
            )
            if len(pending) > jobs * 2:
                data, block = pending.popleft()
                yield data, block.result()
        while pending:
            data, block = pending.popleft()
            yield data, block.result()


def open_traces(
    paths: Sequence[str], *, jobs: int = 1, progress: files.Progress | None = None
) -> list[StraceTrace]:
    """Group `paths` into traces.  Raises KtraceError when one cannot be read."""
    entries = files.inputs(paths)
    for entry in entries:
        files.check_readable(entry)
    every = [path for entry in entries for path in entry.paths]
    total = files.total_size(every)
    traces, done, source = [], 0, 0
    for entry in entries:
        traces.append(
            StraceTrace(entry, source, jobs=jobs, progress=progress, done_before=done, total=total)
        )
        done += files.total_size(entry.paths) or 0
        source += len(entry.paths)
    return traces
