"""Say on stderr, in two lines, why ktrace stopped: what is wrong, and what to do."""

import errno
import os
import sys
import traceback
from pathlib import Path

import click

from ktrace.errors import KtraceError

FAILED = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells say it
PIPE_CLOSED = 141  # 128 + SIGPIPE: not 0, or a check whose output was cut would pass

OS_HELP = {
    errno.ENOENT: "check the path; it may have been moved or removed",
    errno.ENOTDIR: "check the path; a part of it is not a folder",
    errno.EACCES: "check the permissions, or run as a user who has them",
    errno.EPERM: "check the permissions, or run as a user who has them",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EROFS: "write to another disk; this one is read-only",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or name fewer files at once",
}
OS_HELP_OTHERWISE = "check the file and the disk it lies on"


def tell(error: BaseException) -> int:
    """Print what a user needs to know of `error` and return the exit status."""
    _give_up_stdout()
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED * (error.code is not None)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return PIPE_CLOSED
    if os.environ.get("KTRACE_DEBUG"):
        traceback.print_exception(error)
    message, help_line = describe(error)
    _print("ktrace", message)
    _print("help", help_line)
    return error.exit_status if isinstance(error, KtraceError) else FAILED


def describe(error: BaseException) -> tuple[str, str]:
    """Return the message and the help line for an error, without any text of a trace."""
    match error:
        case KtraceError():
            return error.message, error.help
        case click.ClickException():
            return _describe_usage(error)
        case OSError():
            where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
            help_line = OS_HELP.get(error.errno or 0, OS_HELP_OTHERWISE)
            return f"{where}{error.strerror or type(error).__name__}", help_line
        case MemoryError():
            return (
                "out of memory",
                "use --format ndjson, which keeps no connection, or --only-ktls, which keeps fewer",
            )
    # The exception's own words may quote a trace, so only its type and place are told.
    return (
        f"internal error: {type(error).__name__}{_place(error)}",
        "run it again with KTRACE_DEBUG=1 and report the traceback",
    )


def _describe_usage(error: click.ClickException) -> tuple[str, str]:
    context = getattr(error, "ctx", None)
    path = "ktrace" if context is None else context.command_path
    return error.format_message().rstrip("."), f"`{path} --help` shows how to call it"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}"


def _print(label: str, text: str) -> None:
    try:
        print(f"{label}: {one_line(text)}", file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def one_line(text: str) -> str:
    """Fold white space and escape control characters: file names and options are untrusted."""
    from ktrace.wording import clean

    return clean(" ".join(text.split()))


def _give_up_stdout() -> None:
    """Send out what is printed so far; where that fails, keep Python from trying again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
