"""Finds the payloads of SOL_TLS calls, in any form, and everything that may be one."""

import re
from collections.abc import Iterator

from ktrace.scrub import strings
from ktrace.scrub.options import Change, Counts, Refused
from ktrace.scrub.view import DUMP, JUNK, START, View
from ktrace.sources.strace.options import is_key_material

KEPT = 4  # bytes of crypto_info that are no secret: version and cipher
_NUMBER = rb"(?:0x0*11a|0*282|0+432)\b"
# the four bytes of a crypto_info, of either byte order: 3, 3 or 4, 0, 51 to 58
_MAJOR, _MINOR = rb"\\(?:(?:00)?3|x03)", rb"\\(?:(?:00)?[34]|x0[34])"
_NONE, _CIPHER = rb"\\(?:0(?:00)?|x00)", rb"(?:[3-9:]|\\x3[3-9a]|\\0?(?:6[3-7]|7[0-2]))"
_ANCHOR = re.compile(
    rb"(?P<message>cmsg_level=[^,\n]{0,40})|(?P<level>SOL_TLS)\b|(?P<option>TLS_[TR]X\b)"
    rb"|sockopt ?\((?:sockfd=|fd=)?[^,\"<\n]{0,40}(?:<(?:->|[^<>\n]){0,300}>)? ?, ?(?:level=)?"
    rb"(?P<number>"
    + _NUMBER
    + rb")|(?P<like>\"(?:"
    + _MINOR
    + _MAJOR
    + _CIPHER
    + _NONE
    + rb"|"
    + _MAJOR
    + _MINOR
    + _NONE
    + _CIPHER
    + rb"))"
    rb"|(?P<resumed><\.\.\. getsockopt resumed> *(?=\"))"
    rb"|(?P<torn>sockopt ?\((?=[^\"\n]{0,600}\\))"
    rb"|(?P<nested>\\\"\\\\[34]\\\\(?:00)?3)",
    re.I,
)
_BEHIND_LEVEL = re.compile(rb"[^,\"\n]{0,80}, *(?:optname=)?[^,\"\n]{0,80}, *(?:optval=)?")
_BEHIND_OPTION = re.compile(rb"[^,\"\n]{0,80}, *(?:optval=)?")
# what stands for a payload and shows no byte of it
_NOT_SHOWN = re.compile(
    rb"(?:0x[0-9a-f]+|NULL|\d+|\[ *-?(?:0x)?[0-9a-f]+ *\]|\[\])(?= *(?:[,)<\n]|\.\.\.|$))"
    rb"|\.\.\.|<[a-z][a-z _.-]*>|<(?:unfinished|detached)[^\n]*|[)=\n]|\Z",
    re.I,
)
# damage: a comma or a bracket too many, and the payload is an argument later
_STRING_BEHIND = re.compile(rb"(?<![)=\n])[^\"\n()=]{0,80}(?:optval=)?\"")
# somebody's words in the place of a payload: `"...key material..."`, `"<redacted>"`
_WORDS = re.compile(rb"(?:\.\.\.|<|\[)[a-z ,._-]{0,80}(?:\.\.\.|>|\])?")
_SECRETIVE = re.compile(rb"[\"'`\\]|[0-9a-f]{16}", re.I)
_UNQUOTED = re.compile(rb"[^\"\n]{0,600}")
_NOTES = re.compile(rb"<(?:->|[^<>])*+>")
_ENDS = re.compile(rb"(?:\.\.\.)? *(?:[],)<=\n]|\Z)")
_RECORD = re.compile(rf"^{START}".encode(), re.M)
_TID = re.compile(rb"[ >]*(?:\[pid +(\d+)|(\d{1,8})[ <])")
# the end of a setsockopt() whose beginning was cut off, key bytes and all
_TAIL = re.compile(
    rf"^(?!{START}){JUNK}".encode() + rb"(\"?(?:[^\"\\\n]|\\[^\n]){1,4096}+)\""
    rb"(?:\.\.\.)?, \[?\d+\]?(?:\) *= (?:0|-1 E[A-Z])| *<unf)",
    re.M,
)
# a line of -e read= and -e write=, in strace's columns or squeezed by somebody
DUMP_LINE = (
    DUMP + r"(?:(?P<hex>[0-9a-f ]{49}) (?P<text>[^\n]{1,16}) *\|?$"
    r"|(?P<loose>(?:[0-9a-f]{2} {1,2}){1,16})(?P<rest>[^\n]*)$)"
)
_DUMP_LINE = re.compile(DUMP_LINE.encode(), re.M)
# what a view does not show of a string: what mail, terminals and strace put into it, or its body
_BODY_OR_NOISE = re.compile(
    rb"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[()][A-Z0-9])"
    rb"|(?:strace: Process \d{1,8} attached|\[ Process \d{1,8} attached \])?"
    rb"(?:=|<br ?/?>)?\r?\n[ \t]*(?:>[ \t]?)*+(?:(?:[#$%*;|]|//)[ \t]+)?"
    rb"|\xef\xbb\xbf|\xe2\x80\x8b|(?P<body>(?:[^\x1b\n\r\xe2\xef=<s\[]"
    rb"|(?!=\r?\n|<br ?/?>\r?\n|strace: Proc|\[ Proc|\xef\xbb|\xe2\x80)[^\x1b\n\r])+)|."
)
_REACH = 1 << 13  # how far a line is looked back for its head
_STOP = re.compile(rb"\n|SOL_TLS|TLS_[TR]X", re.I)
_ESCAPED = re.compile(rb"\\.", re.S)
HELP = "remove that call by hand, or keep the log to yourself: what was not read is not clean"


class KeyFinder:
    """Finds key bytes block after block; remembers which threads wait for a crypto_info."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._waiting: set[bytes] = set()
        self._quotes = Quotes(b"")

    def changes(self, plain: View, joined: View) -> Iterator[Change]:
        """Yield what to change.  Raises Refused with a place in `joined`."""
        text, position = joined.text, 0
        self._quotes = Quotes(text)
        while (anchor := _ANCHOR.search(text, position)) is not None:
            body = self._payload(text, anchor)
            position = anchor.end()
            if body is not None:
                yield from self._blank(joined, *body)
                position = max(body[1], anchor.end())
                yield from self._dumps(joined, position)
        yield from self._tails(plain, joined)

    def _payload(self, text: bytes, anchor: re.Match[bytes]) -> tuple[int, int] | None:
        """Return where the body of the payload's string stands, None where none is shown."""
        at = anchor.end()
        kind = anchor.lastgroup
        if kind == "like":
            return _body(text, anchor.start())
        if kind == "message":
            return None  # the type of a TLS record beside its data
        if kind == "torn":
            _torn(text, at)
            return None
        if kind == "nested":
            raise Refused(at, "data that quotes a log with a SOL_TLS call")
        if kind == "resumed":
            body = _body(text, at)
            tid = _tid(text, anchor.start())
            expected = tid in self._waiting
            self._waiting.discard(tid)
            return body if expected else None
        way = _BEHIND_OPTION if kind == "option" else _BEHIND_LEVEL
        behind = way.match(text, at)
        if behind is None:
            self._mention(text, anchor)
            return None
        return self._shown(text, anchor, behind.end())

    def _shown(self, text: bytes, anchor: re.Match[bytes], at: int) -> tuple[int, int] | None:
        if text[at : at + 1] == b'"':
            return _body(text, at)
        if text[at : at + 2] == b'\\"':
            raise Refused(at, "data that quotes a log with a SOL_TLS call")
        hidden = _NOT_SHOWN.match(text, at)
        if hidden is None:
            self._mention(text, anchor)
        elif _STRING_BEHIND.match(text, hidden.end()) is not None:
            raise Refused(at, "a SOL_TLS call with a string where strace writes none")
        elif hidden[0][:2] in (b"<u", b"<d") and len(self._waiting) < 1 << 20:
            self._waiting.add(_tid(text, anchor.start()))
        return None

    def _mention(self, text: bytes, anchor: re.Match[bytes]) -> None:
        """Pass over words about SOL_TLS; refuse what may be a payload in an unknown form."""
        stop = _STOP.search(text, anchor.end())
        rest = text[anchor.end() : stop.start() if stop else len(text)]
        if self._quotes.is_open(anchor.start()):
            rest = rest.partition(b'"')[0].replace(b"\\n", b"")
            if b"\\" in rest:
                raise Refused(anchor.start(), "data that mentions SOL_TLS and goes on with escapes")
        elif _SECRETIVE.search(rest) is not None:
            raise Refused(anchor.start(), "a SOL_TLS call whose payload cannot be read")

    def _blank(self, view: View, start: int, end: int) -> Iterator[Change]:
        """Replace all but version and cipher."""
        body = view.text[start:end]
        if _WORDS.fullmatch(body):
            return
        first = strings.after(body, KEPT)
        secret = body[first:]
        if not is_key_material(strings.decoded(secret) + _hidden(view, start, end)):
            return
        self._counts.keys += 1
        self._counts.key_bytes += len(strings.TOKEN.findall(secret))
        yield from replaced(view, start + first, end)
        yield from _torn_head(view, start, start + first)

    def _dumps(self, view: View, position: int) -> Iterator[Change]:
        """Blank the lines of -e read= and -e write= behind a call."""
        kept = KEPT
        end = view.text.find(b"\n", position)
        while end >= 0 and (line := _DUMP_LINE.match(view.text, end + 1)) is not None:
            yield from dump_filled(view, line, kept)
            self._counts.dumps += 1
            kept, end = 0, line.end()

    def _tails(self, plain: View, joined: View) -> Iterator[Change]:
        """Blank what may be the rest of a payload in a line that lost its beginning."""
        if b'"' not in plain.text:
            return
        for tail in _TAIL.finditer(plain.text):
            if _goes_on(plain.text, tail.start()) or strings.is_filler(tail[1]):
                continue
            self._counts.fragments += 1
            yield from replaced(plain, *tail.span(1))


def replaced(view: View, start: int, end: int) -> Iterator[Change]:
    """Replace each byte of a string's body by the filler, where the log shows it."""
    spots = list(view.ranges(start, end))
    if len(spots) == 1:
        yield Change(*spots[0], strings.filled(view.text[start:end]))
    else:
        for token in strings.TOKEN.finditer(view.text, start, end):
            yield from _edited(view, *token.span(), strings.filled(token[0]))
    for first, _, text in view.hidden(start - 1, end + 1):
        for part in _BODY_OR_NOISE.finditer(text):
            if part["body"]:
                at = first + part.start()
                yield Change(at, first + part.end(), strings.filled(part[0]))


def _torn_head(view: View, start: int, end: int) -> Iterator[Change]:
    """Replace what stands behind "noise" in version and cipher: digits there belong to a key."""
    done = None
    for first, last, text in view.hidden(start, end):
        for part in _BODY_OR_NOISE.finditer(text):
            if part["body"]:
                yield Change(first + part.start(), first + part.end(), strings.filled(part[0]))
                done = last
    for first, last in view.ranges(start, end):
        if done is not None and first >= done:
            yield Change(first, last, strings.FILLER * (last - first))


def _hidden(view: View, start: int, end: int) -> bytes:
    """Return the bytes of a string that its view takes for noise: `<b` to `>` looks like a tag."""
    return b"".join(
        part["body"] or b""
        for _, _, text in view.hidden(start - 1, end + 1)
        for part in _BODY_OR_NOISE.finditer(text)
    )


def dump_filled(view: View, line: re.Match[bytes], kept: int = 0) -> Iterator[Change]:
    """Replace the bytes of a dump's line, on both sides, but for the first `kept`."""
    columns, text = ("hex", "text") if line["hex"] else ("loose", "rest")
    pairs = [pair.start() for pair in re.finditer(rb"[0-9a-f]{2}", line[columns])][kept:]
    shown = range(line.start(text) + kept, line.start(text) + kept + len(pairs))
    if columns == "loose":
        shown = range(line.start(text), line.end(text))
    for at in pairs:
        at += line.start(columns)
        yield from _edited(view, at, at + 2, b"%02x" % strings.FILLER[0])
    for at in shown:
        if view.text[at : at + 1] not in b" |":
            yield from _edited(view, at, at + 1, strings.FILLER)


def _edited(view: View, start: int, end: int, new: bytes) -> Iterator[Change]:
    for change in view.edit(start, end, new):
        yield Change(*change)


def _body(text: bytes, quote: int) -> tuple[int, int]:
    start = end = quote + 1
    while end - start <= strings.LONGEST:
        match = strings.BODY.match(text, end)
        assert match is not None  # it matches nothing at all, too
        end = match.end(1)
        if _ENDS.match(text, match.end()) or not match[2]:
            return start, end
        end = match.end()  # a damaged byte that reads as a quote
    raise Refused(quote, "a payload that is too long for a crypto_info")


def _tid(text: bytes, at: int) -> bytes:
    start = text.rfind(b"\n", max(at - _REACH, 0), at) + 1
    match = _TID.match(text, start)
    return (match[1] or match[2]) if match else b""


class Quotes:
    """Tells whether a place is inside a string of its line; asked in ascending order."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._done = 0
        self._odd = False

    def is_open(self, at: int) -> bool:
        start = self._text.rfind(b"\n", self._done, at) + 1
        if start:
            self._done, self._odd = start, False
        if at > self._done:
            self._odd ^= _quotes(self._text[self._done : at]) % 2 == 1
            self._done = at
        return self._odd


def _torn(text: bytes, at: int) -> None:
    """Refuse a call that shows escapes before its first quote: it lost what stood before them."""
    match = _UNQUOTED.match(text, at)
    if match is not None and b"\\" in _NOTES.sub(b"", match[0]):
        raise Refused(at, "a torn call that may show key bytes")


def _goes_on(text: bytes, at: int) -> bool:
    """Tell whether a wrapped record goes on in the line at `at`."""
    before = max(at - _REACH, 0)
    if text[before:at].rstrip(b" \t\n>").endswith((b",", b"=", b"(")):
        return True
    starts = [record.start() for record in _RECORD.finditer(text, before, at)]
    return bool(starts) and _quotes(text[starts[-1] : at]) % 2 == 1


def _quotes(part: bytes) -> int:
    return _ESCAPED.sub(b"", part).count(b'"')
