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
from ktrace.findings import Tool
from ktrace.wording import listed, plural

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
    rules = tuple(sorted(results, key=_reading_order))
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


def _reading_order(result: RuleResult) -> tuple[int, bool]:
    """What decided comes first; where evidence lacks, that comes before what hangs on it."""
    return _ORDER[
        result.verdict
    ], result.verdict == "inconclusive" and result.rule not in trust.RULES


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
        attempted = plural(case.candidate.counts.total.attempted, "kTLS connection")
        beside = filter(None, (_unshown(rules), _allowed_errors(case)))
        return f"{attempted}, every rule passed", " ".join(beside)
    first, *others = [rule for rule in rules if rule.verdict == status]
    more = f"{plural(len(others), 'more rule')} {status}." if others else ""
    if status == "inconclusive":
        what = first.candidate or first.baseline if first.rate is None else first.title
        return ": ".join(filter(None, (what, first.message))), more
    words, why = _FAILED.get(first.rule, ("{title}: {candidate}", ""))
    share = f"{first.rate.k:,} of {first.rate.n:,}" if first.rate else ""
    headline = words.format(candidate=first.candidate, share=share, title=first.title)
    return _sentence(headline), " ".join(filter(None, (why, _before(first), more)))


_FAILED = {
    "max_raced": (
        "{share} client connections raced",
        "The TLS ULP was set before the connection was up.",
    ),
    "max_unordered": (
        "{share} client connections have a latent race",
        "The TLS ULP was set before the program could know that the connection was up.",
    ),
    "max_fallback_rate": ("{share} connections fell back to TLS in user space", ""),
    "waiver": ("the {title} {candidate}", ""),
}


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _before(rule: RuleResult) -> str:
    rate = rule.baseline_rate
    if rate is None or not rate.n:
        return ""
    return f"The baseline had {rate.k:,} of {rate.n:,}." if rate.k else "The baseline had none."


def _unshown(rules: tuple[RuleResult, ...]) -> str:
    unshown = [rule for rule in rules if rule.verdict == "not shown"]
    if not unshown:
        return ""
    return (
        f"{plural(len(unshown), 'rate')} worse than the baseline, too few connections to show it."
    )


def _allowed_errors(case: Case) -> str:
    """A pass is no all-clear: say what was found that no rule speaks of."""
    found = [c for c in changes.changes(case) if c.candidate and not c.waived]
    errors = [c for c in found if c.severity == "error"]
    if not errors:
        return ""
    codes = listed(dict.fromkeys(change.code for change in errors))
    return f"No rule forbids the {plural(len(errors), 'error')} that it has ({codes})."


def _notes(case: Case) -> list[str]:
    notes = [
        f"the waiver of {use.code} excuses nothing here; remove it if it never does"
        for use in case.excuses.uses
        if use.state == "unused"
    ]
    total = case.candidate.counts.total
    if left := total.attempted - total.order_known - total.order_unknown:
        notes.append(
            f"{plural(left, 'kTLS connection')} shows no order of calls and is not judged for it"
        )
    if case.candidate.report is not None:
        notes += case.candidate.report.trace.warnings
    if case.candidate.not_understood:
        notes.append(
            f"{plural(case.candidate.not_understood, 'line')} of the candidate not understood"
        )
    return notes
