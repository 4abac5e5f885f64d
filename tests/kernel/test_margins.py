"""Margins that `ktrace live` measured, against two recorders and what these differ by."""

import itertools

import pytest

from tests.kernel import tracefs
from tests.kernel.results import Results
from tests.kernel.test_traffic import judged

pytestmark = pytest.mark.kernel

STATES = {1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 7: "CLOSE"}


def spread_us(run: Results) -> float:
    """Return the recorders' own error: the most they differ about a margin's two ends.

    Each is a program at the same place in the kernel, one after the other, and the machine may
    do something else in between.
    """
    second = tracefs.read(run.folder)
    states = [
        abs(at - second.state_ns[key])
        for key, at in run.account.state_ns.items()
        if key in second.state_ns
    ]
    pairs = zip(sorted(run.account.call_ns), sorted(second.call_ns), strict=True)
    calls = [abs(ours - theirs) for (_, ours), (_, theirs) in pairs]
    assert len(states) > len(run.traffic) and len(calls) > len(run.traffic)
    return (max(states) + max(calls)) / 1000


@pytest.mark.parametrize("way", ["live-libbpf", "live-bcc"])
def test_margins_are_those_of_the_recorders(run: Results, way: str) -> None:
    error_us = spread_us(run)
    wrong = []
    compared = 0
    for connection, seen in judged(run, way):
        assert seen.established_ns is not None
        measured = (seen.ulp[0].at_ns - seen.established_ns) / 1000
        if connection.margin_us is None or connection.margin_basis != "observed":
            wrong.append(f"{connection.id}: {connection.margin_basis}, recorders {measured:.0f}")
        elif abs(connection.margin_us - measured) > error_us:
            wrong.append(f"{connection.id}: {connection.margin_us:.0f}, recorders {measured:.0f}")
        compared += 1
    assert not wrong, f"error {error_us:.0f} us\n" + "\n".join(wrong)
    assert compared > 40


def test_the_state_at_each_attempt_is_that_of_the_recorder(run: Results) -> None:
    for connection, seen in judged(run, "live-libbpf"):
        pairs = itertools.zip_longest(connection.ulp, seen.ulp)
        assert all(ours.state == STATES[theirs.state] for ours, theirs in pairs), connection.id
