"""The TLS ULP was set without waiting for the connection: a latent race.

## What it finds

A `setsockopt(fd, SOL_TCP, TCP_ULP, "tls")` that came when `connect()` had been started and
nothing had yet shown that it was done, and that did not fail with ENOTCONN: it was accepted by
luck, or it failed for a reason that has nothing to do with order (ENOENT). The tls module is not
needed to find it.

## Why it is bad

The order of the calls is that of KT101. On loopback and on a fast LAN the SYN+ACK is usually
there before the next call, so the kernel accepts the ULP; over a longer round trip, under load or
with receive packet steering it refuses. A test on one machine passes, production falls back.

## Known limits

- Reported only where the trace covers the calls that could prove ESTABLISHED; else the order is
  `unknown`, and KT902 says which calls are missing.
- A program may know that the connection is up in a way no trace shows (io_uring completions).

## Example

HAProxy with the order of 3.4.0, to a server on the same machine; the first EPOLLOUT comes after
the ULP:

    790 connect(8<TCP:[12078]>, {sa_family=AF_INET, sin_port=htons(4043), ...}, 16) = -1 EINPROGRESS
    790 setsockopt(8<TCP:[10.9.0.1:52574->10.9.0.1:4043]>, SOL_TCP, TCP_ULP, [7564404], 4) = 0
    790 epoll_ctl(4, EPOLL_CTL_ADD, 8, {events=EPOLLIN|EPOLLOUT|EPOLLRDHUP, ...}) = 0
    790 epoll_wait(4, [{events=EPOLLOUT, data={u32=8, u64=8}}], 200, 0) = 1

## How to fix

As KT101: set the ULP at the first EPOLLOUT without an error, or just before the keys are
installed. To see the failure itself, put a delay on the link: `tc qdisc add dev lo root netem
delay 20ms`.
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import deciding_attempt, program
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import became, to_peers
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import duration, listed, sentences


class UlpUnorderedWithConnect(ConnectionRule):
    code = "KT102"
    name = "ulp-unordered-with-connect"
    severity = "warning"
    rests_on_state = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        if judged.connection.ordering == "unordered":
            attempt = deciding_attempt(judged, not_established=False)
            tags = (attempt.result or "not returned",)
            yield Hit((program(judged),), self.severity, attempt, tags)

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        return Words(
            message="TLS ULP set without waiting for the connection (latent race)",
            why="connect() had been started and nothing had shown that it was done; the kernel"
            " takes the ULP only in ESTABLISHED, so this works by luck (loopback, a fast LAN)",
            outcome=sentences(_answers(fold), became(fold), _narrowest(fold), to_peers(fold)),
            help="set the ULP after the connection is up (first EPOLLOUT, or just before installing"
            " the keys); a delay on the link shows the failure (tc qdisc ... netem delay 20ms)",
        )


def _answers(fold: Fold) -> str:
    if not fold.tags["ok"]:
        return f"the ULP failed for another reason ({listed(fold.tags)})"
    if fold.tags["ok"] == fold.count:
        return "the kernel took the ULP before the program was told that it may"
    taken = f"{fold.tags['ok']:,} of {fold.count:,}"
    return f"the kernel took the ULP on {taken} before the program was told that it may"


def _narrowest(fold: Fold) -> str:
    """Say how close it was, where the moment of ESTABLISHED was observed."""
    margins = fold.margins
    if not margins.count or not margins.observed or margins.low <= 0:
        return ""
    return f"the narrowest by {duration(margins.low)}"
