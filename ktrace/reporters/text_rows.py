"""Calls as a table: of a finding's evidence, and of a whole connection."""

from collections.abc import Sequence

from ktrace.findings import EvidenceRow, TimelineRow
from ktrace.reporters.layout import Paper
from ktrace.wording import duration

Row = EvidenceRow | TimelineRow
ROOM_FOR_DURATIONS = 100
_RIGHT = ("line", "time", "thread", "took")


def write_rows(
    paper: Paper, rows: Sequence[Row], styles: Sequence[str], marks: Sequence[bool] = ()
) -> None:
    """Add a row a call; columns that say nothing here (no lines, no times) are left out.

    `styles` paints rows, `marks` points at some of them.
    """
    if not rows:
        return
    columns = {" ": [">" if mark else " " for mark in marks]} if marks else {}
    columns.update(_columns(rows))
    if paper.width < ROOM_FOR_DURATIONS:
        columns.pop("took", None)
    names = list(columns)
    paper.table(
        names,
        list(zip(*columns.values(), strict=True)),
        right=[at for at, name in enumerate(names) if name in _RIGHT],
        elastic=names.index("call"),
        styles=styles,
    )


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    threads = {row.tid for row in rows if row.tid is not None}
    columns = {
        "line": ["" if row.line is None else str(row.line) for row in rows],
        "time": _relative_times([row.time for row in rows]),
        "thread": [_thread(row) if len(threads) > 1 else "" for row in rows],
    }
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    columns["call"] = [row.text for row in rows]
    columns["result"] = [result_of(row) for row in rows]
    took = [_took(row) for row in rows]
    if any(took):
        columns["took"] = took
    columns["TCP state"] = [state_of(row) for row in rows]
    return columns


def _relative_times(times: list[float | None]) -> list[str]:
    """Return times from the first one on; empty where the trace has none."""
    first = next((time for time in times if time is not None), 0.0)
    return ["" if time is None else _offset(time - first) for time in times]


def _offset(seconds: float) -> str:
    us = round(seconds * 1e6, 1)
    return f"{'+' if us > 0 else ''}{duration(us)}" if us else "0"


def _thread(row: Row) -> str:
    return "-" if row.tid is None else str(row.tid)


def _took(row: Row) -> str:
    us = row.duration_us if isinstance(row, TimelineRow) else None
    return "" if us is None else duration(us)


def result_of(row: Row) -> str:
    """Return what a call gave back; a count of ready descriptors says less than their names."""
    if row.result is None:
        return "" if row.tid is None else "(no return)"  # no thread: a state change, not a call
    told = " -> " in row.text and (row.result.isdigit() or row.result == "ok")
    return "" if told else row.result


def state_of(row: Row) -> str:
    """Return the state with the mark of what is inferred.

    For a kTLS call it is the state that the call met, for others what they led to or told.
    """
    if isinstance(row, EvidenceRow):
        state = row.state
    else:
        state = row.state_before if is_ktls(row) else row.state_after
    return state if row.basis == "observed" else f"{state} ~"


def is_ktls(row: TimelineRow) -> bool:
    return row.call == "setsockopt" and any(
        option in row.text for option in ("TCP_ULP", "TLS_TX", "TLS_RX")
    )
