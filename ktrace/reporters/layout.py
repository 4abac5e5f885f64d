"""Lay out text for a terminal or a file: width, colour, wrapping, tables."""

import re
from collections.abc import Iterable, Sequence

from ktrace.wording import clean

_CODES = {
    "error": "1;31",
    "warning": "1;33",
    "note": "1;36",
    "bold": "1",
    "dim": "2",
    "raced": "31",
    "luck": "33",
    "good": "32",
}
_ASCII = {"µ": "u", "…": "..."}
_UNIT = re.compile(r"(?<=\d) (?=(?:%|µs|us|ms|s)(?![^\s),;]))")
_GLUE = "\0"  # a blank that no line is broken at; `clean` keeps it out of everything else
_LEVEL = re.compile(r"(?<=, )SOL_(?:TCP|TLS|SOCKET), ")
NARROWEST, READABLE, NARROW_CELL = 40, 100, 12


class Paper:
    """Collects lines that fit a width; all text is cleaned here, and painted after it is cut."""

    def __init__(self, *, color: bool = False, width: int = 80, unicode: bool = True) -> None:
        self.color = color
        self.width = max(width, NARROWEST)
        self.unicode = unicode
        self._lines: list[str] = []

    def __str__(self) -> str:
        return "".join(f"{line.rstrip()}\n" for line in self._lines)

    def line(self, text: str = "") -> None:
        """Add a line that is ready as it is."""
        self._lines.append(text)

    def gap(self) -> None:
        """Add an empty line, never two."""
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def spell(self, text: str) -> str:
        """Escape what a terminal must not get, and what it cannot show."""
        text = clean(text)
        if self.unicode or text.isascii():
            return text
        for char, plain in _ASCII.items():
            text = text.replace(char, plain)
        return text.encode("ascii", "backslashreplace").decode()

    def paint(self, style: str, text: str) -> str:
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.color and style and text else text

    def wrap(self, text: str, indent: str = "", hanging: str = "", head: str = "") -> None:
        """Add text in as many lines as it needs; `head` is a style for what stands before `: `."""
        glued = _UNIT.sub(_GLUE, self.spell(text))
        lines = wrapped(glued, min(self.width, READABLE), indent, hanging)
        lines = [line.replace(_GLUE, " ") for line in lines]
        if head and lines:
            label, colon, rest = lines[0].partition(": ")
            lines[0] = self.paint(head, label + colon.rstrip()) + " " * bool(colon) + rest
        self._lines.extend(lines)

    def table(
        self,
        header: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        right: Iterable[int] = (),
        elastic: int,
        indent: str = "  ",
        styles: Sequence[str] = (),
    ) -> None:
        """Add a table; columns in `right` are right-aligned, column `elastic` gives way.

        There the level of a socket option goes first, then the end of the text.  `styles` paints
        whole rows.
        """
        cells = [[self.spell(cell) for cell in row] for row in (header, *rows)]
        sizes = _sizes(cells)
        room = self.width - len(indent) - 2 * (len(sizes) - 1)
        if sum(sizes) > room:
            for row in cells:
                row[elastic] = _LEVEL.sub("", row[elastic])
            sizes = _sizes(cells)
            sizes[elastic] -= min(max(0, sum(sizes) - room), sizes[elastic] - NARROW_CELL)
        numbers = set(right)
        for index, row in enumerate(cells):
            line = indent + "  ".join(
                self._cell(cell, size, at in numbers)
                for at, (cell, size) in enumerate(zip(row, sizes, strict=True))
            )
            style = "dim" if index == 0 else (styles[index - 1] if index <= len(styles) else "")
            self._lines.append(self.paint(style, line.rstrip()))

    def _cell(self, text: str, size: int, right: bool) -> str:
        text = shortened(text, size, "…" if self.unicode else "...")
        pad = " " * (size - width_of(text))
        return pad + text if right else text + pad


def _sizes(cells: list[list[str]]) -> list[int]:
    return [max(map(width_of, column)) for column in zip(*cells, strict=True)]


def width_of(text: str) -> int:
    """Return how many columns a terminal takes for a text."""
    if text.isascii():
        return len(text)
    import unicodedata

    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def shortened(text: str, size: int, dots: str) -> str:
    """Cut a text at its end so that it fits."""
    if width_of(text) <= size:
        return text
    keep = max(0, size - len(dots))
    text = text[:keep]
    while text and width_of(text) > keep:
        text = text[:-1]
    return text + dots


def wrapped(text: str, width: int, indent: str = "", hanging: str = "") -> list[str]:
    """Break a text at blanks (runs of blanks stay inside a line); longer words are cut."""
    lines: list[str] = []
    current = indent
    blank = True  # nothing but the indent stands on the line
    for word, space in _words(text):
        if not blank and width_of(current) + width_of(word) > width:
            lines.append(current.rstrip())
            current, blank = hanging, True
        while blank and width_of(current) + width_of(word) > width and len(current) < width:
            cut = width - len(current)
            lines.append(current + word[:cut])
            current, word = hanging, word[cut:]
        current += word + space
        blank = blank and not word
    return [*lines, current.rstrip()] if current.strip() else lines


def _words(text: str) -> Iterable[tuple[str, str]]:
    """Yield each word with the blanks after it."""
    rest = text
    while rest:
        word, blank, rest = rest.partition(" ")
        stripped = rest.lstrip(" ")
        yield word, blank + " " * (len(rest) - len(stripped))
        rest = stripped
