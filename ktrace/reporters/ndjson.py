"""One connection a line, as JSON objects of the report's `connections`."""

from collections.abc import Iterator

from ktrace.findings import Report
from ktrace.reporters.json import encode


def render(report: Report) -> bytes:
    """Return the lines of all connections that the report kept."""
    return b"".join(chunks(report))


def chunks(report: Report) -> Iterator[bytes]:
    """Yield a line a connection."""
    for connection in report.connections:
        yield encode(connection) + b"\n"
