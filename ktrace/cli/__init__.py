"""The command line.

One module a command (`ktrace/cli/parse.py`), listed in `ktrace/cli/commands.py` and imported only
when it is used.  Each has a click command named `command`, whose function returns None or the exit
status.  A command raises `KtraceError` where it cannot go on; only `main` prints errors.
"""

import io
import os
import sys

TYPE_CHECKING = False  # `typing` would keep a live capture waiting
if TYPE_CHECKING:
    from collections.abc import Sequence

COMPLETION_VARIABLE = "_KTRACE_COMPLETE"
DEFAULT_RING_BYTES = 8 << 20
OTHERWISE = ("-h", "bcc", "--backend=bcc")  # of a line that wants another probe, or none
OTHERWISE_FROM = ("--help", "--ring-size")


def main(args: "Sequence[str] | None" = None) -> int:
    """Run one command and return the exit status; never let an exception out."""
    spare = -1
    try:
        _prepare_streams()
        spare = os.open(os.devnull, os.O_RDONLY)  # to print an error takes an import, that a file
        status = _run(list(sys.argv[1:] if args is None else args))
        sys.stdout.flush()
    except BaseException as error:
        spare = _closed(spare)
        from ktrace.cli import failures

        status = failures.tell(error)
    finally:
        _closed(spare)
    return status


def _closed(fd: int) -> int:
    if fd >= 0:
        os.close(fd)
    return -1


def _prepare_streams() -> None:
    """Escape what a terminal's encoding lacks (and file names that are no UTF-8).

    A stream that was closed (`>&-`) is replaced, or the next file opened would get its number.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115 - open as long as the process lives
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def load_ahead(args: list[str]) -> None:
    """Let the probe load while the rest is imported, where `live` will want it."""
    own = args[: args.index("--")] if "--" in args else args
    if own[:1] != ["live"] or os.geteuid() != 0:
        return
    if any(word in OTHERWISE or word.startswith(OTHERWISE_FROM) for word in own):
        return
    from ktrace.sources.live import ahead

    ahead.begin(DEFAULT_RING_BYTES)


def _run(args: list[str]) -> int:
    load_ahead(args)
    import click

    from ktrace.cli.commands import group

    if COMPLETION_VARIABLE in os.environ:
        group.main(args, prog_name="ktrace", complete_var=COMPLETION_VARIABLE)
    try:
        # Not group.main(): it prints a line at Ctrl-C and handles pipes and exit codes its own way.
        with group.make_context("ktrace", args) as context:
            status = group.invoke(context)
    except click.exceptions.Exit as stop:
        status = stop.exit_code
    return status if isinstance(status, int) else 0
