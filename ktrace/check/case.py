"""What every rule of a check is given: the policy, both runs, and what waivers excuse."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from typing import Any

import msgspec

from ktrace.check.counts import Counts, Group, RunCounts
from ktrace.check.policy import Policy
from ktrace.check.run import HOST_CODE, Run
from ktrace.check.waivers import Excuses
from ktrace.findings import Evidence

EVIDENCE_LINES = 8


class Scoped(msgspec.Struct, frozen=True):
    """A policy key in one scope; `raw` counts the candidate, `counts` leaves out the excused."""

    scope: str | None
    value: Any
    raw: Counts
    counts: Counts


class Case:
    """One check; the rules read it and none changes it."""

    def __init__(
        self, policy: Policy, candidate: Run, baseline: Run | None, excuses: Excuses
    ) -> None:
        self.policy = policy
        self.candidate = candidate
        self.baseline = baseline
        self.excuses = excuses

    @cached_property
    def no_ulp(self) -> bool:
        """The host had no tls ULP, so a fallback says nothing about the program."""
        return self.candidate.has(HOST_CODE)

    def scopes(
        self, key: str, excused: frozenset[int], count_of: str = "attempted"
    ) -> list[Scoped]:
        """Return the scopes of a key, without the general one where named peers took everything."""
        named = self.policy.named(key)
        kept = self._without(excused)
        total, scopes = self.candidate.counts.total, []
        for scope, value in self.policy.scopes(key):
            raw = _of(self.candidate.counts, scope, named)
            if scope is None and named and not getattr(raw, count_of) and getattr(total, count_of):
                continue
            scopes.append(Scoped(scope, value, raw, _of(kept, scope, named)))
        return scopes

    def _without(self, excused: frozenset[int]) -> RunCounts:
        counts = self.candidate.counts
        return counts.without(self.candidate.census.counts(excused)) if excused else counts

    def baseline_counts(self, key: str, scope: str | None) -> Counts | None:
        if self.baseline is None:
            return None
        return self.baseline.scoped(scope, self.policy.named(key))

    def connections(
        self,
        key: str,
        scope: str | None,
        excused: frozenset[int],
        wanted: Callable[[Group], bool],
    ) -> tuple[str, ...]:
        """Return the ids of the wanted groups in a scope, without the excused ones."""
        named = self.policy.named(key)

        def inside(group: Group) -> bool:
            here = group.peer not in named if scope is None else group.peer == scope
            return here and wanted(group)

        numbers = self.candidate.census.numbers(inside)
        return tuple(f"c{number}" for number in numbers if number not in excused)

    def evidence(
        self, connections: Iterable[str], codes: Iterable[str] | None = None
    ) -> tuple[Evidence, ...]:
        """Return the first evidence lines of the findings that name one of the connections."""
        named, listed = frozenset(connections), None if codes is None else frozenset(codes)
        return tuple(islice(self._evidence(named, listed), EVIDENCE_LINES))

    def codes(self, connections: Iterable[str]) -> tuple[str, ...]:
        """Return the codes of the error and warning findings that name one of the connections."""
        wanted = frozenset(connections)
        return tuple(
            dict.fromkeys(
                finding.code
                for finding in self.candidate.details()
                if finding.severity != "note" and not wanted.isdisjoint(finding.connections)
            )
        )

    def _evidence(self, wanted: frozenset[str], codes: frozenset[str] | None) -> Iterator[Evidence]:
        for finding in self.candidate.details():
            if codes is not None and finding.code not in codes:
                continue
            if not wanted.isdisjoint(finding.connections):
                yield from finding.evidence


def _of(counts: RunCounts, scope: str | None, named: tuple[str, ...]) -> Counts:
    return counts.rest(named) if scope is None else counts.peer(scope)
