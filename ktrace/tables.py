"""The report as pandas frames; the only module that imports pandas."""

import importlib.util
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ktrace.errors import KtraceError
from ktrace.findings import Report
from ktrace.wording import clean

if TYPE_CHECKING:
    import pandas as pd

# The scalar fields of a connection, with the pandas type that keeps them and their nulls.
CONNECTION_COLUMNS = {
    "id": "string",
    "pid": "int64",
    "comm": "string",
    "fd": "int64",
    "role": "string",
    "family": "string",
    "local": "string",
    "peer": "string",
    "outcome": "string",
    "ordering": "string",
    "recovered": "bool",
    "tls_version": "string",
    "cipher": "string",
    "margin_us": "Float64",
    "margin_basis": "string",
    "omitted": "int64",
}
PEER_COLUMNS = {
    "peer": "string",
    "role": "string",
    "connections": "int64",
    "attempted": "int64",
    "fallback": "int64",
    "raced": "int64",
}
RATE_COLUMNS = {"k": "int64", "n": "int64", "value": "Float64", "low": "Float64", "high": "Float64"}
FINDING_COLUMNS = {
    "code": "string",
    "name": "string",
    "severity": "string",
    "message": "string",
    "count": "int64",
    "fingerprint": "string",
}


def connections(report: Report) -> "pd.DataFrame":
    """Return a row for each connection that the report kept."""
    return _frame(report.connections, CONNECTION_COLUMNS)


def peers(report: Report) -> "pd.DataFrame":
    """Return a row a peer; the fallback rate is in columns fallback_rate_value, _low and _high."""
    frame = _frame(report.peers, PEER_COLUMNS)
    rates = _frame([peer.fallback_rate for peer in report.peers], RATE_COLUMNS)
    return frame.join(rates.add_prefix("fallback_rate_"))


def findings(report: Report) -> "pd.DataFrame":
    """Return a row a finding, without its evidence."""
    return _frame(report.findings, FINDING_COLUMNS)


def connections_csv(report: Report) -> str:
    """Return the connections as CSV; control characters are escaped, nulls are empty."""
    frame = connections(report)
    for name in ("comm", "local", "peer"):
        frame[name] = frame[name].map(clean, na_action="ignore")
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def connections_parquet(report: Report) -> bytes:
    """Return the connections as a Parquet file."""
    if importlib.util.find_spec("pyarrow") is None:
        raise KtraceError(
            "missing-part",
            "writing Parquet needs pyarrow, which is not installed",
            "pip install 'ktrace[parquet]', or write --csv",
        )
    file = io.BytesIO()
    connections(report).to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


def _frame(records: Iterable[Any], columns: dict[str, str]) -> "pd.DataFrame":
    import pandas as pd

    rows = list(records)
    series = {
        name: pd.Series([getattr(row, name) for row in rows], dtype=dtype)
        for name, dtype in columns.items()
    }
    return pd.DataFrame(series, columns=list(columns))
