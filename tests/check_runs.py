"""Runs for the tests of the check, made from judged connections, and the short way to a verdict."""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ktrace.check import policy
from ktrace.check.counts import Census
from ktrace.check.judge import judge
from ktrace.check.result import CheckResult, RuleResult
from ktrace.check.run import Run, run_of
from ktrace.rules import RULES
from ktrace.timelines import Judged, TraceFacts
from tests import judged

TODAY = datetime.date(2026, 6, 1)
CODES = tuple(rule.code for rule in RULES)
PEER = judged.PEER
OTHER = "10.1.0.4:4043"
Make = Callable[..., Judged]


def fell_back(number: int = 1, result: str = "EPERM", **changes: Any) -> Judged:
    """A fallback that is no race: the ULP was refused on a connection that was up."""
    socket = judged.Socket(number).connect().writable().ulp(result).close()
    return socket.judged("fallback", "safe", **changes)


def no_module(number: int = 1, **changes: Any) -> Judged:
    """The host has no tls ULP; the program set it in the right order."""
    return fell_back(number, "ENOENT", **changes)


def tx_only(number: int = 1, **changes: Any) -> Judged:
    socket = judged.Socket(number).connect().writable().ulp("ok").key("tx").close()
    return socket.judged("tx-only", "safe", **changes)


def rx_only(number: int = 1, **changes: Any) -> Judged:
    socket = judged.Socket(number).connect().writable().ulp("ok").key("rx").close()
    return socket.judged("rx-only", "safe", **changes)


def ulp_only(number: int = 1, **changes: Any) -> Judged:
    socket = judged.Socket(number).connect().writable().ulp("ok").close()
    return socket.judged("ulp-only", "safe", **changes)


def served(number: int = 1, **changes: Any) -> Judged:
    """An accepted connection with keys in both directions."""
    socket = judged.Socket(number, role="server", peer=f"10.9.0.7:{40000 + number}").accepted()
    return socket.ulp("ok").key("tx").key("rx").close().judged("offloaded", "safe", **changes)


def served_plain(number: int = 1, **changes: Any) -> Judged:
    socket = judged.Socket(number, role="server", peer=f"10.9.0.7:{40000 + number}").accepted()
    return socket.close().judged("none", **changes)


def unknown_order(number: int = 1, result: str = "ok", **changes: Any) -> Judged:
    """A client whose ULP attempt the trace cannot put in order."""
    socket = judged.Socket(number).connect().ulp(result).close()
    outcome = "ulp-only" if result == "ok" else "fallback"
    return socket.judged(outcome, "unknown", **changes)


def several(*parts: tuple[int, Make] | tuple[int, Make, dict[str, Any]]) -> list[Judged]:
    """Return n connections of each kind, numbered on: several((5, safe), (2, raced))."""
    made: list[Judged] = []
    for n, make, *changes in parts:
        start = len(made) + 1
        made += [
            make(number, **(changes[0] if changes else {})) for number in range(start, start + n)
        ]
    return made


def run(connections: Sequence[Judged], trace: TraceFacts | None = None) -> Run:
    report = judged.report(connections, trace)
    census = Census(report.connections)
    return run_of(report, census)


def load(toml: str, tmp_path: Path, **options: Any) -> policy.Policy:
    file = tmp_path / "policy.toml"
    file.write_text(toml, encoding="utf-8")
    return policy.load(str(file), policy.Limits(**options), CODES)


def check(
    candidate: Run | Sequence[Judged],
    baseline: Run | Sequence[Judged] | None = None,
    rules: policy.Policy | None = None,
    **limits: Any,
) -> CheckResult:
    """Judge by a policy, or by the default one with some limits changed."""
    before = baseline if baseline is None or isinstance(baseline, Run) else run(baseline)
    if rules is None:
        rules = policy.load(None, policy.Limits(**limits), CODES)
    return judge(rules, candidate if isinstance(candidate, Run) else run(candidate), before, TODAY)


def rule(result: CheckResult, name: str, scope: str | None = None) -> RuleResult:
    """Return the one result of a rule."""
    (found,) = [r for r in result.rules if r.rule == name and r.scope == scope]
    return found


def verdicts(result: CheckResult, verdict: str) -> set[str]:
    return {r.rule for r in result.rules if r.verdict == verdict}
