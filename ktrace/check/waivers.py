"""Waivers: what a policy excuses until a day, and what that leaves to judge.

A waiver excuses the connections that a finding of its code names, in the rules which that finding
is the cause of: a waiver of a missing RX key must not hide a race.
"""

import datetime
from typing import Literal

import msgspec

from ktrace.check.counts import number_of
from ktrace.check.policy import Waiver
from ktrace.check.result import RuleResult, WaiverUse
from ktrace.check.run import Run

State = Literal["used", "unused", "expired"]

# Findings that say nothing about why a connection fell back or lacks a direction.
_NO_CAUSE = frozenset({"KT102", "KT104", "KT303", "KT901", "KT902", "KT903", "KT904"})


class Excuses(msgspec.Struct, frozen=True):
    """`connections` are numbers excused, by code; `findings` are codes excused as a whole."""

    uses: tuple[WaiverUse, ...] = ()
    connections: dict[str, frozenset[int]] = {}
    findings: frozenset[str] = frozenset()

    def of(self, code: str) -> frozenset[int]:
        return self.connections.get(code, frozenset())

    def causes(self) -> frozenset[int]:
        """Return the connections whose fallback or missing direction is excused."""
        groups = (ids for code, ids in self.connections.items() if code not in _NO_CAUSE)
        return frozenset().union(*groups)

    def covers(self, code: str, connections: tuple[str, ...]) -> bool:
        """Tell whether a finding is excused with every connection it names."""
        if not connections:
            return code in self.findings
        return self.of(code).issuperset(map(number_of, connections))


def excuse(waivers: tuple[Waiver, ...], run: Run, today: datetime.date) -> Excuses:
    """Apply the waivers that still hold to a run."""
    uses: list[WaiverUse] = []
    connections: dict[str, frozenset[int]] = {}
    findings: set[str] = set()
    for waiver in waivers:
        named = _named(waiver, run)
        state = _state(waiver, named, run, today)
        uses.append(_use(waiver, named, state))
        if state != "expired":
            connections[waiver.code] = connections.get(waiver.code, frozenset()) | set(named)
            findings.update([waiver.code] if waiver.peer is None else [])
    return Excuses(tuple(uses), connections, frozenset(findings))


def rules(excuses: Excuses) -> list[RuleResult]:
    """Return a failed rule for each expired waiver."""
    return [
        RuleResult(
            rule="waiver",
            title=f"waiver of {use.code}",
            verdict="failed",
            candidate=f"expired on {use.until}",
            message=f"the waiver held until {use.until}; its reason was: {use.reason}",
            help="fix what it excuses and remove it, or give it a later day and say why",
            scope=use.peer,
            codes=(use.code,),
            connections=use.connections,
        )
        for use in excuses.uses
        if use.state == "expired"
    ]


def _named(waiver: Waiver, run: Run) -> tuple[int, ...]:
    """Return the connections that findings of the waiver's code name, of its peer or of all."""
    wanted = {number_of(c) for f in run.details() if f.code == waiver.code for c in f.connections}
    if waiver.peer is None:
        return tuple(sorted(wanted))
    there = run.census.numbers(lambda group: group.peer == waiver.peer)
    return tuple(number for number in there if number in wanted)


def _state(waiver: Waiver, named: tuple[int, ...], run: Run, today: datetime.date) -> State:
    if today > waiver.until:
        return "expired"
    return "used" if named or (waiver.peer is None and run.has(waiver.code)) else "unused"


def _use(waiver: Waiver, named: tuple[int, ...], state: State) -> WaiverUse:
    return WaiverUse(
        code=waiver.code,
        peer=waiver.peer,
        until=waiver.until.isoformat(),
        reason=waiver.reason,
        state=state,
        connections=tuple(f"c{number}" for number in named),
    )
