"""One row a connection, with its scalar fields, as Parquet."""

from ktrace.findings import Report
from ktrace.tables import connections_parquet


def render(report: Report) -> bytes:
    """Return the file; raises KtraceError where pyarrow is not installed."""
    return connections_parquet(report)
