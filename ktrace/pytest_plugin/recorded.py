"""The report that a test asserts on: it refuses to say "none" where the trace proves nothing."""

import datetime
import os
from pathlib import Path
from typing import Any

import msgspec

from ktrace import findings
from ktrace.analysis import Options, analyse
from ktrace.api import Report
from ktrace.check import baseline as baselines
from ktrace.check import policy
from ktrace.check.counts import Census
from ktrace.check.judge import judge
from ktrace.check.result import CheckResult
from ktrace.check.run import Run, run_of
from ktrace.check.trust import faults
from ktrace.rules import RULES


class NoEvidence(AssertionError):
    """The trace proves nothing: no kTLS attempt, events lost, calls not covered, no tls ULP."""


class Recorded(Report):
    """A report with its log and the exit status of the traced command (None when attached)."""

    def __init__(self, data: findings.Report, log: Path, returncode: int | None) -> None:
        super().__init__(data)
        self.log = log
        self.returncode = returncode

    @property
    def attempted(self) -> int:
        """How many connections tried kTLS."""
        return self.data.summary.attempted

    @property
    def raced(self) -> int:
        """How many connections set the ULP too early and were refused."""
        return self._proven(super().raced)

    @property
    def unordered(self) -> int:
        """How many connections have the same wrong order and were lucky."""
        return self._proven(super().unordered, needs_ulp=False)

    @property
    def fallback(self) -> int:
        """How many connections went on with TLS in user space."""
        return self._proven(self.data.summary.fallback)

    def check(
        self,
        policy_file: str | os.PathLike[str] | None = None,
        baseline: str | os.PathLike[str] | None = None,
        **limits: Any,
    ) -> CheckResult:
        """Judge the recording as `ktrace check` does; `limits` are keys of the policy.

        `baseline` is a trace, a report's JSON or a small baseline.
        """
        path = None if policy_file is None else os.fspath(policy_file)
        codes = tuple(rule.code for rule in RULES)
        rules = policy.load(path, msgspec.convert(limits, policy.Limits), codes)
        before = None if baseline is None else _read(os.fspath(baseline))
        today = datetime.datetime.now(datetime.UTC).date()
        return judge(rules, self._run(), before, today)

    def _run(self) -> Run:
        return run_of(self.data, Census(self.data.connections))

    def _proven(self, count: int, needs_ulp: bool = True) -> int:
        """Return a count; 0 only where the trace would have shown more."""
        missing = [] if count else faults(self._run(), needs_ulp)
        if missing:
            raise NoEvidence(f"the recording {self.log} proves nothing: {'; '.join(missing)}")
        return count


def _read(path: str) -> Run:
    run = baselines.load(path) if baselines.is_json(path) else None
    if run is not None:
        return run
    report = analyse([path], Options(keep="ktls"))
    return run_of(report, Census(report.connections))
