"""Only the sending direction is in the kernel.

## What it finds

A connection where TLS_TX was installed and TLS_RX was never tried. A TLS_RX that was tried and
refused is KT204, KT205 or KT206.

## Why it is bad

Half of the gain is missing: what is received is still decrypted in user space. For a web server
that mostly sends this may be all it needs; a proxy pays for it on every byte it forwards.

With TLS 1.3 it is the mark of an old OpenSSL: 3.0 and 3.1 never install TLS_RX for TLS 1.3. TLS
1.3 receive support came with OpenSSL 3.2. With TLS 1.2 those releases install both.

## Known limits

- A trace that ends, or a connection that closes, between the two installs looks the same.
- The version is not known where the log does not show the first bytes of crypto_info.

## Example

`openssl s_client` 3.0 with `Options = KTLS` and TLS 1.3 (version 0x0304, printed `\\4\\3`):

    459 setsockopt(3<TCP:[...]>, SOL_TCP, TCP_ULP, [7564404], 4) = 0
    459 setsockopt(3<TCP:[...]>, SOL_TLS, TLS_TX, "\\4\\0034\\0"..., 56) = 0

## How to fix

Use OpenSSL 3.2 or later, or force TLS 1.2 (HAProxy `force-tlsv12`, nginx `ssl_protocols TLSv1.2`,
`openssl s_client -tls1_2`). Other libraries: ask for receive too (`TLS_RX`), before the first
record is read.
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import OK, program, setup_is_shown
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import to_peers
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import plural

_UPGRADE = "TLS 1.3 receive support came with OpenSSL 3.2: use it or a later one, or force TLS 1.2"
_WHY = {
    "TLS 1.3": "TLS_RX was never tried; OpenSSL 3.0 and 3.1 do not install it for TLS 1.3",
    "TLS 1.2": "TLS_RX was never tried, though every OpenSSL with kernel TLS does so for TLS 1.2:"
    " the program or its library asks for sending only",
}
_WHY_UNKNOWN = (
    "TLS_RX was never tried; the trace does not show the TLS version, and OpenSSL 3.0 and 3.1 do"
    " not install it for TLS 1.3"
)


class TxOnly(ConnectionRule):
    code = "KT301"
    name = "tx-only"
    severity = "warning"
    rests_on_absence = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        connection = judged.connection
        if connection.outcome == "tx-only" and not connection.rx and setup_is_shown(judged):
            installed = next((key for key in connection.tx if key.result == OK), None)
            version = connection.tls_version or ""
            yield Hit((version, program(judged)), self.severity, installed)

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        version = fold.shown.connection.tls_version
        return Words(
            message="only the sending direction (TLS_TX) is in the kernel",
            why=_WHY.get(version or "", _WHY_UNKNOWN),
            outcome=_outcome(fold, version),
            help=f"enable receive in the TLS library; {_UPGRADE}"
            if version == "TLS 1.2"
            else _UPGRADE,
        )


def _outcome(fold: Fold, version: str | None) -> str:
    what = f"what {plural(fold.count, 'connection')} received was decrypted in user space"
    parts = (what, f"{version}" if version else "", to_peers(fold))
    return "; ".join(part for part in parts if part)
