"""The race strip: what is painted in each row, back to front.

Each element carries its place in percent and its time in microseconds, so that the page's script
can move it to another scale without knowing the grammar of the chart.
"""

from collections.abc import Iterator, Sequence

import msgspec

from ktrace.findings import Connection, TcpState, UlpAttempt
from ktrace.reporters.htmlreport.groups import Group
from ktrace.reporters.htmlreport.moments import Moments
from ktrace.reporters.htmlreport.scale import Scale
from ktrace.reporters.htmlreport.words import count, process, signed

CONNECTING = frozenset(("SYN_SENT", "SYN_RECV"))
_NOT_UP = ("ENOTCONN", "ENOTSUPP")


class Element(msgspec.Struct, frozen=True):
    """A "box" or "line" from `t` to `e`, a "tick" or "glyph" at `t`; y counts from the middle."""

    shape: str
    look: str
    x: float
    t: float
    w: float | None = None
    e: float | None = None
    y: float = 0.0
    h: float = 0.0


class Row(msgspec.Struct, frozen=True):
    """One connection of the strip."""

    id: str
    process: str
    arrow: str
    peer: str
    dim: bool
    margin: str
    bound: bool
    outcome: str
    label: str
    zero: float | None  # when ESTABLISHED was reached, for the view that puts it at 0
    elements: tuple[Element, ...]


def outcome_words(connection: Connection) -> str:
    """Return the contract's word for the outcome, as prose writes it."""
    return connection.outcome.replace("not-connected", "not connected")


def margin_words(connection: Connection, by_order: bool = False) -> str:
    """Return the margin as the strip and the table write it."""
    if connection.ordering is None:
        return "\u2013"
    if connection.margin_us is None:
        if connection.ordering == "raced" and connection.outcome == "not-connected":
            return "never up"
        if connection.ordering == "unconnected":
            return "\u2013"
        return "order only" if by_order else "not known"
    return "order only" if by_order else signed(connection.margin_us)


def arrow(connection: Connection) -> str:
    """Return the direction in which the connection was opened."""
    return {"client": "\u2192", "server": "\u2190"}.get(connection.role, "\u00b7")


def row(connection: Connection, times: Moments, scale: Scale, above: Connection | None) -> Row:
    """Lay out one connection; `above` is the one in the row before it."""
    return Row(
        id=connection.id,
        process=process(connection),
        arrow=arrow(connection),
        peer=connection.peer or "peer not shown",
        dim=above is not None and _who(above) == _who(connection),
        margin=margin_words(connection, times.by_order),
        bound=connection.margin_basis == "inferred" and connection.margin_us is not None,
        outcome=outcome_words(connection),
        label=sentence(connection, times.by_order),
        zero=times.established,
        elements=tuple(_paint(connection, times, scale)),
    )


def _who(connection: Connection) -> tuple[str, str | None, str]:
    return process(connection), connection.peer, connection.role


def sentence(connection: Connection, by_order: bool = False) -> str:
    """Return the row as one sentence, for screen readers."""
    margin = connection.margin_us
    word = {"unordered": "latent race", None: "no ULP attempt"}.get(
        connection.ordering, str(connection.ordering)
    )
    parts = [connection.id, word]
    if by_order:
        parts.append("order of calls only")
    elif connection.ordering == "raced" and margin is not None:
        parts.append(signed(abs(margin)).lstrip("+") + " too early")
    elif connection.ordering == "raced":
        parts.append(margin_words(connection))
    elif margin is not None:
        parts.append(signed(abs(margin)).lstrip("+") + (" after" if margin >= 0 else " before"))
        parts[-1] += " ESTABLISHED"
    return ", ".join([*parts, outcome_words(connection), connection.peer or "peer not shown"])


def _paint(connection: Connection, times: Moments, scale: Scale) -> Iterator[Element]:
    yield from _spans(times, scale)
    if connection.ordering == "raced" and times.attempt is not None:
        yield from _race_bar(times.attempt, times, scale)
    if connection.ordering == "unordered" and times.attempt is not None:
        yield from _dark_stretch(times.attempt, times, scale)
    if times.established is not None and connection.outcome != "not-connected":
        yield _line("up", times.established, scale, 8)
    if times.end > 0:
        yield _line("end", times.end, scale, 5)
    yield from _keys(connection, times, scale)
    yield from _attempts(connection, times, scale)


def _spans(times: Moments, scale: Scale) -> Iterator[Element]:
    for span in times.spans:
        if span.end <= 0:
            continue
        height = 9 if span.state == "ESTABLISHED" else 5
        look = span_look(span.state, span.basis == "inferred")
        yield _box(look, max(span.start, 0.0), span.end, scale, height)


def span_look(state: TcpState, inferred: bool) -> str:
    """Return the class of a state span."""
    if state == "UNKNOWN":
        return "s-unknown"
    kind = "up" if state == "ESTABLISHED" else "conn" if state in CONNECTING else "down"
    return f"s-{kind} hatch" if inferred else f"s-{kind}"


def _race_bar(attempt: float, times: Moments, scale: Scale) -> Iterator[Element]:
    """Paint the length of the race: solid to ESTABLISHED, dashed to the end where it never came."""
    came_up = times.established is not None and times.established > attempt
    stop = times.established if came_up and times.established is not None else times.end
    stop = max(stop, attempt)
    yield _box("race-ground", attempt, stop, scale, 9)
    yield (
        _box("race", attempt, stop, scale, 6)
        if came_up
        else _span_line("race-open", attempt, stop, scale)
    )


def _dark_stretch(attempt: float, times: Moments, scale: Scale) -> Iterator[Element]:
    """Paint the time between a lucky attempt and the moment the program was told."""
    if times.told is not None and times.told > attempt:
        yield _span_line("dark", attempt, times.told, scale)
        yield _glyph("told", times.told, scale)


def _keys(connection: Connection, times: Moments, scale: Scale) -> Iterator[Element]:
    for kind, installs in (("tx", connection.tx), ("rx", connection.rx)):
        for place, ok in key_places(connection, times, kind, len(installs)):
            yield _glyph(kind if ok else f"no{kind}", place, scale)


def key_places(
    connection: Connection, times: Moments, kind: str, most: int
) -> list[tuple[float, bool]]:
    """Return when keys of one direction were installed, and whether the kernel took them."""
    name = f"TLS_{kind.upper()}"
    found = [
        (place, row.result == "ok")
        for row, place in zip(connection.timeline, times.at, strict=True)
        if row.call == "setsockopt" and "SOL_TLS" in row.text and name in _words(row.text)
    ]
    return found[:most]


def _words(text: str) -> list[str]:
    return text.replace(",", " ").replace(")", " ").split()


def _attempts(connection: Connection, times: Moments, scale: Scale) -> Iterator[Element]:
    """Paint the ULP attempts, the deciding one last and so on top."""
    marks: list[Element] = []
    attached = False
    for attempt in connection.ulp:
        benign = attempt.result == "EEXIST" and attached
        attached = attached or attempt.result == "ok"
        place = attempt_place(connection, attempt, times)
        if place is not None and not benign:
            marks.append(_glyph(attempt_look(connection, attempt, place, times), place, scale))
    deciding = [mark for mark in marks if mark.t == times.attempt]
    yield from (mark for mark in marks if mark.t != times.attempt)
    yield from deciding


def attempt_place(connection: Connection, attempt: UlpAttempt, times: Moments) -> float | None:
    """Return when an attempt began, on the axis of its connection."""
    wanted = (attempt.line, attempt.time, attempt.tid)
    for line, place in zip(connection.timeline, times.at, strict=True):
        if "TCP_ULP" in line.text and (line.line, line.time, line.tid) == wanted:
            return place
    if attempt.time is None or times.zero is None:
        return None
    return round((attempt.time - times.zero) * 1e6, 1)


def attempt_look(connection: Connection, attempt: UlpAttempt, place: float, times: Moments) -> str:
    """Return the glyph of an attempt: by what the kernel said and by what was known then."""
    latent = connection.ordering == "unordered" and (times.told is None or place < times.told)
    if attempt.result == "ok":
        return "luck" if latent and place == times.attempt else "ok"
    if attempt.result is None:
        return "cut"
    if attempt.result in _NOT_UP:
        if connection.ordering == "late":
            return "late"
        return "square" if attempt.state in ("CLOSE", "LISTEN") else "x"
    return "noluck" if latent else "x"


def _glyph(look: str, t: float, scale: Scale) -> Element:
    return Element("glyph", look, scale.at(t), t)


def _line(look: str, t: float, scale: Scale, half: float) -> Element:
    return Element("tick", look, scale.at(t), t, h=half)


def _box(look: str, start: float, stop: float, scale: Scale, height: float) -> Element:
    x, end = scale.at(start), scale.at(stop)
    return Element("box", look, x, start, round(end - x, 2), stop, -height / 2, height)


def _span_line(look: str, start: float, stop: float, scale: Scale) -> Element:
    x, end = scale.at(start), scale.at(stop)
    return Element("line", look, x, start, round(end - x, 2), stop)


class Fold(msgspec.Struct, frozen=True):
    """Connections of one group to one peer, drawn as one row."""

    who: str
    arrow: str
    peer: str
    text: str
    margin: str
    elements: tuple[Element, ...]


def fold(
    group: Group,
    who: Connection,
    peer: str,
    margins: Sequence[float],
    attempts: Sequence[float],
    many: int,
    scale: Scale,
) -> Fold:
    """Draw many connections as ranges, p5 to p95 of attempt and ESTABLISHED, medians as marks."""
    ups = [attempt - margin for attempt, margin in zip(attempts, margins, strict=True)]
    elements: list[Element] = []
    if attempts:
        elements.append(_range("fold-up", ups, scale, 5))
        elements.append(_range("fold-try", attempts, scale, 5))
        elements.append(_line("up", percentile(ups, 0.5), scale, 8))
        elements.append(_glyph(group.glyph, percentile(attempts, 0.5), scale))
    middle = f"median {signed(percentile(margins, 0.5))}" if margins else "never up"
    return Fold(process(who), arrow(who), peer, f"{count(many)} more", middle, tuple(elements))


def _range(look: str, values: Sequence[float], scale: Scale, height: float) -> Element:
    return _box(look, percentile(values, 0.05), percentile(values, 0.95), scale, height)


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value below which `part` of the values lie, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(part * (len(ordered) - 1))))]
