"""The comparison page: a check's conclusion, and both runs on one time axis."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ktrace.findings import Connection, Report
from ktrace.reporters.htmlreport import found as findings
from ktrace.reporters.htmlreport import groups, moments, strip
from ktrace.reporters.htmlreport.checked import Change, Checked, RateLine, Rule, Run
from ktrace.reporters.htmlreport.order import Order, orders
from ktrace.reporters.htmlreport.scale import Scale, call_scale, log_scale
from ktrace.reporters.htmlreport.words import NNBSP, count, duration, short_sources
from ktrace.tally import PeerKey, peer_key
from ktrace.wording import id_runs, plural

ROWS = 12  # of one run to one peer
PEERS = 20
_MARKS = {"failed": "error", "passed": "passed", "not shown": "open", "inconclusive": "open"}


class RuleRow(msgspec.Struct, frozen=True):
    """One rule as the table shows it."""

    mark: str
    verdict: str
    title: str
    candidate: str
    baseline: str
    evidence: str
    help: str


class Half(msgspec.Struct, frozen=True):
    """The rows of one run to one peer; `tone` is the worst group in it."""

    name: str
    summary: str
    tone: str
    rows: tuple[strip.Row, ...]
    more: int


class PeerStrip(msgspec.Struct, frozen=True):
    """Both runs to one peer."""

    peer: str
    note: str
    halves: tuple[Half, ...]


class CallOrders(msgspec.Struct, frozen=True):
    """The orders of calls of one run to one peer."""

    name: str
    orders: tuple[Order, ...]
    others: int


class FoundChange(msgspec.Struct, frozen=True):
    """A finding with its change; `found` is there when the candidate has it."""

    change: str
    severity: str
    code: str
    message: str
    counts: str
    waived: bool
    found: findings.Found | None


class ComparePage(msgspec.Struct, frozen=True):
    """The whole page."""

    result: Checked
    mark: str
    tone: str
    status: str
    facts: tuple[tuple[str, str, str], ...]
    rules: tuple[RuleRow, ...]
    scale: Scale
    by_order: bool
    peers: tuple[PeerStrip, ...]
    left_out: int
    sequences: tuple[tuple[str, tuple[CallOrders, ...]], ...]
    rates: tuple[RateLine, ...]
    changes: tuple[FoundChange, ...]


Members = dict[PeerKey, tuple[list[Connection], list[Connection]]]


def compare_page(result: Checked, baseline: Report | None, candidate: Report) -> ComparePage:
    """Work out the page; without a baseline's connections its strips show the candidate alone."""
    runs = (baseline.connections if baseline else (), candidate.connections)
    members = _by_peer(runs)
    ordered = sorted(members.items(), key=_worst_first)
    reports = [report for report in (baseline, candidate) if report]
    by_order = any(report.trace.clock == "none" for report in reports)
    drawn = {
        id(c): moments.moments(c, by_order)
        for _, sides in ordered[:PEERS]
        for side in sides
        for c in _sorted(side)[:ROWS]
    }
    scale = _scale(drawn.values(), by_order)
    failed = sum(rule.verdict == "failed" for rule in result.rules)
    return ComparePage(
        result=result,
        mark=_MARKS[result.status],
        tone={"failed": "race", "passed": "safe"}.get(result.status, "open"),
        status=f"exit status {result.exit_status}, {failed} of {plural(len(result.rules), 'rule')}"
        " failed",
        facts=tuple(_facts(result)),
        rules=tuple(_rules(result, short_sources(candidate.trace.sources))),
        scale=scale,
        by_order=by_order,
        peers=tuple(_peer_strip(key, sides, drawn, scale) for key, sides in ordered[:PEERS]),
        left_out=max(0, len(ordered) - PEERS),
        sequences=tuple(_sequences(key, sides) for key, sides in ordered[:PEERS]),
        rates=tuple(result.rates),
        changes=tuple(_changes(result, candidate)),
    )


def _by_peer(runs: tuple[Sequence[Connection], Sequence[Connection]]) -> Members:
    """Return the kTLS connections of (baseline, candidate) by peer."""
    members: Members = {}
    for side, connections in enumerate(runs):
        for connection in connections:
            key = peer_key(connection)
            if key is not None and connection.has_ktls:
                members.setdefault(key, ([], []))[side].append(connection)
    return members


def _worst_first(
    item: tuple[PeerKey, tuple[list[Connection], list[Connection]]],
) -> tuple[int, int, int, PeerKey]:
    key, (before, now) = item
    raced = sum(c.ordering == "raced" for c in now)
    latent = sum(c.ordering == "unordered" for c in now)
    return (-raced, -latent, -len(before) - len(now), key)


def _sorted(connections: Sequence[Connection]) -> list[Connection]:
    return [c for _, inside in groups.grouped(connections) for c in inside]


def _scale(times: Iterable[moments.Moments], by_order: bool) -> Scale:
    known = [
        at for t in times for at in (t.attempt, t.established, t.told, t.end) if at is not None
    ]
    return call_scale(known) if by_order else log_scale(known)


def _facts(result: Checked) -> Iterable[tuple[str, str, str]]:
    """Yield (name, value, shape of the run's mark in the charts)."""
    runs = [("Baseline", result.baseline, "circle"), ("Candidate", result.candidate, "square")]
    paths = [path for _, run, _ in runs if run for path in run.name.split(", ")]
    names = short_sources(list(dict.fromkeys(paths)))
    for title, run, shape in runs:
        if run is not None:
            yield title, _run(run, names), shape
    yield "Policy", result.policy, ""
    yield "Quality", _quality(result), ""


def _run(run: Run, names: Mapping[str, str]) -> str:
    what = plural(run.clients, "client connection") if run.clients else ""
    what = what or plural(run.connections, "connection")
    return f"{', '.join(names[path] for path in run.name.split(', '))}: {what}"


def _quality(result: Checked) -> str:
    runs = [run for run in (result.baseline, result.candidate) if run is not None]
    lost = sum(run.lost_events for run in runs)
    unknown = sum(run.not_understood for run in runs)
    parts = [plural(lost, "event") + " lost"]
    parts.append(
        f"{plural(unknown, 'line')} not understood" if unknown else "every line understood"
    )
    return ", ".join(parts)


def _rules(result: Checked, names: Mapping[str, str]) -> Iterable[RuleRow]:
    helped = ""
    for rule in result.rules:
        where = f" for {rule.scope}" if rule.scope else ""
        told = "" if rule.verdict == "passed" or rule.help == helped else rule.help
        helped = told or helped
        yield RuleRow(
            mark=_MARKS[rule.verdict],
            verdict=rule.verdict,
            title=rule.title + where,
            candidate=_tight(rule.candidate),
            baseline=_tight(rule.baseline or ""),
            evidence=_tight(_evidence(rule, names)),
            help=told,
        )


def _evidence(rule: Rule, names: Mapping[str, str]) -> str:
    if not rule.connections:
        return rule.message
    who = id_runs(list(rule.connections), 4)
    if not rule.evidence or rule.evidence[0].line is None:
        return who
    first = rule.evidence[0]
    return f"{who}, first at {names.get(first.source, first.source)}:{first.line}"


def _tight(text: str) -> str:
    """Keep each percent sign at its figure."""
    return text.replace(" %", f"{NNBSP}%")


def _peer_strip(
    key: PeerKey,
    sides: tuple[list[Connection], list[Connection]],
    drawn: dict[int, moments.Moments],
    scale: Scale,
) -> PeerStrip:
    names = ("Baseline", "Candidate")
    halves = tuple(
        _half(name, side, drawn, scale) for name, side in zip(names, sides, strict=True) if side
    )
    return PeerStrip(key[1], _peer_note(sides, drawn), halves)


def _half(
    name: str, side: list[Connection], drawn: dict[int, moments.Moments], scale: Scale
) -> Half:
    members = groups.grouped(side)
    worst = members[0][0].key
    words = [f"{count(len(inside))} {_word(group)}" for group, inside in members]
    rows: list[strip.Row] = []
    above: Connection | None = None
    for connection in _sorted(side)[:ROWS]:
        row = strip.row(connection, drawn[id(connection)], scale, above)
        if name == "Baseline":
            label = "b" + row.label.removeprefix("c")
            row = msgspec.structs.replace(row, id="b" + row.id.removeprefix("c"), label=label)
        rows.append(row)
        above = connection
    tone = worst if worst in ("raced", "latent") else ""
    return Half(name, ", ".join(words), tone, tuple(rows), len(side) - len(rows))


def _word(group: groups.Group) -> str:
    return {"latent": "latent", "keys": "without ULP"}.get(group.key, group.key)


def _peer_note(
    sides: tuple[list[Connection], list[Connection]], drawn: dict[int, moments.Moments]
) -> str:
    """Say how far away the peer is, and which of the two runs is only inferred."""
    shown = [drawn[id(c)] for side in sides for c in side if id(c) in drawn]
    ups = [t.established for t in shown if t.established and not t.by_order]
    parts = [f"{duration(strip.percentile(ups, 0.5))} to ESTABLISHED"] if ups else []
    bases = [{c.margin_basis for c in side if c.margin_basis} for side in sides]
    for name, mine, other in (("baseline", *bases), ("candidate", *bases[::-1])):
        if mine == {"inferred"} and "observed" in other:
            parts.append(f"{name} inferred from calls, so its times are upper bounds")
    return "; ".join(parts)


def _sequences(
    key: PeerKey, sides: tuple[list[Connection], list[Connection]]
) -> tuple[str, tuple[CallOrders, ...]]:
    found = []
    for name, side in zip(("baseline", "candidate"), sides, strict=True):
        if side:
            commonest, others = orders(side)
            found.append(CallOrders(name, commonest, others))
    return key[1], tuple(found)


def _changes(result: Checked, candidate: Report) -> Iterable[FoundChange]:
    names = short_sources(candidate.trace.sources)
    known = {f.fingerprint or f.code: findings.found(f, names) for f in candidate.findings}
    for change in result.findings:
        yield FoundChange(
            change=change.change,
            severity=change.severity,
            code=change.code,
            message=change.message or change.name,
            counts=_counts(change),
            waived=change.waived,
            found=known.get(change.fingerprint or change.code) if change.change != "gone" else None,
        )


def _counts(change: Change) -> str:
    return f"{count(change.baseline)} \u2192 {plural(change.candidate, 'connection')}"
