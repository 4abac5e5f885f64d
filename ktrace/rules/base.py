"""What a rule is: it looks at one connection, or at the trace, and has words for what it found."""

import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import msgspec

from ktrace.findings import Evidence, Finding, Severity
from ktrace.rules.fold import Fold, Hit
from ktrace.timelines import Judged, TraceFacts


class Words(msgspec.Struct, frozen=True):
    """What a finding says: the pattern, the kernel's rule, the fix, what came of it, limits."""

    message: str
    why: str
    help: str
    outcome: str = ""
    notes: tuple[str, ...] = ()


class Rule(ABC):
    """A pattern that keeps kTLS from being set up; its manual page is its module's docstring.

    `severity` is the worst it can have.  `explains_missing_ulp`: key installs that failed because
    the ULP was missing are a consequence of this rule's finding and get none of their own.
    `rests_on_state`: the finding says that a TCP state was wrong, so it matters how that is known.
    `rests_on_absence`: it says that a call was not made, which lost events make doubtful.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    severity: ClassVar[Severity]
    explains_missing_ulp: ClassVar[bool] = False
    rests_on_state: ClassVar[bool] = False
    rests_on_absence: ClassVar[bool] = False

    @classmethod
    def manual(cls) -> str:
        """Return the manual page as Markdown."""
        body = (sys.modules[cls.__module__].__doc__ or "").strip()
        return f"# {cls.code} {cls.name} ({cls.severity})\n\n{body}\n"

    def about_trace(self, words: Words, count: int, evidence: tuple[Evidence, ...] = ()) -> Finding:
        """Return a finding that belongs to no connection."""
        return Finding(
            code=self.code,
            name=self.name,
            severity=self.severity,
            message=words.message,
            count=count,
            connections=(),
            evidence=evidence,
            why=words.why,
            help=words.help,
            outcome=words.outcome,
            notes=words.notes,
            fingerprint=fingerprint(self.code),
        )


class ConnectionRule(Rule):
    """A rule about connections; what it hits is folded by cause."""

    @abstractmethod
    def hits(self, judged: Judged) -> Iterator[Hit]:
        """Yield the causes that a connection shows; usually none or one."""

    @abstractmethod
    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        """Return the text of a finding."""

    def without_hits(self, trace: TraceFacts) -> Finding | None:
        """Return a finding about the trace where no connection showed the pattern."""
        return None


class TraceRule(Rule):
    """A rule about the trace itself."""

    @abstractmethod
    def finding(self, trace: TraceFacts) -> Finding | None:
        """Return the finding, None where the trace is free of it."""


def fingerprint(code: str, *cause: str) -> str:
    """Return what tells this finding from others in every run of the same build."""
    return hashlib.sha256("\0".join((code, *cause)).encode("utf-8", "replace")).hexdigest()[:16]
