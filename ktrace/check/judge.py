"""Judge a run: every rule of the policy, in the order of reading, and the conclusion."""

import datetime

import ktrace
from ktrace.check import against, changes, limits, rates, trust, waivers
from ktrace.check.case import Case
from ktrace.check.policy import Policy
from ktrace.check.result import (
    EXIT_STATUS,
    CheckResult,
    RateChange,
    RuleResult,
    Side,
    Status,
    decide,
)
from ktrace.check.run import Run
from ktrace.check.words import number
from ktrace.findings import Tool

_ORDER = {"failed": 0, "inconclusive": 1, "not shown": 2, "passed": 3}


def judge(
    policy: Policy, candidate: Run, baseline: Run | None, today: datetime.date
) -> CheckResult:
    """Apply a policy to a run; `today` decides which waivers still hold."""
    excuses = waivers.excuse(policy.waivers, candidate, today)
    case = Case(policy, candidate, baseline, excuses)
    results, compared = _judge_all(case)
    return conclude(case, results, compared)


def _judge_all(case: Case) -> tuple[list[RuleResult], list[RateChange]]:
    results = [
        *limits.rules(case),
        *rates.rules(case),
        *changes.rules(case),
        *waivers.rules(case.excuses),
    ]
    compared = list(against.compare(case)) if case.baseline is not None else []
    results += [result for result, _ in compared]
    results += trust.rules(case)
    return results, [change for _, change in compared]


def conclude(case: Case, results: list[RuleResult], compared: list[RateChange]) -> CheckResult:
    """Put the result together; its status and exit status come from the rules and nothing else."""
    rules = tuple(sorted(results, key=lambda result: _ORDER[result.verdict]))
    status = decide(rules)
    headline, detail = _headline(status, rules, case)
    return CheckResult(
        tool=Tool("ktrace", ktrace.__version__),
        status=status,
        exit_status=EXIT_STATUS[status],
        headline=headline,
        detail=detail,
        policy=f"{case.policy.origin}, alpha {case.policy.limits.alpha:g}",
        candidate=_side(case.candidate),
        baseline=None if case.baseline is None else _side(case.baseline),
        rules=rules,
        rates=tuple(compared),
        findings=changes.changes(case),
        waivers=case.excuses.uses,
        notes=tuple(_notes(case)),
    )


def _side(run: Run) -> Side:
    total = run.counts.total
    return Side(
        name=run.name,
        sources=run.sources,
        connections=total.connections,
        clients=total.clients,
        attempted=total.attempted,
        covered=run.covered,
        lost_events=run.lost_events,
        not_understood=run.not_understood,
    )


def _headline(status: Status, rules: tuple[RuleResult, ...], case: Case) -> tuple[str, str]:
    """Say in one sentence what decided, and in a second one what stands beside it."""
    if status == "passed":
        attempted = number(case.candidate.counts.total.attempted, "kTLS connection")
        return f"{attempted}, every rule passed", _unshown(rules)
    first, *others = [rule for rule in rules if rule.verdict == status]
    words = _DECIDED.get(first.rule, "{candidate}") if status == "failed" else "{message}"
    rate = first.rate
    headline = words.format(
        candidate=first.candidate,
        message=first.message or first.candidate,
        share=f"{rate.k} of {rate.n}" if rate else "",
        title=first.title,
    )
    return headline[:1].upper() + headline[1:], _beside(first, others)


_DECIDED = {
    "max_raced": "{share} client connections lost the race",
    "max_unordered": "{share} client connections raced and got away with it",
    "max_fallback_rate": "{share} connections fell back to TLS in user space",
    "waiver": "{title} {candidate}",
}


def _beside(first: RuleResult, others: list[RuleResult]) -> str:
    known = first.baseline_rate
    parts = []
    if first.verdict == "failed" and known is not None:
        parts.append("The baseline had none." if not known.k else f"The baseline had {known.k}.")
    if others:
        kind = "failed" if first.verdict == "failed" else "inconclusive"
        parts.append(f"{number(len(others), 'more rule')} {kind}.")
    return " ".join(parts)


def _unshown(rules: tuple[RuleResult, ...]) -> str:
    unshown = [rule for rule in rules if rule.verdict == "not shown"]
    if not unshown:
        return ""
    return (
        f"{number(len(unshown), 'rate')} worse than the baseline, too few connections to show it."
    )


def _notes(case: Case) -> list[str]:
    notes = [
        f"the waiver of {use.code} excuses nothing here; remove it if it never does"
        for use in case.excuses.uses
        if use.state == "unused"
    ]
    total = case.candidate.counts.total
    if left := total.attempted - total.order_known - total.order_unknown:
        notes.append(
            f"{number(left, 'kTLS connection')} shows no order of calls and is not judged for it"
        )
    if case.candidate.not_understood:
        notes.append(
            f"{number(case.candidate.not_understood, 'line')} of the candidate not understood"
        )
    return notes
