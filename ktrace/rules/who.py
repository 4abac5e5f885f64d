"""Name the connection that a finding shows."""

from ktrace.findings import Connection
from ktrace.rules.fold import source_name
from ktrace.timelines import Judged, TraceFacts

_TOWARDS = {"client": "->", "server": "<-"}


def who(judged: Judged, trace: TraceFacts) -> str:
    """Return "c1  client -> 10.1.0.3:4043   fd 156 of pid 3947, created at line 1"."""
    connection = judged.connection
    before = judged.facts.opened is None or "before-trace" in judged.facts.limits
    created = "opened before the trace" if before else _created(judged, trace)
    return f"{connection.id}  {_side(connection, before)}   {_socket(connection)}, {created}"


def _side(connection: Connection, before: bool) -> str:
    if connection.role == "listener":
        return f"listener {connection.local}" if connection.local else "listener"
    arrow = _TOWARDS.get(connection.role)
    if arrow is not None:
        return f"{connection.role} {arrow} {connection.peer or 'unknown peer'}"
    return f"{connection.peer or 'unknown peer'} (role unknown)" if before else "never connected"


def _socket(connection: Connection) -> str:
    if connection.pid <= 0:
        return f"fd {connection.fd}"
    process = f"{connection.comm} {connection.pid}" if connection.comm else f"pid {connection.pid}"
    return f"fd {connection.fd} of {process}"


def _created(judged: Judged, trace: TraceFacts) -> str:
    opened = judged.facts.opened
    if opened is None or opened.line is None:
        return "created in the capture"
    name = source_name(trace.sources, opened.source)
    other = f" of {name}" if opened.source != judged.facts.source and name else ""
    return f"created at line {opened.line}{other}"
