"""One run as the rules see it, whatever it was read from: a trace, a report or a small baseline."""

import msgspec

from ktrace.check.counts import Census, Counts, RunCounts, counts_of
from ktrace.findings import Finding, Report, Severity

HOST_CODE = "KT201"  # the tls ULP is not available: nothing about the program follows from it
LIMITED_CODE = "KT902"  # a verdict was limited by calls that the trace does not show
SEVERITIES: tuple[Severity, ...] = ("note", "warning", "error")


class KnownFinding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a comparison needs of a finding."""

    code: str
    name: str
    severity: Severity
    fingerprint: str
    count: int
    message: str = ""

    @property
    def identity(self) -> str:
        """Return what two runs of one build agree on: the code, where there is no fingerprint."""
        return self.fingerprint or self.code


class Run(msgspec.Struct, frozen=True):
    """Counts, findings and how far to trust them; `report` where there is a whole one."""

    name: str
    counts: RunCounts
    findings: tuple[KnownFinding, ...]
    covered: tuple[str, ...]
    lost_events: int
    not_understood: int = 0
    sources: tuple[str, ...] = ()
    report: Report | None = None
    census: Census = Census()

    def has(self, code: str) -> bool:
        return any(finding.code == code for finding in self.findings)

    def details(self) -> tuple[Finding, ...]:
        return () if self.report is None else self.report.findings

    def scoped(self, scope: str | None, named: tuple[str, ...]) -> Counts | None:
        """Return the counts of a peer, or of all but the named ones, None where they are unkept."""
        if self.counts.peers is None and (scope is not None or named):
            return None
        return self.counts.rest(named) if scope is None else self.counts.peer(scope)


def run_of(
    report: Report, census: Census, counts: RunCounts | None = None, name: str | None = None
) -> Run:
    """Make a run of a whole report; `counts` where they are known better than from its list."""
    trace = report.trace
    return Run(
        name=name or ", ".join(trace.sources),
        counts=counts_of(report, census) if counts is None else counts,
        findings=tuple(known(finding) for finding in report.findings),
        covered=trace.covered,
        lost_events=trace.lost_events,
        not_understood=trace.not_understood,
        sources=trace.sources,
        report=report,
        census=census,
    )


def known(finding: Finding) -> KnownFinding:
    return KnownFinding(
        code=finding.code,
        name=finding.name,
        severity=finding.severity,
        fingerprint=finding.fingerprint,
        count=finding.count,
        message=finding.message,
    )
