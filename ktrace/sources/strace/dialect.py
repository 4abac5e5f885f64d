"""Reads the head of a log: the kind of clock, and whether an editor has numbered the lines."""

import re

from ktrace.sources.strace import lines as grammar
from ktrace.sources.strace.rows import Dialect

HEAD_BYTES = 1 << 14
_HEAD = re.compile(rf"^{grammar.HEAD}".encode())
_LEADING = re.compile(rb"^\s*(\d{1,6})(?:[ \t]+|[:.|)])")
_TIME_GROUP = 5
_SYMBOL = re.compile(rb"[(, |](?:AF|SOCK|O|PROT|SOL|EPOLL|MSG|SO)_[A-Z]|EPOLLIN|IPPROTO")


def of(head: bytes) -> Dialect:
    """Return what the first lines say of the whole log."""
    symbolic = _SYMBOL.search(head) is not None
    return Dialect(_has_relative_clock(head), _has_line_numbers(head), symbolic)


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
