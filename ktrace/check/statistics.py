"""Tests of one rate against another or against a limit, and how many connections would decide.

The only module that imports scipy, and it does so when the first test is made.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

from ktrace.findings import Rate
from ktrace.statistics import wilson

Worse = Literal["higher", "lower"]
MOST = 1_000_000  # beyond this, "record more connections" is no advice
_EXACT = 2_000  # every size up to here is tried; larger ones in steps of 2 %


def fisher(candidate: Rate, baseline: Rate, worse: Worse) -> float | None:
    """Return the one-sided p value that the candidate is worse; None where a side is empty."""
    if not candidate.n or not baseline.n:
        return None
    a, b = (candidate, baseline) if worse == "higher" else (baseline, candidate)
    if a.k == 0 or b.k == b.n:
        return 1.0  # nothing can be less extreme; most checks pass here and need no scipy
    table = [[a.k, a.n - a.k], [b.k, b.n - b.k]]
    return float(_stats().fisher_exact(table, alternative="greater").pvalue)


def shown_with(candidate: Rate, baseline: Rate, worse: Worse, alpha: float) -> int | None:
    """Return how many connections a side would show the difference at these rates.

    Shares are rounded towards each other, so the answer never promises too much; None beyond MOST.
    """
    if not candidate.n or not baseline.n:
        return None
    a, b = (candidate, baseline) if worse == "higher" else (baseline, candidate)
    for size in _sizes():
        high, low = size * a.k // a.n, -(-size * b.k // b.n)
        if high > low and _upper_tail(high, low, size) <= alpha:
            return size
    return None


def decided_with(rate: Rate, limit: float) -> int | None:
    """Return how many more connections, at this rate, take its 95 % interval off the limit.

    None where none would: the rate is the limit, or lies nearer than MOST connections resolve.
    """
    if not rate.n:
        return _first(1, lambda n: _clear(0, n, limit)) if limit > 0 else None
    share = rate.k / rate.n
    if share == limit:
        return None
    rounded: Callable[[float], int] = math.floor if share > limit else math.ceil

    def clear(n: int) -> bool:
        return _clear(min(n, rounded(rate.k * n / rate.n)), n, limit)

    size = _first(rate.n + 1, clear)
    return None if size is None else size - rate.n


def _clear(k: int, n: int, limit: float) -> bool:
    interval = wilson(k, n)
    assert interval.low is not None and interval.high is not None
    return interval.low > limit or interval.high < limit


def _first(start: int, holds: Callable[[int], bool]) -> int | None:
    """Return the smallest n from `start` on for which it holds, given that it then goes on to."""
    low, high = start - 1, start
    while not holds(high):
        low, high = high, high * 2
        if low > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _sizes() -> list[int]:
    sizes = list(range(1, _EXACT + 1))
    while sizes[-1] < MOST:
        sizes.append(sizes[-1] * 51 // 50)
    return sizes


def _upper_tail(high: int, low: int, size: int) -> float:
    """Return Fisher's one-sided p for `high` of `size` against `low` of `size`."""
    return float(_stats().hypergeom.sf(high - 1, 2 * size, high + low, size))


def _stats() -> Any:
    import scipy.stats

    return scipy.stats
