"""From the files of one trace to its events, with an account of what was seen and not understood."""

import re
from collections.abc import Callable, Iterator

from ktrace.events import FAMILIES, Event, Family, Kind, Phase
from ktrace.sources.strace import lines, scan
from ktrace.sources.strace.calls import DECODERS, FAMILY_OF, OUT_ARGUMENTS, Decoded, Unreadable
from ktrace.sources.strace.repair import MAX_BAD, Repaired, unglue
from ktrace.sources.strace.values import note, split_args, straighten_quotes

DAY_NS = 86_400_000_000_000
Wanted = Callable[[int, int, bool], bool]
_DATA_FD = re.compile(rb"(\d+)")
_FAILED = re.compile(rb"\)\s*= (-1 |0\b|\?)")


class Account:
    """What one trace showed: coverage, clock, and what was not understood."""

    def __init__(self) -> None:
        self.lines = 0
        self.events = 0
        self.records = 0
        self.not_understood = 0
        self.bad: list[tuple[int, int, str]] = []
        self.names: set[str] = set()
        self.unfiltered = False
        self.clock = "none"
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.key_lines: list[tuple[int, int]] = []
        self.key_line_count = 0
        self.failures = 0
        self.successes = 0
        self.complete = False  # the whole trace was read: what was not seen is not there
        self.warnings: list[str] = []

    def not_read(self, source: int, line: int, reason: str) -> None:
        self.not_understood += 1
        if len(self.bad) < MAX_BAD:
            self.bad.append((source, line, reason))

    @property
    def covered(self) -> frozenset[Family]:
        if self.unfiltered:
            return frozenset(FAMILIES)
        return frozenset(family for name in self.names if (family := FAMILY_OF.get(name)))


class Thread:
    """Per-thread reading state: the first half of a call that has not come back."""

    __slots__ = ("begin", "text")

    def __init__(self, begin: Event, text: str | None) -> None:
        self.begin = begin
        self.text = text


class Reader:
    """Reads one file of a trace.

    `wanted(tid, fd, failed)` lets the sequencer refuse data calls that can change nothing: it counts them
    itself.  `blocks` yields scanned blocks, so that scanning can run in other processes.
    """

    def __init__(
        self, source: int, account: Account, tid: int | None = None, wanted: Wanted | None = None
    ) -> None:
        self._source = source
        self._account = account
        self._fixed_tid = tid
        self._wanted = wanted
        self._base = 0
        self._relative_ns = 0
        self._day = 0
        self._last_clock = 0
        self._halves: dict[int, Thread] = {}
        self._lone = Lone()

    def events(self, blocks: Iterator[scan.Block]) -> Iterator[Event]:
        """Yield the events of all blocks in order."""
        account = self._account
        for block in blocks:
            account.unfiltered = account.unfiltered or block.unfiltered
            for line, reason in block.bad:
                if len(account.bad) < MAX_BAD:
                    account.bad.append((self._source, self._base + line + 1, reason))
            account.not_understood += block.not_understood
            account.records += block.records
            for row in block.rows:
                yield from self._row(row)
            self._base += block.lines
            account.lines += block.lines
            self._relative_ns += block.relative

    def _row(self, row: scan.Row) -> Iterator[Event]:
        self._account.events += 1
        tid = self._fixed_tid if self._fixed_tid is not None else self._lone.resolve(row.tid)
        if row.form == scan.CALL:
            if row.name not in self._account.names:
                self._account.names.add(row.name)
            if row.data and self._refused(tid, row):
                return
            yield from self._call(row, tid)
        elif row.form == scan.RESUMED:
            self._account.names.add(row.name)
            yield from self._resumed(row, tid)
        else:
            self._lone.gone(tid)
            self._halves.pop(tid, None)
            yield self._event(row, tid, Phase.WHOLE, "exit", Decoded(Kind.EXIT), None)

    def _refused(self, tid: int, row: scan.Row) -> bool:
        """Tell whether a data call is of no interest to the sequencer (which has then counted it)."""
        rest = row.rest
        if (
            self._wanted is None
            or b"cmsg_type" in rest
            or b"unfinished" in rest
            or b"MSG_FASTOPEN" in rest
        ):
            return False
        match = _DATA_FD.match(rest)
        if match is None or row.name in ("splice", "tee"):
            return False
        end = rest.rfind(b" = ") + 3
        failed = end > 2 and rest[end : end + 1] in b"-0?"
        return not self._wanted(tid, int(match[1]), failed)

    def _call(self, row: scan.Row, tid: int) -> Iterator[Event]:
        text = row.rest.decode("utf-8", "replace")
        out = lines.whole(text)
        if out is not None and " = " in out.args and lines.is_glued(out.args):
            yield from self._unglued(row, text)
            return
        if out is None:
            yield from self._begin(row, tid, text)
            return
        self._halves.pop(tid, None)
        decoded = self._decode(row, out.args, out)
        if decoded is not None:
            self._lone.follow(tid, decoded, out.result)
            yield self._event(row, tid, Phase.WHOLE, row.name, decoded, out)

    def _unglued(self, row: scan.Row, text: str) -> Iterator[Event]:
        head = f"{row.tid} " if row.tid is not None else ""
        when = f"{row.time.decode()} " if row.time else ""
        for piece in unglue(f"{head}{when}{row.name}({text}"):
            for part in scan.rows_of(Repaired(row.line, row.end_line, piece, [])):
                whole = lines.whole(part.rest.decode("utf-8", "replace"))
                if part.name and (whole is None or not lines.is_glued(whole.args)):
                    yield from self._row(part._replace(relative=row.relative))

    def _begin(self, row: scan.Row, tid: int, text: str) -> Iterator[Event]:
        args = lines.unfinished(text)
        if args is None and row.name != "setsockopt":
            # cut by the end of the log, or torn: what is there may still be a whole first half
            args = text
        elif args is None:
            args = text if text.rstrip().endswith(")") or text.count(",") >= 3 else ""
        decoded = self._decode(row, args.removesuffix(")").rstrip(", "), None)
        if decoded is None:
            return
        event = self._event(row, tid, Phase.BEGIN, row.name, decoded, None)
        # a setsockopt is whole in its first half: its text, which may show a key, is not kept
        self._halves[tid] = Thread(event, args if row.name in OUT_ARGUMENTS else None)
        yield event

    def _resumed(self, row: scan.Row, tid: int) -> Iterator[Event]:
        half = self._halves.pop(tid, None)
        text = row.rest.decode("utf-8", "replace")
        out = lines.whole(text)
        if half is None or half.begin.call != row.name:
            yield from self._orphan(row, tid, out)
            return
        if out is None:
            if "unfinished" in text:
                self._halves[tid] = half
            return
        decoded: Decoded | None
        if half.text is not None:
            joined = (
                half.text.rstrip(", ")
                + (", " if out.args.strip(" ,") else "")
                + out.args.lstrip(" ,")
            )
            decoded = self._decode(row, joined, out._replace(args=joined))
        else:
            begin = half.begin
            decoded = Decoded(begin.kind, begin.fd, begin.note, begin.detail)
        if decoded is not None:
            self._lone.follow(tid, decoded, out.result)
            event = self._event(row, tid, Phase.END, row.name, decoded, out, half.begin)
            yield event

    def _orphan(self, row: scan.Row, tid: int, out: lines.Outcome | None) -> Iterator[Event]:
        """A second half whose first was never seen: only accept() tells enough."""
        if out is not None and row.name in ("accept", "accept4") and out.result is not None:
            decoded = self._decode(row, "-1, " + out.args.lstrip(" ,"), out)
            if decoded is not None:
                yield self._event(
                    row, tid, Phase.WHOLE, row.name, decoded._replace(fd=None, note=None), out
                )
        elif row.name in ("setsockopt", "connect", "socket"):
            self._account.not_read(
                self._source, self._base + row.line + 1, "the first half of the call is not there"
            )

    def _decode(self, row: scan.Row, args: str, out: lines.Outcome | None) -> Decoded | None:
        decoder = DECODERS.get(row.name)
        if decoder is None:
            return None
        if not args.isascii():
            args = straighten_quotes(args)
        if "&" in args and "&quot;" in args:
            args = (
                args.replace("&quot;", '"')
                .replace("&gt;", ">")
                .replace("&lt;", "<")
                .replace("&amp;", "&")
            )
        try:
            decoded = decoder(split_args(args), out)
        except Unreadable as error:
            self._account.not_read(self._source, self._base + row.line + 1, str(error))
            return None
        if decoded is not None and decoded.key_bytes:
            self._account.key_line_count += 1
            if len(self._account.key_lines) < MAX_BAD:
                self._account.key_lines.append((self._source, self._base + row.line + 1))
        return decoded

    def _event(
        self,
        row: scan.Row,
        tid: int,
        phase: Phase,
        call: str,
        decoded: Decoded,
        out: lines.Outcome | None,
        begin: Event | None = None,
    ) -> Event:
        now = self._now(row)
        result = errno = None
        result_note = None
        end_ns = None
        if out is not None:
            errno = out.errno
            result = -1 if errno else out.result
            if decoded.kind in (Kind.ULP, Kind.KEY) and result is not None and result > 0:
                result = None  # a seccomp kill prints the number of the syscall: no success
            result_note = note(out.note) if out.note else None
            end_ns = self._end(now, out, begin)
            if result is not None:
                if errno:
                    self._account.failures += 1
                else:
                    self._account.successes += 1
        return Event(
            decoded.kind,
            phase,
            tid,
            call,
            decoded.fd,
            result,
            errno,
            begin.start_ns if begin is not None else now,
            end_ns,
            self._source,
            begin.line if begin is not None else self._base + row.line + 1,
            decoded.detail,
            decoded.note,
            result_note,
            None,
            row.comm,
            row.stack,
        )

    def _end(self, now: int | None, out: lines.Outcome, begin: Event | None) -> int | None:
        if begin is None:
            return (
                now + out.duration_ns if now is not None and out.duration_ns is not None else None
            )
        if begin.start_ns is not None and out.duration_ns is not None:
            return begin.start_ns + out.duration_ns
        return now

    def _now(self, row: scan.Row) -> int | None:
        """Return the row's time in nanoseconds of the trace's clock, without wraps at midnight."""
        if row.time is None:
            return None
        text = row.time.decode()
        account = self._account
        if ":" in text:
            clock = "time-of-day"
            now = lines.nanoseconds(text) + self._day
            if now < self._last_clock - DAY_NS // 2:
                self._day += DAY_NS
                now += DAY_NS
            self._last_clock = now
        elif text.partition(".")[0].__len__() >= 9:
            clock, now = "epoch", lines.nanoseconds(text)
        else:
            clock, now = "relative", self._relative_ns + row.relative
        if account.clock == "none":
            account.clock = clock
        if account.first_ns is None:
            account.first_ns = now
        account.last_ns = now
        return now


class Lone:
    """Finds the thread of a line without a pid.

    strace writes no prefix while it has one tracee: until the first fork, and again when one is left.
    """

    UNNAMED = 0

    def __init__(self) -> None:
        self._alive: dict[int, None] = {}
        self._root: int | None = (
            None  # the pid that lines without a prefix belong to, once it is known
        )
        self._children: set[int] = set()
        self._named = False
        self._used_unnamed = False

    def resolve(self, tid: int | None) -> int:
        """Return the tid of a line whose prefix says `tid`, or nothing."""
        if tid is not None:
            self._named = True
            if tid not in self._alive:
                self._alive[tid] = None
                if self._used_unnamed and self._root is None and tid not in self._children:
                    # the first named thread that nobody was seen to make is the one without a name
                    self._root = tid
            return self.UNNAMED if tid == self._root else tid
        self._used_unnamed = True
        if self._named:
            others = [t for t in self._alive if t != self._root]
            if self._root is None and len(others) == 1:
                return others[0]
            if self._root is not None and self._root not in self._alive and len(others) == 1:
                return others[0]
        return self.UNNAMED

    def follow(self, tid: int, decoded: Decoded, result: int | None) -> None:
        if (
            decoded.kind is Kind.CLONE
            and result is not None
            and result > 0
            and len(self._children) < 1 << 20
        ):
            self._children.add(result)

    def gone(self, tid: int) -> None:
        if tid == self.UNNAMED and self._root is not None:
            self._alive.pop(self._root, None)
        self._alive.pop(tid, None)
