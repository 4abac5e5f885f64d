"""All that is known of one connection, as text."""

from collections.abc import Iterator

from ktrace.findings import Connection, TimelineRow
from ktrace.reporters.layout import Paper
from ktrace.reporters.text_finding import relative_times, result_of, state_of
from ktrace.wording import duration, plural

_ARROW = {"client": " -> ", "server": " <- "}
_STYLE = {"raced": "raced", "unordered": "luck", "safe": "good"}


def write_timeline(paper: Paper, connection: Connection) -> None:
    """Add the verdict, then every call that was kept."""
    paper.wrap(f"{connection.id}: {_who(connection)}", hanging="    ", head="bold")
    for label, text in _facts(connection):
        paper.wrap(f"{label:<9} {text}", indent="  ", hanging=" " * 12)
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
    for attempt in connection.ulp:
        if attempt.stack:
            yield "from", "\n".join(attempt.stack[:1])


def _margin(margin: float, basis: str | None) -> str:
    """Say how far the ULP was from ESTABLISHED; a bound where it is inferred."""
    side = "before" if margin < 0 else "after"
    bound = "" if basis == "observed" else ("at most " if margin < 0 else "at least ")
    return f"the ULP came {bound}{duration(abs(margin))} {side} ESTABLISHED ({basis})"


def _state(row: TimelineRow) -> str:
    """Return the state a kTLS call met; for other calls what they led to or told."""
    met = row.call == "setsockopt" and ("TCP_ULP" in row.text or "SOL_TLS" in row.text)
    return row.state_before if met else row.state_after


def _write_calls(paper: Paper, connection: Connection) -> None:
    rows = connection.timeline
    if not rows:
        return
    columns: dict[str, list[str]] = {}
    if any(row.line is not None for row in rows):
        columns["line"] = ["" if row.line is None else str(row.line) for row in rows]
    times = relative_times([row.time for row in rows])
    if any(times):
        columns["time"] = times
    if len({row.tid for row in rows}) > 1:
        columns["thread"] = ["-" if row.tid is None else str(row.tid) for row in rows]
    columns["call"] = [row.text for row in rows]
    columns["result"] = [result_of(row) for row in rows]
    if paper.width >= 100 and any(row.duration_us is not None for row in rows):
        columns["took"] = [
            "" if row.duration_us is None else duration(row.duration_us) for row in rows
        ]
    columns["TCP state"] = [state_of(_state(row), row.basis) for row in rows]
    deciding = {(a.line, a.time) for a in connection.ulp}
    style = _STYLE.get(connection.ordering or "", "")
    paper.table(
        list(columns),
        list(zip(*columns.values(), strict=True)),
        right=[at for at, name in enumerate(columns) if name in ("line", "time", "thread", "took")],
        elastic=list(columns).index("call"),
        styles=[
            style if (row.line, row.time) in deciding and "TCP_ULP" in row.text else ""
            for row in rows
        ],
    )
