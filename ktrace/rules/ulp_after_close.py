"""The TLS ULP was set when the connection was already being closed.

## What it finds

A `setsockopt(fd, SOL_TCP, TCP_ULP, "tls")` that failed with ENOTCONN although the connection had
been established before: the peer had closed or reset it, or the program had shut it down.

## Why it is bad

It mostly is not: this is no race with `connect()`, and a connection that is gone needs no kernel
TLS. It is reported so that nobody takes its ENOTCONN for KT101.

## Known limits

- A FIN or RST from the peer is often not in the trace: the program had not read yet. What is
  known is that the connection had been up and that the kernel refused for its state.

## Example

The peer closes while the program sleeps:

    984 connect(9<TCP:[11969]>, {sa_family=AF_INET, sin_port=htons(38173), ...}, 16) = 0
    984 clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, ...) = 0 <0.100215>
    984 setsockopt(9<TCP:[...]>, SOL_TCP, TCP_ULP, "tls", 3) = -1 ENOTCONN <0.001447>

## How to fix

Nothing in the order of the calls. Where it is frequent, find out who closes so early: health
checks that only connect, timeouts, a peer that refuses the handshake.
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import deciding_attempt, program
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import became, consequence, to_peers
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import sentences


class UlpAfterClose(ConnectionRule):
    code = "KT104"
    name = "ulp-after-close"
    severity = "note"
    rests_on_state = True
    explains_missing_ulp = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        if judged.connection.ordering == "late":
            attempt = deciding_attempt(judged, not_established=True)
            yield Hit((program(judged),), self.severity, attempt)

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        return Words(
            message="TLS ULP set when the connection was already being closed",
            why="the connection had been established, and a close or reset by the peer, or a"
            " shutdown here, had taken it out of ESTABLISHED before the attempt; this is no race",
            outcome=sentences(became(fold), to_peers(fold)),
            help="nothing to change in the order; if it is frequent, find out who closes so early"
            " (health checks, timeouts, refused handshakes)",
            notes=consequence(fold),
        )
