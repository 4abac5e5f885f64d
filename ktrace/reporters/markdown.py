"""Summary and findings as Markdown, for a pull request or a job summary."""

import re
from collections.abc import Iterable

from ktrace.findings import Evidence, Finding, Peer, Report
from ktrace.reporters.text import MOST_PEERS, last_line, summary_rows
from ktrace.reporters.text_finding import place
from ktrace.reporters.text_rows import result_of, state_of
from ktrace.wording import clean, id_runs, interval, percent, plural

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&@])")
_COLUMNS = re.compile(r"(?<=\S) {2,}")


def render(report: Report) -> str:
    """Return GitHub-flavoured Markdown; text from the trace cannot become markup."""
    parts = [
        "## ktrace\n",
        _table(("", ""), ((label, _figures(text)) for label, text in summary_rows(report))),
        "".join(f"- warning: {escape(warning)}\n" for warning in report.trace.warnings),
        _peers([peer for peer in report.peers if peer.attempted]),
        *(_finding(finding) for finding in report.findings),
        f"{code(last_line(report))}\n",
    ]
    return "\n".join(part for part in parts if part)


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", clean(" ".join(text.split())))


def prose(text: str) -> str:
    """Escape text but for what stands between backticks, which becomes code."""
    pieces = re.split(r"(`[^`]+`)", text)
    return "".join(
        code(piece[1:-1])
        if piece.startswith("`") and piece.endswith("`") and len(piece) > 2
        else _SPECIAL.sub(r"\\\1", clean(piece))
        for piece in pieces
    )


def _figures(text: str) -> str:
    """Return a row of the summary, whose columns stand apart by blanks, as one phrase."""
    return escape(_COLUMNS.sub(", ", text.strip()))


def code(text: str) -> str:
    """Return text as a code span that its own backticks cannot end."""
    text = clean(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cell_code(text: str) -> str:
    """Return a code span for a table cell, where even in code a bar must be escaped."""
    return code(text).replace("|", "\\|") if text else ""


def _peers(peers: list[Peer]) -> str:
    if not peers:
        return ""
    header = ("peer", "role", "connections", "kTLS", "fallback", "raced", "fallback rate")
    rows = [
        (
            _cell_code(peer.peer),
            peer.role,
            *(f"{n:,}" for n in (peer.connections, peer.attempted, peer.fallback, peer.raced)),
            ""
            if peer.fallback_rate.value is None
            else f"{percent(peer.fallback_rate.value)} % ({interval(peer.fallback_rate)})",
        )
        for peer in peers[:MOST_PEERS]
    ]
    more = len(peers) - MOST_PEERS
    return _table(header, rows) + (f"\nand {plural(more, 'more peer')}\n" if more > 0 else "")


def _finding(finding: Finding) -> str:
    head = f"### {finding.severity} {finding.code}: {escape(finding.message)}\n"
    where = _connection(finding) if finding.connections else _places(finding.evidence)
    paragraphs = [
        f"- **{label}**: {prose(text)}\n"
        for label, text in (
            ("why", finding.why),
            ("outcome", finding.outcome),
            ("help", finding.help),
            *(("note", note) for note in finding.notes),
        )
        if text
    ]
    return "\n".join((head, where, "".join(paragraphs)))


def _connection(finding: Finding) -> str:
    many = f"{plural(finding.count, 'connection')}: {id_runs(finding.connections)}. Shown: "
    who = code(" ".join(finding.who.split()))
    shown = f"{many if finding.count > 1 else ''}{who}"
    at = f" at {code(place(finding.evidence[0]))}" if finding.evidence else ""
    header = ("", "line", "call", "result", "TCP state")
    rows = [
        (
            "&rarr;" if row.marked else "",
            "" if row.line is None else str(row.line),
            _cell_code(row.text),
            escape(result_of(row)),
            escape(state_of(row)),
        )
        for row in finding.rows
    ]
    stack = "".join(f"\ncalled from {code(frame)}\n" for frame in (finding.stack or ())[:1])
    return f"{shown}{at}\n\n{_table(header, rows)}{stack}"


def _places(evidence: tuple[Evidence, ...]) -> str:
    return "".join(f"- {code(place(one))} {escape(one.text)}\n" for one in evidence)
