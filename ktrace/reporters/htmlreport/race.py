"""Everything that the race report's template shows, put together from one Report."""

from collections.abc import Sequence

import msgspec

from ktrace.findings import Connection, Report
from ktrace.reporters.htmlreport import found as findings
from ktrace.reporters.htmlreport import groups, hover, margin, moments, peers, strip, table
from ktrace.reporters.htmlreport import verdict as head
from ktrace.reporters.htmlreport.scale import Scale, call_scale, log_scale
from ktrace.reporters.htmlreport.trust import Item, trust
from ktrace.reporters.htmlreport.words import count, short_sources
from ktrace.tally import peer_key
from ktrace.wording import plural

STATIC_ROWS = 200  # table rows written into the page itself; the script pages through all
STATIC_TIMELINES = 20  # timelines that can be read without a script
_FOLDS = 6  # peers of a group that get a row of their own
_SMALL = 1  # a trace this small opens its timeline


class StripGroup(msgspec.Struct, frozen=True):
    """A group of the strip as it is drawn."""

    group: groups.Group
    size: int
    rows: tuple[strip.Row, ...]
    folds: tuple[strip.Fold, ...]
    rest: str


class Strip(msgspec.Struct, frozen=True):
    """The strip chart with its axis."""

    groups: tuple[StripGroup, ...]
    scale: Scale
    by_order: bool
    drawn: int
    total: int


class Listing(msgspec.Struct, frozen=True):
    """The connections table as it stands without a script."""

    rows: tuple[table.TableRow, ...]
    timelines: tuple[tuple[table.TableRow, tuple[findings.CallRow, ...], int], ...]
    kept: int
    total: int
    tried: int
    note: str


class Page(msgspec.Struct, frozen=True):
    """The whole race report."""

    report: Report
    verdict: head.Verdict
    facts: tuple[tuple[str, str], ...]
    rates: tuple[head.RateCell, ...]
    strip: Strip | None
    margins: margin.MarginChart | None
    outcomes: margin.OutcomeTable | None
    peers: peers.PeerTable | None
    findings: tuple[findings.Found, ...]
    listing: Listing
    trust: tuple[Item, ...]
    data: dict[str, object]


def race_page(report: Report, texts: Sequence[str], most: int = groups.FULL) -> Page:
    """Work out the page; `texts` are the findings as the text report prints them."""
    by_order = report.trace.clock == "none"
    members = groups.grouped(report.connections)
    drawn = [c for group, inside in members for c in inside[: group.most]]
    full = groups.in_full(report, drawn, most)
    times = {c.id: moments.moments(c, by_order) for c in full}
    chart = _strip(members, times, by_order)
    tried = [c for _, inside in members for c in inside]
    names = short_sources(report.trace.sources)
    small = len(report.connections) <= _SMALL
    return Page(
        report=report,
        verdict=head.verdict(report),
        facts=head.facts(report),
        rates=head.rates(report),
        strip=chart,
        margins=None if by_order else margin.margin_chart(tried),
        outcomes=margin.outcome_table(tried) if len(tried) > 1 else None,
        peers=peers.peer_table(report) if report.summary.attempted and not small else None,
        findings=tuple(findings.found(f, names) for f in report.findings),
        listing=_listing(report, full, times, by_order),
        trust=trust(report),
        data=_data(report, full, drawn, times, texts, chart),
    )


def _strip(
    members: Sequence[tuple[groups.Group, list[Connection]]],
    times: dict[str, moments.Moments],
    by_order: bool,
) -> Strip | None:
    if not members:
        return None
    scale = _scale(
        [times[c.id] for group, inside in members for c in inside[: group.most]], by_order
    )
    drawn = tuple(_strip_group(group, inside, times, scale) for group, inside in members)
    return Strip(
        drawn,
        scale,
        by_order,
        sum(len(group.rows) for group in drawn),
        sum(group.size for group in drawn),
    )


def _scale(times: Sequence[moments.Moments], by_order: bool) -> Scale:
    """Fit the axis to every mark of the drawn rows."""
    known = [
        at for t in times for at in (t.attempt, t.established, t.told, t.end) if at is not None
    ]
    if by_order:
        return call_scale(known)
    return log_scale(known)


def _strip_group(
    group: groups.Group,
    inside: Sequence[Connection],
    times: dict[str, moments.Moments],
    scale: Scale,
) -> StripGroup:
    rows: list[strip.Row] = []
    above: Connection | None = None
    for connection in inside[: group.most]:
        rows.append(strip.row(connection, times[connection.id], scale, above))
        above = connection
    folds, rest = _folds(group, inside[group.most :], scale)
    return StripGroup(group, len(inside), tuple(rows), folds, rest)


def _folds(
    group: groups.Group, hidden: Sequence[Connection], scale: Scale
) -> tuple[tuple[strip.Fold, ...], str]:
    """Fold what is not drawn by peer; the peers with most connections get a row."""
    by_peer: dict[str, list[Connection]] = {}
    for connection in hidden:
        key = peer_key(connection)
        by_peer.setdefault(key[1] if key else "peer not shown", []).append(connection)
    ordered = sorted(by_peer.items(), key=lambda item: -len(item[1]))
    folded = tuple(_fold(group, peer, inside, scale) for peer, inside in ordered[:_FOLDS])
    others = ordered[_FOLDS:]
    if not others:
        return folded, ""
    many = sum(len(inside) for _, inside in others)
    return folded, f"{count(many)} more to {plural(len(others), 'other peer')}"


def _fold(group: groups.Group, peer: str, inside: Sequence[Connection], scale: Scale) -> strip.Fold:
    margins: list[float] = []
    attempts: list[float] = []
    for connection in inside:
        attempt = moments.deciding_attempt(connection)
        zero = moments.quick_zero(connection)
        known = attempt is not None and attempt.time is not None and zero is not None
        if known and connection.margin_us is not None and attempt and attempt.time and zero:
            margins.append(connection.margin_us)
            attempts.append((attempt.time - zero) * 1e6)
    return strip.fold(group, inside[0], peer, margins, attempts, len(inside), scale)


def _listing(
    report: Report, full: Sequence[Connection], times: dict[str, moments.Moments], by_order: bool
) -> Listing:
    ordered = table.table_order(full)
    total = report.summary.connections + report.summary.listeners
    rows = tuple(table.table_row(c, by_order) for c in ordered[:STATIC_ROWS])
    tried = [c for c in ordered if c.has_ktls][:STATIC_TIMELINES]
    return Listing(
        rows=rows,
        timelines=tuple(
            (table.table_row(c, by_order), findings.timeline_rows(c, times[c.id]), c.omitted)
            for c in tried
        ),
        kept=len(full),
        total=total,
        tried=report.summary.attempted,
        note=_left_out(report, full, total),
    )


def _left_out(report: Report, full: Sequence[Connection], total: int) -> str:
    """Say which connections the page does not hold in full."""
    if len(full) >= total:
        return ""
    kept = len(report.connections)
    if len(full) < kept:
        return (
            f"{count(len(full))} of {plural(total, 'connection')} are held in full, those of"
            f" findings first. The other {count(total - len(full))} are in the counts, rates,"
            " peers and medians."
        )
    return (
        f"{plural(total - kept, 'connection')} of {count(total)} were left out of the list"
        " and are in the counts."
    )


def _data(
    report: Report,
    full: Sequence[Connection],
    drawn: Sequence[Connection],
    times: dict[str, moments.Moments],
    texts: Sequence[str],
    chart: Strip | None,
) -> dict[str, object]:
    cards = {c.id: hover.card(c, times[c.id], report.trace.sources) for c in drawn if c.id in times}
    total = report.summary.connections + report.summary.listeners
    tried = sum(c.has_ktls for c in full)
    about: dict[str, object] = {
        "total": total,
        "kept": len(full),
        "tried": tried,
        "byOrder": chart is not None and chart.by_order,
        "scale": None if chart is None else msgspec.to_builtins(chart.scale),
        "live": report.trace.kind == "live",
        "texts": list(texts),
        "open": full[0].id if len(full) == 1 else None,
    }
    return table.packed(full, times, cards, about)
