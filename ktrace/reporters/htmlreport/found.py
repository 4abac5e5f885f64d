"""The findings as the page shows them."""

from collections.abc import Mapping, Sequence

import msgspec

from ktrace.findings import Basis, Connection, Evidence, EvidenceRow, Finding, TcpState
from ktrace.reporters.htmlreport.moments import Moments
from ktrace.reporters.htmlreport.strip import span_look
from ktrace.reporters.htmlreport.words import duration, number_of, signed
from ktrace.wording import id_runs, plural

_LINKS = 12
_TEXTS = 3
_PLACES = 8


class CallRow(msgspec.Struct, frozen=True):
    """A row of a table of calls."""

    line: str
    time: str
    thread: str
    text: str
    result: str
    failed: bool
    took: str
    state: TcpState
    look: str
    marked: bool


class Found(msgspec.Struct, frozen=True):
    """One finding; `places` are the places (source:line) of its evidence under each text."""

    code: str
    name: str
    severity: str
    message: str
    who: str
    size: str
    links: tuple[str, ...]
    hidden: int
    worst: str
    rows: tuple[CallRow, ...]
    places: tuple[tuple[str, tuple[str, ...]], ...]
    more_places: int
    fields: tuple[tuple[str, str], ...]
    stack: tuple[str, ...]
    observed: bool


def found(finding: Finding, names: Mapping[str, str]) -> Found:
    """Prepare one finding; `names` are the short names of the sources."""
    ids = sorted(finding.connections, key=number_of)
    places = _places(finding.evidence, names)
    return Found(
        code=finding.code,
        name=finding.name,
        severity=finding.severity,
        message=finding.message,
        who=finding.who,
        size=_size(finding, ids),
        links=tuple(ids[:_LINKS]),
        hidden=max(0, len(ids) - _LINKS),
        worst="",
        rows=call_rows(finding.rows),
        places=places,
        more_places=len({_place(e, names) for e in finding.evidence}) - _shown(places),
        fields=tuple(_fields(finding)),
        stack=finding.stack or (),
        observed=all(row.basis == "observed" for row in finding.rows),
    )


def _size(finding: Finding, ids: Sequence[str]) -> str:
    if not ids:
        return ""
    return f"{plural(max(finding.count, len(ids)), 'connection')}: {id_runs(ids, 4)}"


def _shown(places: Sequence[tuple[str, tuple[str, ...]]]) -> int:
    return len({place for _, some in places for place in some})


def _places(
    evidence: Sequence[Evidence], names: Mapping[str, str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Fold evidence by its text: the first few texts with the first few places of each."""
    by_text: dict[str, dict[str, None]] = {}
    for item in evidence:
        by_text.setdefault(item.text, {})[_place(item, names)] = None
    shown = list(by_text.items())[:_TEXTS]
    return tuple((text, tuple(places)[:_PLACES]) for text, places in shown)


def _place(evidence: Evidence, names: Mapping[str, str]) -> str:
    source = names.get(evidence.source, evidence.source)
    return source if evidence.line is None else f"{source}:{evidence.line}"


def _fields(finding: Finding) -> list[tuple[str, str]]:
    pairs = [("why", finding.why), ("outcome", finding.outcome), ("help", finding.help)]
    return [pair for pair in pairs if pair[1]] + [("note", note) for note in finding.notes]


def call_rows(rows: Sequence[EvidenceRow]) -> tuple[CallRow, ...]:
    """Write evidence rows with times from connect() on."""
    zero = next((r.time for r in rows if r.text.startswith(("connect(", "accept"))), None)
    if zero is None:
        zero = next((r.time for r in rows if r.time is not None), None)
    return tuple(_call_row(row, zero) for row in rows)


def _call_row(row: EvidenceRow, zero: float | None) -> CallRow:
    time = "" if row.time is None or zero is None else signed(round((row.time - zero) * 1e6, 1))
    return CallRow(
        line="" if row.line is None else str(row.line),
        time=time,
        thread="\u2013" if row.tid is None else str(row.tid),
        text=row.text,
        result=row.result or "",
        failed=row.marked and row.result not in ("ok", None),
        took="",
        state=row.state,
        look=state_look(row.state, row.basis),
        marked=row.marked,
    )


def timeline_rows(connection: Connection, times: Moments) -> tuple[CallRow, ...]:
    """Write the whole timeline of a connection as a table of calls."""
    refused = {(a.line, a.time, a.tid) for a in connection.ulp if a.result not in ("ok", "EEXIST")}
    rows = []
    for i, row in enumerate(connection.timeline):
        marked = "TCP_ULP" in row.text and (row.line, row.time, row.tid) in refused
        time = f"call {times.at[i] + 1:.0f}" if times.by_order else signed(times.at[i])
        rows.append(
            CallRow(
                line="" if row.line is None else str(row.line),
                time=time,
                thread="\u2013" if row.tid is None else str(row.tid),
                text=row.text,
                result=row.result or "",
                failed=marked,
                took="" if row.duration_us is None else duration(row.duration_us),
                state=row.state_after,
                look=state_look(row.state_after, row.basis),
                marked=marked,
            )
        )
    return tuple(rows)


def state_look(state: TcpState, basis: Basis) -> str:
    """Return the class of the small swatch before a state's name."""
    if state in ("CLOSE", "LISTEN"):
        return "s-none"
    return span_look(state, basis == "inferred")
