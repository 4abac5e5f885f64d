"""Key bytes that a test knows again, put into logs, and the search for what is left of them."""

import re

# Printable runs, digits behind octal escapes, quotes, backslashes, control and high bytes.
MARK = (
    b'Qz7#\x01\x02\x03\xfe9\x0b7Kv"w\\Jq\x1b\xc3\xa9(Yp4)\x00Gx\x7f\x81'
    b"Wd5\n\tZj!\xff0Hm<&>Lq;2\x06Rb8"
)
RUN = 4
_FILLED = re.compile(r'(?:k|\\x6b){4,}(?=")')
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.S)
_SIMPLE = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}
_NAMED = {9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def octets(data: bytes, hexed: bool = False) -> str:
    """Return bytes as strace prints them in a string."""
    if hexed:
        return "".join(f"\\x{octet:02x}" for octet in data)
    text = ""
    for index, octet in enumerate(data):
        digit_follows = data[index + 1 : index + 2].isdigit()
        if octet in _NAMED:
            text += _NAMED[octet]
        elif 32 <= octet < 127:
            text += chr(octet)
        else:
            text += f"\\{octet:03o}" if digit_follows else f"\\{octet:o}"
    return text


def crypto_info(hexed: bool = False, count: int = 36) -> str:
    """Return the string of a TLS 1.2 AES_GCM_128 crypto_info with marked key bytes."""
    return f'"{octets(bytes((3, 3, 51, 0)) + MARK[:count], hexed)}"'


def marked(line: str) -> str:
    """Put marked bytes in the place of a made-up log's uniform key."""

    def one(found: re.Match[str]) -> str:
        hexed = "\\x" in found[0]
        return octets(MARK[: len(found[0]) // (4 if hexed else 1)], hexed)

    return _FILLED.sub(one, line)


def plain(data: bytes) -> bytes:
    """Return bytes with every escape of a string undone."""
    return _ESCAPE.sub(_unescape, data)


def left(data: bytes) -> list[bytes]:
    """Return the runs of the marked key that are in `data`: as they are, escaped, or as hex."""
    decoded = plain(data)
    joined = re.sub(rb"\s+(?:>\s*)*", b"", decoded)
    digits = re.sub(rb"[^0-9a-f]", b"", data.lower())
    runs = [MARK[i : i + RUN] for i in range(len(MARK) - RUN + 1)]
    return [
        run
        for run in runs
        if run in data or run in decoded or run in joined or run.hex().encode() in digits
    ]


def _unescape(match: re.Match[bytes]) -> bytes:
    token = match[1]
    if token[:1] == b"x" and len(token) > 1:
        return bytes((int(token[1:], 16),))
    if token[:1].isdigit():
        return bytes((int(token, 8) & 0xFF,)) if token[0] < 0x38 else token
    return _SIMPLE.get(token, token)
