"""Intervals for shares: the arithmetic that summaries and checks have in common."""

import functools
import math

from ktrace.findings import Rate

_Z_95 = 1.959963984540054  # the normal quantile of 0.975, to save importing `statistics`


@functools.lru_cache(maxsize=4096)
def wilson(k: int, n: int, confidence: float = 0.95) -> Rate:
    """Return k of n with its Wilson score interval (Wilson 1927, without continuity correction)."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no share")
    if not 0 < confidence < 1:
        raise ValueError(f"{confidence} is no confidence level")
    if n == 0:
        return Rate(k=0, n=0, value=None, low=None, high=None)
    z = _quantile(confidence)
    p = k / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the interval touches 0 or 1 exactly; rounding must not move it off.
    low = 0.0 if k == 0 else max(0.0, centre - half)
    high = 1.0 if k == n else min(1.0, centre + half)
    return Rate(k=k, n=n, value=p, low=low, high=high)


def _quantile(confidence: float) -> float:
    if confidence == 0.95:
        return _Z_95
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + confidence) / 2)
