"""Remembers the last blocks of a log, to find where a call began that the scanner passed over."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ktrace.sources.strace import scan

PREFIXES = ("\n{} ", "\n{}<", "\n[pid {:>5}] ", "\n[pid {:>5}<")
MAX_REMEMBERED = 1 << 24  # bytes: a thread can wait while the others fill many blocks


class Found(NamedTuple):
    """A line, how many lines it is above the place searched from, and what lies between."""

    text: str
    lines: int
    between: tuple[tuple[bytes, int, int], ...]

    def deltas_ns(self) -> int:
        """Return the sum of the -r deltas after the line."""
        return sum(scan.deltas_ns(*part) for part in self.between)


class Passed:
    """The blocks that were read last, up to a size."""

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque()
        self._size = 0
        self._prefixes = list(PREFIXES)  # the one that was found last comes first

    def remember(self, data: bytes) -> None:
        self._blocks.append(data)
        self._size += len(data)
        while self._size > MAX_REMEMBERED:
            self._size -= len(self._blocks.popleft())

    def last_line_of(self, tid: int, data: bytes, end: int) -> Found | None:
        """Return the last line of a thread before `end` in the block that is read."""
        prefixes = [form.format(tid).encode() for form in self._prefixes]
        first = tuple(prefix[1:] for prefix in prefixes)  # at the start of a block
        between: list[tuple[bytes, int, int]] = []
        lines = 0
        for block, stop in self._backwards(data, end):
            start = self._last(block, stop, prefixes)
            lines += block.count(b"\n", start, stop)
            if start or (stop and block.startswith(first)):
                close = block.find(b"\n", start)
                text = block[start:close].decode("utf-8", "replace")
                return Found(text, lines, (*between, (block, close, stop)))
            between.append((block, 0, stop))
        return None

    def _last(self, block: bytes, stop: int, prefixes: list[bytes]) -> int:
        """Return where the last line with one of the prefixes starts, 0 for nowhere."""
        start, found = 0, 0
        for index, prefix in enumerate(prefixes):
            # behind what is found already: a log has one form of prefix, and blocks are large
            place = block.rfind(prefix, max(start - 1, 0), stop) + 1
            if place > start:
                start, found = place, index
        if found:
            self._prefixes.insert(0, self._prefixes.pop(found))
        return start

    def _backwards(self, data: bytes, end: int) -> Iterator[tuple[bytes, int]]:
        yield data, end
        for block in reversed(self._blocks):
            yield block, len(block)
