"""What the probe could not tell: counted by the kernel, read while the capture runs."""

from typing import NamedTuple

from ktrace.sources.live import kernel
from ktrace.sources.live.attach import Attached
from ktrace.sources.live.layout import COUNTERS


class Losses(NamedTuple):
    """`ring`: records that found no room; `untracked`: calls that could not be followed;
    `foreign`: calls of 32-bit programs; `skipped`: runs that the kernel's recursion guard left out.
    """

    ring: int = 0
    untracked: int = 0
    foreign: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        return sum(self)


class Counters:
    """Reads the probe's counters."""

    def __init__(self, fd: int, attached: Attached) -> None:
        self._fd = fd
        self._attached = attached

    def losses(self) -> Losses:
        ring, untracked, _, foreign = self._read()
        return Losses(ring, untracked, foreign, self._attached.misses())

    def stacks(self) -> int:
        """Return how many user stacks were taken."""
        return self._read()[2]

    def _read(self) -> tuple[int, ...]:
        return COUNTERS.unpack(kernel.map_lookup(self._fd, kernel.FIRST, COUNTERS.size))
