"""Counts, rates and peers, against plain definitions and against scipy."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ktrace.findings import Rate
from ktrace.statistics import wilson
from ktrace.tally import Tally
from ktrace.timelines import Judged
from tests.judged import Socket, plain, raced, safe, unordered


@given(st.integers(0, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(counts: tuple[int, int]) -> None:
    k, n = counts
    rate = wilson(k, n)
    if n == 0:
        assert rate == Rate(0, 0, None, None, None)
        return
    expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert rate.value == k / n
    assert rate.low == pytest.approx(expected.low, abs=1e-12)
    assert rate.high == pytest.approx(expected.high, abs=1e-12)
    assert rate.low is not None and rate.high is not None
    assert 0 <= rate.low <= k / n <= rate.high <= 1


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_wilson_at_other_levels(confidence: float) -> None:
    expected = binomtest(7, 31).proportion_ci(confidence, method="wilson")
    rate = wilson(7, 31, confidence)
    assert rate.low == pytest.approx(expected.low, abs=1e-12)
    assert rate.high == pytest.approx(expected.high, abs=1e-12)


def test_wilson_touches_the_ends() -> None:
    assert wilson(0, 23).low == 0.0
    assert wilson(23, 23).high == 1.0


@pytest.mark.parametrize("bad", [(-1, 3), (4, 3), (1, 0)])
def test_wilson_refuses_what_is_no_share(bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(*bad)


def tally(*judged: Judged) -> Tally:
    counts = Tally()
    for one in judged:
        counts.add(one)
    return counts


def test_listeners_are_counted_as_such_only() -> None:
    listener = Socket(2, role="listener").call("listen", "listen(3)", "ok", "LISTEN")
    summary = tally(plain(1), listener.ulp("ENOTCONN").judged("none", "unconnected")).summary()
    assert (summary.connections, summary.listeners) == (1, 1)
    assert (summary.none, summary.attempted, summary.unconnected) == (1, 0, 0)


def test_attempted_is_a_ulp_attempt_or_a_key_install() -> None:
    key_only = Socket(2).connect().writable().key("tx", "ENOPROTOOPT").judged("fallback")
    assert tally(plain(1), key_only, raced(3)).summary().attempted == 2


def test_rates() -> None:
    server = Socket(9, role="server").accepted().ulp().key().key("rx").judged("offloaded", "safe")
    summary = tally(
        raced(1),
        raced(2, "not-connected"),
        unordered(3),
        safe(4),
        server,
        Socket(5).connect().writable().ulp().judged("ulp-only", "safe"),
        plain(6),
    ).summary()
    assert (summary.fallback_rate.k, summary.fallback_rate.n) == (1, 4)
    assert (summary.race_rate.k, summary.race_rate.n) == (2, 5)
    assert (summary.unordered_rate.k, summary.unordered_rate.n) == (1, 5)
    assert (summary.raced, summary.unordered, summary.not_connected) == (2, 1, 1)


def test_rates_of_nothing_are_null() -> None:
    summary = tally(plain(1)).summary()
    for rate in (summary.fallback_rate, summary.race_rate, summary.unordered_rate):
        assert rate == Rate(0, 0, None, None, None)


def test_recovered_is_counted() -> None:
    assert tally(raced(1, "tx-only", recovered=True)).summary().recovered == 1


def test_peers_of_clients_are_endpoints_and_of_servers_addresses() -> None:
    def accepted(number: int, peer: str) -> Judged:
        return Socket(number, role="server", peer=peer).accepted().judged("none")

    counts = tally(
        raced(1),
        safe(2),
        plain(3, peer="[2001:db8::1]:443"),
        accepted(4, "10.9.0.1:5001"),
        accepted(5, "10.9.0.1:5002"),
        accepted(6, "[2001:db8::2]:1"),
        accepted(7, "[2001:db8::2]:2"),
        plain(8, peer=None),
        Socket(9, role="unknown", peer="10.0.0.1:1").judged("unknown"),
    )
    found = {(peer.role, peer.peer): peer for peer in counts.peers()}
    assert {key: peer.connections for key, peer in found.items()} == {
        ("client", "10.1.0.3:4043"): 2,
        ("client", "[2001:db8::1]:443"): 1,
        ("server", "10.9.0.1"): 2,
        ("server", "2001:db8::2"): 2,
    }
    worst = counts.peers()[0]
    assert (worst.peer, worst.attempted, worst.fallback, worst.raced) == ("10.1.0.3:4043", 2, 1, 1)
    assert (worst.fallback_rate.k, worst.fallback_rate.n) == (1, 2)


def test_the_order_of_arrival_does_not_matter() -> None:
    judged = [
        *(raced(n, peer=f"10.0.0.{n % 5}:443") for n in range(1, 30)),
        *(safe(n, peer=f"10.0.0.{n % 7}:443") for n in range(30, 60)),
    ]
    expected = tally(*judged).peers()
    random.Random(3).shuffle(judged)
    assert tally(*judged).peers() == expected
