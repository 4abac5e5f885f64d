"""The report as text: a summary, the findings, and a last line to grep for."""

from collections.abc import Iterator

from ktrace.findings import Connection, Finding, Peer, Rate, Report, Severity, Trace
from ktrace.reporters.layout import Paper
from ktrace.reporters.text_finding import write_finding
from ktrace.reporters.text_timeline import write_timeline
from ktrace.wording import clean, interval, listed, percent, plural

MOST_PEERS = 10
_NOT_KEYED = "none was keyed or fell back"
_NO_CLIENT = "no client tried kTLS"

# The worst first; "none" is what the others are measured against.
_OUTCOMES = (
    ("fallback", "fallback"),
    ("tx-only", "tx_only"),
    ("rx-only", "rx_only"),
    ("offloaded", "offloaded"),
    ("ulp-only", "ulp_only"),
    ("not-connected", "not_connected"),
    ("unknown", "unknown"),
    ("none", "none"),
)


def render(report: Report, *, color: bool = False, width: int = 80, unicode: bool = True) -> str:
    """Return the report; without `unicode` it is ASCII."""
    paper = Paper(color=color, width=width, unicode=unicode)
    _write_summary(paper, report)
    for finding in report.findings:
        paper.gap()
        write_finding(paper, finding)
    paper.gap()
    if _needs_legend(report.findings):
        paper.line("~ is inferred from calls")
    # One line whatever the width: it is there to be found by scripts.
    paper.line(paper.spell(last_line(report)))
    return str(paper)


def render_connection(
    connection: Connection, *, color: bool = False, width: int = 80, unicode: bool = True
) -> str:
    """Return one connection with all of its timeline."""
    paper = Paper(color=color, width=width, unicode=unicode)
    write_timeline(paper, connection)
    return str(paper)


def _needs_legend(findings: tuple[Finding, ...]) -> bool:
    """Return whether states are marked as inferred and no finding says what the mark means."""
    if any(note.startswith("~") for finding in findings for note in finding.notes):
        return False
    return any(row.basis == "inferred" for finding in findings for row in finding.rows)


def _write_summary(paper: Paper, report: Report) -> None:
    trace = report.trace
    paper.wrap(_title(trace), hanging="  ", head="bold")
    paper.gap()
    for label, text in summary_rows(report):
        paper.wrap(f"{label:<15} {text}", indent="  ", hanging=" " * 18)
    for warning in trace.warnings:
        paper.wrap(f"warning: {warning}", indent="  ", hanging="    ", head="warning")
    if report.summary.attempted:
        _write_peers(paper, [peer for peer in report.peers if peer.attempted])


def _title(trace: Trace) -> str:
    parts = [_sources(trace.sources)]
    if trace.lines is not None:
        parts.append(plural(trace.lines, "line"))
    else:
        parts.append(plural(trace.events, "event"))
    if trace.duration_s is not None:
        parts.append(f"{trace.duration_s:,.3g} s")
    name, *figures = parts
    return f"{name}: {', '.join(figures)}"


def _sources(sources: tuple[str, ...]) -> str:
    if len(sources) <= 2:
        return " and ".join(sources) or "trace"
    return f"{sources[0]} and {len(sources) - 1:,} more"


def summary_rows(report: Report) -> Iterator[tuple[str, str]]:
    """Yield the figures of a run as (label, text)."""
    summary = report.summary
    listeners = f", {plural(summary.listeners, 'listener')}" if summary.listeners else ""
    tried = f" ({summary.attempted:,} tried kTLS)" if summary.attempted else ""
    yield "connections", f"{summary.connections:,}{tried}{listeners}"
    if not summary.attempted:
        yield "kTLS", _nothing_tried(report)
        return
    yield "outcome", ", ".join(_outcomes(report))
    yield "fallback rate", _rate(summary.fallback_rate, "keyed or fallback", _NOT_KEYED)
    yield "raced", _rate(summary.race_rate, "clients", _NO_CLIENT)
    yield "latent races", _rate(summary.unordered_rate, "clients", _NO_CLIENT)
    others = _other_orders(report)
    if others:
        yield "other orders", others
    if limited := _limited(report):
        yield "limited", f"{plural(limited, 'verdict')} by calls not covered (see KT902)"
    if report.trace.lost_events:
        yield "lost", f"{plural(report.trace.lost_events, 'event')} (see KT901)"


def _nothing_tried(report: Report) -> str:
    """Say what the absence of kTLS calls rests on."""
    covered = report.trace.covered
    if "setsockopt" not in covered:
        return "not known: setsockopt is not covered by this trace"
    if report.summary.unknown:
        unknown = plural(report.summary.unknown, "connection")
        return f"No connection is seen to try kTLS; of {unknown} the trace cannot tell"
    return f"No connection tried kTLS (covered: {listed(covered)})"


def _outcomes(report: Report) -> Iterator[str]:
    for name, field in _OUTCOMES:
        count = getattr(report.summary, field)
        if count:
            yield f"{count:,} {name}"


def _rate(rate: Rate, of_what: str, nothing: str) -> str:
    if rate.value is None:
        return f"{'-':>6}  {nothing}"
    figure = f"{percent(rate.value)} %"
    share = f"{rate.k:,} of {rate.n:,} {of_what}"
    return f"{figure:>6}  {share:<26}  95 % interval {interval(rate)}"


def _other_orders(report: Report) -> str:
    summary = report.summary
    counts = (
        (summary.unconnected, "unconnected"),
        (summary.late, "late"),
        (summary.recovered, "recovered"),
    )
    return ", ".join(f"{count:,} {word}" for count, word in counts if count)


def _limited(report: Report) -> int:
    return sum(finding.count for finding in report.findings if finding.code == "KT902")


def _write_peers(paper: Paper, peers: list[Peer]) -> None:
    if not peers:
        return
    paper.gap()
    shown = peers[:MOST_PEERS]
    paper.table(
        ("peer", "role", "conns", "kTLS", "fallback", "raced", "fallback rate"),
        [_peer_row(peer) for peer in shown],
        right=(2, 3, 4, 5),
        elastic=0,
        styles=["raced" if peer.fallback else "" for peer in shown],
    )
    rest = peers[MOST_PEERS:]
    if rest:
        fallback = sum(peer.fallback for peer in rest)
        paper.line(f"  and {plural(len(rest), 'more peer')}, {fallback:,} fallback among them")


def _peer_row(peer: Peer) -> tuple[str, ...]:
    rate = peer.fallback_rate
    share = "-" if rate.value is None else f"{percent(rate.value)} %, {interval(rate)}"
    counts = (peer.connections, peer.attempted, peer.fallback, peer.raced)
    return (peer.peer, peer.role, *(f"{count:,}" for count in counts), share)


def last_line(report: Report) -> str:
    """Return the line that a script may look for: rate, races, findings, what was not seen."""
    parts = [_verdict(report), *_races(report), _finding_counts(report.findings), _trust(report)]
    return clean(f"ktrace: {'; '.join(parts)}")


def _verdict(report: Report) -> str:
    summary = report.summary
    rate = summary.fallback_rate
    if rate.value is not None:
        bounds = f"({percent(rate.value)} %, 95 % interval {interval(rate)})"
        return f"{rate.k:,} of {rate.n:,} kTLS connections fell back {bounds}"
    if summary.attempted:
        tried = plural(summary.attempted, "connection")
        return f"{tried} tried kTLS, none as far as keys or fallback"
    if "setsockopt" in report.trace.covered:
        return f"no connection {'is seen to try' if summary.unknown else 'tried'} kTLS"
    return "not known whether any connection tried kTLS"


def _races(report: Report) -> Iterator[str]:
    summary = report.summary
    if summary.raced:
        yield f"{summary.raced:,} raced"
    if summary.unordered:
        yield plural(summary.unordered, "latent race")


def _finding_counts(findings: tuple[Finding, ...]) -> str:
    severities: tuple[Severity, ...] = ("error", "warning", "note")
    counts = [
        plural(count, severity)
        for severity in severities
        if (count := sum(finding.severity == severity for finding in findings))
    ]
    return ", ".join(counts) or "no findings"


def _trust(report: Report) -> str:
    trace = report.trace
    parts = []
    if trace.lost_events:
        parts.append(f"{plural(trace.lost_events, 'event')} lost")
    if trace.not_understood:
        parts.append(f"{plural(trace.not_understood, 'line')} not understood")
    if limited := _limited(report):
        parts.append(f"{plural(limited, 'verdict')} limited by calls not covered")
    good = "no event lost" if trace.kind == "live" else "every line understood"
    return ", ".join(parts) or good
