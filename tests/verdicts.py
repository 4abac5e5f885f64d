"""A small log's verdicts in words."""

import tempfile
from pathlib import Path

from ktrace.analysis import Options, analyse


def verdicts(log: str, every: bool = False) -> list[str]:
    """Return "role outcome ordering" of each connection with kTLS calls, or of every one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_text(log)
        report = analyse([str(path)], Options(keep="all"))
    return [f"{c.role} {c.outcome} {c.ordering}" for c in report.connections if every or c.has_ktls]
