"""Opens logs: plain and compressed files, stdin, pipes, `-ff` families; yields blocks of whole
records.
"""

import errno
import glob
import io
import os
import re
import resource
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, cast

from ktrace.errors import KtraceError
from ktrace.sources.strace.compressed import Expanded, compression, expanded
from ktrace.sources.strace.scan import cut_at

BLOCK = 1 << 20
FAR = 1 << 12  # bytes; what is before a cut this far from the start of a block does not change it
PAUSE_S, PATIENCE_S = 0.02, 0.2  # what a pipe has brought is looked at after either
MAX_LINE = 1 << 24  # a line longer than this is no record: it is skipped and counted

RECORD_HELP = "record with: ktrace record -o strace.log -- COMMAND"
Progress = Callable[[int, int | None], None]


class Input(NamedTuple):
    """One trace: one file, or the files of a `strace -ff` family with the tid of each."""

    name: str
    paths: tuple[str, ...]
    tids: tuple[int, ...] | None = None


class Chunk(NamedTuple):
    """A block of whole lines; `skipped` counts lines before it that were too long."""

    data: bytes
    skipped: int = 0
    cut: bool = False


_FAMILY_MEMBER = re.compile(r"(.+)\.(\d{1,8})$")


def inputs(paths: Sequence[str]) -> list[Input]:
    """Group what the user named into traces: members of one `-ff` family make one."""
    found: list[Input] = []
    families: dict[str, list[tuple[int, str]]] = {}
    for path in dict.fromkeys(paths):  # a log that is named twice counts once
        for member in _expand(path):
            match = _FAMILY_MEMBER.match(_without_suffix(member))
            # a single member of a family that was given by name is still one process of it
            if match and (member != path or len(paths) > 1):
                family = families.setdefault(match[1], [])
                if not family:
                    found.append(Input(match[1], ()))
                family.append((int(match[2]), member))
            else:
                tid = int(match[2]) if match and _is_headless(member) else None
                found.append(Input(member, (member,), None if tid is None else (tid,)))
    return [
        whole for entry in found for whole in ([entry] if entry.paths else _family(entry, families))
    ]


def _family(entry: Input, families: dict[str, list[tuple[int, str]]]) -> list[Input]:
    members = sorted(set(families[entry.name]))
    paths = tuple(path for _, path in members)
    if not all(_is_headless(path) for path in paths):
        # numbered files whose lines carry a pid are traces of their own
        return [Input(path, (path,)) for path in paths]
    return [Input(entry.name, paths, tuple(tid for tid, _ in members))]


def _without_suffix(path: str) -> str:
    return re.sub(r"\.(?:gz|zst|xz)$", "", path)


def _expand(path: str) -> list[str]:
    """A name that is no file may be the stem of a family, as strace -ff -o takes it."""
    if path == "-" or os.path.exists(path):
        return [path]
    members = [
        m for m in glob.glob(glob.escape(path) + ".*") if _FAMILY_MEMBER.match(_without_suffix(m))
    ]
    return sorted(members) or [path]


_HEADED = re.compile(rb"^(?:\[pid +\d+|\d{1,8} )", re.M)


def _is_headless(path: str) -> bool:
    """Tell whether a file's lines have no pid, as the members of a `-ff` family."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open_log(path) as stream:
            head = stream.read(1 << 14)
    except (OSError, EOFError, ValueError, KtraceError):
        return False
    return _HEADED.search(head) is None


def open_log(path: str) -> BinaryIO:
    """Open a log; compression is told by its magic, not by its name."""
    if path == "-":
        raw: BinaryIO = sys.stdin.buffer
    else:
        try:
            # a FIFO without a writer would block here for ever only if nobody ever writes: as `cat`
            # does
            raw = open(path, "rb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise unreadable(path, error) from None
    buffered = (
        raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, raw))
    )
    try:
        how = compression(buffered.peek(6)[:6])
    except OSError as error:
        raise unreadable(path, error) from None
    return expanded(buffered, how) if how else buffered


def unreadable(path: str, error: Exception) -> KtraceError:
    reason = (
        error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    )
    many = isinstance(error, OSError) and error.errno == errno.EMFILE
    return KtraceError(
        "unreadable",
        f"{path}: cannot read it: {reason}",
        "raise the limit of open files (ulimit -n)"
        if many
        else "name a readable strace log, or - for stdin",
    )


def allow_open(count: int) -> None:
    """Raise this process's limit of open files to what a family needs, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 64
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def chunks(
    path: str, progress: Progress | None = None, done_before: int = 0, total: int | None = None
) -> Iterator[Chunk]:
    """Yield a log in blocks that end where a record ends; no block is much larger than BLOCK."""
    stream = open_log(path)
    raw = _position_of(stream)
    kept = b""
    skipped = 0
    skipping = False
    only_returns: bool | None = None  # an old editor's line ends
    try:
        while data := _read(stream, path):
            if progress:
                progress(done_before + raw(), total)
            if only_returns is None:
                only_returns = b"\n" not in data and b"\r" in data
            if only_returns:
                data = data.replace(b"\r", b"\n")
            if skipping:
                _, newline, data = data.partition(b"\n")
                skipping = not newline
            if (cut := cut_at(data)) > FAR:  # nearly always, and saves copies
                yield Chunk(b"".join((kept, memoryview(data)[:cut])), skipped)
                kept, skipped = data[cut:], 0
                continue
            kept += data
            cut = cut_at(kept)
            if cut:
                yield Chunk(kept[:cut], skipped)
                kept, skipped = kept[cut:], 0
            if len(kept) > MAX_LINE:
                # neither a record nor a wrapped one: give up what is there
                kept, skipped, skipping = b"", skipped + 1, True
        if kept or skipped or data is None:
            whole = kept if kept.endswith(b"\n") or not kept else kept + b"\n"
            yield Chunk(whole, skipped, data is None)
    finally:
        if path != "-":
            stream.close()


def _read(stream: BinaryIO, path: str) -> bytes | None:
    """Read on; None where a compressed file is cut."""
    try:
        return read_block(stream, path)
    except EOFError:
        return None


def _some(stream: BinaryIO) -> bytes:
    """Read up to a block: of a pipe what is there, of a cut file what came before the cut."""
    if not isinstance(stream, io.BufferedReader):
        return stream.read(BLOCK)
    whole = isinstance(stream, Expanded) or stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    until = time.monotonic() + PATIENCE_S
    parts: list[bytes] = []
    size = 0
    try:
        while size < BLOCK and (data := stream.read1(BLOCK - size)):
            parts.append(data)
            size += len(data)
            if not (whole or _goes_on(stream, until)):
                break
    except EOFError:
        if not parts:
            raise
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _goes_on(stream: BinaryIO, until: float) -> bool:
    """Tell whether a pipe brings more at once: large blocks are read faster than small ones.

    One that trickles without a pause is not waited for beyond `until`, of the monotonic clock.
    """
    left_s = min(PAUSE_S, until - time.monotonic())
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    return left_s > 0 and bool(poll.poll(left_s * 1000))


def read_block(stream: BinaryIO, path: str) -> bytes:
    """Read on.  Raises KtraceError where a compressed file is damaged, EOFError where it is cut."""
    try:
        return _some(stream)
    except EOFError:
        raise
    except KtraceError as error:
        raise KtraceError(error.slug, f"{path}: {error.message}", error.help) from None
    except Exception as error:  # each codec has its own exception for a damaged file
        raise KtraceError(
            "damaged-file",
            f"{path}: cannot read on: {type(error).__name__}",
            "the file is damaged or cut; decompress what is whole and name that",
        ) from None


def _position_of(stream: BinaryIO) -> Callable[[], int]:
    """Return a function that tells how many bytes of the file itself were read."""
    inner = getattr(stream, "fileobj", None) or getattr(stream, "_fp", None) or stream

    def position() -> int:
        try:
            return int(inner.tell())
        except (OSError, ValueError, AttributeError):
            return 0

    return position


def total_size(paths: Sequence[str]) -> int | None:
    """Return the size of all files in bytes, or None when one is a pipe."""
    total = 0
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        total += status.st_size
    return total


def check_readable(entry: Input) -> None:
    """Refuse directories and missing files before any work is done."""
    for path in entry.paths:
        if path == "-":
            continue
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise unreadable(path, error) from None
        if stat.S_ISDIR(mode):
            raise KtraceError(
                "is-directory",
                f"{path}: is a directory",
                "name the log in it; for strace -ff name its stem",
            )
