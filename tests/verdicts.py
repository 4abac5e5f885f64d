"""A small log's verdicts in words."""

import tempfile
from pathlib import Path

from ktrace.analysis import Options, analyse
from ktrace.findings import Connection


def connections(log: str) -> tuple[Connection, ...]:
    """Return the connections of a log."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_text(log)
        return tuple(analyse([str(path)], Options(keep="all")).connections)


def verdicts(log: str, every: bool = False) -> list[str]:
    """Return "role outcome ordering" of each connection with kTLS calls, or of every one."""
    found = connections(log)
    return [f"{c.role} {c.outcome} {c.ordering}" for c in found if every or c.has_ktls]
