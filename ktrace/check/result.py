"""What a check concludes; every output format renders these types and decides nothing.

`decide` is the only place that turns rules into a status, and `EXIT_STATUS` the only one that turns
a status into an exit status, so what is written and what the shell sees can never differ.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from ktrace.check.counts import RunCounts
from ktrace.findings import Evidence, Rate, Report, Severity, Tool

Verdict = Literal["failed", "passed", "not shown", "inconclusive"]
Status = Literal["failed", "passed", "inconclusive"]
Novelty = Literal["new", "known", "gone"]  # of a finding, against the baseline
EXIT_STATUS: dict[Status, int] = {"passed": 0, "failed": 1, "inconclusive": 3}


class RuleResult(msgspec.Struct, frozen=True):
    """One rule, judged.

    `rule` is the policy key or the name of a built-in rule, `title` the rule with its limit
    ("max_raced = 0"), `scope` the peer it was judged for (None: every connection that no override
    takes out).  `candidate` and `baseline` are figures in words; `message` says why it came out so
    and `help` what to do about it, for an inconclusive rule what would decide it.  `more` is the
    number of further connections that would decide it (against a baseline: of connections a side
    that would show it), None where no number would or none is needed.  `connections` are ids of
    the candidate.
    """

    rule: str
    title: str
    verdict: Verdict
    candidate: str
    message: str = ""
    help: str = ""
    scope: str | None = None
    baseline: str | None = None
    rate: Rate | None = None
    baseline_rate: Rate | None = None
    p: float | None = None
    more: int | None = None
    codes: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


class RateChange(msgspec.Struct, frozen=True):
    """A rate of both runs; `worse` is the direction that is a regression.

    `rule` names the `RuleResult` that judges it, and `p` is the one-sided Fisher exact test, None
    where one side has no connection to count.
    """

    name: str  # "raced", "latent race", "fallback", "TX installed", "RX installed", "kTLS tried"
    rule: str
    worse: Literal["higher", "lower"]
    baseline: Rate
    candidate: Rate
    p: float | None
    alpha: float
    verdict: Verdict
    scope: str | None = None


class FindingChange(msgspec.Struct, frozen=True):
    """A finding of either run, matched by fingerprint; a count is 0 on the side that lacks it."""

    change: Novelty
    code: str
    name: str
    severity: Severity
    message: str
    fingerprint: str
    baseline: int
    candidate: int
    waived: bool = False


class WaiverUse(msgspec.Struct, frozen=True):
    """A waiver of the policy and what it excused; `until` is an ISO date, the last day it holds."""

    code: str
    peer: str | None
    until: str
    reason: str
    state: Literal["used", "unused", "expired"]
    connections: tuple[str, ...] = ()


class Side(msgspec.Struct, frozen=True):
    """One of the two runs, for a page's head."""

    name: str
    sources: tuple[str, ...]
    connections: int
    clients: int
    attempted: int
    covered: tuple[str, ...]
    lost_events: int
    not_understood: int


class CheckResult(msgspec.Struct, frozen=True):
    """The whole conclusion; rules stand in the order of reading, failed ones first."""

    tool: Tool
    status: Status
    exit_status: int
    headline: str  # count first, then the rule that broke; one sentence
    detail: str  # a second sentence, may be empty
    policy: str  # where the policy came from, and its alpha: "ktrace.toml, alpha 0.01"
    candidate: Side
    baseline: Side | None
    rules: tuple[RuleResult, ...]
    rates: tuple[RateChange, ...] = ()
    findings: tuple[FindingChange, ...] = ()
    waivers: tuple[WaiverUse, ...] = ()
    notes: tuple[str, ...] = ()


class CheckedReport(Report, frozen=True):
    """The candidate's report with the conclusion: what `check --json` writes, a later baseline."""

    check: CheckResult | None = None
    counts: RunCounts | None = None


def decide(rules: Iterable[RuleResult]) -> Status:
    """Conclude: a failed rule fails; else one open rule, or no rule at all, leaves it open."""
    verdicts = {rule.verdict for rule in rules}
    if "failed" in verdicts:
        return "failed"
    return "inconclusive" if "inconclusive" in verdicts or not verdicts else "passed"
