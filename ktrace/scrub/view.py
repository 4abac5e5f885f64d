"""A log without the damage of mail, web and terminals, and where each of its bytes stands.

Everything is searched for in a view and changed in the log, so that the damage stays as it is.
"""

import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from ktrace.sources.strace import lines as grammar

_NOISE = re.compile(
    rb"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[()][A-Z0-9])"
    rb"|</?(?:br|pre|code|p|div|span|tt|b|i|u|em|strong|font|blockquote|a|li|td|tr)\b[^<>\n]*>"
    rb"|&(?:[a-z]{2,8}|#\d{1,7}|#x[0-9a-fA-F]{1,6});"
    rb"|\xc2\xa0|\xe2\x80(?:\x87|\x8b|\xaf|[\x9c-\x9f]|\xa6)|\xc2\xab|\xc2\xbb|\xef\xbb\xbf|\r",
    re.I,
)
_MARKS = (b"\x1b", b"<", b"&", b"\xc2", b"\xe2\x80", b"\xef\xbb\xbf", b"\r")
_QUOTED_PRINTABLE = re.compile(rb"=\r?\n|=([0-9A-F]{2})")
_IS_QUOTED_PRINTABLE = re.compile(rb"\)(?:[ \t]|=20|=\r?\n)*=3D|=\r?\n")
_LONE_BLANK = re.compile(rb"\xa0")
_BECOMES = {
    b"\xc2\xa0": b" ",
    b"\xe2\x80\x87": b" ",
    b"\xe2\x80\xaf": b" ",
    b"\xe2\x80\x9c": b'"',
    b"\xe2\x80\x9d": b'"',
    b"\xe2\x80\x9e": b'"',
    b"\xe2\x80\x9f": b'"',
    b"\xc2\xab": b'"',
    b"\xc2\xbb": b'"',
    b"\xe2\x80\xa6": b"...",
}
# what stands before a record, or its continuation, in a mail, a shell session or an editor
JUNK = r"[ \t]*(?:>[ \t]?)*+(?:(?:[#$%*;]|//|\||\d{1,6}[:.)])[ \t]+)?"
_HEADED = rf"{grammar.PLAIN_HEAD}(?:[a-z_][a-z0-9_]{{2,40}}\(|--- |\+\+\+ |<\.\.\. \w+ resumed)"
DUMP = r" ?\| [0-9a-f]{5,8}  "
_STACK = r" *> [^\n]*\[0x[0-9a-f]+\]"
START = rf"(?:{_STACK}|{JUNK}(?!(?:{grammar.NO_CALL})\()(?:{_HEADED}|{DUMP}))"
_RECORD = re.compile(rf"^{START}".encode(), re.M)
_WRAP = re.compile(
    (
        r"(?:strace: Process \d{1,8} attached|\[ Process \d{1,8} attached \])?"
        rf"\n(?!{START}){JUNK}"
    ).encode()
)


class Piece(NamedTuple):
    """A part of a view: where it begins there, and which part of the text below it shows.

    `same`: byte for byte; else it stands for all of that part.
    """

    at: int
    start: int
    end: int
    same: bool


class View:
    """`text` is searched; `below` is the view (or None: the log) that its pieces point into."""

    def __init__(self, text: bytes, pieces: list[Piece] | None = None, below: Self | None = None):
        self.text = text
        self._pieces = pieces
        self._starts = [piece.at for piece in pieces] if pieces is not None else []
        self._below = below

    def ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield which bytes of the log stand behind text[start:end]."""
        for first, last in self._one_below(start, end):
            if self._below is None:
                yield first, last
            else:
                yield from self._below.ranges(first, last)

    def _one_below(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        if self._pieces is None:
            yield start, end
            return
        for index in range(max(bisect_right(self._starts, start) - 1, 0), len(self._pieces)):
            piece = self._pieces[index]
            if piece.at >= end:
                return
            until = self._starts[index + 1] if index + 1 < len(self._pieces) else len(self.text)
            if not piece.same:
                if start <= piece.at:
                    yield piece.start, piece.end
            elif start < until:
                shift = piece.start - piece.at
                yield max(start, piece.at) + shift, min(end, until) + shift

    def without(self, pattern: re.Pattern[bytes], becomes: Callable[[bytes], bytes]) -> "View":
        """Return a view in which every match reads as `becomes` says."""
        parts: list[bytes] = []
        pieces: list[Piece] = []
        at = done = 0
        for match in pattern.finditer(self.text):
            start, end = match.span()
            if start > done:
                pieces.append(Piece(at, done, start, True))
                parts.append(self.text[done:start])
                at += start - done
            new = becomes(match[0])
            if new:
                pieces.append(Piece(at, start, end, False))
                parts.append(new)
                at += len(new)
            done = end
        if not done:
            return self
        pieces.append(Piece(at, done, len(self.text), True))
        parts.append(self.text[done:])
        return View(b"".join(parts), pieces, self)

    def hidden(self, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield what the log has inside text[start:end] and this view does not show."""
        log: View = self
        while log._below is not None:
            log = log._below
        done = None
        for first, last in self.ranges(max(start, 0), end):
            if done is not None and first > done:
                yield done, first, log.text[done:first]
            done = last

    def edit(self, start: int, end: int, new: bytes) -> list[tuple[int, int, bytes]]:
        """Return what to change in the log so that text[start:end] reads as `new`."""
        changes = []
        for first, last in self.ranges(start, end):
            changes.append((first, last, new))
            new = b""
        return changes


def views(raw: bytes, quoted_printable: bool) -> tuple[View, View]:
    """Return a block without noise, and the same with each record on one line."""
    view = View(raw)
    if quoted_printable:
        view = view.without(_QUOTED_PRINTABLE, _unquoted)
    if any(mark in view.text for mark in _MARKS):
        view = view.without(_NOISE, _heard)
    if b"\xa0" in view.text:
        view = view.without(_LONE_BLANK, lambda found: b" ")
    return view, view.without(_WRAP, lambda found: b"")


def has_record(view: View) -> bool:
    """Tell whether anything in a view looks like strace's."""
    return _RECORD.search(view.text) is not None


def begins_record(line: bytes) -> bool:
    return _RECORD.match(views(line, b"=20" in line or b"=3D" in line)[0].text) is not None


def is_quoted_printable(raw: bytes) -> bool:
    return b"=3D" in raw and _IS_QUOTED_PRINTABLE.search(raw) is not None


def _unquoted(found: bytes) -> bytes:
    return b"" if found.endswith(b"\n") else bytes((int(found[1:], 16),))


def _heard(found: bytes) -> bytes:
    if found in _BECOMES:
        return _BECOMES[found]
    if found[:1] == b"&":
        text = html.unescape(found.decode("ascii"))
        return (
            found
            if text == found.decode("ascii")
            else text.replace("\xa0", " ").translate(_SMART).encode("utf-8", "replace")
        )
    if found[:3].lower() == b"<br":
        return b"\n"
    return b""


_SMART = str.maketrans({"“": '"', "”": '"', "„": '"', "…": "..."})
