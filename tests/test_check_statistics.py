"""The tests and intervals of a check, against published tables, scipy, and their own meaning."""

import math

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrace.check.statistics import Worse, decided_with, fisher, shown_with
from ktrace.statistics import wilson

shares = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
ways: st.SearchStrategy[Worse] = st.sampled_from(["higher", "lower"])


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_as_in_newcombe_1998_table_1(
    k: int, n: int, low: float, high: float
) -> None:
    rate = wilson(k, n)
    assert rate.low == pytest.approx(low, abs=5e-5)
    assert rate.high == pytest.approx(high, abs=5e-5)


@given(shares)
def test_wilson_interval_is_that_of_scipy(share: tuple[int, int]) -> None:
    rate = wilson(*share)
    known = scipy.stats.binomtest(*share).proportion_ci(method="wilson")
    assert rate.low == pytest.approx(known.low)
    assert rate.high == pytest.approx(known.high)


@pytest.mark.parametrize(
    ("candidate", "baseline", "p"),
    [
        ((3, 4), (1, 4), 17 / 70),  # the lady tasting tea, Fisher 1935
        ((4, 4), (0, 4), 1 / 70),
        ((10, 12), (3, 18), 619 / 1330665),  # the twins of criminals, Fisher 1935
    ],
)
def test_fisher_as_published(
    candidate: tuple[int, int], baseline: tuple[int, int], p: float
) -> None:
    assert fisher(wilson(*candidate), wilson(*baseline), "higher") == pytest.approx(p, rel=1e-3)


@given(shares, shares, ways)
def test_fisher_is_the_upper_tail_of_the_hypergeometric(
    candidate: tuple[int, int], baseline: tuple[int, int], worse: Worse
) -> None:
    (a, n), (b, m) = (candidate, baseline) if worse == "higher" else (baseline, candidate)
    tail = sum(
        math.comb(n, i) * math.comb(m, a + b - i) for i in range(a, min(n, a + b) + 1)
    ) / math.comb(n + m, a + b)
    p = fisher(wilson(*candidate), wilson(*baseline), worse)
    assert p == pytest.approx(tail, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("sides", [((0, 0), (1, 2)), ((1, 2), (0, 0))])
def test_fisher_needs_both_sides(sides: tuple[tuple[int, int], tuple[int, int]]) -> None:
    assert fisher(wilson(*sides[0]), wilson(*sides[1]), "higher") is None
    assert shown_with(wilson(*sides[0]), wilson(*sides[1]), "higher", 0.01) is None


@settings(deadline=None)
@given(shares, shares, ways, st.sampled_from([0.001, 0.01, 0.05]))
def test_the_promised_number_a_side_does_show_it(
    candidate: tuple[int, int], baseline: tuple[int, int], worse: Worse, alpha: float
) -> None:
    """At the rates seen, rounded against showing it, the test must reach alpha."""
    size = shown_with(wilson(*candidate), wilson(*baseline), worse, alpha)
    (k, n), (j, m) = candidate, baseline
    is_worse = k * m > j * n if worse == "higher" else k * m < j * n
    if size is None:
        return
    assert is_worse
    if worse == "higher":
        sides = wilson(size * k // n, size), wilson(-(-size * j // m), size)
    else:
        sides = wilson(-(-size * k // n), size), wilson(size * j // m, size)
    p = fisher(*sides, worse)
    assert p is not None and p <= alpha * (1 + 1e-9)


def test_a_large_difference_is_shown_by_few() -> None:
    assert shown_with(wilson(5, 10), wilson(0, 10), "higher", 0.01) == 12
    assert shown_with(wilson(5, 10), wilson(10, 10), "lower", 0.01) == 12
    assert shown_with(wilson(1, 1), wilson(0, 1), "higher", 0.01) == 5


@settings(deadline=None)
@given(shares, st.floats(0.001, 0.999))
def test_the_promised_number_decides(share: tuple[int, int], limit: float) -> None:
    rate = wilson(*share)
    more = decided_with(rate, limit)
    if more is None:
        return
    n = rate.n + more
    above = rate.k / rate.n > limit
    k = math.floor(rate.k * n / rate.n) if above else min(n, math.ceil(rate.k * n / rate.n))
    decided = wilson(k, n)
    assert decided.low is not None and decided.high is not None
    assert decided.low > limit if above else decided.high < limit


def test_the_promised_number_is_the_smallest_for_a_clean_run() -> None:
    assert decided_with(wilson(0, 5), 0.01) == 376
    high = wilson(0, 381).high, wilson(0, 380).high
    assert high[0] is not None and high[1] is not None and high[0] < 0.01 <= high[1]
    assert decided_with(wilson(0, 0), 0.01) == 381


def test_no_number_decides_on_the_limit_itself() -> None:
    assert decided_with(wilson(1, 100), 0.01) is None
    assert decided_with(wilson(0, 100), 0.0) is None
    assert decided_with(wilson(100, 100), 1.0) is None
