"""One finding as text: what, where, who, the calls that show it, why, what came of it, the fix."""

from ktrace.findings import Evidence, Finding
from ktrace.reporters.layout import Paper
from ktrace.reporters.text_rows import write_rows
from ktrace.wording import id_runs, plural

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
    marks = [row.marked for row in finding.rows]
    styles = [_MARK[finding.severity] if mark else "" for mark in marks]
    write_rows(paper, finding.rows, styles, marks)
    if finding.stack:
        write_stack(paper, finding.stack[:MOST_FRAMES])
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


def write_stack(paper: Paper, stack: tuple[str, ...]) -> None:
    """Add the calling code of an attempt, innermost first."""
    for index, frame in enumerate(stack):
        label = "called from" if index == 0 else ""
        paper.wrap(f"{label:<11} {frame}", indent="  ", hanging=" " * 16)
