"""The data calls that the scanner passed over: which of them somebody has to look at.

Nearly all calls of a log move data, and once a connection is set up they change nothing: they are
counted, and most are not even looked for.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from ktrace.sources.strace import fast, scan
from ktrace.sources.strace.account import Account
from ktrace.sources.strace.fast import Read
from ktrace.sources.strace.lone import Lone
from ktrace.sources.strace.rows import DESCRIBED, Block, Data, DataLines, Row
from ktrace.sources.strace.usual import RAW_SPECIAL_DATA, SPECIAL_DATA, data_row

MAX_KNOWN = 1024  # descriptors remembered: more would keep ended sockets in memory
_DATA_FD = re.compile(rb"\d+")
_MOVED = re.compile(rb"\) += (?:[1-9]\d*|-1 EAGAIN \([^()]*\))(?: <\d+\.\d+>)?$")
_SPECIAL = (*SPECIAL_DATA, *RAW_SPECIAL_DATA)


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


class Needed(NamedTuple):
    """A data call that somebody has to look at: its row, where that was read at once what it says,
    and where in the block it begins.
    """

    row: Row
    read: Read | None
    position: int


class DataCalls:
    """Goes through the quiet parts of one file's blocks.

    `halves` are the threads that are inside a call, `awaited` those inside a data call that may
    yet prove something.
    """

    def __init__(
        self,
        account: Account,
        consumer: Consumer,
        lone: Lone,
        halves: Collection[int],
        awaited: Collection[int],
    ) -> None:
        self._account = account
        self._consumer = consumer
        self._lone = lone
        self._halves = halves
        self._awaited = awaited
        self._data = b""  # the block that is read
        self._describes = False  # it describes the sockets that its calls are made on
        self._unknown: dict[int, list[int]] = {}  # what may not be open, by whom it is used
        self._shown = False  # the trace is known to show data calls
        self._known: dict[tuple[bytes, bytes], Counted] = {}
        self._generation = -1

    def parts(self, data: bytes, block: Block) -> Iterator[tuple[int, int] | None]:
        """Yield before each row which data calls of the block stand in the quiet part before it;
        None where nobody has to look at that.

        That is where the sequencer, which has taken in all before, asks about none of them.
        """
        self._data = data
        if block.data is None:
            self._describes = DESCRIBED in data
            for row in block.rows:
                start, end = row.quiet
                needed = end > start and (self._awaited or not self._nobody_asks(row))
                yield (0, 0) if needed else None
        else:
            self._describes = bool(block.data.pairs)
            yield from self._of_columns(block.data)

    def needed(self, row: Row, data: Data | None, part: tuple[int, int]) -> Iterator[Needed]:
        """Yield the data calls of the quiet part before a row that matter, and count the others."""
        if data is not None and data.lines is not None:
            yield from self._each(data.fds, data.lines, part)
            return
        calls = scan.data_calls(self._data, row.quiet)
        if not calls and not self._awaited:
            return
        if calls:
            self._account.names.add("recvfrom")
            self._shown = True
        counted = None if self._awaited else self._counted(calls)
        if counted is None:
            for inner in scan.careful_rows(self._data, row):
                yield Needed(inner, None, row.quiet[1])
            return
        self._account.events += len(counted)
        for known in counted:
            known.omitted += 1

    def only_counts(self, tid: int, rest: bytes) -> bool:
        """Tell whether a data call is of no interest to the sequencer, and count it."""
        match = _DATA_FD.match(rest)
        if match is None:
            return False
        counted = self._consumer.settled(tid, int(match[0]))
        if counted is None or _is_special(rest):
            return False
        if b"<unfinished" not in rest and not _MOVED.search(rest):
            return False
        counted.omitted += 1
        return True

    def closed(self, tid: int, fd: int) -> None:
        """From here on the number stands for something else."""
        if self._describes:
            self._unknown.setdefault(fd, []).append(tid)

    def _of_columns(self, data: Data) -> Iterator[tuple[int, int] | None]:
        fds, ends, _, pairs = data
        consumer, awaited, first = self._consumer, self._awaited, 0
        unknown = self._unknown = self._not_known(pairs)
        for last in ends:
            if awaited:
                yield first, last
            elif first == last:
                yield None
            else:
                asked = consumer.asked if self._shown else None
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
        if not pairs:
            return found
        settled, named = self._lone.settled, self._lone.resolve
        whose = [
            (tid if tid in settled else named(tid if tid >= 0 else None), fd) for tid, fd in pairs
        ]
        for tid, fd in self._consumer.unknown(whose):
            found.setdefault(fd, []).append(tid)
        return found

    def _shows_unknown(self, part: Sequence[int]) -> bool:
        """Tell whether one of these descriptors was not opened meanwhile either."""
        unknown = self._unknown
        for fd in unknown.keys() & part:
            if self._consumer.unknown([(tid, fd) for tid in unknown[fd]]):
                return True
            del unknown[fd]  # until it is closed
        return False

    def _nobody_asks(self, row: Row) -> bool:
        """Tell whether the quiet part before a row has no data call that could say something of
        the few sockets that are open to it.
        """
        asked = self._consumer.asked if self._shown else None
        if asked is None or self._describes:  # it may show sockets of which nothing else tells
            return False
        return all(self._data.find(b"(%d" % fd, *row.quiet) < 0 for fd in asked)

    def _each(self, fds: list[int], lines: DataLines, part: tuple[int, int]) -> Iterator[Needed]:
        """Look at each data call of a quiet part that is made on a socket in its setup."""
        account, settled, named = self._account, self._lone.settled, self._lone.resolve
        consumer, looked, ended = self._consumer, bool(self._awaited), 0
        for index in range(*part):
            tid, fd = lines.tids[index], fds[index]
            if tid not in settled:
                tid = named(tid if tid >= 0 else None)
            counted = consumer.settled(tid, fd) if fd > 0 else None  # 0: it may be no data call
            if counted is None and (fd >= 0 or tid in self._halves):
                row = data_row(self._data, lines, index)
                read = fast.read(row.name, row.rest) if fd > 0 else None
                if row.name:
                    yield Needed(row, read, lines.starts[index])
                looked = True
            elif counted is not None:
                counted.omitted += 1
                account.events += 1
                account.names.add("recvfrom")
            else:
                ended += 1
        account.events += ended if looked else 0

    def _counted(self, calls: list[tuple[bytes, bytes, bytes]]) -> list[Counted] | None:
        """Return what each call was made on; None when one of them needs a look."""
        consumer, known = self._consumer, self._known
        if consumer.generation != self._generation or len(known) > MAX_KNOWN:
            known.clear()
            self._generation = consumer.generation
        found = []
        for bracketed, plain, fd in calls:
            key = (bracketed or plain, fd)
            counted = known.get(key)
            if counted is None or counted.refs <= 0:
                tid = self._lone.resolve(int(key[0]) if key[0] else None)
                counted = consumer.settled(tid, int(fd))
                if counted is None:
                    return None
                known[key] = counted
            found.append(counted)
        return found


def only_moved(rest: bytes) -> bool:
    """Tell the second half of a data call that did nothing else than move data."""
    return _MOVED.search(rest) is not None and not _is_special(rest)


def _is_special(rest: bytes) -> bool:
    """Tell a data call that does more than move data."""
    return any(mark in rest for mark in _SPECIAL)


class NobodySays:
    """The consumer of files that are merged, which are read ahead of it: every call matters."""

    detailed = False
    generation = 0
    asked: frozenset[int] | None = None

    def unknown(self, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        return []

    def settled(self, tid: int, fd: int) -> Counted | None:
        return None
