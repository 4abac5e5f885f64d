"""The margin chart (how far from ESTABLISHED each ULP attempt came) and the table of outcomes."""

from collections.abc import Sequence

import msgspec

from ktrace.findings import Connection
from ktrace.reporters.htmlreport.groups import group_of
from ktrace.reporters.htmlreport.scale import SignedScale, Tick, signed_scale
from ktrace.reporters.htmlreport.strip import percentile
from ktrace.reporters.htmlreport.words import signed
from ktrace.wording import listed, plural

MARKS_AT_MOST = 300  # above it the bins are drawn as bars
HEIGHT = 96  # px for the tallest stack
STEP = 13.5  # px from mark to mark
_BIN = 2.1  # percent of the width
_KINDS = (
    ("raced", "x"),
    ("latent", "luck"),
    ("late", "late"),
    ("unknown", "unknown"),
    ("safe", "ok"),
)
_COLUMNS = (
    ("fallback", "fallback"),
    ("not-connected", "not connected"),
    ("tx-only", "tx-only"),
    ("rx-only", "rx-only"),
    ("offloaded", "offloaded"),
    ("ulp-only", "ulp-only"),
    ("unknown", "unknown"),
)
_ROW_WORDS = {
    "raced": ("raced", "x"),
    "latent": ("latent", "luck"),
    "late": ("late", "late"),
    "unconnected": ("unconnected", "square"),
    "unknown": ("unknown", "unknown"),
    "keys": ("no ULP", "norx"),
    "safe": ("safe", "ok"),
}


class Piece(msgspec.Struct, frozen=True):
    """A mark or a part of a stacked bar: x in percent, y and height in px from the base line."""

    kind: str
    glyph: str
    x: float
    y: float
    h: float


class MarginChart(msgspec.Struct, frozen=True):
    """The histogram of the margins."""

    bars: bool
    pieces: tuple[Piece, ...]
    ticks: tuple[Tick, ...]
    zero: float
    width: float  # of a bar, in percent
    before: str
    after: str
    note: str
    wide_left: bool


def margin_chart(connections: Sequence[Connection]) -> MarginChart | None:
    """Draw the margins; None where there are fewer than two."""
    known = [c for c in connections if c.margin_us is not None and group_of(c) in dict(_KINDS)]
    if len(known) < 2:
        return None
    scale = signed_scale([c.margin_us for c in known if c.margin_us is not None])
    bins = _bins(known, scale)
    bars = len(known) > MARKS_AT_MOST
    missing = sum(c.ordering == "raced" and c.margin_us is None for c in connections)
    return MarginChart(
        bars=bars,
        pieces=tuple(_pieces(bins, bars)),
        ticks=scale.ticks(),
        zero=scale.zero,
        width=_BIN * 0.8,
        before=_medians(known, early=True),
        after=_medians(known, early=False),
        note=_note(bars, missing),
        wide_left=scale.zero > 20,
    )


def _bins(
    connections: Sequence[Connection], scale: SignedScale
) -> dict[tuple[int, int], dict[str, int]]:
    """Count connections by (side of zero, bin) and group."""
    bins: dict[tuple[int, int], dict[str, int]] = {}
    for connection in connections:
        margin = connection.margin_us or 0.0
        side = -1 if margin < 0 else 1
        place = (side, int(abs(scale.at(margin) - scale.zero) / _BIN))
        group = group_of(connection) or "safe"
        inside = bins.setdefault(place, {})
        inside[group] = inside.get(group, 0) + 1
    return {
        (side, round(scale.zero * 100) + side * round((place + 0.5) * _BIN * 100)): counts
        for (side, place), counts in sorted(bins.items())
    }


def _pieces(bins: dict[tuple[int, int], dict[str, int]], bars: bool) -> list[Piece]:
    tallest = max(sum(counts.values()) for counts in bins.values())
    step = HEIGHT / tallest if bars else min(STEP, HEIGHT / tallest)
    pieces = []
    for (_, place), counts in bins.items():
        y = 0.0
        for kind, glyph in _KINDS:
            here = counts.get(kind, 0)
            if bars and here:
                pieces.append(Piece(kind, "", place / 100, y, round(max(here * step, 1.5), 2)))
                y += here * step
            for _ in range(0 if bars else here):
                pieces.append(Piece(kind, glyph, place / 100, round(y, 1), step))
                y += step
    return pieces


def _medians(connections: Sequence[Connection], early: bool) -> str:
    """Return "6 raced, median −38.2 ms"; one group after the other."""
    found = []
    for kind, _ in _KINDS:
        margins = [
            c.margin_us
            for c in connections
            if c.margin_us is not None and group_of(c) == kind and (c.margin_us < 0) == early
        ]
        if margins:
            found.append(f"{len(margins):,} {kind}, median {signed(percentile(margins, 0.5))}")
    return "; ".join(found)


def _note(bars: bool, missing: int) -> str:
    text = "Each bar is the number of connections." if bars else "Each mark is one connection."
    if missing:
        verb = "is" if missing == 1 else "are"
        text += f" {plural(missing, 'raced connection')} never came up and {verb} not drawn."
    return text


class OutcomeTable(msgspec.Struct, frozen=True):
    """Order of the ULP attempt (rows) against the outcome (columns)."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[tuple[int, str], ...]], ...]
    totals: tuple[int, ...]


def outcome_table(connections: Sequence[Connection]) -> OutcomeTable | None:
    """Count connections by group and outcome; columns that occur, and always the two main ones."""
    counts: dict[tuple[str, str], int] = {}
    for connection in connections:
        group = group_of(connection)
        if group is not None:
            key = (group, connection.outcome)
            counts[key] = counts.get(key, 0) + 1
    if not counts:
        return None
    present = {outcome for _, outcome in counts} | {"fallback", "offloaded"}
    columns = [(key, name) for key, name in _COLUMNS if key in present]
    groups = {group for group, _ in counts} | {"raced", "latent", "safe"}
    rows = []
    for group, (word, glyph) in _ROW_WORDS.items():
        if group in groups:
            cells = tuple((counts.get((group, key), 0), _tint(group, key)) for key, _ in columns)
            rows.append((word, glyph, cells))
    totals = tuple(sum(cells[i][0] for _, _, cells in rows) for i in range(len(columns)))
    return OutcomeTable(tuple(name for _, name in columns), tuple(rows), totals)


def _tint(group: str, outcome: str) -> str:
    """Mark the cells that answer "what did the race cost"."""
    if group == "raced" and outcome in ("fallback", "not-connected"):
        return "bad"
    return "luck" if group == "latent" and outcome != "fallback" else ""


def described(table: OutcomeTable) -> str:
    """Return the totals as a sentence."""
    return listed([f"{n:,} {name}" for n, name in zip(table.totals, table.columns, strict=True)])
