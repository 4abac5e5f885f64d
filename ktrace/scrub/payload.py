"""Finds data that programs sent and received, their arguments and environment, for `--payload`."""

import re
from collections.abc import Iterator

from ktrace.scrub import strings
from ktrace.scrub.keys import DUMP_LINE, dump_filled, replaced
from ktrace.scrub.options import Change, Counts
from ktrace.scrub.view import View

_READS = "read|pread64|recv|recvfrom|getrandom"
_WRITES = "write|pwrite64|send|sendto"
_FD = r"[^,\"<\n]{0,40}(?:<(?:->|\"[^\"\n]*\"|[^<>\n\"]){0,400}>)?"
# what stands before a string of data: a call, its second half, the parts of an iovec, a key
_BEFORE = (
    rf"\b(?:{_READS}|{_WRITES})\({_FD} ?, *(?:[a-z]+=)?|\bgetrandom\((?:[a-z]+=)?"
    rf"|<\.\.\. (?:{_READS}) resumed>,? *(?:[a-z]+=)?|\biov_base=|[\[ ]\{{"
    r"|ALG_SET_KEY[^,\"\n]{0,40}, *"
)
_DATA = re.compile(
    rf"(?:{_BEFORE})(?=\")|(?P<exec>\bexecve(?:at)?\()|(?P<dump>^{DUMP_LINE})".encode(), re.M
)
_IN_EXEC = re.compile(rb"\"(?:[^\"\\\n]|\\[^\n])*+\"?|[\[\]\n]|\) *=")


def changes(view: View, counts: Counts) -> Iterator[Change]:
    """Yield what to change: every data byte becomes filler, the way of quoting stays."""
    text, position = view.text, 0
    while (found := _DATA.search(text, position)) is not None:
        position = found.end()
        if found["dump"]:
            counts.dumps += 1
            yield from dump_filled(view, found)
        elif found["exec"]:
            yield from _arguments(view, position, counts)
        else:
            match = strings.BODY.match(text, position + 1)
            if match is not None:
                yield from _string(view, *match.span(1), counts)
                position = match.end()


def _string(view: View, start: int, end: int, counts: Counts) -> Iterator[Change]:
    if end > start and not strings.is_filler(view.text[start:end]):
        counts.strings += 1
        yield from replaced(view, start, end)


def _arguments(view: View, position: int, counts: Counts) -> Iterator[Change]:
    """Blank the strings in the brackets of an execve(): arguments and environment, not the path."""
    depth = 0
    for token in _IN_EXEC.finditer(view.text, position):
        if token[0] == b"[":
            depth += 1
        elif token[0] == b"]":
            depth -= 1
        elif token[0][:1] != b'"':
            return
        elif depth > 0:
            end = token.end() - (len(token[0]) > 1 and token[0].endswith(b'"'))
            yield from _string(view, token.start() + 1, end, counts)
