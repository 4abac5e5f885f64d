"""Mends what mail, web and editors do to a log: quotes, wraps, entities, colours, prompts, glued
records.

Works on the lines of one block.  A record is put together until it has its end; a line that belongs
to no record is counted with a reason.  Only blocks in which the scanner met such a line come here.
"""

import html
import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from ktrace.sources.strace import lines as grammar

MAX_JOINED = 64  # lines in one record: more than any wrap makes of a record
MAX_RECORD = 1 << 18
MAX_PIDS = 4096
MAX_BAD = 10  # remembered with their reason; all are counted


class Repaired(NamedTuple):
    """One record in clean form; `stack` are the lines of -k behind it."""

    line: int
    end_line: int
    text: str
    stack: list[str]


_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9])")
_TAG = re.compile(
    r"</?(?:br|pre|code|p|div|span|tt|b|i|u|em|strong|font|blockquote|a|li|td|tr)\b"
    r"[^<>\n]{0,400}>",
    re.I,
)
_BREAK = re.compile(r"<br\s*/?>", re.I)
_ENTITY = re.compile(
    r"&(?:quot|gt|lt|amp|nbsp|apos|hellip|ldquo|rdquo|#\d{1,7}|#x[0-9a-fA-F]{1,6});"
)
_PROMPT = re.compile(r"^\s*(?:(?:>\s?)+|[#$%*;]\s+|//+\s*|\|\s?|-\s+(?=\S)|\w+@\S+[#$]\s+)+")
# a line of quoted-printable that goes on; a mailer's wrap has a blank before the sign
_SOFT_BREAK = re.compile(r"(?=.{60,76}$).*[^ ]=")
_EMPTY = re.compile(r"[\s>|#$*]*+(?://+\s*+)?+")  # nothing, or quote marks and prompts alone
_MARKS = re.compile(r"^(?:> ?)+")
_NUMBER = re.compile(r"^\s*\d{1,8}(?:\s*[:|│.)]\s*|\t+|\s+|$)")
_SPACES = str.maketrans(
    {
        "\xa0": " ",
        "\u2007": " ",
        "\u202f": " ",
        "\ufeff": "",
        "\u200b": "",
        "\t": " ",
        "\r": "",
        "\0": "",
        "\u2026": "...",
    }
)
_START = re.compile(
    rf"({grammar.HEAD})(?:{grammar.CALL_NAME}\(|--- (?:SIG|stopped)|\+\+\+ |<\.\.\. \w+ resumed)"
)
_HEAD_ONLY = re.compile(
    rf"(?:\[pid +\d+(?:<[^>]*>)?\]|\d{{1,8}}(?:<[^>]*>)?)?(?:(?:^| +)(?:{grammar.TIME}))?"
    r"(?: *<\.\.\.(?: \w+)?)?\s*$"
)
_STACK = re.compile(rf"(?:{grammar.STACK_LINE}|\s*/?\S+\([^()]*\) \[0x[0-9a-f]+\])\s*$")
_MESSAGE = re.compile(rf"\s*{grammar.MESSAGE}$")
_ATTACHED = re.compile(
    r"(?:\[? ?Process \d+ attached(?: \([^)]*\))?\]?"
    r"|(?<![\w./-])[\w./-]*strace: Process \d+ attached)\s*$"
)
# a table of -c, and what is said of a thread that strace let go between two calls
_ASIDE = re.compile(r"\s*(?:\d+\.\d+\s+\d+\.\d+\s+\d+|100\.00|% time|-{4,}|<detached \.\.\.>$)")
_QUOTE = re.compile(r'(?<!\\)"(?:[^"\\]|\\.)*+"')
_GLUE = re.compile(
    r"((?:\)\s*= (?:-1 E[A-Z0-9]+|-?\d+|\?|0x[0-9a-f]+)(?:<(?:->|[^<>])*>)?"
    r"(?: E[A-Z]+)?(?: \([^()\n]*\))*(?: <\d+\.\d+>)?"
    r"|<unfinished \.\.\.>|\+\+\+ (?:exited|killed)[^+]*\+\+\+))"
    rf"\s*(?=[\d\[(a-z<+-])(?={grammar.PLAIN_HEAD}"
    rf"(?:{grammar.CALL_NAME}\(|<\.\.\. \w+ resumed|\+\+\+ |--- SIG))"
)
_BARE_FAILURE = re.compile(r"=\s*-1\s*$")
_TORN_NOTE = re.compile(r"\)\s*= \d+<(?:->|[^<>])*$")
_DIGITS_RUN = re.compile(r"(\d{2,})(?:<[^<>]*>)?$")
_GLUED_ZERO = re.compile(
    rf"(\)\s*= 0)(?=[1-9]\d*(?:\.\d+|<[^>\n]*>)? +{grammar.PLAIN_TIME}{grammar.CALL_NAME}\()"
)


class Assembler:
    """Puts records together from damaged lines, and counts what it could not use."""

    def __init__(self, *, numbered: bool = False, quoted: bool = False, folded: int = 0) -> None:
        self.lines = 0
        self.understood = 0
        self.not_understood = 0
        self.bad: list[tuple[int, str]] = []
        self._numbered = numbered
        self._quoted = quoted  # quoted-printable throughout
        self._folded = folded  # lines of this width go on in the next one
        self._parts: list[str] = []
        self._size = 0
        self._joined = 0  # lines put to the first one
        self._first = 0
        self._last = 0
        self._complete = False
        self._stack: list[str] = []
        self._prefixed = False
        self._held = ""
        self._pids: set[int] = set()

    def records(self, raw_lines: Iterable[bytes]) -> Iterator[Repaired]:
        """Yield the records of a block in order."""
        for number, text in self._unbroken(raw_lines):
            for piece in self._clean(text):
                yield from self._line(number, piece)
        yield from self._flush()
        if self._held:
            self._not_understood(self.lines - 1, "the head of a record without a call")

    def _unbroken(self, raw_lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
        """Undo breaks at a fixed width: yield lines as they were, with the number of the first."""
        before, first = "", 0
        for number, raw in enumerate(raw_lines):
            self.lines = number + 1
            first = first if before else number
            line = _decode(raw)
            if self._folded:
                line = line.removesuffix("\r")
                goes_on = len(line) == self._folded
                marks = _MARKS.match(before)
                text = before + (line.removeprefix(marks[0]) if marks else line)
            else:
                text, goes_on = _unquote_printable(before, line, self._quoted)
            before = text if goes_on and len(text) < MAX_RECORD else ""
            if not before:
                yield first, text
        if before:
            yield first, before

    def _clean(self, text: str) -> list[str]:
        if text.isascii() and "\x1b" not in text and "&" not in text and "<" not in text:
            return [text.translate(_SPACES).rstrip()]
        text = _ANSI.sub("", text)
        pieces = _BREAK.split(text)
        cleaned = []
        for piece in pieces:
            piece = _TAG.sub("", piece)
            if _ENTITY.search(piece):
                piece = html.unescape(piece)
            cleaned.append(piece.translate(_SPACES).rstrip())
        return cleaned

    def _line(self, number: int, text: str) -> Iterator[Repaired]:
        if self._numbered:
            text = _NUMBER.sub("", text, count=1)
        if _EMPTY.fullmatch(text):
            return
        if _STACK.match(text) and self._is_between():
            self._stack.append(text if text.lstrip().startswith(">") else f" > {text.strip()}")
            return
        if self._held:
            text, self._held = f"{self._held} {_PROMPT.sub('', text).strip()}", ""
        elif self._is_between() and _HEAD_ONLY.match(_PROMPT.sub("", text)):
            # a long word made the mailer break behind the head
            self._held = _PROMPT.sub("", text).strip()
            return
        start = self._as_start(text)
        if start is not None and not self._continues(start):
            yield from self._flush()
            self._begin(number, start)
        elif _MESSAGE.match(text) or (self._is_between() and _ASIDE.match(text)):
            return
        elif self._parts and not self._complete:
            self._join(number, _PROMPT.sub("", text) if text.lstrip()[:1] == ">" else text.lstrip())
        elif self._parts and self._is_tail(_PROMPT.sub("", text)):
            self._join(number, _PROMPT.sub("", text).strip())
        else:
            yield from self._flush()
            self._not_understood(number, "no call and no continuation of one")

    def _is_between(self) -> bool:
        return self._complete or not self._parts

    def _as_start(self, text: str) -> str | None:
        """Return the text from where a record starts, without prompts and editor's line numbers."""
        if _START.match(text):
            return text
        bare = _PROMPT.sub("", text)
        unnumbered = _NUMBER.sub("", bare, count=1)
        for candidate in (bare, unnumbered):
            if _START.match(candidate):
                return candidate
        return None

    def _continues(self, start: str) -> bool:
        """Tell a wrapped argument that looks like a call: the log's records have a prefix and it
        has none.
        """
        if not self._parts or self._complete or not self._prefixed:
            return False
        match = _START.match(start)
        return (
            match is not None
            and not match[1].strip()
            and not start.startswith(("+++", "---", "<..."))
        )

    def _begin(self, number: int, text: str) -> None:
        match = _START.match(text)
        self._prefixed = match is not None and bool(match[1].strip())
        pid = match and (match[2] or match[4])
        if pid and len(self._pids) < MAX_PIDS:
            self._pids.add(int(pid))
        self._first = self._last = number
        self._joined = 0
        self._stack = []
        self._parts = [_ATTACHED.sub("", text)]
        self._size = len(text)
        self._complete = _is_complete(self._parts[0])

    def _join(self, number: int, text: str) -> None:
        self._joined += 1
        if self._joined >= MAX_JOINED or self._size > MAX_RECORD:
            self._not_understood(number, "a record of too many lines")
            return
        whole = glue(
            self._parts[-1] if len(self._parts) == 1 else "".join(self._parts),
            _ATTACHED.sub("", text),
        )
        self._parts = [whole]
        self._size = len(whole)
        self._last = number
        self._complete = _is_complete(whole)

    def _is_tail(self, text: str) -> bool:
        """Tell whether `text` ends the words behind a result, as in `(Operation now in` +
        `progress)`.
        """
        result = self._parts[0].rpartition(" = ")[2]
        if result.isdigit() and re.match(r"\s*<(?!\d+\.\d)", text):
            return True  # what -y wrote behind a returned descriptor
        if result.count("(") > result.count(")"):
            return True
        stripped = text.strip()
        if result.strip() == "?" and stripped.startswith("ERESTART"):
            return True
        return (stripped[:1] == "(" and ")" not in result) or re.fullmatch(
            r"<\d+\.\d+>", stripped
        ) is not None

    def _flush(self) -> Iterator[Repaired]:
        if not self._parts:
            return
        text, self._parts = self._parts[0], []
        pieces = unglue(text, self._pids)
        for index, piece in enumerate(pieces):
            self.understood += 1
            last = index == len(pieces) - 1
            yield Repaired(self._first, self._last, piece, self._stack if last else [])
        self._stack = []

    def _not_understood(self, number: int, reason: str) -> None:
        self.not_understood += 1
        if len(self.bad) < MAX_BAD:
            self.bad.append((number, reason))


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        # one byte a character keeps ASCII and the Latin-1 no-break space
        return raw.decode("latin-1")


def _unquote_printable(before: str, line: str, quoted: bool) -> tuple[str, bool]:
    """Undo quoted-printable: return the text, and whether the next line belongs to it.

    `before` is what the lines before it, which it continues, held.
    """
    text = (before + line).removesuffix("\r") if quoted else before + line
    soft = quoted or bool(before) or _SOFT_BREAK.fullmatch(line) is not None
    if not soft and "=3D" not in text and "=20" not in text[-3:]:
        return text, False
    goes_on = text.endswith("=")
    body = text[:-1] if goes_on else text
    return (body if goes_on else _qp(body)), goes_on


def _qp(text: str) -> str:
    decoded = re.sub(r"=([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), text)
    return (
        decoded.encode("latin-1", "replace").decode("utf-8", "replace")
        if not decoded.isascii()
        else decoded
    )


def _is_complete(text: str) -> bool:
    masked = _QUOTE.sub('""', text)
    if masked.count('"') % 2:
        return False
    if _BARE_FAILURE.search(masked) or _TORN_NOTE.search(masked):
        return False  # the error's name, or what -y wrote, goes on in the next line
    if "--- " in masked[:80]:
        return masked.endswith("---")
    if masked.rstrip().endswith("+++"):
        return True
    return grammar.whole(masked) is not None or grammar.unfinished(masked) is not None


def glue(left: str, right: str) -> str:
    """Join two parts of a wrapped record: a blank only where the grammar has one."""
    masked = _QUOTE.sub('""', left)
    in_result = re.search(r"\)\s*=", masked) is not None
    noted = re.match(r"<(?!\d+\.\d)", right) and left[-1:].isdigit()
    if (not in_result and "(" in masked) or noted or _TORN_NOTE.search(masked):
        return left + right
    torn = (
        left[-1:].isalnum() and right[:1].isalnum() and (left[-1:].isdigit() or left[-1:].isupper())
    )
    same = left[-1:].isdigit() == right[:1].isdigit()
    return (
        left + right
        if torn and same and in_result and not left.endswith(" in")
        else f"{left} {right}"
    )


def unglue(text: str, pids: Collection[int] = ()) -> list[str]:
    """Part records that lost the newline between them; `pids` are those the log has named."""
    if text.count("(") + text.count(" resumed>") < 2 or (
        "= " not in text and "unfinished" not in text
    ):
        return [text]
    # mask strings with as many characters, so that offsets stay
    masked = _QUOTE.sub(lambda m: '"' + "_" * (len(m[0]) - 2) + '"', text)
    cuts = sorted(
        {_before_pid(masked, m, pids) for m in _GLUE.finditer(masked)}
        | {m.end(1) for m in _GLUED_ZERO.finditer(masked)}
    )
    parts, start = [], 0
    for cut in cuts:
        parts.append(text[start:cut])
        start = cut
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def _before_pid(text: str, glue: re.Match[str], pids: Collection[int]) -> int:
    """Return where to cut: in `= 71758 22:16:45` before the pid, which ran into the result."""
    run = _DIGITS_RUN.search(text, glue.start(1), glue.end(1))
    if run is None or re.match(r"\s*\d{1,8}(?:<[^<>]*>)? ", text[glue.end(1) :]):
        return glue.end(1)
    for start in range(run.start(1) + 1, run.end(1)):
        if text[start] != "0" and int(text[start : run.end(1)][-9:]) in pids:
            return start
    return glue.end(1)
