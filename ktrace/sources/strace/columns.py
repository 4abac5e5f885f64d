"""The columns of a block whose lines all have heads of the same width: the one user of numpy."""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from ktrace.sources.strace.usual import (
    CLASSES,
    CORE,
    DATA,
    KEY,
    SECOND,
    WAIT,
    Unusual,
    is_quiet,
    learn,
)

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_ZERO, _BLANK = ord("0"), ord(" ")
_TAIL = len("123 <0.000021>")  # the last bytes of a call that moved at least 100 bytes
_AGAIN = np.frombuffer(b"= -1 EAGAIN (Resource temporarily unavailable) <", np.uint8)
_DURATION = len("0.000021>")
_UNFINISHED = np.frombuffer(b"<unfinished ...>", np.uint8)
_INPUT = np.frombuffer(b"EPOLLIN, ", np.uint8)
_EVENT = len(_INPUT)
_RESUMED = len(b"<... ")
_UNDERSCORE, _OF_WAITS = len("epoll"), np.frombuffer(b"wp", np.uint8)  # epoll_wait, epoll_pwait


class Columns:
    """The lines of a block: where each begins and ends, and which of them matter.

    `clock` and `call` are the columns where the time and the call stand.  Raises Unusual when a
    line's head is not like the first one's but for its digits.
    """

    def __init__(self, data: bytes, clock: int, call: int) -> None:
        self.clock, self.call = clock, call
        self._data = data
        self._bytes: Bytes = np.frombuffer(data, np.uint8)
        self._ends: Numbers = np.flatnonzero(self._bytes == ord("\n"))
        self._starts: Numbers = np.concatenate(([0], self._ends[:-1] + 1))
        self.lines = len(self._ends)
        if int((self._ends - self._starts).min()) < call + max(KEY, _TAIL):
            raise Unusual
        self._check_heads()

    def candidates(self) -> Iterator[tuple[int, int, int]]:
        """Yield the number, the start and the end of each line that matters."""
        picked = np.flatnonzero(self._matters())
        starts, ends = self._starts[picked], self._ends[picked]
        yield from zip(picked.tolist(), starts.tolist(), ends.tolist(), strict=True)

    def calls_ending(self, endings: Collection[str]) -> int:
        """Return how often a name with one of these last two letters stands before a `(`."""
        places = np.flatnonzero(self._bytes == ord("("))
        two = self._at(places, -2, 0).astype(np.uint16)
        found = two[:, 0] << 8 | two[:, 1]
        wanted = [int.from_bytes(ending.encode(), "big") for ending in endings]
        return int(np.isin(found, wanted).sum())

    def _check_heads(self) -> None:
        """Check that all heads have digits where the first has digits, and the rest in common."""
        heads = self._at(self._starts, 0, self.call)
        pids, times = heads[:, : self.clock], heads[:, self.clock :]
        if not np.array_equal(
            _same_digits(times), np.broadcast_to(_same_digits(times[:1]), times.shape)
        ):
            raise Unusual
        digits = _are_digits(pids)
        if self.clock and not (
            digits[:, 0].all()
            and (pids[:, -1] == _BLANK).all()
            and (digits | (pids == _BLANK)).all()
            and (digits[:, 1:] <= digits[:, :-1]).all()  # no digit behind a blank
        ):
            raise Unusual

    def _at(self, places: Numbers, first: int, last: int) -> Bytes:
        """Return the bytes from `first` to `last` beside each place, a row a place.

        Behind the ends of the block its first and last byte stand.
        """
        found: Bytes = self._bytes.take(places[:, None] + np.arange(first, last), mode="clip")
        return found

    def _kinds(self, places: Numbers) -> Numbers:
        """Return what each line is, by the first bytes of its call, which stands at `places`."""
        keys = np.ascontiguousarray(self._at(places, 0, KEY)).view(np.uint32).ravel()
        different, where = np.unique(keys, return_inverse=True)
        kinds = [self._kind(places, where == index) for index in range(len(different))]
        return np.array(kinds, np.int64)[where]

    def _kind(self, places: Numbers, chosen: Flags) -> int:
        """Return what the chosen lines are, which begin with the same bytes."""
        place = int(places[int(np.argmax(chosen))])
        key = self._data[place : place + KEY]
        if key not in CLASSES:
            learn(self._data[place : place + 80])
        return CLASSES[key]

    def _matters(self) -> Flags:
        """Tell the lines that somebody has to read."""
        calls = self._starts + self.call
        kinds = self._kinds(calls)
        first = kinds != SECOND
        second = np.flatnonzero(~first)
        if len(second):
            calls[second] += _RESUMED
            kinds[second] = self._kinds(calls[second])
        matters: Flags = kinds == CORE
        data = np.flatnonzero(kinds == DATA)
        self._look(matters, data, self._moved(self._ends[data], first[data]))
        polls = kinds == WAIT  # epoll_wait and kin, and what else begins so
        is_wait = np.isin(self._bytes[calls + _UNDERSCORE + 1], _OF_WAITS)
        matters |= polls & ~is_wait
        waits = np.flatnonzero(polls & is_wait)
        begun = self._begun(self._ends[waits]) & first[waits]
        self._look(matters, waits, begun | self._only_input(waits))
        return matters

    def _look(self, matters: Flags, chosen: Numbers, quiet: Flags) -> None:
        """Look at those of the chosen lines that are not known to be quiet."""
        for number in chosen[~quiet].tolist():
            start, end = int(self._starts[number]), int(self._ends[number])
            matters[number] = not is_quiet(self._data[start + self.call : end])

    def _moved(self, ends: Numbers, first: Flags) -> Flags:
        """Tell data calls that moved data, had none to move, or have only begun."""
        tails = self._at(ends, -_TAIL, 0)
        number = _are_digits(tails[:, :3])
        some = tails[:, :3] > _ZERO
        moved = number.all(axis=1)
        moved |= (tails[:, 0] == _BLANK) & some[:, 1] & number[:, 1] & number[:, 2]
        moved |= (tails[:, 0] == ord("=")) & (tails[:, 1] == _BLANK) & some[:, 2] & number[:, 2]
        moved &= (tails[:, 3] == _BLANK) & (tails[:, 4] == ord("<")) & (tails[:, -1] == ord(">"))
        others = np.flatnonzero(~moved)
        last = ends[others]
        again = _rows_equal(self._at(last, -len(_AGAIN) - _DURATION, -_DURATION), _AGAIN)
        moved[others] = again | (self._begun(last) & first[others])
        found: Flags = np.asarray(moved)
        return found

    def _begun(self, ends: Numbers) -> Flags:
        """Tell first halves of calls."""
        return _rows_equal(self._at(ends, -len(_UNFINISHED), 0), _UNFINISHED)

    def _only_input(self, waits: Numbers) -> Flags:
        """Tell waits that show their events, all of them, and nothing but EPOLLIN."""
        shown = self._bytes[: max(len(self._bytes) - _EVENT, 0)]
        places = np.flatnonzero(shown == ord("E"))
        events = self._at(places, 0, _EVENT)
        is_event = _rows_equal(events[:, : len("EPOLL")], _INPUT[: len("EPOLL")])
        lines = np.searchsorted(self._ends, places[is_event])
        told = np.bincount(lines, minlength=self.lines)[waits]
        inputs = np.bincount(lines[_rows_equal(events[is_event], _INPUT)], minlength=self.lines)[
            waits
        ]
        if self._data.find(b"...]") >= 0:  # some array may be cut
            return np.zeros(len(waits), np.bool_)
        only: Flags = (told > 0) & (told == inputs)
        return only


def _are_digits(some: Bytes) -> Flags:
    flags: Flags = (some - _ZERO) < 10  # smaller ones wrap around
    return flags


def _rows_equal(rows: Bytes, one: Bytes) -> Flags:
    flags: Flags = np.asarray((rows == one).all(axis=1))
    return flags


def _same_digits(some: Bytes) -> Bytes:
    """Return a copy in which all digits are alike."""
    return np.where(_are_digits(some), np.uint8(_ZERO), some)
