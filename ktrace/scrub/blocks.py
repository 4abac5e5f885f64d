"""Reads a log in blocks of whole records, to the byte, and scrubs them one by one."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from ktrace.errors import KtraceError
from ktrace.scrub import payload
from ktrace.scrub.addresses import Mapper
from ktrace.scrub.keys import HELP, KeyFinder
from ktrace.scrub.options import Change, Counts, Refused, Wanted
from ktrace.scrub.proof import Proof
from ktrace.scrub.view import begins_record, has_record, is_quoted_printable, views
from ktrace.sources.strace import files
from ktrace.sources.strace.account import Account

Progress = Callable[[int], None]
LINES_BACK = 400  # far more than a mailer makes of one record
LONGEST_HEAD = 300


class Scrubber:
    """Scrubs the files of one run; the same address gets the same stand-in in all of them."""

    def __init__(self, wanted: Wanted) -> None:
        self.counts = Counts()
        self.records = False  # whether anything was a record of strace
        self._wanted = wanted
        self._mapper = Mapper(self.counts)

    def blocks(self, path: str, account: Account, progress: Progress) -> Iterator[bytes]:
        """Yield a file without what has to go.  Raises KtraceError where that is not certain."""
        finder, proof = KeyFinder(self.counts), Proof(path, account)
        quoted_printable, line = False, 1
        for raw in _whole_records(path, progress):
            quoted_printable = quoted_printable or is_quoted_printable(raw)
            clean = self._clean(raw, quoted_printable, finder, f"{path}:{{}}", line)
            proof.read(clean)
            line += raw.count(b"\n")
            yield clean
        self.counts.lines += line - 1

    def _clean(
        self, raw: bytes, quoted_printable: bool, finder: KeyFinder, place: str, line: int
    ) -> bytes:
        if self._wanted.payload:
            # first: data that quotes a log is blanked before it is searched for keys
            _, joined = views(raw, quoted_printable)
            raw = changed(raw, list(payload.changes(joined, self.counts)))
        plain, joined = views(raw, quoted_printable)
        self.records = self.records or has_record(plain)
        try:
            changes = list(finder.changes(plain, joined))
        except Refused as refused:
            at = next(joined.ranges(refused.at, refused.at + 1), (0, 0))[0]
            where = place.format(line + raw.count(b"\n", 0, at))
            raise KtraceError("not-scrubbed", f"{where}: {refused.reason}", HELP) from None
        if self._wanted.addresses:
            changes += self._mapper.changes(joined)
        return changed(raw, changes)


def changed(raw: bytes, changes: list[Change]) -> bytes:
    """Apply changes in the order of their places; one that overlaps an earlier one is dropped."""
    if not changes:
        return raw
    parts: list[bytes] = []
    done = 0
    for change in sorted(changes, key=lambda one: one.start):
        if change.start >= done:
            parts += (raw[done : change.start], change.new)
            done = change.end
    parts.append(raw[done:])
    return b"".join(parts)


def _whole_records(path: str, progress: Progress) -> Iterator[bytes]:
    kept = b""
    done = 0
    with files.open_log(path) as stream:
        while data := _read(stream, path):
            done += len(data)
            progress(done)
            kept += data
            cut = _cut(kept)
            if cut:
                yield kept[:cut]
                kept = kept[cut:]
            if len(kept) > files.MAX_LINE:
                raise KtraceError(
                    "long-line", f"{path}: a line too long for a record", files.RECORD_HELP
                )
    if kept:
        yield kept


def _cut(data: bytes) -> int:
    """Return where the last record begins, damaged or not: none may be torn."""
    end = position = data.rfind(b"\n") + 1
    for _ in range(LINES_BACK):
        start = data.rfind(b"\n", 0, max(position - 1, 0)) + 1
        if begins_record(data[start : min(position, start + LONGEST_HEAD)]):
            return start
        if start == 0:
            return 0 if end < files.BLOCK else end
        position = start
    return end


def _read(stream: BinaryIO, path: str) -> bytes:
    try:
        return files.read_block(stream, path)
    except EOFError:
        raise KtraceError(
            "cut-file",
            f"{path}: the compressed file is cut",
            "decompress what is whole of it, and scrub that",
        ) from None
