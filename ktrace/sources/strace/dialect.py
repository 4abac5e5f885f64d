"""Reads the head of a log: the kind of clock, and whether an editor has numbered the lines."""

import itertools
import re

from ktrace.sources.strace import lines as grammar
from ktrace.sources.strace.rows import Dialect
from ktrace.sources.strace.scan import starts_record

HEAD_BYTES = 1 << 14
MIN_FOLD, MAX_FOLD = 40, 400  # narrower or wider is no terminal
_HEAD = re.compile(rf"^{grammar.HEAD}".encode())
_LEADING = re.compile(rb"^\s*(\d{1,6})(?:[ \t]+|[:.|)])")
_TIME_GROUP = 5
_SYMBOL = re.compile(rb"[(, |](?:AF|SOCK|O|PROT|SOL|EPOLL|MSG|SO)_[A-Z]|EPOLLIN|IPPROTO")


def of(head: bytes) -> Dialect:
    """Return what the first lines say of the whole log."""
    symbolic = _SYMBOL.search(head) is not None
    numbered = _has_line_numbers(head)
    return Dialect(_has_relative_clock(head), numbered, symbolic, 0 if numbered else _fold(head))


def has_clock(head: bytes) -> bool:
    """Tell whether the records have times that order different threads (deltas do not)."""
    return any(b":" in time or len(time.partition(b".")[0]) >= 9 for time in _times(head))


def _times(head: bytes) -> list[bytes]:
    lines = head.split(b"\n")[:50]
    return [m[_TIME_GROUP] for line in lines if (m := _HEAD.match(line)) and m[_TIME_GROUP]]


def _has_relative_clock(head: bytes) -> bool:
    """Tell the deltas of -r from times of day and epoch times."""
    times = _times(head)
    return bool(times) and all(b":" not in t and len(t.partition(b".")[0]) < 9 for t in times)


def _has_line_numbers(head: bytes) -> bool:
    """Tell line numbers of an editor, which count up by one a line, from pids."""
    numbers = [
        (index, int(match[1]))
        for index, line in enumerate(head.split(b"\n")[:200])
        if (match := _LEADING.match(line))
    ]
    if len(numbers) < 3:
        return False
    offset = numbers[0][1] - numbers[0][0]
    return sum(number - index == offset for index, number in numbers) >= 0.8 * len(numbers)


def _fold(head: bytes) -> int:
    """Return the width at which a terminal or `fold` broke all lines, 0 where none did."""
    text = [line.decode("utf-8", "replace").removesuffix("\r") for line in head.split(b"\n")[:-1]]
    width = max(map(len, text), default=0)
    followed = [
        line
        for line, after in itertools.pairwise(text)
        if after and not starts_record(after.encode())
    ]
    if not MIN_FOLD <= width <= MAX_FOLD or len(followed) < 2:
        return 0
    full = [line for line in followed if len(line) == width]
    soft = sum(line.endswith("=") for line in full)  # that is quoted-printable
    return width if len(full) >= 0.9 * len(followed) and soft < 0.9 * len(full) else 0
