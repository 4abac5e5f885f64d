"""Name the connection that a finding shows."""

from ktrace.findings import Connection
from ktrace.rules.fold import source_name
from ktrace.timelines import Judged, TraceFacts

_TOWARDS = {"client": "->", "server": "<-"}


def who(judged: Judged, trace: TraceFacts) -> str:
    """Return "c1  client -> 10.1.0.3:4043   fd 156 of pid 3947, created at line 1"."""
    connection = judged.connection
    return (
        f"{connection.id}  {_side(connection)}   {_socket(connection)}, {_created(judged, trace)}"
    )


def _side(connection: Connection) -> str:
    if connection.role == "listener":
        return f"listener {connection.local}" if connection.local else "listener"
    arrow = _TOWARDS.get(connection.role, "--")
    return f"{connection.role} {arrow} {connection.peer or 'unknown peer'}"


def _socket(connection: Connection) -> str:
    if connection.pid <= 0:
        return f"fd {connection.fd}"
    process = f"{connection.comm} {connection.pid}" if connection.comm else f"pid {connection.pid}"
    return f"fd {connection.fd} of {process}"


def _created(judged: Judged, trace: TraceFacts) -> str:
    opened = judged.facts.opened
    if opened is None or "before-trace" in judged.facts.limits:
        return "opened before the trace"
    if opened.line is None:
        return "created in the capture"
    name = source_name(trace.sources, opened.source)
    other = f" of {name}" if opened.source != judged.facts.source and name else ""
    return f"created at line {opened.line}{other}"
