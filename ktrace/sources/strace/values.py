"""The shape of a value as strace prints it: numbers, names, strings, addresses, event arrays.

Decoded by value and never by spelling: `SOL_TCP`, `0x6`, `6` and `0x6 /* SOL_TCP */` are one
number. Every function takes the text of one argument and returns None where it shows nothing
usable.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from ktrace.events import Endpoint, FdNote
from ktrace.uapi import AF, AF_NAMES, EPOLL_BITS, ERRNO_NUMBERS

# "..." with escapes; a string cut by -s has `...` behind it
STRING = r'(?<!\\)"(?:[^"\\]|\\.)*+"'
_SPLIT = re.compile(
    rf"""{STRING}                       # strings hide everything
      | /\*[^*\n]{{0,400}}\*/            # comments of -X verbose
      | <(?:->|[^<>"]|"[^"]*")*>(?=\s*[,)\]}}]|$)  # what -y wrote behind an fd
      | [\[\]{{}}(),]
    """,
    re.X | re.S,
)
_OPEN, _CLOSE = "[{(", "]})"
_NAMED = re.compile(r"[a-z_][a-z0-9_]*=(?!=)")
_COMMENT = re.compile(r"/\*\s*([^*\s][^*]{0,400}?)\s*\*/")
_INT = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.S)
_SIMPLE_ESCAPES = {
    b"n": b"\n",
    b"t": b"\t",
    b"r": b"\r",
    b"v": b"\v",
    b"f": b"\f",
    b"a": b"\a",
    b"b": b"\b",
    b"e": b"\x1b",
}
# what is longer fits no register: damage
MAX_DIGITS = 20
_SMART_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "…": "..."})


# one argument of the usual shapes, up to two levels of brackets, without a step of backtracking
_ARG = re.compile(
    rf"""\s*+((?>[^,"\[\]{{}}()<>/]++
      | {STRING} | <(?:->|[^<>"])*+>(?=\s*(?:,|$)) | \([^()"\[\]{{}}<>]*+\)
      | \{{ (?>[^{{}}"\[\]<>/]++ | {STRING} | \{{[^{{}}"\[\]<>/]*+\}}
             | \[[^{{}}"\[\]<>/]*+\] )*+ \}}
      | \[ (?>[^{{}}"\[\]<>/]++ | {STRING}
             | \{{ (?>[^{{}}"\[\]<>/]++ | \{{[^{{}}"\[\]<>/]*+\}} )*+ \}} )*+ \]
    )*+)(?:,|$)""",
    re.X | re.S,
)


def split_args(text: str) -> list[str]:
    """Split an argument list at its top-level commas; names of -N (`fd=3`) are dropped."""
    args, position, size = [], 0, len(text)
    while position < size:
        match = _ARG.match(text, position)
        if match is None:
            args = list(_split(text))
            break
        args.append(match[1].rstrip())
        position = match.end()
    if _NAMED.match(text) and not text.startswith("child_stack="):  # clone() has names of its own
        return [_NAMED.sub("", arg, count=1) if _NAMED.match(arg) else arg for arg in args]
    return args


def _split(text: str) -> Iterator[str]:
    depth = start = 0
    for match in _SPLIT.finditer(text):
        token = match[0]
        if token in _OPEN:
            depth += 1
        elif token in _CLOSE:
            depth -= 1
        elif token == "," and depth <= 0:
            yield text[start : match.start()].strip()
            start = match.end()
    rest = text[start:].strip()
    if rest:
        yield rest


def as_printed(text: str) -> str:
    """Undo what an editor or a web page did to quotes, ellipses and signs."""
    if not text.isascii():
        text = text.translate(_SMART_QUOTES)
    if "&quot;" in text:
        for entity, sign in (("&quot;", '"'), ("&gt;", ">"), ("&lt;", "<"), ("&amp;", "&")):
            text = text.replace(entity, sign)
    return text


def integer(text: str) -> int | None:
    """Return the number that `text` is: decimal, hex or octal, bracketed or not."""
    body = text.strip("[] ")
    match = _INT.fullmatch(body)
    if match is None:
        return None
    return _number(body)


def _number(body: str) -> int:
    digits = body.lstrip("-")
    octal = (
        len(digits) > 1 and digits[0] == "0" and digits.isdigit() and not set(digits) & {"8", "9"}
    )
    if len(digits) > MAX_DIGITS:
        return -1
    return int(body, 8) if octal else int(body, 0) if digits[:2] in ("0x", "0X") else int(body)


def constant(text: str, names: Mapping[str, int]) -> int | None:
    """Return the value of one constant: by number if one is shown, else by the name in `names`."""
    bare = _COMMENT.sub("", text).strip()
    if bare and (bare[0].isdigit() or bare[0] == "-"):
        return integer(bare)
    if bare in names:
        return names[bare]
    comment = _COMMENT.search(text)
    return names.get(comment[1]) if comment else None


def flags(text: str, names: Mapping[str, int]) -> int:
    """Return the bits of `A|B|0x4`; names that are not in `names` count as no bit."""
    total = 0
    for part in _COMMENT.sub("", text).split("|"):
        total |= constant(part.strip(), names) or 0
    if total == 0 and "/*" in text:
        comment = _COMMENT.search(text)
        return flags(comment[1], names) if comment else 0
    return total


def is_string(text: str) -> bool:
    return text.startswith('"')


def string(text: str, limit: int = 4096) -> tuple[bytes, bool]:
    """Return the first `limit` bytes of a quoted string, and whether it goes on beyond what is
    shown.
    """
    end = text.rfind('"')
    body = text[1:end] if end > 0 else text[1:]
    cut = "..." in text[end + 1 :] or end <= 0
    # every byte is at most four characters of escape: nothing behind that is ever decoded
    raw = _ESCAPE.sub(_unescape, body[: limit * 4 + 8].encode("utf-8", "replace"))
    return raw[:limit], cut


def unescaped(text: str) -> str:
    """Return what strace escaped: the bytes of a name that are no printable ASCII."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(_unescape, text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _unescape(match: re.Match[bytes]) -> bytes:
    token = match[1]
    if token[:1] == b"x" and len(token) > 1:
        return bytes((int(token[1:], 16),))
    if token[:1].isdigit() and token[0] < 0x38:
        return bytes((int(token, 8) & 0xFF,))
    return _SIMPLE_ESCAPES.get(token, token)


_FD = re.compile(r"(-?\d{1,12}|0x[0-9a-fA-F]{1,16})\s*+(?:<(.*)>)?\s*$", re.S)
_NOTE = re.compile(r"(?:([A-Za-z0-9-]+):)?\[(.*)\]$", re.S)


def descriptor(text: str) -> tuple[int | None, FdNote | None]:
    """Return the number of an fd and what -y or -yy wrote behind it."""
    if text.isdecimal() and len(text) <= MAX_DIGITS:
        return int(text), None
    match = _FD.match(text)
    if match is None:
        return None, None
    number = int(match[1], 16) if match[1][:2] == "0x" else int(match[1])
    if number > 0x7FFFFFFF:  # -X raw prints AT_FDCWD and -1 as unsigned
        number -= 1 << 32
    return number, note(match[2]) if match[2] else None


@lru_cache(maxsize=8192)
def note(text: str) -> FdNote | None:
    """Read a decoration: `TCP:[46999]`, `TCP:[a->b]`, `socket:[46999]`; None for paths."""
    if "\\x" in text:  # -xx escapes decorations too
        text = string(f'"{text}"')[0].decode("utf-8", "replace")
    match = _NOTE.match(text)
    if match is None:
        return None
    kind, body = match[1], match[2]
    protocol = None if kind in (None, "socket") else kind
    if body.isdecimal() and len(body) <= MAX_DIGITS:
        return FdNote(protocol=protocol, inode=int(body))
    if protocol is None or not protocol.startswith("TCP"):
        return FdNote(protocol=protocol) if protocol else None
    local, arrow, peer = body.partition("->")
    return FdNote(protocol=protocol, local=_plain(local), peer=_plain(peer) if arrow else None)


def _plain(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or port == "0" or not host or len(address) > 64:
        return None  # port 0: not bound yet
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


_FAMILY = re.compile(r"(?:sa|sin6?|sun|nl|sll)?_?family=([A-Z_0-9a-zx]+)(?:\s*/\*\s*([A-Z_0-9]+))?")
_PORT = re.compile(r"sin6?_port=(?:htons\((\d{1,5})\)|(\"(?:[^\"\\]|\\.)*\")|(0x[0-9a-f]+|\d+))")
_ADDR4 = re.compile(r"sin_addr=(?:inet_addr\(\"([^\"]*)\"\)|(\"(?:[^\"\\]|\\.)*\"))")
_ADDR6 = re.compile(
    r"inet_pton\(AF_INET6,\s*\"([^\"]*)\""
    r"|sin6_addr=(?:inet_pton\([^\"]{0,40}\"([^\"]*)\"|(\"(?:[^\"\\]|\\.)*\"))"
)
_RAW_SOCKADDR_V4 = 8
_RAW_SOCKADDR_V6 = 24


def endpoint(text: str) -> Endpoint | None:
    """Read a sockaddr in any of strace's forms; None when only a pointer is shown."""
    if not text.startswith("{"):
        return None
    family = _FAMILY.search(text)
    if family is None:
        return None
    name = _family_name(family[2] or family[1])
    if name == "AF_INET":
        return Endpoint(name, _address4(text), _port(text))
    if name == "AF_INET6":
        return Endpoint(name, _address6(text), _port(text))
    return Endpoint(name)


def _family_name(text: str) -> str:
    if text[:1].isdigit():
        number = integer(text)
        return "AF_?" if number is None else AF_NAMES.get(number, f"AF_{number}")
    name = text.replace("PF_", "AF_")
    return AF_NAMES.get(AF[name], name) if name in AF else name


def _port(text: str) -> int | None:
    match = _PORT.search(text)
    if match is None:
        return None
    if match[1]:
        return int(match[1])
    if match[2]:
        raw = string(match[2])[0]
        return int.from_bytes(raw[:2], "big") if len(raw) >= 2 else None
    # a number without htons() is in network order
    return int.from_bytes(((integer(match[3]) or 0) & 0xFFFF).to_bytes(2, "little"), "big")


def _address4(text: str) -> str | None:
    match = _ADDR4.search(text)
    if match is None:
        return None
    if match[1] is not None:
        # -x and -xx escape the address as they do every string
        return _printable_address(
            string(f'"{match[1]}"')[0] if "\\" in match[1] else match[1].encode()
        )
    raw = string(match[2])[0]
    return ".".join(map(str, raw[:4])) if len(raw) >= 4 else None


def _address6(text: str) -> str | None:
    match = _ADDR6.search(text)
    if match is None:
        return None
    shown = match[1] if match[1] is not None else match[2]
    if shown is not None:
        return _printable_address(string(f'"{shown}"')[0] if "\\" in shown else shown.encode())
    raw = string(match[3])[0]
    if len(raw) < 16:
        return None
    import ipaddress  # rare: only raw logs show sixteen bytes

    address = ipaddress.IPv6Address(raw[:16])
    mapped = address.ipv4_mapped
    return str(address) if mapped is None else f"::ffff:{mapped}"  # as strace prints it


def _printable_address(raw: bytes) -> str | None:
    text = raw.decode("ascii", "replace")
    return text if re.fullmatch(r"[0-9A-Fa-f:.%]{1,64}", text) else None


_EPOLL_EVENT = re.compile(
    r"\{\s{0,3}(?:events=)?([A-Z_|0-9a-fx /*?]{1,300}?)\s{0,3},\s*(?:data=)?"
    r"(?:\{\s*)?(?:u32=)?(-?\w+)(?:\s*,\s*(?:u64=)?(-?\w+))?\s*\}"
)
_POLL_EVENT = re.compile(
    r"\{\s{0,3}fd=([^,{}]{0,300}?(?:<[^{}]{0,300}?>)?)\s{0,3},\s{0,3}"
    r"(?:r?events=)?([A-Z_|0-9a-fx /*?]{1,300})?\s{0,3}(?:,\s{0,3}revents=([^{}]{0,300}?))?\}"
)


def epoll_events(text: str) -> list[tuple[int, int]]:
    """Return (events, data) for each entry of an epoll array; data as u64 where shown, else u32."""
    found = []
    for bits, low, high in _EPOLL_EVENT.findall(text):
        value = integer(high or low)
        if value is not None:
            found.append((event_bits(bits), value))
    return found


_bits_cache: dict[str, int] = {}


def event_bits(text: str) -> int:
    """Return the EPOLL*/POLL* bits of `EPOLLIN|EPOLLOUT`; the spellings that occur are few, so
    cached.
    """
    bits = _bits_cache.get(text)
    if bits is None:
        bits = flags(text, EPOLL_BITS)
        if len(_bits_cache) < 4096:
            _bits_cache[text] = bits
    return bits


def poll_events(text: str) -> list[tuple[int, int]]:
    """Return (fd, events or revents) for each entry of a pollfd array."""
    found = []
    for fd_text, events, revents in _POLL_EVENT.findall(text):
        number, _ = descriptor(fd_text.strip())
        if number is not None:
            found.append((number, event_bits(revents or events)))
    return found


# `[3 4 5]`, `[3<TCP:[1]>, 4]`
FD_SET = r"\[(?:\s*+\d++(?:<(?:->|[^<>])*+>)?+,?+)*+\s*+(?:\.\.\.)?\]"
_DECORATION = re.compile(r"<(?:->|[^<>])*>")


def fd_set(text: str) -> list[int]:
    """Return the descriptors in `[3 4 5]` or `[3<TCP:[1]> 4]`."""
    return [int(number) for number in re.findall(r"\d{1,9}", _DECORATION.sub("", text))]


def errno_number(text: str) -> int | None:
    """Read the value of SO_ERROR: `[0]`, `[111]` or `[ECONNREFUSED]`; None for a mere pointer."""
    return constant(text.strip("[] "), ERRNO_NUMBERS) if text.startswith("[") else None
