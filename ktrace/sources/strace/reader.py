"""From the files of one trace to its events, and what was seen and not understood on the way."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from ktrace.events import BEGIN, END, WHOLE, Event, Kind, Phase, WaitDetail
from ktrace.sources.strace import fast, lines, scan
from ktrace.sources.strace.account import Account
from ktrace.sources.strace.calls import DECODERS, FAMILY_OF, OUT_ARGUMENTS
from ktrace.sources.strace.clock import Clock
from ktrace.sources.strace.datacalls import Consumer, DataCalls, NobodySays, only_moved
from ktrace.sources.strace.decoded import Decoded, Unreadable
from ktrace.sources.strace.fast import Read
from ktrace.sources.strace.lone import Lone
from ktrace.sources.strace.passed import Passed
from ktrace.sources.strace.repair import MAX_BAD, Repaired, unglue
from ktrace.sources.strace.rows import CALL, EXIT, RESUMED, Block, Row
from ktrace.sources.strace.values import as_printed, note, split_args

_WAITS = frozenset(name for name, of in FAMILY_OF.items() if of == "wait" and "_c" not in name)
_UNFINISHED = b" <unfinished ...>"
_ZERO_OR_FAILS = frozenset((Kind.ULP, Kind.KEY))
_CLOSE = Kind.CLOSE


class Half(NamedTuple):
    """The first half of a call: its record, and for a call that matters its event and arguments."""

    row: Row
    begin: Event | None = None
    text: str | None = None


class Reader:
    """Reads one file of a trace.

    Without a consumer every call becomes an event (files that are merged are read ahead of it).
    """

    def __init__(
        self,
        source: int,
        account: Account,
        tid: int | None = None,
        consumer: Consumer | None = None,
        first_thread: int | None = None,
    ) -> None:
        self._source = source
        self._account = account
        self._base = 0
        self._clock = Clock(account)
        self._now = self._clock.at
        self._halves: dict[int, Half] = {}
        self._awaited: set[int] = set()  # threads inside a data call that may yet prove something
        self._lone = Lone(first_thread, tid)
        self._settled = self._lone.settled
        self._data_calls = DataCalls(
            account, consumer or NobodySays(), self._lone, self._halves.keys(), self._awaited
        )
        self._data = b""  # the block that is read
        self._position = 0
        self._passed = Passed()

    def events(self, blocks: Iterator[tuple[bytes, Block]]) -> Iterator[Event]:
        """Yield the events of all blocks in order."""
        account, whole, calls = self._account, self._whole, self._data_calls
        for data, block in blocks:
            self._note_block(block)
            self._data = data
            for row, part in zip(block.rows, calls.parts(data, block), strict=True):
                if part is not None:
                    for call in calls.needed(row, block.data, part):
                        if call.read is not None:
                            yield whole(call.row, call.read)
                        else:
                            self._position = call.position
                            yield from self._row(call.row)
                if row.read is not None:
                    yield whole(row, row.read)
                elif row.name:
                    self._position = row.quiet[1]
                    yield from self._row(row)
            self._passed.remember(data)
            self._base += block.lines
            account.lines += block.lines
            self._clock.relative_ns += block.passed

    def _whole(self, row: Row, read: Read) -> Event:
        """Make the event of a record that the scanner has read at once."""
        account = self._account
        account.events += 1
        account.names.add(row.name)
        tid = row.tid
        if tid is None or tid not in self._settled:
            tid = self._lone.resolve(tid)
        if self._awaited:
            self._awaited.discard(tid)
        return self._read_at_once(row, tid, read)

    def _read_at_once(self, row: Row, tid: int, read: Read) -> Event:
        account, line = self._account, self._base + row.line + 1
        if tid in self._halves:
            del self._halves[tid]
        if read.key_bytes:
            account.saw_key(self._source, line)
        kind, errno, duration = read.kind, read.errno, read.duration_ns
        result: int | None = read.result
        if errno is not None:
            account.failures += 1
        elif result and kind in _ZERO_OR_FAILS:
            result = None  # a seccomp kill prints the number of the syscall: no success
        else:
            account.successes += 1
        if kind is _CLOSE and read.fd is not None:
            self._data_calls.closed(tid, read.fd)
        now = self._now(row)
        return Event(
            kind,
            WHOLE,
            tid,
            row.name,
            read.fd,
            result,
            errno,
            now,
            now + duration if now is not None and duration is not None else None,
            self._source,
            line,
            read.detail,
            read.note,
            read.result_note,
            None,
            row.comm,
            row.stack,
        )

    def _note_block(self, block: Block) -> None:
        account = self._account
        account.unfiltered = account.unfiltered or block.unfiltered
        if block.waits:
            account.names.add("epoll_wait")
        for line, reason in block.bad:
            if len(account.bad) < MAX_BAD:
                account.bad.append((self._source, self._base + line + 1, reason))
        account.not_understood += block.not_understood
        account.records += block.records

    def _kept(self, row: Row, rest: bytes | None = None) -> Row:
        """Return a row for later, with line and deltas counted from the start of the file."""
        line, kept = row.line + self._base, row.rest if rest is None else rest
        passed = row.passed + self._clock.relative_ns
        return msgspec.structs.replace(row, line=line, rest=kept, passed=passed)

    def _row(self, row: Row) -> Iterator[Event]:
        self._account.events += 1
        tid = self._lone.resolve(row.tid)
        if row.form == EXIT:
            self._lone.gone(tid)
            self._halves.pop(tid, None)
            yield self._event(row, tid, WHOLE, "exit", Decoded(Kind.EXIT), None)
            return
        self._account.names.add(row.name)
        if self._awaited:
            self._awaited.discard(tid)
        if row.form == RESUMED:
            yield from self._resumed(row, tid)
        elif not (row.is_data and self._data_calls.only_counts(tid, row.rest)):
            yield from self._call(row, tid)
        elif b"<unfinished" in row.rest:
            self._halves[tid] = Half(self._kept(row))

    def _short_begin(self, row: Row, tid: int) -> Event | None:
        """Read the first half of a call of a usual form at once, as if it had returned."""
        rest = row.rest
        if (
            row.is_data
            or row.name in OUT_ARGUMENTS
            or not rest.endswith(_UNFINISHED)
            or b") =" in rest
        ):
            return None
        got = fast.read(row.name, rest.removesuffix(_UNFINISHED) + b") = 0")
        if got is None:
            return None
        if got.key_bytes:
            self._account.saw_key(self._source, self._base + row.line + 1)
        decoded = Decoded(got.kind, got.fd, got.note, got.detail)
        event = self._event(row, tid, BEGIN, row.name, decoded, None)
        self._halves[tid] = Half(self._kept(row, rest=b""), event)
        return event

    def _call(self, row: Row, tid: int) -> Iterator[Event]:
        read = fast.read(row.name, row.rest) if row.is_data else None
        if read is not None:
            yield self._read_at_once(row, tid, read)
            return
        begun = self._short_begin(row, tid)
        if begun is not None:
            yield begun
            return
        text = row.rest.decode("utf-8", "replace")
        out = lines.whole(text)
        if out is not None and (
            (" = " in out.args and lines.is_glued(out.args)) or "<unfinished" in out.suffix
        ):
            yield from self._unglued(row, text)
            return
        if out is None:
            yield from self._begin(row, tid, text)
            return
        self._halves.pop(tid, None)
        decoded = self._decode(row, out.args, out)
        if decoded is not None:
            if decoded.kind is Kind.CLONE:
                self._lone.follow(out.result)
            yield self._event(row, tid, WHOLE, row.name, decoded, out)

    def _unglued(self, row: Row, text: str) -> Iterator[Event]:
        head = f"{row.tid} " if row.tid is not None else ""
        when = f"{row.time.decode()} " if row.time else ""
        pieces = unglue(f"{head}{when}{row.name}({text}", self._lone.alive)
        if len(pieces) < 2:
            self._account.not_read(
                self._source, self._base + row.line + 1, "several records on one line"
            )
            return
        for piece in pieces:
            for part in scan.rows_of(Repaired(row.line, row.line, piece, [])):
                whole = lines.whole(part.rest.decode("utf-8", "replace"))
                if part.name and (whole is None or not lines.is_glued(whole.args)):
                    part.line = row.line
                    yield from self._row(msgspec.structs.replace(part, passed=row.passed))
                elif part.name:
                    self._account.not_read(
                        self._source, self._base + row.line + 1, "several records on one line"
                    )

    def _begin(self, row: Row, tid: int, text: str) -> Iterator[Event]:
        args = lines.unfinished(text)
        if args is not None and row.name in _WAITS:
            # what a wait was asked matters only beside what it returned
            self._halves[tid] = Half(self._kept(row), None, args)
            return
        if args is None:  # cut by the end of the log, or torn: it may still be a whole first half
            args = text if row.name != "setsockopt" or text.count(",") >= 3 else ""
        decoded = self._decode(row, args.removesuffix(")").rstrip(", "), None)
        if decoded is None:
            return
        event = self._event(row, tid, BEGIN, row.name, decoded, None)
        # a setsockopt is whole in its first half: its text, which may show a key, is not kept
        kept = self._kept(row, rest=b"")
        self._halves[tid] = Half(kept, event, args if row.name in OUT_ARGUMENTS else None)
        if row.is_data:
            self._awaited.add(tid)
        yield event

    def _resumed(self, row: Row, tid: int) -> Iterator[Event]:
        half = self._halves.pop(tid, None)
        text = row.rest.decode("utf-8", "replace")
        out = lines.whole(text)
        if half is None or half.row.name != row.name:
            half = self._look_back(row)
        if half is None:
            yield from self._orphan(row, tid, out)
        elif out is None:
            if "unfinished" in text:
                self._halves[tid] = half
        elif half.begin is None and half.text is None and only_moved(row.rest):
            return  # its first half was counted
        else:
            yield from self._end_of_call(row, tid, half, out)

    def _look_back(self, row: Row) -> Half | None:
        """Find the first half of a wait or data call that the scanner passed over.

        A thread is inside one call at a time, so its last record before this one is that half.
        """
        if row.tid is None or FAMILY_OF.get(row.name) not in ("wait", "io"):
            return None
        last = self._passed.last_line_of(row.tid, self._data, self._position)
        if last is None:
            return None
        number = row.line - last.lines
        for found in scan.rows_of(Repaired(number, number, last.text, [])):
            args = lines.unfinished(found.rest.decode("utf-8", "replace"))
            if found.name == row.name and found.form == CALL and args is not None:
                if self._account.clock == "relative":
                    own = scan.delta_ns(row.time) if row.time else 0
                    found.passed = row.passed - own - last.deltas_ns()
                return Half(self._kept(found), None, args)
        return None

    def _end_of_call(self, row: Row, tid: int, half: Half, out: lines.Outcome) -> Iterator[Event]:
        first = half.text
        if first is None and half.begin is None:
            first = lines.unfinished(half.row.rest.decode("utf-8", "replace")) or ""
        decoded: Decoded | None
        if first is not None:
            more = out.args.strip(" ,")
            joined = f"{first.rstrip(', ')}, {more}" if more else first.rstrip(", ")
            decoded = _short_joined(row, first) or self._decode(
                row, joined, out._replace(args=joined)
            )
        else:
            assert half.begin is not None
            decoded = Decoded(half.begin.kind, half.begin.fd, half.begin.note, half.begin.detail)
        if decoded is not None:
            if decoded.kind is Kind.CLONE:
                self._lone.follow(out.result)
            yield self._event(row, tid, END, row.name, decoded, out, half)

    def _orphan(self, row: Row, tid: int, out: lines.Outcome | None) -> Iterator[Event]:
        """A second half whose first was never seen: only accept() and waits tell enough."""
        if out is not None and row.name in ("accept", "accept4") and out.result is not None:
            decoded = self._decode(row, "-1, " + out.args.lstrip(" ,"), out)
            if decoded is not None:
                decoded = decoded._replace(fd=None, note=None)
                yield self._event(row, tid, WHOLE, row.name, decoded, out)
        elif out is not None and out.result and out.result > 0 and row.name in _WAITS:
            # what it was asked is not known: it could have told of any socket
            hidden = Decoded(Kind.WAIT, detail=WaitDetail((), hidden=True))
            yield self._event(row, tid, WHOLE, row.name, hidden, out)
        elif row.name in ("setsockopt", "connect", "socket"):
            self._account.not_read(
                self._source, self._base + row.line + 1, "the first half of the call is not there"
            )

    def _decode(self, row: Row, args: str, out: lines.Outcome | None) -> Decoded | None:
        decoder = DECODERS.get(row.name)
        if decoder is None:
            return None
        try:
            decoded = decoder(split_args(as_printed(args)), out)
        except Unreadable as error:
            self._account.not_read(self._source, self._base + row.line + 1, str(error))
            return None
        if decoded is not None and decoded.key_bytes:
            self._account.saw_key(self._source, self._base + row.line + 1)
        if decoded is not None and decoded.kind is Kind.SECCOMP and self._account.unfiltered:
            return None  # without a filter of its own strace sees what another one refuses
        return decoded

    def _event(
        self,
        row: Row,
        tid: int,
        phase: Phase,
        call: str,
        decoded: Decoded,
        out: lines.Outcome | None,
        half: Half | None = None,
    ) -> Event:
        now = self._now(row)
        start, line = now, self._base + row.line + 1
        if half is not None:
            start, line = self._clock.began(half.row), half.row.line + 1
        result = errno = result_note = end_ns = None
        if out is not None:
            errno, result = out.errno, -1 if out.errno else out.result
            if decoded.kind in _ZERO_OR_FAILS and result is not None and result > 0:
                result = None  # a seccomp kill prints the number of the syscall: no success
            result_note = note(out.note) if out.note else None
            self._account.count_result(result, errno)
            if decoded.kind is Kind.SECCOMP and errno is None:
                self._account.seccomp = True
            if start is not None and out.duration_ns is not None:
                end_ns = start + out.duration_ns
            elif half is not None:
                end_ns = now
        return Event(
            decoded.kind,
            phase,
            tid,
            call,
            decoded.fd,
            result,
            errno,
            start,
            end_ns,
            self._source,
            line,
            decoded.detail,
            decoded.note,
            result_note,
            None,
            row.comm,
            row.stack,
        )


def _short_joined(row: Row, first: str) -> Decoded | None:
    """Read a call of a usual form at once from its two halves."""
    got = fast.read(row.name, b"%s, %s" % (first.rstrip(", ").encode(), row.rest.lstrip(b", ")))
    if got is None or got.key_bytes:
        return None
    return Decoded(got.kind, got.fd, got.note, got.detail)
