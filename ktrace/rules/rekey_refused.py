"""The kernel refused new TLS keys for a direction that had some.

## What it finds

A `setsockopt(fd, SOL_TLS, TLS_TX or TLS_RX, ...)` that failed with EBUSY: the second key of that
direction on the connection.

## Why it is bad

The keys of a TLS 1.3 connection change with a KeyUpdate, which either side may ask for at any
time. A kernel that cannot take the new keys answers EBUSY: always for TLS 1.2, and for TLS 1.3 up
to Linux 6.13. The old keys are useless by then. OpenSSL 3.5 gives the connection up.

## Known limits

- The outcome stays that of the first keys (`offloaded`): kernel TLS had been set up, and broke
  later.
- TCP_ULP = EEXIST before each new key is OpenSSL's habit, and harmless.

## Example

A key update with OpenSSL 3.5 on Linux 6.12:

    1045 setsockopt(3<TCP:[...]>, SOL_TCP, TCP_ULP, [7564404], 4) = -1 EEXIST
    1045 setsockopt(3<TCP:[...]>, SOL_TLS, TLS_TX, "\\4\\0034\\0"..., 56) = -1 EBUSY
    1045 shutdown(3<TCP:[...]>, SHUT_WR) = 0

## How to fix

Use Linux 6.14 or later, which takes new keys for TLS 1.3 with the same cipher. On older kernels
keep key updates away from connections with kernel TLS: do not ask for them, raise the peer's
limit of bytes or time for a key, or leave long-lived connections in user space.
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import program
from ktrace.rules.crypto_info import installs
from ktrace.rules.fold import Fold, Hit
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import listed, plural


class RekeyRefused(ConnectionRule):
    code = "KT205"
    name = "rekey-refused"
    severity = "error"

    def hits(self, judged: Judged) -> Iterator[Hit]:
        for install in installs(judged):
            if install.call.result == "EBUSY":
                yield Hit((program(judged),), self.severity, install.call, (install.option,))

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        return Words(
            message="the kernel refused new TLS keys: this direction already had some (EBUSY)",
            why="this kernel cannot replace keys: none can for TLS 1.2, and none before Linux 6.14"
            " for TLS 1.3",
            outcome=f"{listed(fold.tags)} kept the old keys on {plural(fold.count, 'connection')}",
            help="use Linux 6.14 or later for TLS 1.3, or keep key updates away from connections"
            " with kernel TLS (do not ask for them, raise the limits after which a peer does)",
            notes=("OpenSSL 3.5 gives a connection up when this happens",),
        )
