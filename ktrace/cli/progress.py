"""One line on a terminal that says how far the work is; silent everywhere else."""

import sys
import time
from types import TracebackType
from typing import Self

FIRST_AFTER = 0.3  # seconds: short work should not flicker
INTERVAL = 0.1
BAR = 24


class Progress:
    """Call it with (bytes done, bytes in all or None); leaving the context wipes the line."""

    def __init__(self, label: str, wanted: bool = True) -> None:
        self._label = label
        self._shown = False
        self._next = time.monotonic() + FIRST_AFTER
        self._wanted = wanted and sys.stderr.isatty()

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if not self._wanted or now < self._next:
            return
        self._next = now + INTERVAL
        self._shown = True
        print(f"\r{bar(self._label, done, total)}\033[K", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def bar(label: str, done: int, total: int | None) -> str:
    """Return the line: `reading [######......]  25 %  1.0 of 4.0 GB`, or only the amount."""
    if not total:
        return f"{label} {size(done)}"
    share = min(done / total, 1.0)
    filled = "#" * int(share * BAR)
    return f"{label} [{filled:.<{BAR}}] {share:4.0%}  {size(done)} of {size(total)}"


def size(count: int) -> str:
    """Return bytes as people say them: 999 B, 1.5 kB, 23.0 MB."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"
