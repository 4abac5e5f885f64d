"""What `import ktrace` offers: `parse()` and the report that it returns."""

import functools
import os
from typing import TYPE_CHECKING

from ktrace import findings
from ktrace.analysis import Options, analyse
from ktrace.reporters import REPORTERS

if TYPE_CHECKING:
    import pandas as pd

Path = str | os.PathLike[str]


def parse(path: Path, *more: Path, only_ktls: bool = False, jobs: int = 1) -> "Report":
    """Analyse a strace log or capture; several files are traces of their own in one report.

    The members of a `strace -ff` family are one trace, whether they or their stem is named.
    `only_ktls` leaves connections without kTLS calls out of `connections`, never out of the counts.
    Raises KtraceError where a file is no trace, OSError where it cannot be read.
    """
    paths = [os.fspath(name) for name in (path, *more)]
    return Report(analyse(paths, Options(keep="ktls" if only_ktls else "all", jobs=jobs)))


class Report:
    """The result of an analysis; `print(report)` shows it as `ktrace parse` does.

    `data` is all of it as typed, immutable records, with the fields of the JSON output.
    """

    def __init__(self, data: findings.Report) -> None:
        self.data = data

    def __repr__(self) -> str:
        counts = self.summary
        return (
            f"<ktrace.Report: {counts.connections} connections, {counts.attempted} with kTLS calls,"
            f" {counts.fallback} fell back, {counts.raced} raced, {len(self.findings)} findings>"
        )

    def __str__(self) -> str:
        return self._render("text")

    @property
    def summary(self) -> findings.Summary:
        """Counts of connections and the three rates."""
        return self.data.summary

    @property
    def findings(self) -> tuple[findings.Finding, ...]:
        """What is wrong, worst first; each folds the connections with the same cause."""
        return self.data.findings

    @property
    def raced(self) -> int:
        """How many connections set the ULP too early and were refused."""
        return self.data.summary.raced

    @property
    def unordered(self) -> int:
        """How many connections have the same wrong order and were lucky."""
        return self.data.summary.unordered

    @functools.cached_property
    def connections(self) -> "pd.DataFrame":
        """One row a connection, with its scalar fields."""
        from ktrace import tables

        return tables.connections(self.data)

    def to_json(self) -> str:
        """Return the report in the schema ktrace.report/1."""
        return self._render("json")

    def to_markdown(self) -> str:
        """Return summary and findings, for a pull request."""
        return self._render("markdown")

    def to_html(self, path: Path) -> None:
        """Write the page to look at and to share."""
        REPORTERS["html"].write(self.data, path)

    def to_csv(self, path: Path) -> None:
        """Write one row a connection."""
        REPORTERS["csv"].write(self.data, path)

    def to_parquet(self, path: Path) -> None:
        """Write one row a connection, typed; needs `pip install 'ktrace[parquet]'`."""
        REPORTERS["parquet"].write(self.data, path)

    def to_perfetto(self, path: Path) -> None:
        """Write a trace for ui.perfetto.dev."""
        REPORTERS["perfetto"].write(self.data, path)

    def _render(self, name: str) -> str:
        rendered = REPORTERS[name].render(self.data)
        return rendered.decode() if isinstance(rendered, bytes) else rendered
