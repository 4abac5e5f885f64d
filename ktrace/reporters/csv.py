"""One row a connection, with its scalar fields, as CSV."""

from ktrace.findings import Report
from ktrace.tables import connections_csv


def render(report: Report) -> str:
    """Return the rows with a header line; what is null is empty."""
    return connections_csv(report)
