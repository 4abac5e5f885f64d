"""The options that say what to print and which files to write; shared by `parse` and `live`."""

import functools
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

from ktrace.cli.budget import Budget
from ktrace.errors import KtraceError
from ktrace.reporters import REPORTERS

# What prints is imported when there is something to print: a live capture begins sooner.
if TYPE_CHECKING:
    from ktrace.findings import Connection, Report
    from ktrace.timelines import Judged

Keep = Literal["all", "ktls", "none"]

FORMATS = [name for name, reporter in REPORTERS.items() if reporter.stdout]
FILES = {name: reporter.summary for name, reporter in REPORTERS.items() if reporter.file}

# These need no connection: the report's counts and findings are enough.
WITHOUT_CONNECTIONS = ("text", "ndjson", "markdown")


class Output:
    """What the user asked for, and the one connection that `--connection` is after."""

    def __init__(
        self,
        form: str = "text",
        files: dict[str, str] | None = None,
        connection: str | None = None,
        only_ktls: bool = False,
    ) -> None:
        self.form = form
        self.files = files or {}
        self.wanted = connection
        self.only_ktls = only_ktls
        self._found: Connection | None = None
        self._budget = Budget()

    @property
    def keep(self) -> Keep:
        """Which connections must stay in memory for this output."""
        printed = [] if self.wanted else [self.form]
        if all(name in WITHOUT_CONNECTIONS for name in (*printed, *self.files)):
            return "none"
        return "ktls" if self.only_ktls else "all"

    @property
    def streams(self) -> bool:
        """Say whether connections are printed while the work goes on."""
        return self.form == "ndjson" and not self.wanted

    @property
    def listener(self) -> "Callable[[Judged], None] | None":
        """Return what takes each connection, None where only the counts are shown."""
        return self.on_connection if self.streams or self.wanted or self.keep != "none" else None

    def on_connection(self, judged: "Judged") -> None:
        """Take a connection that has ended: print it, remember it, or count its memory."""
        connection = judged.connection
        listed = connection.has_ktls or not self.only_ktls
        if connection.id == self.wanted:
            self._found = connection
        if self.streams and listed:
            _print_line(connection)
        if self.keep == "all" or (self.keep == "ktls" and connection.has_ktls):
            self._budget.add(connection)

    def refuse_to_overwrite(self, inputs: Sequence[str]) -> None:
        """Fail before the work where an output could not be made, or would replace an input."""
        taken = {os.path.realpath(path): "the log itself" for path in inputs}
        for name, path in self.files.items():
            real = os.path.realpath(path)
            if real in taken:
                raise KtraceError(
                    "same-file",
                    f"--{name} {path} would overwrite {taken[real]}",
                    "give it another name",
                )
            taken[real] = "another output"
            if not os.path.isdir(os.path.dirname(real)):
                raise FileNotFoundError(2, "the folder to write to does not exist", path)

    def write(self, report: "Report") -> None:
        """Write the files, then print what was asked for."""
        for name, path in self.files.items():
            REPORTERS[name].write(report, path)
        if self.wanted:
            self._print_connection(report)
        elif self.form == "text":
            from ktrace.reporters import text

            click.echo(text.render(report, **_terminal()), nl=False)
        else:
            self._print_report(report)

    def _print_report(self, report: "Report") -> None:
        if not self.streams:
            for chunk in REPORTERS[self.form].chunks(report):
                sys.stdout.buffer.write(chunk)
        if self.form in ("csv", "ndjson"):
            _warn(report)

    def _print_connection(self, report: "Report") -> None:
        connection = self._found
        if connection is None:
            count = report.summary.connections + report.summary.listeners
            raise KtraceError(
                "no-such-connection",
                f"this trace has no connection {self.wanted}; it has {count}",
                "ids are c1, c2, ... in the order of opening; --format csv lists them",
            )
        if self.form == "text":
            from ktrace.reporters import text

            click.echo(text.render_connection(connection, **_terminal()), nl=False)
        elif self.form == "csv":
            import msgspec

            self._print_report(msgspec.structs.replace(report, connections=(connection,)))
        else:
            _print_line(connection)


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, whose function gets them as one argument `output`."""

    @functools.wraps(function)
    def with_output(
        form: str, connection: str | None, only_ktls: bool, **others: Any
    ) -> int | None:
        named = {name: others.pop(f"file_{name}") for name in FILES}
        files = {name: path for name, path in named.items() if path is not None}
        output = Output(form, files, connection, only_ktls)
        status: int | None = function(output=output, **others)
        return status

    decorated: Callable[..., Any] = with_output
    for option in reversed(_options()):
        decorated = option(decorated)
    return decorated


def _options() -> list[Callable[[Callable[..., Any]], Callable[..., Any]]]:
    return [
        click.option(
            "--format",
            "form",
            type=click.Choice(FORMATS),
            default="text",
            show_default=True,
            help="What to print.",
        ),
        *(
            click.option(
                f"--{name}",
                f"file_{name}",
                type=click.Path(dir_okay=False),
                metavar="FILE",
                help=f"Write {summary}.",
            )
            for name, summary in FILES.items()
        ),
        click.option(
            "--connection",
            metavar="ID",
            callback=_check_id,
            help="Print the timeline of one connection, such as c3.",
        ),
        click.option(
            "--only-ktls",
            is_flag=True,
            help="Leave connections without kTLS calls out of the list, not out of the counts.",
        ),
    ]


def _check_id(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"c[1-9][0-9]*", value):
        raise click.BadParameter("an id is a c and a number, such as c3")
    return value


def _print_line(connection: "Connection") -> None:
    """Print one connection as JSON and send it out: whoever reads it may act on it at once."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(connection) + b"\n")
    sys.stdout.buffer.flush()


def _warn(report: "Report") -> None:
    """Say on stderr what limits rows that hold no finding: what was lost or not understood."""
    for finding in report.findings:
        if finding.code.startswith("KT9"):
            click.echo(f"ktrace: {finding.severity}[{finding.code}]: {finding.message}", err=True)


def _terminal() -> dict[str, Any]:
    """Return how to print: colour for a terminal that wants it, width up to 100, letters."""
    import shutil

    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return {
        "color": color and os.environ.get("TERM") != "dumb",
        "width": min(shutil.get_terminal_size((80, 24)).columns, 100),
        "unicode": _can_print("µ…–→"),
    }


def _can_print(letters: str) -> bool:
    try:
        letters.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True
