"""The connections table, and the data that the page's script needs for filters and timelines."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import msgspec

from ktrace.findings import Connection, KeyInstall, TcpState
from ktrace.reporters.htmlreport.groups import GROUPS, group_of
from ktrace.reporters.htmlreport.hover import Card
from ktrace.reporters.htmlreport.moments import Moments, Span
from ktrace.reporters.htmlreport.strip import margin_words, outcome_words
from ktrace.reporters.htmlreport.words import clean, number_of, process

ORDER_WORDS = {
    "raced": ("raced", "x"),
    "unordered": ("latent", "luck"),
    "late": ("late", "late"),
    "unconnected": ("unconnected", "square"),
    "unknown": ("unknown", "unknown"),
    "safe": ("safe", "ok"),
    None: ("\u2013", ""),
}
_STATES: tuple[TcpState, ...] = get_args(TcpState)
_STATE = {state: n for n, state in enumerate(_STATES)}
FD = "\ue000"  # no text has it: it would have been escaped
_RANK = {group.key: n for n, group in enumerate(GROUPS)} | {None: len(GROUPS)}

Cell = str | int | float | bool | None
Packed = list["Cell | Packed"]


class TableRow(msgspec.Struct, frozen=True):
    """One connection as the table shows it."""

    id: str
    process: str
    peer: str
    role: str
    ordering: str
    glyph: str
    outcome: str
    margin: str
    bound: bool
    keys: str
    crypto: str


def table_row(connection: Connection, by_order: bool) -> TableRow:
    """Write one connection."""
    word, glyph = ORDER_WORDS[connection.ordering]
    if connection.ordering is None and connection.has_ktls:
        word, glyph = "no ULP", "norx"
    known = connection.margin_us is not None
    return TableRow(
        id=connection.id,
        process=f"{process(connection)} {connection.pid}"
        if connection.comm
        else process(connection),
        peer=connection.peer or "\u2013",
        role=connection.role,
        ordering=word,
        glyph=glyph,
        outcome=outcome_words(connection),
        margin=margin_words(connection, by_order),
        bound=connection.margin_basis == "inferred" and known and not by_order,
        keys=keys_words(connection),
        crypto=" ".join(part for part in (connection.tls_version, connection.cipher) if part)
        or "\u2013",
    )


def keys_words(connection: Connection) -> str:
    """Return the directions installed, in their order, and what the kernel said to refused ones."""
    both = (("TX", connection.tx), ("RX", connection.rx))
    pairs = sorted(((_first(keys), name, keys) for name, keys in both if keys), key=_by_place)
    return " ".join(_direction(name, keys) for _, name, keys in pairs) or "\u2013"


def _by_place(item: tuple[float, str, tuple[KeyInstall, ...]]) -> tuple[float, bool]:
    return item[0], item[1] == "RX"


def _first(keys: Sequence[KeyInstall]) -> float:
    time = keys[0].time
    return float(keys[0].line or 0) if time is None else time


def _direction(name: str, keys: Sequence[KeyInstall]) -> str:
    if any(key.result == "ok" for key in keys):
        return name
    return f"{name} {keys[-1].result or 'cut'}"


def table_order(connections: Iterable[Connection]) -> list[Connection]:
    """Sort as the strip does: raced first, then by margin."""
    return sorted(connections, key=_by_group)


def _by_group(connection: Connection) -> tuple[int, bool, float, int]:
    margin = connection.margin_us
    return (_RANK[group_of(connection)], margin is None, margin or 0.0, number_of(connection.id))


class _Strings:
    """Keeps each text once; the packed rows hold its number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text that is clean."""
        return self.numbers.setdefault(text, len(self.numbers))


def packed(
    connections: Sequence[Connection],
    times: Mapping[str, Moments],
    cards: Mapping[str, Card],
    about: Mapping[str, object],
) -> dict[str, object]:
    """Return what the page embeds; reports/templates/js/data.js unpacks it, field for field."""
    strings = _Strings()
    rows = [_pack(connection, times[connection.id], strings) for connection in connections]
    return {
        **about,
        "states": _STATES,
        "rank": {group.key: n for n, group in enumerate(GROUPS)},
        "connections": rows,
        "cards": {name: _pack_card(card) for name, card in cards.items()},
        "strings": list(strings.numbers),
    }


def _pack(connection: Connection, times: Moments, strings: _Strings) -> Packed:
    shown = table_row(connection, times.by_order)
    return [
        connection.id,
        strings.number(clean(shown.process)),
        strings.number(clean(process(connection))),
        strings.number(clean(shown.peer)),
        strings.number(connection.role),
        group_of(connection),
        strings.number(shown.outcome),
        strings.number(connection.outcome),
        connection.margin_us,
        strings.number(shown.margin),
        int(shown.bound),
        strings.number(shown.keys),
        strings.number(shown.crypto),
        connection.fd,
        connection.omitted,
        int(times.by_order),
        [None if t is None else _short(t) for t in (times.attempt, times.established, times.told)],
        [_pack_span(span) for span in times.spans],
        _pack_rows(connection, times, strings),
    ]


def _pack_span(span: Span) -> Packed:
    return [
        _STATE[span.state],
        _short(span.start),
        _short(span.end),
        int(span.basis == "inferred"),
    ]


def _pack_rows(connection: Connection, times: Moments, strings: _Strings) -> Packed:
    """Pack the timeline: lines as steps from the row before, a thread only where it changes.

    The connection's own descriptor is `FD` in the texts, so that they are the same for many.
    """
    fd = re.compile(rf"\b{connection.fd}\b")
    rows: Packed = []
    line, tid = 0, -1
    for row, at in zip(connection.timeline, times.at, strict=True):
        rows.append(
            [
                None if row.line is None else row.line - line,
                _short(at),
                0 if row.tid == tid else row.tid,
                strings.number(fd.sub(FD, clean(row.text))),
                None if row.result is None else strings.number(clean(row.result)),
                None if row.duration_us is None else _short(row.duration_us),
                _STATE[row.state_after] * 2 + (row.basis == "inferred"),
            ]
        )
        line = line if row.line is None else row.line
        tid = tid if row.tid is None else row.tid
    return rows


def _short(value: float) -> float:
    """Return a whole number as an integer, which is written without its `.0`."""
    return int(value) if value == int(value) else value


def _pack_card(card: Card) -> Packed:
    steps: Packed = [[clean(when), clean(text), int(strong)] for when, text, strong in card.steps]
    return [clean(card.title), steps, clean(card.sentence), clean(card.place)]
