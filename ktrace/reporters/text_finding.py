"""One finding as text: what, where, who, the calls that show it, why, what came of it, the fix."""

from ktrace.findings import Evidence, EvidenceRow, Finding, TimelineRow
from ktrace.reporters.layout import Paper
from ktrace.wording import duration, id_runs, plural

MOST_FRAMES = 6
_MARK = {"error": "raced", "warning": "luck", "note": "bold"}


def write_finding(paper: Paper, finding: Finding) -> None:
    """Add a finding; it stands alone, as it would in the log of a CI job."""
    head = f"{finding.severity}[{finding.code}]: {finding.message}"
    paper.wrap(head, hanging="  ", head=finding.severity)
    if finding.connections:
        _write_connection(paper, finding)
    else:
        _write_places(paper, finding)
    for label, text in (
        ("why", finding.why),
        ("outcome", finding.outcome),
        ("help", finding.help),
        *(("note", note) for note in finding.notes),
    ):
        if text:
            paper.wrap(f"{label}: {text}", indent="  ", hanging="    ", head="bold")


def _write_connection(paper: Paper, finding: Finding) -> None:
    if finding.evidence:
        paper.wrap(f" --> {place(finding.evidence[0])}", hanging="     ")
    who = finding.who
    if finding.count > 1:
        ids = id_runs(finding.connections)
        paper.wrap(f"{plural(finding.count, 'connection')}: {ids}", indent="  ", hanging="    ")
        who = f"shown: {who}"
    paper.wrap(who, indent="  ", hanging="      ")
    paper.gap()
    write_rows(paper, finding.rows, _MARK[finding.severity])
    if finding.stack:
        _write_stack(paper, finding.stack)
    paper.gap()


def _write_places(paper: Paper, finding: Finding) -> None:
    """Add the places of a finding about the trace itself, with what is known of each."""
    for evidence in finding.evidence:
        paper.wrap(f" --> {place(evidence)}  {evidence.text}", hanging="     ")
    left = finding.count - len(finding.evidence)
    if finding.evidence and left > 0:
        paper.line(f"     and {left:,} more")


def place(evidence: Evidence) -> str:
    return evidence.source if evidence.line is None else f"{evidence.source}:{evidence.line}"


def write_rows(paper: Paper, rows: tuple[EvidenceRow, ...], style: str) -> None:
    """Add evidence rows; columns that say nothing here (no lines, no times) are left out."""
    columns = _columns(rows)
    if not rows:
        return
    paper.table(
        list(columns),
        list(zip(*columns.values(), strict=True)),
        right=[at for at, name in enumerate(columns) if name in ("line", "time", "thread")],
        elastic=list(columns).index("call"),
        styles=[style if row.marked else "" for row in rows],
    )


def _columns(rows: tuple[EvidenceRow, ...]) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {" ": [">" if row.marked else " " for row in rows]}
    if any(row.line is not None for row in rows):
        columns["line"] = ["" if row.line is None else str(row.line) for row in rows]
    times = relative_times([row.time for row in rows])
    if any(times):
        columns["time"] = times
    if len({row.tid for row in rows}) > 1:
        columns["thread"] = ["-" if row.tid is None else str(row.tid) for row in rows]
    columns["call"] = [row.text for row in rows]
    columns["result"] = [result_of(row) for row in rows]
    columns["TCP state"] = [state_of(row.state, row.basis) for row in rows]
    return columns


def relative_times(times: list[float | None]) -> list[str]:
    """Return times from the first one on; empty where the trace has none."""
    known = [time for time in times if time is not None]
    if not known:
        return ["" for _ in times]
    first = known[0]
    return ["" if time is None else _offset(time - first) for time in times]


def _offset(seconds: float) -> str:
    us = round(seconds * 1e6, 1)
    return f"{'+' if us > 0 else ''}{duration(us)}" if us else "0"


def result_of(row: EvidenceRow | TimelineRow) -> str:
    """Return what a call gave back; a count of ready descriptors says less than their names."""
    if row.result is None:
        return "" if row.tid is None else "(no return)"  # no thread: a state change, not a call
    told = " -> " in row.text and (row.result.isdigit() or row.result == "ok")
    return "" if told else row.result


def state_of(state: str, basis: str) -> str:
    return state if basis == "observed" else f"{state} ~"


def _write_stack(paper: Paper, stack: tuple[str, ...]) -> None:
    for index, frame in enumerate(stack[:MOST_FRAMES]):
        label = "called from" if index == 0 else ""
        paper.wrap(f"{label:<11} {frame}", indent="  ", hanging=" " * 16)
