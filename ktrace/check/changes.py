"""Rules on findings: what is new against the baseline, and what the policy forbids."""

import json
from collections.abc import Iterator

from ktrace.check.case import EVIDENCE_LINES, Case
from ktrace.check.counts import number_of
from ktrace.check.result import FindingChange, Novelty, RuleResult, Verdict
from ktrace.check.run import HOST_CODE, SEVERITIES, KnownFinding
from ktrace.check.words import RECORD
from ktrace.findings import Finding
from ktrace.wording import id_runs, plural


def rules(case: Case) -> Iterator[RuleResult]:
    for scope, codes in case.policy.scopes("forbid"):
        if codes:
            yield _forbid(case, scope, codes)
    if case.baseline is not None:
        yield _new_errors(case)


def changes(case: Case) -> tuple[FindingChange, ...]:
    """Match the findings of both runs: new, known, then gone; without a baseline all are new."""
    before = {} if case.baseline is None else _by_identity(case.baseline.findings)
    details = {f.fingerprint or f.code: f for f in case.candidate.details()}
    now = _by_identity(case.candidate.findings)
    found = [
        _change(case, finding, before.get(identity), details.get(identity))
        for identity, finding in now.items()
    ]
    gone = [
        _side(finding, "gone", finding.count, 0)
        for identity, finding in before.items()
        if identity not in now
    ]
    order = {"new": 0, "known": 1, "gone": 2}
    return tuple(sorted([*found, *gone], key=lambda c: (order[c.change], -_rank(c), c.code)))


def _forbid(case: Case, scope: str | None, codes: tuple[str, ...]) -> RuleResult:
    """Fail on a forbidden code, unless waivers excuse every connection that it names."""
    pairs = [(finding, _hit(case, finding, scope, codes)) for finding in case.candidate.details()]
    hits = [(finding, connections) for finding, connections in pairs if connections is not None]
    attempted = case.candidate.counts.total.attempted
    verdict: Verdict = "failed" if hits else "passed" if attempted else "inconclusive"
    evidence = tuple(line for finding, _ in hits for line in finding.evidence)
    return RuleResult(
        rule="forbid",
        title=f"forbid = {json.dumps(list(codes))}",
        verdict=verdict,
        scope=scope,
        candidate="; ".join(_words(f, c) for f, c in hits) or "none found",
        message="" if attempted or hits else "no connection tried kTLS",
        help=hits[0][0].help if hits else "" if attempted else RECORD,
        codes=tuple(dict.fromkeys(finding.code for finding, _ in hits)),
        connections=tuple(dict.fromkeys(c for _, connections in hits for c in connections)),
        evidence=evidence[:EVIDENCE_LINES],
    )


def _hit(
    case: Case, finding: Finding, scope: str | None, codes: tuple[str, ...]
) -> tuple[str, ...] | None:
    """Return the connections of a forbidden finding in a scope, None where it is none there."""
    if finding.code not in codes:
        return None
    if not finding.connections:  # about the trace, so of no peer
        elsewhere = scope is not None or case.excuses.covers(finding.code, ())
        return None if elsewhere else ()
    inside = case.connections("forbid", scope, case.excuses.of(finding.code), lambda _: True)
    return tuple(sorted(set(finding.connections).intersection(inside), key=number_of)) or None


def _words(finding: Finding, connections: tuple[str, ...]) -> str:
    return f"{finding.code} {finding.name}" + (f" ({id_runs(connections)})" if connections else "")


def _new_errors(case: Case) -> RuleResult:
    """Fail on an error that the baseline has not, or has with a lower severity."""
    new = [c for c in changes(case) if c.change == "new" and c.severity == "error" and not c.waived]
    new = [change for change in new if change.code != HOST_CODE]  # the host's, judged elsewhere
    wanted = {change.fingerprint or change.code for change in new}
    details = [f for f in case.candidate.details() if (f.fingerprint or f.code) in wanted]
    assert case.baseline is not None
    errors = sum(finding.severity == "error" for finding in case.baseline.findings)
    evidence = tuple(line for finding in details for line in finding.evidence)
    words = [f"{c.code} {c.name} is new ({plural(c.candidate, 'connection')})" for c in new]
    return RuleResult(
        rule="new_errors",
        title="no new error",
        verdict="failed" if new else "passed",
        candidate="; ".join(words) or "none is new",
        baseline=plural(errors, "error"),
        help=details[0].help if details else "",
        codes=tuple(dict.fromkeys(change.code for change in new)),
        connections=tuple(dict.fromkeys(c for finding in details for c in finding.connections)),
        evidence=evidence[:EVIDENCE_LINES],
    )


def _change(
    case: Case, finding: KnownFinding, before: KnownFinding | None, detail: Finding | None
) -> FindingChange:
    waived = detail is not None and case.excuses.covers(finding.code, detail.connections)
    if before is None:
        return _side(finding, "new", 0, finding.count, waived)
    worse = SEVERITIES.index(finding.severity) > SEVERITIES.index(before.severity)
    kind: Novelty = "new" if worse and finding.severity == "error" else "known"
    return _side(finding, kind, before.count, finding.count, waived)


def _side(
    finding: KnownFinding, change: Novelty, baseline: int, candidate: int, waived: bool = False
) -> FindingChange:
    return FindingChange(
        change=change,
        code=finding.code,
        name=finding.name,
        severity=finding.severity,
        message=finding.message,
        fingerprint=finding.fingerprint,
        baseline=baseline,
        candidate=candidate,
        waived=waived,
    )


def _by_identity(findings: tuple[KnownFinding, ...]) -> dict[str, KnownFinding]:
    return {finding.identity: finding for finding in findings}


def _rank(change: FindingChange) -> int:
    return SEVERITIES.index(change.severity)
