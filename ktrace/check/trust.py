"""Rules about the evidence itself: a check that saw nothing, or not enough, never passes."""

from collections.abc import Iterator

import msgspec

from ktrace.check.case import Case
from ktrace.check.result import RuleResult
from ktrace.check.run import HOST_CODE, LIMITED_CODE, Run
from ktrace.check.words import NO_ULP_HELP, RECORD
from ktrace.wording import plural

RULES = ("min_attempted", "covered", "lost_events", "ulp_available", "baseline")
NOBODY: frozenset[int] = frozenset()


class Lack(msgspec.Struct, frozen=True):
    """What a run lacks as evidence: the figure, why it matters, and what would mend it."""

    figure: str
    message: str
    help: str
    more: int | None = None
    codes: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()


def rules(case: Case) -> Iterator[RuleResult]:
    """Judge the candidate's evidence, then the baseline's."""
    yield from _tried(case)
    run = case.candidate
    yield _rule("covered", "calls covered", "every call that was needed", _uncovered(run))
    yield _rule("lost_events", "no events lost", "none lost", _lost(run))
    yield _rule("ulp_available", "tls ULP available", "no attempt found it missing", _no_ulp(run))
    if case.baseline is not None:
        yield _baseline_usable(case.baseline)


def faults(run: Run, needs_ulp: bool = True) -> list[str]:
    """Say what keeps a run from being evidence at all, whatever its verdict.

    The order of calls can be judged on a host without the tls ULP too.
    """
    checks = (
        (not run.counts.total.attempted, "no connection tried kTLS"),
        (bool(run.lost_events), f"{plural(run.lost_events, 'event')} lost"),
        ("setsockopt" not in run.covered, "setsockopt is not covered"),
        (run.has(LIMITED_CODE), "verdicts were limited by calls that it does not show"),
        (needs_ulp and run.has(HOST_CODE), "its host had no tls ULP"),
    )
    return [words for wrong, words in checks if wrong]


def _rule(
    rule: str, title: str, fine: str, lack: Lack | None, scope: str | None = None
) -> RuleResult:
    if lack is None:
        return RuleResult(rule=rule, title=title, verdict="passed", candidate=fine, scope=scope)
    return RuleResult(
        rule=rule,
        title=title,
        verdict="inconclusive",
        candidate=lack.figure,
        message=lack.message,
        help=lack.help,
        scope=scope,
        more=lack.more,
        codes=lack.codes,
        connections=lack.connections,
    )


def _tried(case: Case) -> Iterator[RuleResult]:
    """Ask for the connections of `min_attempted`; with or without it, for one at least."""
    rule = "min_attempted"
    scopes = case.scopes(rule, NOBODY)
    total = case.candidate.counts.total
    seen = plural(total.attempted, "kTLS connection")
    if not any(scoped.scope is None for scoped in scopes):
        lack = _too_few(total.attempted, 1, total.connections)
        yield _rule(rule, "kTLS tried", seen, lack)
    for scoped in scopes:
        counts, least = scoped.raw, max(1, scoped.value)
        lack = _too_few(counts.attempted, least, counts.connections)
        fine = plural(counts.attempted, "kTLS connection")
        yield _rule(rule, f"{rule} = {scoped.value}", fine, lack, scoped.scope)


def _too_few(attempted: int, least: int, connections: int) -> Lack | None:
    more = least - attempted
    if more <= 0:
        return None
    if attempted or least > 1:
        message = f"the policy asks for {least}"
    elif connections:
        message = f"none of {plural(connections, 'connection')} tried kTLS, so nothing is proven"
    else:
        message = "the trace shows no TCP connection"
    help_text = f"{plural(more, 'more kTLS connection')} would decide"
    if not attempted:
        help_text += "; trace the program while it makes them: ktrace record -o LOG -- COMMAND"
    return Lack(plural(attempted, "kTLS connection"), message, help_text, more)


def _uncovered(run: Run) -> Lack | None:
    """The trace must show every call that a verdict needed."""
    if "setsockopt" not in run.covered:
        message = "the trace does not show the calls that set up kTLS"
        return Lack("setsockopt is not covered", message, RECORD)
    if not run.has(LIMITED_CODE):
        return None
    finding = next((f for f in run.details() if f.code == LIMITED_CODE), None)
    words = "verdicts were limited by calls that the trace does not show"
    if finding is None:
        return Lack(words, "", RECORD, codes=(LIMITED_CODE,))
    return Lack(
        words,
        finding.message,
        finding.help or RECORD,
        codes=(LIMITED_CODE,),
        connections=finding.connections,
    )


def _lost(run: Run) -> Lack | None:
    if not run.lost_events:
        return None
    return Lack(
        f"{plural(run.lost_events, 'event')} lost",
        "what was lost could have been a race or its proof",
        "record again with less load, or fewer processes at once",
        codes=("KT901",),
    )


def _no_ulp(run: Run) -> Lack | None:
    count = sum(finding.count for finding in run.findings if finding.code == HOST_CODE)
    if not count:
        return None
    return Lack(
        f"missing for {plural(count, 'connection')}",
        "the host had no tls ULP, so a fallback says nothing about the program",
        NO_ULP_HELP,
        codes=(HOST_CODE,),
    )


def _baseline_usable(run: Run) -> RuleResult:
    missing = faults(run)
    return RuleResult(
        rule="baseline",
        title="baseline usable",
        verdict="inconclusive" if missing else "passed",
        candidate="",
        message=f"the baseline proves too little: {'; '.join(missing)}" if missing else "",
        help="record the baseline again, or check without one" if missing else "",
        baseline=plural(run.counts.total.attempted, "kTLS connection"),
    )
