"""Only the receiving direction is in the kernel.

## What it finds

A connection where TLS_RX was installed and TLS_TX was never tried. A TLS_TX that was tried and
refused is KT204, KT205 or KT206.

## Why it is bad

What is sent is still encrypted in user space, so neither sendfile nor the offload to a card can
be used: the larger part of the gain for most servers.

## Known limits

- Libraries install RX first on one side of a handshake (OpenSSL 3.5: the client). A trace that
  ends, or a connection that closes, between the two installs looks the same.

## Example

An OpenSSL 3.5 client whose log was cut before the second install:

    607 setsockopt(3<TCP:[...]>, SOL_TCP, TCP_ULP, [7564404], 4) = 0 <0.001585>
    607 setsockopt(3<TCP:[...]>, SOL_TLS, TLS_RX, "\\4\\0034\\0"..., 56) = 0 <0.005984>

## How to fix

See whether the trace or the handshake ended early. Else ask the TLS library for sending too
(`TLS_TX`, before the first application record is written).
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import OK, program, setup_is_shown
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import to_peers
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import plural, sentences


class RxOnly(ConnectionRule):
    code = "KT302"
    name = "rx-only"
    severity = "warning"
    rests_on_absence = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        connection = judged.connection
        if connection.outcome == "rx-only" and not connection.tx and setup_is_shown(judged):
            installed = next((key for key in connection.rx if key.result == OK), None)
            version = connection.tls_version or ""
            yield Hit((version, program(judged)), self.severity, installed)

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        sent = f"what {plural(fold.count, 'connection')} sent was encrypted in user space"
        return Words(
            message="only the receiving direction (TLS_RX) is in the kernel",
            why="TLS_TX was never tried",
            outcome=sentences(sent, fold.shown.connection.tls_version or "", to_peers(fold)),
            help="see whether the trace or the handshake ended early; else ask the TLS library for"
            " sending too (TLS_TX, before the first application record)",
        )
