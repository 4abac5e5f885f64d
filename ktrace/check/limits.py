"""Rules on counts: raced connections, latent races, and directions without keys."""

import json
from collections.abc import Callable, Iterator

from ktrace.check.case import Case, Scoped
from ktrace.check.counts import Counts, Group
from ktrace.check.result import RuleResult, Verdict
from ktrace.check.words import RECORD, figure, show
from ktrace.findings import Rate
from ktrace.statistics import wilson
from ktrace.wording import plural

ULP_LATER = "set the ULP after the connection is up (first EPOLLOUT, or just before the keys)"


def rules(case: Case) -> Iterator[RuleResult]:
    for scoped in case.scopes("max_raced", case.excuses.of("KT101")):
        yield _at_most(case, scoped, "max_raced", "raced", "maybe_raced", "KT101")
    for scoped in case.scopes("max_unordered", case.excuses.of("KT102")):
        yield _at_most(case, scoped, "max_unordered", "unordered", "order_unknown", "KT102")
    for scoped in case.scopes("require", case.excuses.causes()):
        if scoped.value:
            yield _require(case, scoped)


def _at_most(case: Case, scoped: Scoped, key: str, field: str, doubt: str, code: str) -> RuleResult:
    """Compare a count with its limit; connections that the trace cannot order count as doubtful."""
    counts, limit = scoped.counts, scoped.value
    k = getattr(counts, field)
    base = case.baseline_counts(key, scoped.scope)
    verdict, message, help_text = _count_verdict(k, limit, getattr(counts, doubt), scoped.raw)
    excused = case.excuses.of(code)
    found = case.connections(key, scoped.scope, excused, lambda group: group.ordering == field)
    failed = verdict == "failed"
    return RuleResult(
        rule=key,
        title=f"{key} = {limit}",
        verdict=verdict,
        candidate=_count_words(counts, field) + waived(scoped, field),
        message=message,
        help=ULP_LATER if failed else help_text,
        scope=scoped.scope,
        baseline=None if base is None else _count_words(base, field),
        rate=_count_rate(counts, field),
        baseline_rate=None if base is None else _count_rate(base, field),
        codes=(code,) if failed else (),
        connections=found,
        evidence=case.evidence(found, [code]) if failed else (),
    )


def _count_verdict(k: int, limit: int, doubtful: int, raw: Counts) -> tuple[Verdict, str, str]:
    if k > limit:
        return "failed", "", ""
    if not raw.attempted:
        return "inconclusive", "no connection tried kTLS", RECORD
    if k + doubtful > limit or not raw.order_known:
        unknown = max(doubtful, raw.attempted - raw.order_known)
        message = f"the trace does not tell the order of {plural(unknown, 'connection')}"
        return "inconclusive", message, f"{RECORD} (from the start of the program)"
    return "passed", "", ""


def _count_rate(counts: Counts, field: str) -> Rate:
    k = getattr(counts, field)
    return wilson(k, max(k, counts.client_tried))


def _count_words(counts: Counts, field: str) -> str:
    word = {"raced": "raced", "unordered": "with a latent race"}[field]
    if counts.client_tried:
        return figure(_count_rate(counts, field), word)
    others = plural(counts.server_tried, "accepted connection") if counts.server_tried else ""
    return f"{getattr(counts, field)} {word}; {others or 'no client connection'}"


def waived(scoped: Scoped, field: str) -> str:
    """Say how many connections waivers took out of a count."""
    count = getattr(scoped.raw, field) - getattr(scoped.counts, field)
    return f", {count} waived" if count else ""


def _require(case: Case, scoped: Scoped) -> RuleResult:
    """Ask every connection with keys for the directions the policy names."""
    key, directions = "require", scoped.value
    n, keyed = _keyed(scoped.counts), _keyed(scoped.raw)
    rate = wilson(n - _missing(scoped.counts, directions), n)
    verdict: Verdict = "inconclusive" if not keyed else "passed" if rate.k == n else "failed"
    found = case.connections(key, scoped.scope, case.excuses.causes(), _lacking(directions))
    return RuleResult(
        rule=key,
        title=f"{key} = {json.dumps(list(directions))}",
        verdict=verdict,
        scope=scoped.scope,
        candidate=figure(rate, f"with {' and '.join(directions).upper()}"),
        message="" if keyed else "no connection had keys installed",
        help=show(found) if keyed else RECORD,
        rate=rate,
        codes=case.codes(found),
        connections=found,
        evidence=case.evidence(found),
    )


def _keyed(counts: Counts) -> int:
    return counts.offloaded + counts.tx_only + counts.rx_only


def _lacking(directions: tuple[str, ...]) -> Callable[[Group], bool]:
    """Return a test for groups that have one direction but lack a required one."""
    bad = {"rx-only" if direction == "tx" else "tx-only" for direction in directions}
    return lambda group: group.outcome in bad


def _missing(counts: Counts, directions: tuple[str, ...]) -> int:
    return ("tx" in directions) * counts.rx_only + ("rx" in directions) * counts.tx_only
