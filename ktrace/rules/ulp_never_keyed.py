"""The TLS ULP was attached and no keys were installed.

## What it finds

Connections on which TCP_ULP succeeded and neither TLS_TX nor TLS_RX was tried. They are folded
into one note.

## Why it is bad

Mostly it is not. Older OpenSSL (3.0.2, for one) with enable-ktls attaches the ULP to every socket
it is given, wanted or not, and installs keys only with `SSL_OP_ENABLE_KTLS` and a cipher that the
kernel has. Where kernel TLS was wanted, this is how its absence looks there: no error anywhere.
So it counts in no fallback rate.

## Known limits

- A handshake that failed, or a trace that ends before its end, looks the same.
- Newer OpenSSL (its pull request 27908; Debian's 3.0.20 and 3.5.9 do so) attaches the ULP only
  when it has keys to install. There a program that did not ask for kernel TLS shows no kTLS call
  at all.

## Example

    197 connect(3<TCP:[38727]>, {sa_family=AF_INET, sin_port=htons(4000), ...}, 16) = -1 EINPROGRESS
    197 poll([{fd=3<TCP:[38727]>, events=POLLOUT}], 1, 5000) = 1 ([{fd=3, revents=POLLOUT}])
    197 setsockopt(3<TCP:[38727]>, SOL_TCP, TCP_ULP, [7564404], 4) = 0
    197 close(3<TCP:[38727]>) = 0

## How to fix

Where kernel TLS is wanted: set SSL_OP_ENABLE_KTLS (nginx `ssl_conf_command Options KTLS`, HAProxy
`ktls on`, openssl.cnf `Options = KTLS`), and agree on a cipher that both know (AES-GCM,
ChaCha20-Poly1305, AES-CCM).
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import OK
from ktrace.rules.fold import Fold, Hit
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import plural


class UlpNeverKeyed(ConnectionRule):
    code = "KT303"
    name = "ulp-never-keyed"
    severity = "note"
    rests_on_absence = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        if judged.connection.outcome == "ulp-only":
            attached = next((a for a in judged.connection.ulp if a.result == OK), None)
            yield Hit((), self.severity, attached)

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        return Words(
            message="TLS ULP attached and no keys installed",
            why="older OpenSSL with enable-ktls attaches the ULP to every socket, wanted or not;"
            " only SSL_OP_ENABLE_KTLS and a cipher that the kernel has lead to keys",
            outcome=f"{plural(fold.count, 'connection')} got the ULP and no keys; counted in no"
            " fallback rate",
            help="where kernel TLS is wanted, set SSL_OP_ENABLE_KTLS (nginx: ssl_conf_command"
            " Options KTLS; HAProxy: ktls on) and agree on AES-GCM, AES-CCM or ChaCha20-Poly1305",
        )
