"""Rules on rates, judged on the whole 95 % interval: beyond the limit, within it, or across it."""

from collections.abc import Iterator

import msgspec

from ktrace.check.case import Case, Scoped
from ktrace.check.limits import waived
from ktrace.check.result import RuleResult, Verdict
from ktrace.check.statistics import Worse, decided_with
from ktrace.check.words import NO_ULP_HELP, RECORD, figure, show
from ktrace.findings import Rate
from ktrace.statistics import wilson
from ktrace.wording import plural

NOBODY: frozenset[int] = frozenset()


def rules(case: Case) -> Iterator[RuleResult]:
    for scoped in case.scopes("max_fallback_rate", case.excuses.causes()):
        yield _max_fallback_rate(case, scoped)
    for scoped in case.scopes("min_attempt_rate", NOBODY, "client_up"):
        yield _min_attempt_rate(case, scoped)


def _max_fallback_rate(case: Case, scoped: Scoped) -> RuleResult:
    key, excused = "max_fallback_rate", case.excuses.causes()
    rate = wilson(scoped.counts.fallback, scoped.counts.decided)
    base = case.baseline_counts(key, scoped.scope)
    base_rate = None if base is None else wilson(base.fallback, base.decided)
    result = RuleResult(
        rule=key,
        title=f"{key} = {scoped.value:g}",
        verdict=verdict(rate, scoped.value, "higher"),
        candidate=figure(rate, "fell back") + waived(scoped, "fallback"),
        scope=scoped.scope,
        baseline=None if base_rate is None else figure(base_rate, "fell back"),
        rate=rate,
        baseline_rate=base_rate,
    )
    if not rate.n and scoped.raw.decided:  # a waiver excuses every one
        return msgspec.structs.replace(result, verdict="passed")
    if case.no_ulp and result.verdict != "passed":
        return _host_lacks_ulp(result)
    if result.verdict != "failed":
        return _explain(result, scoped.value)
    found = case.connections(key, scoped.scope, excused, lambda group: group.outcome == "fallback")
    return msgspec.structs.replace(
        result,
        message="the whole interval lies above the limit",
        help=show(found),
        codes=case.codes(found),
        connections=found,
        evidence=case.evidence(found),
    )


def _min_attempt_rate(case: Case, scoped: Scoped) -> RuleResult:
    key, counts = "min_attempt_rate", scoped.raw
    rate = wilson(counts.client_tried, counts.client_up)
    base = case.baseline_counts(key, scoped.scope)
    base_rate = None if base is None else wilson(base.client_tried, base.client_up)
    result = RuleResult(
        rule=key,
        title=f"{key} = {scoped.value:g}",
        verdict=verdict(rate, scoped.value, "lower"),
        candidate=figure(rate, "client connections tried kTLS"),
        scope=scoped.scope,
        baseline=None if base_rate is None else figure(base_rate, "tried kTLS"),
        rate=rate,
        baseline_rate=base_rate,
    )
    if result.verdict != "failed":
        return _explain(result, scoped.value)
    found = case.connections(
        key, scoped.scope, NOBODY, lambda group: group.role == "client" and not group.tried
    )
    return msgspec.structs.replace(
        result,
        message="the whole interval lies below the limit",
        help="see why the program did not try: its configuration, or a cipher the kernel lacks",
        connections=found,
    )


def verdict(rate: Rate, limit: float, worse: Worse) -> Verdict:
    """Judge a rate by its interval; a limit at the far end of the scale lets everything pass."""
    if rate.low is None or rate.high is None:
        return "inconclusive"
    if worse == "higher":
        if limit >= 1 or rate.high < limit:
            return "passed"
        return "failed" if rate.low > limit else "inconclusive"
    if limit <= 0 or rate.low > limit:
        return "passed"
    return "failed" if rate.high < limit else "inconclusive"


def _host_lacks_ulp(result: RuleResult) -> RuleResult:
    return msgspec.structs.replace(
        result, verdict="inconclusive", message="the host had no tls ULP", help=NO_ULP_HELP
    )


def _explain(result: RuleResult, limit: float) -> RuleResult:
    """Add to an open rule what would decide it."""
    rate = result.rate
    if result.verdict != "inconclusive" or rate is None:
        return result
    more = decided_with(rate, limit)
    if more is not None:
        kind = "more connection" if rate.n else "connection"
        help_text = f"{plural(more, kind)} at this rate would decide"
    elif limit in (0, 1):
        help_text = f"no number of connections proves a rate of {limit:g}; give a limit off the end"
    else:
        help_text = "at this rate no number of connections would decide; move the limit"
    message = f"the 95 % interval holds {limit:g}" if rate.n else "there is no connection to count"
    if not rate.n:
        help_text = f"{help_text}; {RECORD}"
    return msgspec.structs.replace(result, message=message, help=help_text, more=more)
