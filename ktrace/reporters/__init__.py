"""Output formats: one module a format, and one line here.

A reporter gets a finished `Report` and decides nothing.  Its module is imported when it is used,
and has `render(report) -> str | bytes`; one whose output can be large has
`chunks(report) -> Iterator[bytes]` too.
"""

import contextlib
import importlib
import os
import stat
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from ktrace import places

if TYPE_CHECKING:
    from ktrace.findings import Report


class Reporter(NamedTuple):
    """An output format; `stdout` ones are offered by --format, `file` ones as --NAME FILE."""

    name: str
    module: str
    summary: str
    stdout: bool = False
    file: bool = False

    def render(self, report: "Report") -> str | bytes:
        """Return the whole output; text is plain (no colour, 80 columns)."""
        rendered: str | bytes = self._load().render(report)
        return rendered

    def chunks(self, report: "Report") -> Iterator[bytes]:
        """Yield the output in pieces, so that a large one is never in memory twice."""
        module = self._load()
        if hasattr(module, "chunks"):
            yield from module.chunks(report)
            return
        rendered = module.render(report)
        yield rendered.encode() if isinstance(rendered, str) else rendered

    def write(self, report: "Report", path: str | os.PathLike[str]) -> None:
        """Write the output to a file, all of it or nothing."""
        with write_atomically(path, "wb") as file:
            for chunk in self.chunks(report):
                file.write(chunk)

    def _load(self) -> Any:
        return importlib.import_module(self.module)


_LIST = (
    Reporter("text", "ktrace.reporters.text", "summary and findings, to read", stdout=True),
    Reporter(
        "json", "ktrace.reporters.json", "the whole report (schema ktrace.report/1)", True, True
    ),
    Reporter("ndjson", "ktrace.reporters.ndjson", "one connection a line, as it ends", stdout=True),
    Reporter("csv", "ktrace.reporters.csv", "one row a connection", stdout=True, file=True),
    Reporter("parquet", "ktrace.reporters.parquet", "one row a connection, typed", file=True),
    Reporter("html", "ktrace.reporters.html", "a page to look at and to share", file=True),
    Reporter("perfetto", "ktrace.reporters.perfetto", "a trace for ui.perfetto.dev", file=True),
    Reporter(
        "markdown",
        "ktrace.reporters.markdown",
        "summary and findings, for a pull request",
        file=True,
    ),
)
REPORTERS: dict[str, Reporter] = {reporter.name: reporter for reporter in _LIST}


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that takes its name only when the block has ended well ("w" is UTF-8, or "wb").

    It is written beside its final place and renamed, so nobody sees half a report and a failure
    leaves the old one.  Pipes and devices are written directly.
    """
    try:
        with places.place(path) as target:
            old = target.status()
            if old is None or stat.S_ISREG(old.st_mode):
                with _draft(target, mode, old) as file:
                    yield file
            else:
                with _open(target.open_device(), mode) as file:
                    yield file
    except OSError as error:
        if error.errno is None or isinstance(error, BrokenPipeError):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


@contextlib.contextmanager
def _draft(target: places.Place, mode: str, old: os.stat_result | None) -> Iterator[IO[Any]]:
    draft = f".{target.name[:60]}.{os.urandom(8).hex()}.tmp"
    fd = target.create(draft)
    try:
        with _open(fd, mode) as file:
            if old is not None and old.st_uid == os.geteuid():
                os.fchmod(fd, stat.S_IMODE(old.st_mode))  # a stranger's may let strangers write
            yield file
        target.rename_here(draft)
    except BaseException:
        target.remove(draft)
        raise


def _open(fd: int, mode: str) -> IO[Any]:
    return (
        os.fdopen(fd, mode) if "b" in mode else os.fdopen(fd, mode, encoding="utf-8", newline="\n")
    )
