"""All that is known of one connection, as text."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from ktrace.findings import Connection, TimelineRow
from ktrace.reporters.layout import Paper
from ktrace.reporters.text_finding import write_stack
from ktrace.reporters.text_rows import is_ktls, write_rows
from ktrace.wording import duration, plural

_ARROW = {"client": " -> ", "server": " <- "}
_STYLE = {"raced": "raced", "unordered": "luck", "safe": "good"}


def write_timeline(paper: Paper, connection: Connection) -> None:
    """Add the verdict, then every call that was kept."""
    paper.wrap(f"{connection.id}: {_who(connection)}", hanging="    ", head="bold")
    for label, text in _facts(connection):
        paper.wrap(f"{label:<9} {text}", indent="  ", hanging=" " * 12)
    for attempt in connection.ulp:
        write_stack(paper, attempt.stack or ())
    paper.gap()
    _write_calls(paper, connection)
    if connection.omitted:
        paper.line(f"  {plural(connection.omitted, 'call')} left out")
    if any(row.basis == "inferred" for row in connection.timeline):
        paper.wrap("~ is inferred from calls", indent="  ", hanging="    ")


def _who(connection: Connection) -> str:
    arrow = _ARROW.get(connection.role, " ")
    peer = f"{arrow}{connection.peer}" if connection.peer else ""
    local = f" from {connection.local}" if connection.local else ""
    process = f"{connection.comm} " if connection.comm else "pid "
    owner = f" of {process}{connection.pid}" if connection.pid > 0 else ""
    return f"{connection.role}{peer}{local}, fd {connection.fd}{owner}"


def _facts(connection: Connection) -> Iterator[tuple[str, str]]:
    suite = " ".join(word for word in (connection.tls_version, connection.cipher) if word)
    yield "outcome", connection.outcome + (f" ({suite})" if suite else "")
    if connection.ordering:
        recovered = ", a later attempt succeeded" if connection.recovered else ""
        yield "order", f"{connection.ordering}{recovered}"
    if connection.margin_us is not None:
        yield "margin", _margin(connection.margin_us, connection.margin_basis)


def _margin(margin: float, basis: str | None) -> str:
    """Say how far the ULP was from ESTABLISHED; a bound where it is inferred."""
    if basis == "inferred" and not margin:
        return "not known: the ULP's own success is the first proof of ESTABLISHED"
    side = "before" if margin < 0 else "after"
    bound = "" if basis == "observed" else ("at most " if margin < 0 else "at least ")
    return f"the ULP came {bound}{duration(abs(margin))} {side} ESTABLISHED ({basis})"


def _write_calls(paper: Paper, connection: Connection) -> None:
    attempts = {(attempt.line, attempt.time) for attempt in connection.ulp}
    style = _STYLE.get(connection.ordering or "", "")
    rows = _in_time(connection.timeline)
    styles = [style if is_ktls(row) and (row.line, row.time) in attempts else "" for row in rows]
    write_rows(paper, rows, styles)


def _in_time(timeline: Sequence[TimelineRow]) -> list[TimelineRow]:
    """Tell a call during which the state changed as two rows: it begins, and it returns."""
    changes = [row.time for row in timeline if row.call == "state" and row.time is not None]
    rows: list[tuple[float, TimelineRow]] = []
    for row in timeline:
        start, took = row.time or 0.0, (row.duration_us or 0.0) / 1e6
        if row.call == "state" or is_ktls(row) or not _any_within(changes, start, start + took):
            rows.append((start, row))
            continue
        begins = replace(row, result="...", duration_us=None, state_after=row.state_before)
        returns = replace(row, text=f"  {row.text.partition('(')[0]}() returns", time=start + took)
        rows += [(start, begins), (start + took, returns)]
    return [row for _, row in sorted(rows, key=lambda timed: timed[0])]


def _any_within(times: Sequence[float], start: float, end: float) -> bool:
    return any(start <= time <= end for time in times)
