"""Pick the calls of a timeline that show a fault."""

from collections.abc import Sequence

from ktrace.findings import EvidenceRow, KeyInstall, TimelineRow, UlpAttempt
from ktrace.rules.calls import Call
from ktrace.timelines import Judged

MOST = 8
_KTLS = ("TCP_ULP", "TLS_TX", "TLS_RX")
_OPENING = frozenset(("connect", "accept", "accept4", "listen"))
_ORDINARY = frozenset(("EAGAIN", "EINTR"))
_UP = frozenset(("ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT"))


def mark_of(judged: Judged, call: Call | None) -> tuple[int, int | None, str]:
    """Return source index, line and text (with the result) of a call, else where it all began."""
    if call is None:
        opened, rows = judged.facts.opened, judged.connection.timeline
        source, line = (opened.source, opened.line) if opened else (judged.facts.source, None)
        return source, line, rows[0].text if rows else "opened"
    index = _index(judged, call)
    if index is None:
        return judged.facts.source, call.line, _with_result(_spelled(judged, call), call.result)
    row = judged.connection.timeline[index]
    return source_of(judged, index), row.line, _with_result(row.text, row.result)


def evidence_rows(judged: Judged, call: Call | None) -> tuple[EvidenceRow, ...]:
    """Return at most eight rows in time order, the wrong call marked.

    Kept are kTLS calls, how the connection was opened, state changes up to the wrong call or up to
    ESTABLISHED, and errors; among equals those near the wrong call.
    """
    timeline = judged.connection.timeline
    marked = None if call is None else _index(judged, call)
    near = marked or 0
    ranked = sorted(
        (0 if index == marked else _importance(row, index < near), abs(index - near), index)
        for index, row in enumerate(timeline)
    )
    chosen = sorted(index for rank, _, index in ranked[:MOST] if rank < _NOTHING)
    rows = tuple(
        _row(timeline[index], index == marked, _changes_within(timeline, index)) for index in chosen
    )
    if call is not None and marked is None:
        return (*rows[: MOST - 1], _row_of_call(judged, call))
    return rows


_NOTHING = 9


def _importance(row: TimelineRow, before: bool) -> int:
    if is_ktls(row):
        return 4 if row.result == "EEXIST" else 1
    if row.call in _OPENING:
        return 1
    if row.state_before != row.state_after and row.call != "socket":
        # How an established connection ended matters only if the wrong call came after that.
        return 2 if before or row.state_before not in _UP else _NOTHING
    return 3 if row.result and row.result[0] == "E" and row.result not in _ORDINARY else _NOTHING


def is_ktls(row: TimelineRow) -> bool:
    return any(option in row.text for option in _KTLS)


def _index(judged: Judged, call: Call) -> int | None:
    """Return where a kTLS call stands in the timeline, None where it was left out."""
    options = ("TCP_ULP",) if isinstance(call, UlpAttempt) else ("TLS_TX", "TLS_RX")
    for index, row in enumerate(judged.connection.timeline):
        same = (row.line, row.time, row.result) == (call.line, call.time, call.result)
        if same and any(option in row.text for option in options):
            return index
    return None


def _changes_within(timeline: Sequence[TimelineRow], index: int) -> bool:
    """Tell whether the next row is a state change that happened while this call went on."""
    row, following = timeline[index], timeline[index + 1 : index + 2]
    if row.time is None or row.duration_us is None or not following:
        return False
    then = following[0].time
    return (
        following[0].call == "state"
        and then is not None
        and then <= row.time + row.duration_us / 1e6
    )


def _row(row: TimelineRow, marked: bool, goes_on: bool) -> EvidenceRow:
    # A kTLS call is judged by the state it met, and so is one that is told of below; other calls
    # are shown for what they tell of it.
    state = row.state_before if is_ktls(row) or goes_on else row.state_after
    return EvidenceRow(
        line=row.line,
        time=row.time,
        tid=row.tid,
        text=row.text,
        result=row.result,
        state=state,
        basis=row.basis,
        marked=marked,
    )


def _row_of_call(judged: Judged, call: Call) -> EvidenceRow:
    attempt = call if isinstance(call, UlpAttempt) else None
    return EvidenceRow(
        line=call.line,
        time=call.time,
        tid=attempt.tid if attempt else None,
        text=_spelled(judged, call),
        result=call.result,
        state=attempt.state if attempt else "UNKNOWN",
        basis=attempt.basis if attempt else "inferred",
        marked=True,
    )


def _spelled(judged: Judged, call: Call) -> str:
    fd = judged.connection.fd
    if isinstance(call, KeyInstall):
        option = "TLS_TX" if call in judged.connection.tx else "TLS_RX"
        return f"setsockopt({fd}, SOL_TLS, {option})"
    return f'setsockopt({fd}, SOL_TCP, TCP_ULP, "tls")'


def _with_result(text: str, result: str | None) -> str:
    return text if result is None else f"{text} = {result}"


def source_of(judged: Judged, index: int) -> int:
    """Return the source index of a timeline row."""
    lines = judged.facts.lines
    return lines[index] if index < len(lines) else judged.facts.source
