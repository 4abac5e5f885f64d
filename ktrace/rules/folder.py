"""Apply the rules to connections as they end, and make the findings when the trace has."""

from collections.abc import Callable, Iterator

import msgspec

from ktrace.findings import Basis, Connection, EvidenceRow, Finding, Summary
from ktrace.rules.base import ConnectionRule, TraceRule, Words, fingerprint
from ktrace.rules.calls import OK
from ktrace.rules.evidence import evidence_rows
from ktrace.rules.fold import RANK, Fold, Hit
from ktrace.rules.registry import RULES
from ktrace.rules.who import who
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import plural

MOST_CAUSES = 16  # of one rule; a trace is untrusted, and its causes must not fill the memory
_OTHER_CAUSES = ("other causes",)
_TAKEN = {OK, "EEXIST"}  # of the ULP on an offloaded connection: it was set, now or before
_TRUST_FIRST = ("KT901", "KT902")  # what limits every verdict stands before other warnings


class FindingFolder:
    """Streaming: memory grows with the causes, and by 8 bytes a connection with a finding."""

    def __init__(self) -> None:
        self._rules = [rule for rule in RULES if isinstance(rule, ConnectionRule)]
        self._folds: dict[str, dict[tuple[str, ...], Fold]] = {rule.code: {} for rule in RULES}

    def add(self, judged: Judged, whole: Callable[[], Judged] | None = None) -> None:
        """Look at a connection that has ended; `whole` gives the same with its timeline."""
        limited = judged.facts.missing or judged.facts.limits
        if not limited and is_flawless(judged.connection):
            return
        for rule in self._rules:
            for hit in _by_cause(rule.hits(judged)):
                self._fold(rule, hit.cause).add(judged, hit, whole or (lambda: judged))

    def _fold(self, rule: ConnectionRule, cause: tuple[str, ...]) -> Fold:
        folds = self._folds[rule.code]
        if cause not in folds and len(folds) >= MOST_CAUSES:
            cause = _OTHER_CAUSES
        return folds.setdefault(cause, Fold(cause))

    def finish(self, trace: TraceFacts, summary: Summary) -> tuple[Finding, ...]:
        """Return the findings, the worst first."""
        return tuple(sorted(self._findings(trace), key=_worst_first))

    def _findings(self, trace: TraceFacts) -> Iterator[Finding]:
        for rule in RULES:
            finding = None
            if isinstance(rule, TraceRule):
                finding = rule.finding(trace)
            elif isinstance(rule, ConnectionRule):
                folds = self._folds[rule.code].values()
                yield from (_finding(rule, fold, trace) for fold in folds)
                finding = None if folds else rule.without_hits(trace)
            if finding is not None:
                yield finding


def is_flawless(connection: Connection) -> bool:
    """Tell a connection that no rule has anything to say of: no kTLS call, or all went well."""
    if not connection.has_ktls:
        return True
    if connection.outcome != "offloaded" or connection.ordering not in (None, "safe"):
        return False
    answers = {attempt.result for attempt in connection.ulp}
    return answers <= _TAKEN and {key.result for key in connection.tx + connection.rx} == {OK}


def _by_cause(hits: Iterator[Hit]) -> list[Hit]:
    """Join the hits of one connection that have the same cause: it counts once."""
    joined: dict[tuple[str, ...], Hit] = {}
    for hit in hits:
        first = joined.get(hit.cause)
        tags = hit.tags if first is None else tuple(dict.fromkeys(first.tags + hit.tags))
        joined[hit.cause] = msgspec.structs.replace(first or hit, tags=tags)
    return list(joined.values())


def _finding(rule: ConnectionRule, fold: Fold, trace: TraceFacts) -> Finding:
    words = rule.words(fold, trace)
    rows = evidence_rows(fold.shown, fold.hit.call)
    return Finding(
        code=rule.code,
        name=rule.name,
        severity=fold.severity,
        message=words.message,
        count=fold.count,
        connections=tuple(f"c{number}" for number in sorted(fold.ids)),
        evidence=fold.evidence(trace.sources),
        why=words.why,
        help=words.help,
        outcome=words.outcome,
        notes=_notes(rule, words, fold, rows, trace),
        who=who(fold.shown, trace),
        rows=rows,
        stack=_stack(fold),
        fingerprint=fingerprint(rule.code, *fold.cause),
    )


def _stack(fold: Fold) -> tuple[str, ...] | None:
    """Return the calling code of the marked attempt, or of another on the same connection."""
    attempts = fold.shown.connection.ulp
    marked = [attempt for attempt in attempts if attempt is fold.hit.call]
    return next((attempt.stack for attempt in (*marked, *attempts) if attempt.stack), None)


def _notes(
    rule: ConnectionRule,
    words: Words,
    fold: Fold,
    rows: tuple[EvidenceRow, ...],
    trace: TraceFacts,
) -> tuple[str, ...]:
    notes = list(words.notes)
    if fold.cause == _OTHER_CAUSES:
        notes.append(f"more than {MOST_CAUSES} causes: the rest are folded here, one is shown")
    if rule.rests_on_absence and trace.lost_events:
        lost = plural(trace.lost_events, "event")
        notes.append(f"{lost} lost (KT901): the call that is missing here may be among them")
    inferred: Basis = "inferred"
    if rule.rests_on_state and any(row.basis == inferred for row in rows):
        pid = fold.shown.connection.pid
        target = f"--pid {pid}" if pid > 0 else "-- COMMAND"
        notes.append(f"~ is inferred from calls; `sudo ktrace live {target}` observes it")
    return tuple(notes)


def _worst_first(finding: Finding) -> tuple[int, bool, str, int, str]:
    return (
        RANK[finding.severity],
        finding.code not in _TRUST_FIRST,
        finding.code,
        -finding.count,
        finding.fingerprint,
    )
