"""The files of a scrub: which goes where, compressed or not, all of them or none."""

import contextlib
import gzip
import lzma
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, cast

from ktrace import places
from ktrace.errors import KtraceError
from ktrace.scrub.blocks import Scrubber
from ktrace.scrub.options import Counts, Wanted
from ktrace.scrub.proof import no_trace, require_trace
from ktrace.sources.strace import files
from ktrace.sources.strace.account import Account
from ktrace.sources.strace.compressed import compression

Progress = Callable[[int, int | None], None]
SUFFIXES = (".gz", ".zst", ".xz")


class Task(NamedTuple):
    """One file and its scrubbed copy ("-": standard input, or output)."""

    source: str
    target: str

    @property
    def in_place(self) -> bool:
        return self.source == self.target != "-"


def plan(logs: Sequence[str], out: str | None, force: bool) -> list[list[Task]]:
    """Return what to write, one list a trace.  `out` None: in place."""
    entries = files.inputs(logs)
    for entry in entries:
        files.check_readable(entry)
        _refuse_captures(entry.paths)
    many = sum(len(entry.paths) for entry in entries) > 1
    tasks = [
        [
            Task(path, path if out is None else _target(entry, path, out, many))
            for path in entry.paths
        ]
        for entry in entries
    ]
    _check_targets([task for part in tasks for task in part], out is None, force)
    return tasks


def _target(entry: files.Input, path: str, out: str, many: bool) -> str:
    if out != "-" and (os.path.isdir(out) or out.endswith("/")):
        return os.path.join(out, os.path.basename(path))
    if many and len(entry.paths) > 1 and path.startswith(entry.name):
        return out + path[len(entry.name) :]
    return out


def _check_targets(tasks: list[Task], in_place: bool, force: bool) -> None:
    sources = {os.path.realpath(task.source) for task in tasks}
    seen: set[str] = set()
    for source, target in tasks:
        real = os.path.realpath(target)
        if target in seen:
            raise KtraceError(
                "same-file",
                f"several logs would all be written to {target}",
                "name a folder with -o",
            )
        seen.add(target)
        if in_place and source == "-":
            raise KtraceError("same-file", "standard input has no place", "name an output with -o")
        if in_place or target == "-":
            continue
        if real in sources:
            raise KtraceError(
                "same-file",
                f"-o {target} would overwrite the log itself",
                "give it another name, or say --in-place",
            )
        if os.path.lexists(target) and _is_regular(target) and not force:
            raise KtraceError(
                "exists", f"{target} exists", "choose another name, or --force to overwrite it"
            )


def _is_regular(path: str) -> bool:
    return not os.path.exists(path) or stat.S_ISREG(os.stat(path).st_mode)


def _refuse_captures(paths: Sequence[str]) -> None:
    from ktrace.sources.capture import is_capture

    for path in paths:
        if is_capture(path):
            raise KtraceError(
                "is-capture",
                f"{path}: a capture of ktrace, not an strace log",
                "it holds no key bytes and no data: there is nothing to scrub",
            )


def run(traces: list[list[Task]], wanted: Wanted, progress: Progress) -> Counts:
    """Scrub all traces; the outputs appear together, when the last one is done."""
    total = files.total_size([task.source for tasks in traces for task in tasks])
    scrubber = Scrubber(wanted)
    with _Drafts() as drafts:
        for tasks in traces:
            account = Account()
            for task in tasks:
                with drafts.open(task) as file:
                    for block in scrubber.blocks(
                        task.source, account, lambda n: progress(n, total)
                    ):
                        file.write(block)
            require_trace(tasks[0].source, account)
        if not scrubber.records:
            raise no_trace(traces[0][0].source)
        drafts.publish()
    return scrubber.counts


class _Drafts:
    """Files that take their names together, and vanish when the work fails."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str | BinaryIO, Task]] = []

    def __enter__(self) -> "_Drafts":
        return self

    def __exit__(self, *error: object) -> None:
        for draft, task in self._waiting:
            if isinstance(draft, str):
                with contextlib.suppress(OSError, KtraceError), places.place(task.target) as place:
                    place.remove(draft)
            else:
                draft.close()

    @contextlib.contextmanager
    def open(self, task: Task) -> Iterator[BinaryIO]:
        raw = self._draft(task)
        try:
            with _compressed(raw, _compression(task)) as file:
                yield file
            raw.flush()
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, error.strerror, task.target) from error
        finally:
            if self._waiting[-1][0] is not raw:
                with contextlib.suppress(OSError):  # told above, where it matters
                    raw.close()

    def _draft(self, task: Task) -> BinaryIO:
        """Open a file beside the target, for a rename; one without a name for a pipe."""
        if task.target == "-" or not _is_regular(task.target):
            file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - published later
            self._waiting.append((file, task))
            return file
        with places.place(task.target) as place:
            name = f".{place.name[:60]}.{secrets.token_hex(8)}.tmp"
            fd = place.create(name)
            self._waiting.append((name, task))
        if task.in_place:
            os.fchmod(fd, stat.S_IMODE(os.stat(task.source).st_mode))
        return os.fdopen(fd, "wb")

    def publish(self) -> None:
        while self._waiting:
            draft, task = self._waiting[0]
            if isinstance(draft, str):
                with places.place(task.target) as place:
                    place.rename_here(draft)
            else:
                with draft:
                    _copy_out(draft, task.target)
            del self._waiting[0]


def _copy_out(draft: BinaryIO, target: str) -> None:
    draft.seek(0)
    if target == "-":
        shutil.copyfileobj(draft, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    with places.place(target) as place, os.fdopen(place.open_device(), "wb") as out:
        shutil.copyfileobj(draft, out)


def _compression(task: Task) -> str:
    """Return how to write: as the name of the target says; in place as it was."""
    if task.in_place:
        with open(task.source, "rb") as file:
            return compression(file.read(6))
    suffix = os.path.splitext(task.target)[1]
    return suffix[1:] if suffix in SUFFIXES else ""


@contextlib.contextmanager
def _compressed(raw: BinaryIO, how: str) -> Iterator[BinaryIO]:
    if how == "gz":
        # no name and no time: the same log gives the same file
        with gzip.GzipFile("", "wb", 6, raw, 0) as packed:
            yield cast(BinaryIO, packed)
    elif how == "xz":
        with lzma.LZMAFile(raw, "wb") as file:
            yield cast(BinaryIO, file)
    elif how == "zst":
        import zstandard

        with zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False) as writer:
            yield cast(BinaryIO, writer)
    else:
        yield raw


def scrub_file(source: str, target: str, wanted: Wanted) -> Counts:
    """Scrub one file; an existing target is overwritten."""
    return run([[Task(source, target)]], wanted, lambda done, total: None)
