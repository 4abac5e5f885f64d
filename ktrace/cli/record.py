"""`ktrace record`: strace with the options that ktrace needs."""

import click

from ktrace import recording


@click.command(name="record", context_settings={"ignore_unknown_options": False})
@click.option("-o", "--output", "log", required=True, metavar="LOG", help="File to write.")
@click.option(
    "-p", "--pid", "pids", type=int, multiple=True, metavar="N", help="Attach to process N."
)
@click.option("--force", is_flag=True, help="Overwrite LOG where it exists.")
@click.argument("command_line", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND ...]")
def command(log: str, pids: tuple[int, ...], force: bool, command_line: tuple[str, ...]) -> int:
    """Record the calls that decide about kTLS into LOG, with strace.

    Either a COMMAND is started under strace, or strace attaches to running processes (--pid) until
    Ctrl-C. Only the calls that a verdict needs are recorded, no key byte gets into the log, signals
    go to the COMMAND, and its exit status is that of ktrace.

    \b
      ktrace record -o strace.log -- curl https://localhost/
      sudo ktrace record -o strace.log --pid 4711
    """
    if bool(pids) == bool(command_line):
        raise click.UsageError("give either --pid or -- COMMAND")
    return recording.record(log, pids, command_line, force)
