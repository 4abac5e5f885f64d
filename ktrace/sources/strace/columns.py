"""The columns of a block whose lines all have heads of the same width: the one user of numpy."""

import functools
import re
import sys
from collections.abc import Collection, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ktrace.sources.strace.rows import DESCRIBED, Data, DataLines
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
Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Numeric = TypeVar("Numeric", NDArray[np.uint32], NDArray[np.uint64], NDArray[np.int64])

_ZERO, _BLANK = ord("0"), ord(" ")
_TAIL = len("123 <0.000021>")  # the last bytes of a call that moved at least 100 bytes
_AGAIN = b"= -1 EAGAIN (Resource temporarily unavailable) <"
_DURATION = len("0.000021>")
_LASTED = len(" <0.000021>")
_LASTED_MARKS, _LASTED_DIGITS = [0, 1, 3, 10], [2, 4, 5, 6, 7, 8, 9]
_LASTED_TEXT = np.frombuffer(b" <.>", np.uint8)
_ZERO_RESULT = b") = 0 <"
_UNFINISHED = b"<unfinished ...>"
_INPUT = b"EPOLLIN, "
_FIRST_EVENT = len("<... epoll_pwait2 resumed>[{events=EPOLLIN, data=") + 16  # it begins before
_ONE = b"= 1 <"
_RESUMED = len(b"<... ")
_FD_BITS = 32
_NAME, _MOST_DIGITS = 16, 8  # a longer name, a longer number is none of a data call's
_EPOCH, _POINT, _MICROS = "1795299745.000211 ", 10, 6
_REACH = 96  # bytes beside a place that may be asked for
_UNDERSCORE = len("epoll")  # in epoll_wait and epoll_pwait
_WORD, _HALF = 8, 4
_LONGEST_NAME = len("sched_rr_get_interval_time64(") + 3  # which makes whole words
_PID = re.compile(rb"\d{1,8} +")
_POWERS: Numbers = 10 ** np.arange(_POINT - 1, -1, -1, dtype=np.int64)


class Columns:
    """The lines of a block: where each begins and ends, and which of them matter.

    `clock` and `call` are the columns where the time and the call stand.  Raises Unusual when a
    line's head is not like the first one's but for its digits.
    """

    def __init__(self, data: bytes, clock: int, call: int) -> None:
        self.clock, self.call = clock, call
        self._data = data
        self._bytes: Bytes = np.frombuffer(data, np.uint8)
        self._padded = b"".join((b"\n" * _REACH, data, b"\n" * _REACH))
        self._ends: Numbers = np.flatnonzero(self._bytes == ord("\n"))
        self._starts: Numbers = np.concatenate(([0], self._ends[:-1] + 1))
        self.lines = len(self._ends)
        # the quiet data calls, second halves too, and which of them are none
        self._quiet_data: tuple[Numbers, Flags] = (np.zeros(0, np.int64), np.zeros(0, np.bool_))
        if int((self._ends - self._starts).min()) < call + max(KEY, _TAIL):
            raise Unusual
        self._check_heads()

    def candidates(self) -> Iterator[tuple[int, int, int, int, int, int, bool]]:
        """Yield of each line that matters: its number, where it starts and ends, and what is read
        of it for all at once.

        That is its thread (-1 without a pid), its time in nanoseconds since 1970, how long its call
        lasted (-1: not there, or of another form), and whether it ends as one that returned 0.
        """
        picked = np.flatnonzero(self._matters())
        starts, ends = self._starts[picked], self._ends[picked]
        lasted = self._lasted_ns(ends)
        zero = (lasted >= 0) & self._stands(ends, -len(_ZERO_RESULT) - _DURATION, _ZERO_RESULT)
        columns = (picked, starts, ends, self._tids(starts), self._times_ns(starts), lasted, zero)
        yield from zip(*(column.tolist() for column in columns), strict=True)

    def holds(self, text: bytes) -> bool:
        """Tell whether a text of at least seven bytes stands anywhere in the block.

        One of its words of four bytes begins where a word of the block does.
        """
        words = np.frombuffer(self._data, np.uint32, len(self._data) // _HALF)
        for at in range(_HALF):
            if (words == int.from_bytes(text[at : at + _HALF], sys.byteorder)).any():
                return text in self._data
        return False

    def _lasted_ns(self, ends: Numbers) -> Numbers:
        """Return what ` <0.000021>` at the end of a line says."""
        tails = self._at(ends, -_LASTED, 0)
        digits = tails[:, _LASTED_DIGITS] - _ZERO
        usual = (tails[:, _LASTED_MARKS] == _LASTED_TEXT).all(axis=1) & (digits < 10).all(axis=1)
        return np.where(usual, digits @ _POWERS[-_MICROS - 1 :] * 1000, -1)

    def _tids(self, starts: Numbers) -> Numbers:
        if not self.clock:
            return np.full(len(starts), -1)
        return self._numbers(starts, self.clock - 1)[0]

    def _times_ns(self, starts: Numbers) -> Numbers:
        if self.call - self.clock != len(_EPOCH) or self._data[self.clock + _POINT] != ord("."):
            return np.full(len(starts), -1)
        seconds = self._fixed(starts + self.clock, _POINT)
        micros = self._fixed(starts + (self.clock + _POINT + 1), _MICROS)
        found: Numbers = (seconds * 10**_MICROS + micros) * 1000
        return found

    def _numbers(self, places: Numbers, most: int) -> tuple[Numbers, Flags]:
        """Return the number at each place, of at most so many digits, and where there were all."""
        digits = self._at(places, 0, most) - _ZERO
        numbers, on = np.zeros(len(places), np.int64), np.ones(len(places), np.bool_)
        for column in digits.T:
            on &= column < 10
            if not on.any():
                break
            numbers = np.where(on, numbers * 10 + column, numbers)
        return numbers, on

    def _fixed(self, places: Numbers, count: int) -> Numbers:
        """Return the number at each place, which is known to have so many digits."""
        found: Numbers = (self._at(places, 0, count) - _ZERO) @ _POWERS[-count:]
        return found

    def data(self, before: list[int], *, lines: bool) -> Data:
        """Return the quiet data calls, and how many stand before each of some lines.

        A first argument that is no number, of a call that only begins like one of these, counts
        as 0.
        """
        chosen, begins = self._quiet_data
        if not lines:
            chosen = chosen[begins]
            fds = self._fds(chosen)
            told = np.searchsorted(chosen, before).tolist()
            return Data(fds.tolist(), told, None, self._pairs(self._starts[chosen], fds))
        fds = np.full(len(chosen), -1)
        fds[begins] = self._fds(chosen[begins])
        starts = self._starts[chosen]
        columns = (chosen, starts, self._ends[chosen], self._tids(starts), self._times_ns(starts))
        where = DataLines(self.clock, self.call, *(column.tolist() for column in columns))
        return Data(fds.tolist(), np.searchsorted(chosen, before).tolist(), where)

    def _pairs(self, starts: Numbers, fds: Numbers) -> list[tuple[int, int]]:
        if DESCRIBED not in self._data:
            return []
        pairs = _different(self._tids(starts) << _FD_BITS | fds)
        told = (pairs >> _FD_BITS, pairs & (1 << _FD_BITS) - 1)
        return list(zip(*(column.tolist() for column in told), strict=True))

    def _fds(self, chosen: Numbers) -> Numbers:
        calls = self._starts[chosen] + self.call
        fds = calls + (self._at(calls, 0, _NAME) == ord("(")).argmax(axis=1) + 1
        numbers, longer = self._numbers(fds, _MOST_DIGITS)
        if longer.any() or (self._at(fds, 1, 2) == ord("x")).any():
            raise Unusual
        return numbers

    def calls_ending(self, endings: Collection[str]) -> int:
        """Return how often a name with one of these last two letters stands before a `(`."""
        places = np.flatnonzero(self._bytes == ord("("))
        two = self._at(places, -2, 0).view(np.uint16).ravel()
        return int(_two_letters(frozenset(endings)).take(two).sum())

    def _check_heads(self) -> None:
        """Check that all heads have digits where the first has digits, and the rest in common."""
        for offset in (self.clock, self.clock + _WORD, self.call - _WORD):
            words = self._words(self._starts, offset)
            first = words[:1]
            mask, addend = _shape_of(int(first[0]))
            if ((words & mask) != (first & mask)).any() or (
                ((words + addend) & mask) != (first & mask)
            ).any():
                raise Unusual
        if self.clock > _WORD + 1:
            raise Unusual
        if self.clock:
            self._check_pids()

    def _check_pids(self) -> None:
        """Check that each head begins with a number, and blanks up to the time."""
        words = self._words(self._starts, 0)
        if self.clock < _WORD:
            words &= np.uint64((1 << 8 * self.clock) - 1)
        if (self._bytes[self._starts + (self.clock - 1)] != _BLANK).any():
            raise Unusual
        for word in _different(words).tolist():
            shown = word.to_bytes(_WORD, "little")[: self.clock]
            if _PID.fullmatch(shown.ljust(self.clock)) is None:
                raise Unusual

    def _stands(self, places: Numbers, offset: int, text: bytes) -> Flags:
        """Tell at which places, so far from each, a text stands."""
        stands = np.ones(len(places), np.bool_)
        for at in range(0, len(text), _WORD):
            part = text[at : at + _WORD]
            words = self._words(places, offset + at)
            if len(part) < _WORD:
                words &= np.uint64((1 << 8 * len(part)) - 1)
            stands &= words == np.uint64(int.from_bytes(part, "little"))
        return stands

    def _words(self, places: Numbers, offset: int) -> Words:
        """Return the eight bytes at an offset from each place, as one number each."""
        return self._at(places, offset, offset + _WORD).view("<u8").ravel()

    def _at(self, places: Numbers, first: int, last: int) -> Bytes:
        """Return the bytes from `first` to `last` beside each place, a row a place.

        Before and behind the block stand line ends.  Items of so many bytes, one at every byte, are
        copied whole, several times faster than byte by byte.
        """
        width = last - first
        count = len(self._padded) - width + 1
        items = np.ndarray((count,), f"V{width}", self._padded, 0, (1,))
        rows: Bytes = items[places + (_REACH + first)].view(np.uint8)
        return rows.reshape(-1, width)

    def _kinds(self, places: Numbers) -> Numbers:
        """Return what each line is, by the first bytes of its call, which stands at `places`."""
        keys = self._at(places, 0, KEY).view(np.uint32).ravel()
        known, kinds = _known_classes(len(CLASSES))
        where = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        found: Numbers = kinds[where]
        unknown = known[where] != keys
        if unknown.any():
            new = np.flatnonzero(unknown)
            found[new] = self._learned(places[new], keys[new])
        return found

    def _learned(self, places: Numbers, keys: NDArray[np.uint32]) -> Numbers:
        """Return what the lines are whose first bytes were not met before."""
        found = np.zeros(len(keys), np.int64)
        for key in _different(keys):
            found[keys == key] = self._kind(places, keys == key)
        return found

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
        self._check_names(calls[first & ~matters])
        data = np.flatnonzero(kinds == DATA)
        self._look(matters, data, self._moved(self._ends[data], first[data]))
        quiet = data[~matters[data]]
        self._quiet_data = quiet, first[quiet]
        polls = np.flatnonzero(kinds == WAIT)  # epoll_wait and kin, and what else begins so
        letters = self._bytes[calls[polls] + _UNDERSCORE + 1]
        is_wait = (letters == ord("w")) | (letters == ord("p"))
        matters[polls[~is_wait]] = True
        waits = polls[is_wait]
        begun = self._begun(self._ends[waits]) & first[waits]
        self._look(matters, waits, begun | self._only_input(waits))
        return matters

    def _check_names(self, calls: Numbers) -> None:
        """Check that a name with its `(` stands at each place, or a signal.

        Else a line is torn, and what is lost of it may matter.
        """
        heads = self._at(calls, 0, _LONGEST_NAME)
        places = (heads < _ZERO).argmax(axis=1)  # of the first that is no letter of a name
        ends = heads[np.arange(len(heads)), places]
        if not ((ends == ord("(")) | (ends == ord("-"))).all():
            raise Unusual

    def _look(self, matters: Flags, chosen: Numbers, quiet: Flags) -> None:
        """Look at those of the chosen lines that are not known to be quiet."""
        for number in chosen[~quiet].tolist():
            start, end = int(self._starts[number]), int(self._ends[number])
            matters[number] = not is_quiet(self._data[start + self.call : end])

    def _moved(self, ends: Numbers, begins: Flags) -> Flags:
        """Tell data calls that moved data, had none to move, or have only begun."""
        tails = self._at(ends, -_TAIL, 0)
        first, second, third = tails[:, 0], tails[:, 1], tails[:, 2]
        hundreds, tens, ones = _are_digits(first), _are_digits(second), _are_digits(third)
        moved = hundreds & tens
        moved |= (first == _BLANK) & tens & (second > _ZERO)
        moved |= (first == ord("=")) & (second == _BLANK) & (third > _ZERO)
        moved &= ones & (tails[:, -1] == ord(">")) & (tails[:, 3] == _BLANK)
        moved &= tails[:, 4] == ord("<")
        others = np.flatnonzero(~moved)
        last = ends[others]
        again = self._stands(last, -len(_AGAIN) - _DURATION, _AGAIN)
        moved[others] = again | (self._begun(last) & begins[others])
        found: Flags = np.asarray(moved)
        return found

    def _begun(self, ends: Numbers) -> Flags:
        """Tell first halves of calls."""
        return self._stands(ends, -len(_UNFINISHED), _UNFINISHED)

    def _only_input(self, waits: Numbers) -> Flags:
        """Tell waits that show one event, which is EPOLLIN, and returned 1."""
        calls, ends = self._starts[waits] + self.call, self._ends[waits]
        heads = self._at(calls, 0, _FIRST_EVENT)
        events = calls + (heads == ord("E")).argmax(axis=1)
        only = (events < ends) & self._stands(events, 0, _INPUT)
        only &= self._stands(ends, -_TAIL, _ONE)
        found: Flags = only
        return found


@functools.lru_cache(maxsize=2)
def _known_classes(count: int) -> tuple[NDArray[np.uint32], Numbers]:
    """Return the first bytes of calls in order, and what they are; `count`: how many are known."""
    known = np.frombuffer(b"".join(CLASSES), np.uint32)
    order = np.argsort(known)
    return known[order], np.array(list(CLASSES.values()), np.int64)[order]


@functools.lru_cache(maxsize=2)
def _two_letters(endings: frozenset[str]) -> Flags:
    """Return for each pair of bytes, read as a number, whether it is one of these."""
    table = np.zeros(1 << 16, np.bool_)
    table[np.frombuffer("".join(endings).encode(), np.uint16)] = True
    return table


def _are_digits(some: Bytes) -> Flags:
    flags: Flags = (some - _ZERO) < 10  # smaller ones wrap around
    return flags


def _different(some: Numeric) -> Numeric:
    """Return each number once (numpy's own function loads its masked arrays)."""
    ordered = np.sort(some)
    if not len(ordered):
        return ordered
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))]


def _shape_of(word: int) -> tuple[np.uint64, np.uint64]:
    """Return a mask and an addend for words of the same shape.

    A digit has the high half 3, and keeps it when 6 is added; other bytes are compared whole.
    """
    mask = addend = 0
    for place, byte in enumerate(word.to_bytes(_WORD, "little")):
        digit = 0 <= byte - _ZERO < 10
        mask |= (0xF0 if digit else 0xFF) << 8 * place
        addend |= (6 if digit else 0) << 8 * place
    return np.uint64(mask), np.uint64(addend)
