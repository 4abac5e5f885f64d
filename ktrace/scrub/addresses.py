"""Maps IP addresses to ranges for documentation (RFC 5737, RFC 3849), each always to the same."""

import ipaddress
import re
from collections.abc import Iterator

from ktrace.errors import KtraceError
from ktrace.scrub import strings
from ktrace.scrub.options import Change, Counts
from ktrace.scrub.view import View

# The last two are for more addresses than documentation has: they are routed nowhere either.
_RANGES = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "240.0.0.0/4")
_DOCUMENTATION_6 = int(ipaddress.IPv6Address("2001:db8::"))
MOST = 1 << 20  # addresses remembered
_UNSPECIFIED = ("0.0.0.0", "::")
_TEXT = re.compile(
    rb"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)"
    rb"|(?<![\w:.])(?=[0-9a-fA-F]{0,4}:[0-9a-fA-F:]*:)[0-9a-fA-F:]{2,39}"
    rb"(?:(?<=:)(?:\d{1,3}\.){3}\d{1,3})?(?![\w:]|\.\d)"
    rb"|(?P<raw>\bsin6?_addr=\"(?P<bytes>[^\"\n]*)\")|(?P<old>\bsa_data=\"(?P<sa>[^\"\n]*)\")"
    rb"|(?P<hex>\b(?:inet_addr\(|inet_pton\([A-Z_0-9]+, ?)\"(?P<quoted>(?:\\x[0-9a-f]{2})+)\")"
    rb"|<(?P<note>(?:\\x[0-9a-f]{2})+)>|(?P<stack>^ *> [^\n]*\[0x)",
    re.M,
)
_IN_NOTE = re.compile(
    rb"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])|(?<=\[)[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(?=\])"
)


class Mapper:
    """Gives each address its stand-in, in the order in which they are first seen."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._known: dict[bytes, bytes] = {}
        self._next4 = _hosts()
        self._next6 = 0

    def changes(self, view: View) -> Iterator[Change]:
        """Yield what to change."""
        for found in _TEXT.finditer(view.text):
            for start, end, new in self._found(found):
                if new != view.text[start:end]:
                    self._counts.addresses += 1
                    for change in view.edit(start, end, new):
                        yield Change(*change)

    def _found(self, found: re.Match[bytes]) -> Iterator[tuple[int, int, bytes]]:
        kind = found.lastgroup
        if kind == "stack":
            return
        if found["raw"]:
            yield *found.span("bytes"), self._raw(found["bytes"], 0)
        elif found["old"]:
            yield *found.span("sa"), self._raw(found["sa"], 2)
        elif found["hex"]:
            yield *found.span("quoted"), _escaped(self.text(strings.decoded(found["quoted"])))
        elif found["note"]:
            inner = strings.decoded(found["note"])
            mapped = _IN_NOTE.sub(lambda m: self.text(m[0]), inner)
            yield *found.span("note"), _escaped(mapped)
        else:
            yield *found.span(), self.text(found[0])

    def text(self, shown: bytes) -> bytes:
        """Return what stands for an address; what is none stays."""
        new = self._known.get(shown)
        if new is None:
            new = self._new(shown)
            if len(self._known) >= MOST:
                raise KtraceError(
                    "many-addresses",
                    f"the log has more than {MOST:,} addresses, too many to map",
                    "split the log, or scrub it without --addresses",
                )
            self._known[shown] = new
        return new

    def _new(self, shown: bytes) -> bytes:
        try:
            address = ipaddress.ip_address(shown.decode("ascii"))
        except ValueError:
            return shown
        if str(address) in _UNSPECIFIED:
            return shown
        canonical = str(address).encode()
        if canonical != shown:
            return self.text(canonical)
        if isinstance(address, ipaddress.IPv4Address):
            return next(self._next4)
        if address.ipv4_mapped is not None:
            return b"::ffff:" + self.text(str(address.ipv4_mapped).encode())
        self._next6 += 1
        return str(ipaddress.IPv6Address(_DOCUMENTATION_6 + self._next6)).encode()

    def _raw(self, body: bytes, skipped: int) -> bytes:
        """Map the bytes of an address in a string, behind `skipped` bytes (a port)."""
        raw = strings.decoded(body)
        head, packed = raw[:skipped], raw[skipped:]
        size = 16 if len(packed) == 16 else 4
        if len(packed) < 4:
            return body
        mapped = self.text(str(ipaddress.ip_address(packed[:size])).encode())
        return _escaped(head + ipaddress.ip_address(mapped.decode()).packed + packed[size:])


def _hosts() -> Iterator[bytes]:
    for network in _RANGES:
        for host in ipaddress.IPv4Network(network).hosts():
            yield str(host).encode()


def _escaped(raw: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in raw)
