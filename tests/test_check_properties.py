"""What holds for every check, whatever the runs: tried on random ones."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrace.check import baseline as baselines
from ktrace.check.counts import Census, counts_of
from ktrace.check.judge import judge
from ktrace.check.policy import Limits, Policy
from ktrace.check.result import EXIT_STATUS, CheckResult, decide
from ktrace.check.run import Run, run_of
from ktrace.check.trust import faults
from ktrace.findings import Report
from ktrace.timelines import Judged
from tests import judged
from tests.check_runs import (
    OTHER,
    PEER,
    TODAY,
    Make,
    fell_back,
    no_module,
    run,
    rx_only,
    served,
    served_plain,
    tx_only,
    ulp_only,
    unknown_order,
)
from tests.judged import plain, raced, safe, unordered

KINDS: tuple[Make, ...] = (
    safe,
    raced,
    unordered,
    plain,
    fell_back,
    no_module,
    tx_only,
    rx_only,
    ulp_only,
    unknown_order,
    served,
    served_plain,
)
FEW = (safe, plain, served)  # what a good build makes


def number(kinds: list[Make]) -> list[Judged]:
    return [make(n) for n, make in enumerate(kinds, 1)]


anything = st.lists(st.sampled_from(KINDS), max_size=25).map(number)
good = st.lists(st.sampled_from(FEW), max_size=25).map(number)
losses = st.sampled_from([0, 0, 0, 3])
limits = st.builds(
    Limits,
    max_raced=st.integers(0, 3),
    max_unordered=st.integers(0, 3),
    max_fallback_rate=st.none() | st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    min_attempted=st.none() | st.integers(0, 12),
    require=st.none() | st.sampled_from([(), ("tx",), ("rx",), ("tx", "rx")]),
    min_attempt_rate=st.none() | st.sampled_from([0.0, 0.3, 1.0]),
    alpha=st.sampled_from([0.01, 0.2]),
    forbid=st.none() | st.just(("KT301",)),
)
policies = st.builds(
    Policy,
    limits=limits,
    peers=st.sampled_from([{}, {PEER: Limits(max_raced=1)}, {OTHER: Limits(max_raced=1)}]),
)


def lossy(connections: list[Judged], lost: int) -> Run:
    return run(connections, judged.trace_facts(lost_events=lost))


def consistent(result: CheckResult) -> None:
    assert result.status == decide(result.rules)
    assert result.exit_status == EXIT_STATUS[result.status]
    for rule in result.rules:
        if rule.verdict == "inconclusive":
            assert rule.help and (rule.message or rule.candidate), rule
        if rule.verdict == "failed":
            assert rule.candidate, rule
        if rule.rate is not None and rule.rate.low is not None and rule.rate.high is not None:
            assert 0 <= rule.rate.low <= rule.rate.high <= 1


@settings(deadline=None)
@given(anything, losses, policies)
def test_a_pass_has_evidence_and_keeps_every_limit(
    connections: list[Judged], lost: int, policy: Policy
) -> None:
    candidate = lossy(connections, lost)
    result = judge(policy, candidate, None, TODAY)
    consistent(result)
    if result.status != "passed":
        return
    assert faults(candidate) == []
    assert candidate.report is not None
    summary, limit = candidate.report.summary, policy.limits
    assert summary.attempted >= max(1, limit.min_attempted or 0)
    most = policy.peers[PEER].max_raced if PEER in policy.peers else limit.max_raced
    assert summary.raced <= (most or 0)
    assert summary.unordered <= (limit.max_unordered or 0)
    if limit.max_fallback_rate is not None and limit.max_fallback_rate < 1:
        high = summary.fallback_rate.high
        assert high is not None and high < limit.max_fallback_rate


@settings(deadline=None)
@given(anything, losses, anything)
def test_one_race_always_fails_the_default_policy(
    connections: list[Judged], lost: int, before: list[Judged]
) -> None:
    candidate = lossy([*connections, raced(len(connections) + 1)], lost)
    for baseline in (None, run(before)):
        result = judge(Policy(), candidate, baseline, TODAY)
        consistent(result)
        assert result.exit_status == 1


@settings(deadline=None)
@given(anything, st.booleans())
def test_a_baseline_never_makes_a_run_pass_that_fails_without(
    connections: list[Judged], itself: bool
) -> None:
    candidate = run(connections)
    alone = judge(Policy(), candidate, None, TODAY)
    baseline = candidate if itself else run(number([safe] * 20))
    result = judge(Policy(), candidate, baseline, TODAY)
    consistent(result)
    if alone.status != "passed":
        assert result.status != "passed"


@settings(deadline=None)
@given(good)
def test_a_good_run_is_no_worse_than_itself(connections: list[Judged]) -> None:
    candidate = run(connections)
    result = judge(Policy(), candidate, candidate, TODAY)
    tried = any(one.connection.has_ktls for one in connections)
    assert result.exit_status == (0 if tried else 3)
    assert all(change.change == "known" for change in result.findings)


@settings(deadline=None)
@given(anything, anything, policies)
def test_a_small_baseline_judges_as_the_run_it_was_made_of(
    connections: list[Judged], before: list[Judged], policy: Policy
) -> None:
    candidate, baseline = run(connections), run(before)
    if faults(baseline):
        return
    file = msgspec.json.decode(
        baselines.render(baseline, addresses=True), type=baselines.BaselineFile
    )
    small = Run("", file.counts, file.findings, file.covered, lost_events=0)
    whole = judge(policy, candidate, baseline, TODAY)
    assert judge(policy, candidate, small, TODAY).rules == whole.rules


@settings(deadline=None)
@given(anything, anything, policies)
def test_a_report_judges_as_the_trace_it_was_written_of(
    connections: list[Judged], before: list[Judged], policy: Policy
) -> None:
    def again(one: Run, ktls_only: bool) -> Run:
        report = msgspec.json.decode(msgspec.json.encode(one.report), type=Report)
        kept = tuple(c for c in report.connections if c.has_ktls or not ktls_only)
        report = msgspec.structs.replace(report, connections=kept)
        census = Census(report.connections)
        return run_of(report, census, counts_of(report, census))

    candidate, baseline = run(connections), run(before)
    whole = judge(policy, candidate, baseline, TODAY)
    assert judge(policy, again(candidate, False), again(baseline, True), TODAY).rules == whole.rules
