"""Every rule of a check, sentence by sentence of what it promises."""

import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ktrace.check.counts import Census
from ktrace.check.result import EXIT_STATUS, RuleResult, decide
from ktrace.check.run import run_of
from ktrace.timelines import Judged
from tests import judged
from tests.check_runs import (
    OTHER,
    PEER,
    TODAY,
    check,
    fell_back,
    load,
    no_module,
    rule,
    run,
    rx_only,
    served,
    served_plain,
    several,
    tx_only,
    ulp_only,
    unknown_order,
    verdicts,
)
from tests.judged import plain, raced, safe, unordered


def test_clean_run_passes() -> None:
    result = check(several((5, safe)))
    assert (result.status, result.exit_status) == ("passed", 0)
    assert verdicts(result, "passed") == {r.rule for r in result.rules}


# The default policy


def test_one_proven_race_fails_without_statistics() -> None:
    result = check(several((1, raced), (99, safe)))
    failed = rule(result, "max_raced")
    assert (result.status, result.exit_status, failed.verdict) == ("failed", 1, "failed")
    assert failed.p is None
    assert failed.connections == ("c1",)
    assert failed.rate is not None and (failed.rate.k, failed.rate.n) == (1, 100)
    assert failed.rate.low is not None and "95 % interval" in failed.candidate
    assert failed.evidence and failed.evidence[0].line is not None


def test_one_race_in_a_run_that_is_too_short_still_fails() -> None:
    result = check(several((1, raced)), min_attempted=30)
    assert result.exit_status == 1
    assert rule(result, "min_attempted").verdict == "inconclusive"


def test_a_latent_race_fails_though_everything_was_offloaded() -> None:
    result = check(several((5, unordered)))
    assert result.exit_status == 1
    assert verdicts(result, "failed") == {"max_unordered"}
    assert rule(result, "max_unordered").evidence


def test_a_race_that_recovered_or_never_connected_is_a_race() -> None:
    assert check(several((1, raced, {"outcome": "not-connected"}), (5, safe))).exit_status == 1
    assert check(several((1, raced, {"outcome": "offloaded", "recovered": True}))).exit_status == 1


def test_limits_may_be_raised() -> None:
    runs = several((2, raced), (3, unordered), (5, safe))
    assert check(runs, max_raced=2, max_unordered=3).exit_status == 0
    assert verdicts(check(runs, max_raced=1, max_unordered=3), "failed") == {"max_raced"}
    assert verdicts(check(runs, max_raced=2, max_unordered=2), "failed") == {"max_unordered"}


def test_a_policy_that_does_not_speak_of_races_keeps_the_default(tmp_path: Path) -> None:
    policy = load("[check]\nmax_fallback_rate = 0.99\n", tmp_path)
    assert check(several((1, raced), (9, safe)), rules=policy).exit_status == 1


def test_an_error_alone_does_not_fail_the_default_policy() -> None:
    assert check(several((1, fell_back), (9, safe))).exit_status == 0


# Zero evidence never passes


def test_no_connection_at_all() -> None:
    result = check([])
    assert (result.status, result.exit_status) == ("inconclusive", 3)
    assert "no TCP connection" in result.headline


def test_connections_without_kTLS() -> None:
    result = check(several((12, plain)))
    assert result.exit_status == 3
    tried = rule(result, "min_attempted")
    assert (tried.verdict, tried.more) == ("inconclusive", 1)
    assert "none of 12 connections" in tried.message
    assert "ktrace record" in tried.help


@pytest.mark.parametrize("least", [0, 1])
def test_min_attempted_cannot_ask_for_less_than_one(least: int) -> None:
    assert check(several((12, plain)), min_attempted=least).exit_status == 3
    assert check(several((1, safe)), min_attempted=least).exit_status == 0


def test_fewer_connections_than_the_policy_asks_for() -> None:
    result = check(several((3, safe), (40, plain)), min_attempted=30)
    few = rule(result, "min_attempted")
    assert (result.exit_status, few.more) == (3, 27)
    assert few.help == "27 more kTLS connections would decide"
    assert check(several((30, safe)), min_attempted=30).exit_status == 0


def test_lost_events() -> None:
    result = check(run(several((9, safe)), judged.trace_facts(lost_events=4)))
    assert result.exit_status == 3
    assert rule(result, "lost_events").verdict == "inconclusive"
    assert "4 events" in rule(result, "lost_events").candidate


def test_lost_events_do_not_excuse_a_race() -> None:
    lost = judged.trace_facts(lost_events=4)
    assert check(run(several((9, safe)), lost)).exit_status == 3
    assert check(run([*several((9, safe)), raced(10)], lost)).exit_status == 1


def test_setsockopt_not_covered() -> None:
    families = tuple(family for family in judged.ALL if family != "setsockopt")
    result = check(run(several((9, plain)), judged.trace_facts(covered=families)))
    assert result.exit_status == 3
    assert "setsockopt" in rule(result, "covered").candidate
    assert "ktrace record" in rule(result, "covered").help


def test_verdicts_limited_by_families_that_are_not_covered() -> None:
    families = tuple(family for family in judged.ALL if family != "wait")
    limited = unknown_order(1, missing=("wait",))
    result = check(run([limited, safe(2)], judged.trace_facts(covered=families)))
    covered = rule(result, "covered")
    assert (result.exit_status, covered.verdict, covered.codes) == (3, "inconclusive", ("KT902",))
    assert covered.message and covered.help


def test_tls_ulp_unavailable_on_the_host() -> None:
    result = check(several((9, no_module)), max_fallback_rate=0.01, require=("tx",))
    assert result.exit_status == 3
    assert verdicts(result, "failed") == set()
    assert rule(result, "max_fallback_rate").verdict == "inconclusive"
    assert "modprobe tls" in rule(result, "ulp_available").help


def test_tls_ulp_unavailable_against_a_good_baseline_is_no_regression_of_the_program() -> None:
    result = check(several((9, no_module)), several((9, safe)))
    assert (result.exit_status, verdicts(result, "failed")) == (3, set())
    assert rule(result, "fallback_rate").verdict == "inconclusive"


def test_a_missing_module_hides_no_wrong_order() -> None:
    socket = judged.Socket(1).connect().ulp("ENOENT").writable().close()
    assert check([socket.judged("fallback", "unordered")]).exit_status == 1


def test_order_that_the_trace_cannot_tell_is_not_counted_as_right() -> None:
    result = check([unknown_order(1), *several((9, safe))[1:]])
    assert result.exit_status == 3
    assert rule(result, "max_unordered").verdict == "inconclusive"
    assert rule(result, "max_raced").verdict == "passed"  # its attempt was accepted
    maybe = check([unknown_order(1, "ENOTCONN"), *several((9, safe))[1:]])
    assert rule(maybe, "max_raced").verdict == "inconclusive"


def test_room_for_the_unknown_ones_decides() -> None:
    runs = [unknown_order(1, "ENOTCONN"), *several((9, safe))[1:]]
    assert check(runs, max_raced=1, max_unordered=1).exit_status == 0


def test_a_connection_opened_before_the_trace_is_left_out_of_the_order_and_said() -> None:
    socket = judged.Socket(1, role="unknown").ulp("ok").key("tx").key("rx").close()
    before = socket.judged("offloaded", "unknown")
    result = check([before, *several((9, safe))[1:]])
    assert result.exit_status == 0
    assert any("no order" in note for note in result.notes)
    alone = check([before])
    assert alone.exit_status == 3


def test_keys_without_any_ulp_attempt_prove_no_order() -> None:
    socket = judged.Socket(1).connect().writable().key("tx", "ENOPROTOOPT").close()
    result = check([socket.judged("fallback", None)])
    assert (result.exit_status, rule(result, "max_raced").verdict) == (3, "inconclusive")


def test_accepted_connections_are_evidence() -> None:
    result = check(several((9, served)))
    assert result.exit_status == 0
    assert "accepted" in rule(result, "max_raced").candidate


# Rates, judged on their interval


def test_fallback_rate_fails_when_even_the_low_end_is_above() -> None:
    result = check(several((20, fell_back), (20, safe)), max_fallback_rate=0.2)
    failed = rule(result, "max_fallback_rate")
    assert (result.exit_status, failed.verdict) == (1, "failed")
    assert failed.rate is not None and failed.rate.low is not None and failed.rate.low > 0.2
    assert failed.codes == ("KT206",)
    assert len(failed.connections) == 20 and failed.evidence


def test_fallback_rate_passes_when_the_high_end_is_below() -> None:
    result = check(several((400, safe)), max_fallback_rate=0.01)
    assert (result.exit_status, rule(result, "max_fallback_rate").verdict) == (0, "passed")


def test_fallback_rate_between_is_inconclusive_and_says_how_many_more_decide() -> None:
    result = check(several((5, safe)), max_fallback_rate=0.01)
    between = rule(result, "max_fallback_rate")
    assert (result.exit_status, between.verdict, between.more) == (3, "inconclusive", 376)
    assert "376 more connections" in between.help
    assert check(several((381, safe)), max_fallback_rate=0.01).exit_status == 0
    assert check(several((380, safe)), max_fallback_rate=0.01).exit_status == 3


def test_the_interval_judges_a_failing_share_too() -> None:
    result = check(several((1, fell_back), (9, safe)), max_fallback_rate=0.05)
    between = rule(result, "max_fallback_rate")
    assert between.verdict == "inconclusive" and between.more is not None
    n = 10 + between.more
    decided = several((n // 10, fell_back), (n - n // 10, safe))
    assert check(decided, max_fallback_rate=0.05).exit_status == 1


def test_a_rate_without_a_connection_to_count_is_inconclusive() -> None:
    result = check(several((9, ulp_only)), max_fallback_rate=0.5)
    assert rule(result, "max_fallback_rate").verdict == "inconclusive"
    assert "no connection" in rule(result, "max_fallback_rate").message


def test_no_number_of_connections_proves_a_rate_of_zero_and_that_is_said() -> None:
    result = check(several((500, safe)), max_fallback_rate=0.0)
    assert rule(result, "max_fallback_rate").verdict == "inconclusive"
    assert "no number" in rule(result, "max_fallback_rate").help
    assert check(several((1, fell_back), (500, safe)), max_fallback_rate=0.0).exit_status == 1


def test_connections_that_never_came_up_are_in_no_fallback_rate() -> None:
    runs = several((5, raced, {"outcome": "not-connected"}), (5, safe))
    rate = rule(check(runs, max_raced=9, max_fallback_rate=0.9), "max_fallback_rate").rate
    assert rate is not None and (rate.k, rate.n) == (0, 5)


def test_min_attempt_rate() -> None:
    assert check(several((60, safe)), min_attempt_rate=0.9).exit_status == 0
    result = check(several((10, safe), (50, plain)), min_attempt_rate=0.9)
    failed = rule(result, "min_attempt_rate")
    assert (result.exit_status, failed.verdict) == (1, "failed")
    assert len(failed.connections) == 50
    between = rule(check(several((5, safe)), min_attempt_rate=0.9), "min_attempt_rate")
    assert (between.verdict, between.more) == ("inconclusive", 30)


def test_clients_that_never_came_up_and_did_not_try_are_in_no_attempt_rate() -> None:
    refused = [judged.Socket(n).connect("ECONNREFUSED").judged("not-connected") for n in (61, 62)]
    result = check([*several((60, safe)), *refused], min_attempt_rate=0.9)
    rate = rule(result, "min_attempt_rate").rate
    assert rate is not None and (rate.k, rate.n) == (60, 60)


def test_accepted_connections_are_in_no_attempt_rate() -> None:
    rate = rule(
        check([*several((60, safe)), served_plain(61)], min_attempt_rate=0.9), "min_attempt_rate"
    ).rate
    assert rate is not None and rate.n == 60


# Directions and forbidden findings


def test_require_looks_at_connections_with_keys_only() -> None:
    assert check(several((5, safe), (3, ulp_only)), require=("tx", "rx")).exit_status == 0
    result = check(several((5, safe), (3, fell_back)), require=("tx", "rx"))
    assert rule(result, "require").verdict == "passed"


def test_require_fails_on_a_missing_direction() -> None:
    result = check(several((5, safe), (2, tx_only)), require=("tx", "rx"))
    failed = rule(result, "require")
    assert (result.exit_status, failed.connections, failed.codes) == (1, ("c6", "c7"), ("KT301",))
    assert failed.title == 'require = ["tx", "rx"]'
    assert check(several((5, safe), (2, tx_only)), require=("tx",)).exit_status == 0
    assert check(several((5, safe), (2, rx_only)), require=("tx",)).exit_status == 1


def test_require_without_any_key_is_inconclusive() -> None:
    assert check(several((3, ulp_only)), require=("tx",)).exit_status == 3


def test_forbid_fails_on_a_code() -> None:
    runs = several((2, tx_only), (9, safe))
    assert check(runs).exit_status == 0
    result = check(runs, forbid=("KT203", "KT301"))
    failed = rule(result, "forbid")
    assert (result.exit_status, failed.codes, failed.connections) == (1, ("KT301",), ("c1", "c2"))
    assert failed.evidence
    assert check(runs, forbid=("KT203",)).exit_status == 0


def test_forbid_works_for_findings_about_the_trace() -> None:
    trace = judged.trace_facts(not_understood=3, bad_lines=((0, 7, "no call"),))
    assert check(run(several((9, safe)), trace)).exit_status == 0
    assert check(run(several((9, safe)), trace), forbid=("KT903",)).exit_status == 1


# Peers


def test_an_override_takes_its_peer_out_of_the_general_rule(tmp_path: Path) -> None:
    policy = load(f'[check]\n[check.peer."{PEER}"]\nmax_raced = 2\n', tmp_path)
    here, there = {"peer": PEER}, {"peer": OTHER}
    result = check(several((2, raced, here), (9, safe, there)), rules=policy)
    assert result.exit_status == 0
    assert rule(result, "max_raced", PEER).title == "max_raced = 2"
    assert rule(result, "max_raced").rate is not None
    result = check(several((2, raced, here), (1, raced, there), (9, safe, there)), rules=policy)
    assert rule(result, "max_raced").connections == ("c3",)
    assert rule(result, "max_raced", PEER).verdict == "passed"
    assert check(several((3, raced, here), (9, safe, there)), rules=policy).exit_status == 1


def test_an_override_can_be_stricter(tmp_path: Path) -> None:
    policy = load(f'[check]\nmax_raced = 9\n[check.peer."{PEER}"]\nmax_raced = 0\n', tmp_path)
    result = check(several((1, raced), (9, safe, {"peer": OTHER})), rules=policy)
    assert rule(result, "max_raced", PEER).verdict == "failed"
    assert rule(result, "max_raced").verdict == "passed"


def test_a_key_that_an_override_leaves_out_is_judged_with_the_others(tmp_path: Path) -> None:
    policy = load(f'[check]\nmin_attempted = 10\n[check.peer."{PEER}"]\nmax_raced = 9\n', tmp_path)
    result = check(several((5, safe), (5, safe, {"peer": OTHER})), rules=policy)
    assert (result.exit_status, rule(result, "min_attempted").candidate) == (
        0,
        "10 kTLS connections",
    )


def test_min_attempted_of_one_peer(tmp_path: Path) -> None:
    policy = load(f'[check]\n[check.peer."{PEER}"]\nmin_attempted = 30\n', tmp_path)
    result = check(several((3, safe), (99, safe, {"peer": OTHER})), rules=policy)
    assert (result.exit_status, rule(result, "min_attempted", PEER).more) == (3, 27)
    loose = load(
        f'[check]\nmin_attempted = 30\n[check.peer."{PEER}"]\nmin_attempted = 3\n', tmp_path
    )
    assert check(several((3, safe)), rules=loose).exit_status == 0
    assert check(several((3, safe), (1, safe, {"peer": OTHER})), rules=loose).exit_status == 3


def test_a_peer_that_the_trace_does_not_show_is_no_pass(tmp_path: Path) -> None:
    policy = load(f'[check]\n[check.peer."{OTHER}"]\nmax_raced = 0\n', tmp_path)
    result = check(several((9, safe)), rules=policy)
    assert (result.exit_status, rule(result, "max_raced", OTHER).verdict) == (3, "inconclusive")


@pytest.mark.parametrize(
    "key", ["max_fallback_rate = 0.01", 'require = ["rx"]', "min_attempt_rate = 0.9"]
)
def test_every_rule_can_be_overridden(tmp_path: Path, key: str) -> None:
    policy = load(f'[check]\n[check.peer."{OTHER}"]\n{key}\n', tmp_path)
    runs = several(
        (30, safe),
        (5, fell_back, {"peer": OTHER}),
        (5, tx_only, {"peer": OTHER}),
        (30, plain, {"peer": OTHER}),
    )
    result = check(runs, rules=policy)
    assert rule(result, key.split()[0], OTHER).verdict == "failed"
    assert {r.scope for r in result.rules if r.verdict == "failed"} == {OTHER}


def test_forbid_for_one_peer(tmp_path: Path) -> None:
    policy = load(f'[check]\n[check.peer."{OTHER}"]\nforbid = ["KT301"]\n', tmp_path)
    assert check(several((2, tx_only), (9, safe, {"peer": OTHER})), rules=policy).exit_status == 0
    result = check(several((2, tx_only, {"peer": OTHER}), (9, safe)), rules=policy)
    assert rule(result, "forbid", OTHER).connections == ("c1", "c2")


def test_alpha_for_one_peer_compares_that_peer_alone(tmp_path: Path) -> None:
    policy = load(f'[check]\nmax_raced = 99\n[check.peer."{OTHER}"]\nalpha = 0.2\n', tmp_path)
    before = several((9, safe), (9, safe, {"peer": OTHER}))
    after = several((9, safe), (6, safe, {"peer": OTHER}), (3, fell_back, {"peer": OTHER}))
    result = check(after, before, rules=policy)
    assert rule(result, "fallback_rate", OTHER).verdict == "failed"
    assert rule(result, "fallback_rate").verdict == "passed"


# Against a baseline


def test_no_rate_may_be_worse() -> None:
    result = check(several((10, fell_back), (10, safe)), several((20, safe)))
    assert {"fallback_rate", "tx_rate", "rx_rate"} <= verdicts(result, "failed")
    failed = rule(result, "fallback_rate")
    assert failed.p is not None and failed.p < 0.01
    assert failed.baseline is not None and failed.baseline.startswith("0 of 20 fell back")
    assert failed.baseline_rate is not None and failed.baseline_rate.n == 20
    assert len(failed.connections) == 10 and failed.evidence


def test_race_and_latent_race_rates_are_compared_even_where_they_are_allowed() -> None:
    limits: dict[str, Any] = {"max_raced": 99, "max_unordered": 99}
    result = check(several((20, raced)), several((2, raced), (18, safe)), **limits)
    assert "race_rate" in verdicts(result, "failed")
    result = check(several((20, unordered)), several((2, unordered), (18, safe)), **limits)
    assert verdicts(result, "failed") == {"unordered_rate"}


def test_worse_but_not_shown_counts_as_passed_and_says_how_many_would_show_it() -> None:
    limits: dict[str, Any] = {"max_raced": 99}
    result = check(several((5, raced), (5, safe)), several((10, safe)), alpha=0.01, **limits)
    shown = rule(result, "fallback_rate")
    assert shown.verdict == "not shown"
    assert shown.p == pytest.approx(0.01625, abs=1e-4)
    assert shown.more == 12
    assert "12 connections a side" in shown.help
    again = check(several((6, raced), (6, safe)), several((12, safe)), alpha=0.01, **limits)
    assert rule(again, "fallback_rate").verdict == "failed"
    passed = check(several((1, fell_back), (9, safe)), several((1, fell_back), (19, safe)))
    assert rule(passed, "fallback_rate").verdict == "not shown"
    assert passed.exit_status == 0


def test_a_better_run_passes() -> None:
    result = check(several((20, safe)), several((20, raced)))
    assert (result.exit_status, verdicts(result, "not shown")) == (0, set())


def test_a_build_that_stopped_trying_is_a_regression_not_a_pass() -> None:
    result = check(several((20, plain)), several((20, safe)))
    assert result.exit_status == 1
    failed = rule(result, "attempt_rate")
    assert (failed.verdict, len(failed.connections)) == ("failed", 20)
    part = check(several((10, plain), (10, safe)), several((20, safe)))
    assert verdicts(part, "failed") == {"attempt_rate"}


def test_a_build_that_stopped_trying_in_a_short_run_does_not_pass_either() -> None:
    assert check(several((3, plain)), several((3, safe))).exit_status == 3


def test_a_server_that_stopped_trying_is_a_regression() -> None:
    result = check(several((10, served_plain), (10, served)), several((20, served)))
    assert verdicts(result, "failed") == {"server_attempt_rate"}


def test_a_build_that_attaches_the_ulp_and_gives_no_keys_is_a_regression() -> None:
    result = check(several((20, ulp_only)), several((20, safe)))
    assert verdicts(result, "failed") == {"tx_rate", "rx_rate"}


def test_a_direction_that_is_lost_is_a_regression() -> None:
    result = check(several((20, tx_only)), several((20, safe)))
    assert verdicts(result, "failed") == {"rx_rate"}


def test_a_new_error_fails_by_fingerprint() -> None:
    result = check(several((1, fell_back), (999, safe)), several((1000, safe)))
    failed = rule(result, "new_errors")
    assert verdicts(result, "failed") == {"new_errors"}
    assert (failed.codes, failed.connections, failed.baseline) == (("KT206",), ("c1",), "0 errors")
    assert failed.evidence
    known = check(several((1, fell_back), (999, safe)), several((1, fell_back), (999, safe)))
    assert known.exit_status == 0
    assert [change.change for change in known.findings] == ["known"]


def test_a_new_warning_does_not_fail() -> None:
    result = check(several((1, tx_only), (999, safe)), several((1000, safe)))
    assert rule(result, "new_errors").verdict == "passed"


def test_a_known_finding_that_became_an_error_is_new() -> None:
    before = several((1, raced, {"outcome": "not-connected"}), (99, safe))
    result = check(several((1, raced), (99, safe)), before, max_raced=9)
    assert rule(result, "new_errors").codes == ("KT101",)


def test_findings_are_new_known_or_gone() -> None:
    result = check(
        several((1, fell_back), (2, tx_only), (99, safe)),
        several((3, tx_only), (1, rx_only), (9, safe)),
    )
    changes = {c.code: (c.change, c.baseline, c.candidate) for c in result.findings}
    assert changes == {"KT206": ("new", 0, 1), "KT301": ("known", 3, 2), "KT302": ("gone", 1, 0)}


@pytest.mark.parametrize(
    ("connections", "facts", "words"),
    [
        (several((9, plain)), {}, "no connection tried kTLS"),
        (several((9, safe)), {"lost_events": 3}, "3 events lost"),
        (several((9, no_module)), {}, "no tls ULP"),
        (several((9, plain)), {"covered": ("connect",)}, "setsockopt is not covered"),
    ],
    ids=["no-ktls", "lost", "no-ulp", "not-covered"],
)
def test_a_baseline_that_proves_nothing_lets_nothing_pass(
    connections: list[Judged], facts: dict[str, object], words: str
) -> None:
    before = run(connections, judged.trace_facts(**facts))
    result = check(several((9, safe)), before)
    assert result.exit_status == 3
    assert words in rule(result, "baseline").message


# Waivers


def waiver(tmp_path: Path, code: str, until: str = "2026-12-31", peer: str = "") -> str:
    where = f'peer = "{peer}"\n' if peer else ""
    return f'[[check.waive]]\ncode = "{code}"\n{where}until = {until}\nreason = "known, KT-7"\n'


def test_a_waiver_excuses_a_known_finding_until_its_day(tmp_path: Path) -> None:
    runs = several((2, raced), (9, safe))
    policy = load(waiver(tmp_path, "KT101"), tmp_path)
    result = check(runs, rules=policy)
    assert result.exit_status == 0
    assert "2 waived" in rule(result, "max_raced").candidate
    (use,) = result.waivers
    assert (use.state, use.connections, use.until) == ("used", ("c1", "c2"), "2026-12-31")
    last_day = load(waiver(tmp_path, "KT101", TODAY.isoformat()), tmp_path)
    assert check(runs, rules=last_day).exit_status == 0


def test_an_expired_waiver_fails_with_its_reason(tmp_path: Path) -> None:
    yesterday = (TODAY - datetime.timedelta(days=1)).isoformat()
    policy = load(waiver(tmp_path, "KT101", yesterday), tmp_path)
    result = check(several((2, raced), (9, safe)), rules=policy)
    assert verdicts(result, "failed") == {"waiver", "max_raced"}
    assert "known, KT-7" in rule(result, "waiver").message
    clean = check(several((9, safe)), rules=policy)
    assert (clean.exit_status, verdicts(clean, "failed")) == (1, {"waiver"})


def test_a_waiver_of_one_peer_leaves_the_others(tmp_path: Path) -> None:
    policy = load(waiver(tmp_path, "KT101", peer=PEER), tmp_path)
    runs = several((2, raced, {"peer": PEER}), (1, raced, {"peer": OTHER}), (9, safe))
    result = check(runs, rules=policy)
    assert rule(result, "max_raced").connections == ("c3",)
    assert check(several((2, raced), (9, safe)), rules=policy).exit_status == 0


def test_a_waiver_of_something_else_hides_no_race(tmp_path: Path) -> None:
    policy = load(waiver(tmp_path, "KT206") + waiver(tmp_path, "KT102"), tmp_path)
    assert check(several((1, raced), (9, safe)), rules=policy).exit_status == 1


def test_a_waived_error_is_not_new_and_not_forbidden(tmp_path: Path) -> None:
    toml = '[check]\nforbid = ["KT206"]\n' + waiver(tmp_path, "KT206")
    result = check(several((9, fell_back), (9, safe)), several((18, safe)), load(toml, tmp_path))
    assert result.exit_status == 0
    assert [c.waived for c in result.findings] == [True]


def test_a_waiver_leaves_the_other_causes_of_a_fallback(tmp_path: Path) -> None:
    policy = load(waiver(tmp_path, "KT206"), tmp_path)
    runs = several((9, fell_back), (9, fell_back, {"result": "EINVAL"}), (9, safe))
    result = check(runs, several((27, safe)), policy)
    failed = rule(result, "fallback_rate")
    assert failed.verdict == "failed"
    assert failed.rate is not None and (failed.rate.k, failed.rate.n) == (9, 18)


def test_a_waiver_is_no_evidence(tmp_path: Path) -> None:
    policy = load(waiver(tmp_path, "KT101"), tmp_path)
    assert check(several((9, plain)), rules=policy).exit_status == 3


def test_a_waiver_that_excuses_nothing_is_said(tmp_path: Path) -> None:
    result = check(several((9, safe)), rules=load(waiver(tmp_path, "KT101"), tmp_path))
    assert result.exit_status == 0
    assert result.waivers[0].state == "unused"
    assert any("KT101" in note for note in result.notes)


# The conclusion


def test_one_function_decides() -> None:
    def one(verdict: str) -> RuleResult:
        return msgspec.convert(
            {"rule": "r", "title": "t", "verdict": verdict, "candidate": ""}, RuleResult
        )

    assert decide([]) == "inconclusive"
    assert decide([one("passed"), one("not shown")]) == "passed"
    assert decide([one("passed"), one("inconclusive")]) == "inconclusive"
    assert decide([one("inconclusive"), one("failed")]) == "failed"
    assert EXIT_STATUS == {"passed": 0, "failed": 1, "inconclusive": 3}


def test_the_status_is_that_of_the_rules() -> None:
    for runs in ([], several((1, raced)), several((5, safe)), several((5, plain))):
        result = check(runs)
        assert result.status == decide(result.rules)
        assert result.exit_status == EXIT_STATUS[result.status]


def test_what_decided_stands_first() -> None:
    result = check(several((1, raced), (5, safe)), several((1, safe)), max_fallback_rate=0.01)
    order = {"failed": 0, "inconclusive": 1, "not shown": 2, "passed": 3}
    ranks = [order[r.verdict] for r in result.rules]
    assert ranks == sorted(ranks) and len(set(ranks)) > 2


def test_a_report_without_its_plain_connections_gives_the_same_counts() -> None:
    runs = several((5, safe), (7, plain), (3, served_plain))
    whole = run(runs)
    assert whole.report is not None
    ktls = tuple(c for c in whole.report.connections if c.has_ktls)
    part = msgspec.structs.replace(whole.report, connections=ktls)
    assert run_of(part, Census(ktls)).counts == whole.counts
