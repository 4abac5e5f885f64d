"""Strings as strace quotes them: their bytes, and the same number of filler bytes."""

import re

from ktrace.sources.strace import values
from ktrace.sources.strace.options import FILLERS

LONGEST = 1 << 16  # strace -s can be larger, but no such string is searched for keys
FILLER = bytes((FILLERS[1],))
HEX_FILLER = b"\\x%02x" % FILLERS[1]
TOKEN = re.compile(rb"\\x[0-9a-fA-F]{1,2}|\\[0-7]{1,3}|\\.|.", re.S)
# the body of a string up to its end, or up to the end of its record where it was cut
BODY = re.compile(rb"((?:[^\"\\\n]|\\[^\n])*+\\?)(\"|(?=\n)|\Z)")


def filled(body: bytes) -> bytes:
    """Return a string's body with every byte replaced; the way of quoting stays."""
    tokens = TOKEN.findall(body)
    if b"\\x" not in body:
        return FILLER * len(tokens)
    return b"".join(HEX_FILLER if token[:2] == b"\\x" else FILLER for token in tokens)


def after(body: bytes, count: int) -> int:
    """Return where the part behind the first `count` bytes begins."""
    position = 0
    for _ in range(count):
        match = TOKEN.match(body, position)
        if match is None:
            return len(body)
        position = match.end()
    return position


def decoded(body: bytes) -> bytes:
    return values.string(f'"{body.decode("latin-1")}"', LONGEST)[0]


def is_filler(body: bytes) -> bool:
    """Tell whether nothing but filler is shown."""
    return all(byte in FILLERS for byte in decoded(body))
