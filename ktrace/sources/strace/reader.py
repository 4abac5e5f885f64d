"""From the files of one trace to its events, and what was seen and not understood on the way."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from ktrace.events import BEGIN, END, WHOLE, Event, Kind, Phase, WaitDetail
from ktrace.sources.strace import fast, lines, scan
from ktrace.sources.strace.account import Account
from ktrace.sources.strace.calls import DECODERS, FAMILY_OF, OUT_ARGUMENTS, Decoded, Unreadable
from ktrace.sources.strace.fast import Read
from ktrace.sources.strace.lone import Lone
from ktrace.sources.strace.passed import Passed
from ktrace.sources.strace.repair import MAX_BAD, Repaired, unglue
from ktrace.sources.strace.rows import CALL, EXIT, RESUMED, Block, Data, DataLines, Row
from ktrace.sources.strace.usual import RAW_SPECIAL_DATA, SPECIAL_DATA, data_row
from ktrace.sources.strace.values import note, split_args, straighten_quotes

DAY_NS = 86_400_000_000_000
_EPOCH_NS = 100_000_000 * 1_000_000_000  # smaller numbers are deltas
_DATA_FD = re.compile(rb"\d+")
_MOVED = re.compile(rb"\) += (?:[1-9]\d*|-1 EAGAIN \([^()]*\))(?: <\d+\.\d+>)?$")
_WAITS = frozenset(name for name, of in FAMILY_OF.items() if of == "wait" and "_c" not in name)
_SPECIAL = (*SPECIAL_DATA, *RAW_SPECIAL_DATA)
MAX_KNOWN = 1024  # descriptors remembered: more would keep ended sockets in memory
_UNFINISHED = b" <unfinished ...>"
_ZERO_OR_FAILS = frozenset((Kind.ULP, Kind.KEY))
_CLOSE = Kind.CLOSE


class Counted(Protocol):
    """What a descriptor stands for once its data calls are only counted; gone when `refs` is 0."""

    refs: int
    omitted: int


class Consumer(Protocol):
    """What knows which data calls can still change anything: the sequencer.

    `settled` returns None when the reader has to look at the call.  When `generation` changes,
    earlier answers may be wrong.
    """

    @property
    def detailed(self) -> bool:
        """Every data call of a connection's setup will be shown."""

    @property
    def generation(self) -> int: ...

    def unknown(self, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of (thread, descriptor) of which the trace has not shown what they are."""

    def settled(self, tid: int, fd: int) -> Counted | None: ...

    @property
    def asked(self) -> frozenset[int] | None:
        """The descriptors whose data calls matter, None when all do."""


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
        self._fixed_tid = tid
        self._consumer = consumer
        self._base = 0
        self._relative_ns = 0
        self._day = 0
        self._last_clock = 0
        self._halves: dict[int, Half] = {}
        self._awaited: set[int] = set()  # threads inside a data call that may yet prove something
        self._lone = Lone(first_thread)
        self._settled = self._lone.settled
        self._describes = False  # the block describes the sockets that its calls are made on
        self._unknown: dict[int, list[int]] = {}  # what may not be open, by whom it is used
        self._knows_data = False  # the trace is known to show data calls
        self._known: dict[tuple[bytes, bytes], Counted] = {}
        self._generation = -1
        self._data = b""  # the block that is read
        self._position = 0
        self._passed = Passed()

    def events(self, blocks: Iterator[tuple[bytes, Block]]) -> Iterator[Event]:
        """Yield the events of all blocks in order."""
        account, whole = self._account, self._whole
        for data, block in blocks:
            self._note_block(block)
            self._data = data
            self._describes = bool(block.data.pairs) if block.data is not None else b"<TCP" in data
            for row, part in zip(block.rows, self._needed(block), strict=True):
                if part is not None:
                    self._position = row.quiet[1]
                    yield from self._quiet(data, row, block.data, part)
                if row.read is not None:
                    yield whole(row, row.read)
                elif row.name:
                    self._position = row.quiet[1]
                    yield from self._row(row)
            self._passed.remember(data)
            self._base += block.lines
            account.lines += block.lines
            self._relative_ns += block.passed

    def _needed(self, block: Block) -> Iterator[tuple[int, int] | None]:
        """Yield before each row which data calls of the block stand in the quiet part before it;
        None where nobody has to look at that.

        That is where the sequencer, which has taken in all before, asks about none of them.
        """
        awaited, consumer = self._awaited, self._consumer
        if block.data is None:
            for row in block.rows:
                start, end = row.quiet
                yield (0, 0) if end > start and (awaited or not self._nobody_asks(row)) else None
            return
        (fds, ends, _, pairs), first = block.data, 0
        unknown = self._unknown = self._not_known(pairs)
        for last in ends:
            if awaited:
                yield first, last
            elif first == last:
                yield None
            else:
                asked = consumer.asked if consumer is not None and self._knows_data else None
                part = fds[first:last]
                needed = asked is None or not asked.isdisjoint(part)
                if not (needed or unknown.keys().isdisjoint(part)):
                    needed = self._shows_unknown(part)
                yield (first, last) if needed else None
            first = last

    def _not_known(self, pairs: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
        """Return the descriptors that nobody has seen opened, with the threads that use them.

        A call on one may show a connection that began before the trace.
        """
        found: dict[int, list[int]] = {}
        if self._consumer is None or not pairs:
            return found
        settled, named = self._settled, self._tid
        whose = [
            (tid if tid in settled else named(tid if tid >= 0 else None), fd) for tid, fd in pairs
        ]
        for tid, fd in self._consumer.unknown(whose):
            found.setdefault(fd, []).append(tid)
        return found

    def _shows_unknown(self, part: Sequence[int]) -> bool:
        """Tell whether one of these descriptors was not opened meanwhile either."""
        consumer, unknown = self._consumer, self._unknown
        assert consumer is not None
        for fd in unknown.keys() & part:
            if consumer.unknown([(tid, fd) for tid in unknown[fd]]):
                return True
            del unknown[fd]  # until it is closed
        return False

    def _whole(self, row: Row, read: Read) -> Event:
        """Make the event of a record that the scanner has read at once."""
        account = self._account
        account.events += 1
        account.names.add(row.name)
        tid = self._fixed_tid
        if tid is None:
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
        if kind is _CLOSE and self._describes and read.fd is not None:
            self._unknown.setdefault(read.fd, []).append(tid)
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

    def _quiet(
        self, data: bytes, row: Row, found: Data | None, part: tuple[int, int]
    ) -> Iterator[Event]:
        """Count the data calls that the scanner passed over, or look at them where they matter."""
        if found is not None and found.lines is not None and self._consumer is not None:
            yield from self._each(data, found.fds, found.lines, part, self._consumer)
            return
        calls = scan.data_calls(data, row.quiet)
        if not calls and not self._awaited:
            return
        if calls:
            self._account.names.add("recvfrom")
            self._knows_data = True
        counted = None if self._awaited else self._counted(calls)
        if counted is None:
            for inner in scan.careful_rows(data, row):
                yield from self._row(inner)
            return
        self._account.events += len(counted)
        for known in counted:
            known.omitted += 1

    def _each(
        self,
        data: bytes,
        fds: list[int],
        lines: DataLines,
        part: tuple[int, int],
        consumer: Consumer,
    ) -> Iterator[Event]:
        """Look at each data call of a quiet part that is made on a socket in its setup."""
        looked, ended = bool(self._awaited), 0
        for index in range(*part):
            tid, fd = lines.tids[index], fds[index]
            if tid not in self._settled or self._fixed_tid is not None:
                tid = self._tid(tid if tid >= 0 else None)
            counted = consumer.settled(tid, fd) if fd > 0 else None  # 0: it may be no data call
            if counted is None and (fd >= 0 or tid in self._halves):
                row = data_row(data, lines, index)
                read = fast.read(row.name, row.rest) if fd > 0 else None
                self._position = lines.starts[index]
                if read is not None:
                    yield self._whole(row, read)
                elif row.name:
                    yield from self._row(row)
                looked = True
            elif counted is not None:
                counted.omitted += 1
                self._account.events += 1
                self._account.names.add("recvfrom")
            else:
                ended += 1
        self._account.events += ended if looked else 0

    def _nobody_asks(self, row: Row) -> bool:
        """Tell whether the quiet part before a row has no data call that could say something of
        the few sockets that are open to it.
        """
        asked = self._consumer.asked if self._consumer is not None and self._knows_data else None
        if asked is None or self._describes:  # it may show sockets of which nothing else tells
            return False
        return all(self._data.find(b"(%d" % fd, *row.quiet) < 0 for fd in asked)

    def _counted(self, calls: list[tuple[bytes, bytes, bytes]]) -> list[Counted] | None:
        """Return what each call was made on; None when one of them needs a look."""
        consumer, known = self._consumer, self._known
        if consumer is None:
            return None
        if consumer.generation != self._generation or len(known) > MAX_KNOWN:
            known.clear()
            self._generation = consumer.generation
        found = []
        for bracketed, plain, fd in calls:
            key = (bracketed or plain, fd)
            counted = known.get(key)
            if counted is None or counted.refs <= 0:
                counted = consumer.settled(self._tid(int(key[0]) if key[0] else None), int(fd))
                if counted is None:
                    return None
                known[key] = counted
            found.append(counted)
        return found

    def _kept(self, row: Row, rest: bytes | None = None) -> Row:
        """Return a row for later, with line and deltas counted from the start of the file."""
        line, kept = row.line + self._base, row.rest if rest is None else rest
        passed = row.passed + self._relative_ns
        return msgspec.structs.replace(row, line=line, rest=kept, passed=passed)

    def _tid(self, tid: int | None) -> int:
        return self._fixed_tid if self._fixed_tid is not None else self._lone.resolve(tid)

    def _row(self, row: Row) -> Iterator[Event]:
        self._account.events += 1
        tid = self._tid(row.tid)
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
        elif not (row.is_data and self._only_counts(tid, row)):
            yield from self._call(row, tid)

    def _only_counts(self, tid: int, row: Row) -> bool:
        """Tell whether a data call is of no interest to the sequencer, and count it."""
        rest = row.rest
        match = _DATA_FD.match(rest)
        if self._consumer is None or match is None:
            return False
        counted = self._consumer.settled(tid, int(match[0]))
        if counted is None or _is_special(rest):
            return False
        begins = b"<unfinished" in rest
        if not begins and not _MOVED.search(rest):
            return False
        counted.omitted += 1
        if begins:
            self._halves[tid] = Half(self._kept(row))
        return True

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
        elif half.begin is None and half.text is None and _only_moved(row.rest):
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
            start, line = self._began(half), half.row.line + 1
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

    def _began(self, half: Half) -> int | None:
        """Return when a call began of which the second half has come."""
        if self._account.clock == "relative" and half.row.time is not None:
            return half.row.passed
        return self._now(half.row)

    def _now(self, row: Row) -> int | None:
        """Return the row's time in nanoseconds of the trace's clock, without wraps at midnight."""
        account = self._account
        if row.at_ns >= 0 and account.clock == "epoch":
            account.last_ns = row.at_ns
            return row.at_ns
        if row.time is None:
            return None
        raw = row.time
        if len(raw) == 17 and raw[10] == 0x2E and account.clock == "epoch" and raw[0] != 0x30:
            account.last_ns = now = int(raw.replace(b".", b"")) * 1000
            return now
        text = raw.decode()
        now = lines.nanoseconds(text)
        if ":" in text:
            clock = "time-of-day"
            now = self._unwrapped(now)
        elif now >= _EPOCH_NS:
            clock = "epoch"
        else:
            clock, now = "relative", self._relative_ns + row.passed
        if account.clock == "none":
            account.clock = clock
        if account.first_ns is None:
            account.first_ns = now
        account.last_ns = now
        return now

    def _unwrapped(self, now: int) -> int:
        day = self._day
        if now + day < self._last_clock - DAY_NS // 2:
            day = self._day = day + DAY_NS
        elif now + day > self._last_clock + DAY_NS // 2 and day:
            day -= DAY_NS  # the start, before midnight, of a call that came back after it
        self._last_clock = max(self._last_clock, now + day)
        return now + day


def _is_special(rest: bytes) -> bool:
    """Tell a data call that does more than move data."""
    return any(mark in rest for mark in _SPECIAL)


def _only_moved(rest: bytes) -> bool:
    return _MOVED.search(rest) is not None and not _is_special(rest)


def _short_joined(row: Row, first: str) -> Decoded | None:
    """Read a call of a usual form at once from its two halves."""
    got = fast.read(row.name, b"%s, %s" % (first.rstrip(", ").encode(), row.rest.lstrip(b", ")))
    if got is None or got.key_bytes:
        return None
    return Decoded(got.kind, got.fd, got.note, got.detail)
