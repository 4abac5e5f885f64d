"""The list of commands, and the group that imports one only when it is used."""

import importlib
import importlib.util
from typing import NamedTuple

import click

import ktrace


class Entry(NamedTuple):
    """A command: its name, the module that has it as `command`, its line in `ktrace --help`."""

    name: str
    module: str
    summary: str


COMMANDS = (
    Entry("parse", "ktrace.cli.parse", "Analyse saved strace logs and captures."),
    Entry("live", "ktrace.cli.live", "Capture a running program with eBPF and analyse it."),
    Entry("record", "ktrace.cli.record", "Run strace with the options that ktrace needs."),
    Entry("check", "ktrace.cli.check", "Fail a CI job when kTLS got worse."),
    Entry("scrub", "ktrace.cli.scrub", "Remove key material from a log before sharing it."),
    Entry("doctor", "ktrace.cli.doctor", "Say whether this host can do kTLS and live capture."),
    Entry("explain", "ktrace.cli.explain", "Show the manual page of a finding."),
)


def available() -> dict[str, Entry]:
    """Return the commands whose module is in this installation, without importing any."""
    return {entry.name: entry for entry in COMMANDS if importlib.util.find_spec(entry.module)}


class LazyGroup(click.Group):
    """Imports a command's module when the command is run, completed or asked for its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(available())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = available().get(cmd_name)
        if entry is None:
            return None
        command: click.Command = importlib.import_module(entry.module).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if rows := [(entry.name, entry.summary) for entry in available().values()]:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


EPILOG = (
    "Exit status: 0 done; 1 a check failed; 2 ktrace could not do its work; 3 a check was"
    " inconclusive. Set KTRACE_DEBUG=1 for a traceback when ktrace itself fails."
)


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(ktrace.__version__, prog_name="ktrace", message="%(prog)s %(version)s")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Find out whether kernel TLS was really set up on each TCP connection, and why not.

    Start with `ktrace record -o strace.log -- COMMAND`, then `ktrace parse strace.log`.
    """
    if ctx.invoked_subcommand is None:
        raise click.UsageError("no command given")
