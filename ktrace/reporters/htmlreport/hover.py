"""The evidence of a strip row: four times, one sentence and the place in the trace."""

from collections.abc import Sequence

import msgspec

from ktrace.findings import Connection, TimelineRow
from ktrace.reporters.htmlreport.moments import Moments, opening_row
from ktrace.reporters.htmlreport.words import duration, short_sources, signed


class Card(msgspec.Struct, frozen=True):
    """What the card over a strip row shows; a step is (time, text, is the ULP attempt)."""

    title: str
    steps: tuple[tuple[str, str, bool], ...]
    sentence: str
    place: str


_TITLES = {
    "raced": "raced",
    "unordered": "worked by luck",
    "late": "came late",
    "unconnected": "had no connection",
    "unknown": "cannot be judged",
    "safe": "is safe",
    None: "made no ULP attempt",
}


def card(connection: Connection, times: Moments, sources: Sequence[str]) -> Card:
    """Collect the evidence of one connection."""
    title = f"{connection.id} {_TITLES[connection.ordering]}"
    if connection.ordering == "unordered" and all(a.result != "ok" for a in connection.ulp):
        title = f"{connection.id} made the same calls"
    steps = sorted(_steps(connection, times), key=lambda step: step[0])
    return Card(
        title,
        tuple((_when(at, times.by_order), text, strong) for at, text, strong in steps[:5]),
        sentence(connection, times),
        _place(connection, times, sources),
    )


def _when(at: float, by_order: bool) -> str:
    return f"call {at + 1:.0f}" if by_order else signed(at)


def _steps(connection: Connection, times: Moments) -> list[tuple[float, str, bool]]:
    rows = connection.timeline
    steps: dict[int, tuple[float, str, bool]] = {}
    opening = opening_row(connection)
    if opening is not None:
        begin = max(times.at[opening], 0.0) if rows[opening].call == "connect" else 0.0
        steps[opening] = (begin, f"{rows[opening].call}(){_result(rows[opening])}", False)
    if times.attempt_row is not None:
        attempt = rows[times.attempt_row]
        text = f'setsockopt(TCP_ULP, "tls"){_result(attempt)}'
        steps[times.attempt_row] = (times.at[times.attempt_row], text, True)
    up = times.established_row
    if up is not None and up not in steps and times.established is not None:
        steps[up] = (times.established, _how_up(rows[up]), False)
    told = times.told_row
    if told is not None and told not in steps and times.told is not None:
        steps[told] = (times.told, f"{_proof(rows[told])}: {_first(connection)}", False)
    for i, row in enumerate(rows):
        if "SOL_TLS" in row.text and i not in steps:
            steps[i] = (times.at[i], f"{_key_name(row)}{_result(row)}", False)
            break
    return list(steps.values())


def _first(connection: Connection) -> str:
    late = connection.ordering in ("raced", "unordered")
    return "first proof the program saw" if late else "proof of ESTABLISHED"


def _result(row: TimelineRow) -> str:
    if row.result is None:
        return ", never returned"
    return f" = {'0' if row.result == 'ok' and not row.call.startswith('accept') else row.result}"


def _how_up(row: TimelineRow) -> str:
    if row.basis == "observed":
        return "ESTABLISHED, observed in the kernel"
    return f"{_proof(row)}: proves ESTABLISHED"


def _proof(row: TimelineRow) -> str:
    if "OUT" in row.text and row.call not in ("setsockopt", "epoll_ctl"):
        return "EPOLLOUT" if row.call.startswith("epoll") else "POLLOUT"
    return f"{row.call}()"


def _key_name(row: TimelineRow) -> str:
    return "TLS_TX key" if "TLS_TX" in row.text else "TLS_RX key"


def sentence(connection: Connection, times: Moments) -> str:
    """Return what the times mean, in one or two sentences."""
    if connection.ordering == "raced":
        return _race_sentence(connection, times)
    if connection.ordering == "unordered":
        return _luck_sentence(times)
    return {
        "late": "The peer had closed or reset the connection before. Not a race.",
        "unconnected": "The socket had no connection yet, or its connect() had failed.",
        "unknown": "The trace does not show whether ESTABLISHED had been reached.",
        "safe": "Set after ESTABLISHED was proven.",
    }.get(connection.ordering or "", "Keys were installed without setting the ULP.")


def _race_sentence(connection: Connection, times: Moments) -> str:
    if connection.outcome == "not-connected":
        return "Refused before the handshake was over, and the connection never came up."
    early = "Refused before the handshake was over. "
    if connection.margin_us is not None and not times.by_order:
        bound = "at most " if connection.margin_basis == "inferred" else ""
        early = f"Refused, {bound}{duration(connection.margin_us)} too early. "
    if connection.recovered:
        return early + "A later attempt succeeded."
    return early + ("TLS went on in user space." if connection.outcome == "fallback" else "")


def _luck_sentence(times: Moments) -> str:
    if times.told is not None and times.attempt is not None and not times.by_order:
        ahead = duration(times.told - times.attempt)
        return f"Set {ahead} before the program could know. On a slower link this is refused."
    return "Set before the program could know. On a slower link this is refused."


def _place(connection: Connection, times: Moments, sources: Sequence[str]) -> str:
    row = times.attempt_row
    line = connection.timeline[row].line if row is not None else None
    if line is None:
        return ""
    return f"{short_sources(sources)[sources[0]]}:{line}" if len(sources) == 1 else f"line {line}"
