"""The TLS ULP was set before the TCP connection was established.

## What it finds

A `setsockopt(fd, SOL_TCP, TCP_ULP, "tls")` that came after `connect()` was started, before
anything proved that the connection is up, and failed with ENOTCONN (ENOTSUPP on old kernels).

It is an error where the connection went on with TLS in user space, a warning where the
connections never came up anyway, and a note where every program tried again with success.

## Why it is bad

The kernel attaches the tls ULP only to a socket in ESTABLISHED. `connect()` on a non-blocking
socket (or a blocking one with a send timeout) returns EINPROGRESS while the socket is in
SYN_SENT, where it stays for a round trip. A program that sets the ULP in that time is refused,
and most go on without kernel TLS and without a word: no sendfile, no offload to the card, more
copies, more CPU.

## Known limits

- From strace the state is inferred: a proof of ESTABLISHED shows when the program was told, not
  when the kernel changed the state, so a margin is "at most". `ktrace live` observes the change.
- Tracing slows a program down and lets some attempts escape: the same build then shows raced
  connections and latent races (KT102) side by side.
- Refused key installs (ENOPROTOOPT) that follow are a consequence and are counted here, not as
  KT203.

## Example

HAProxy 3.4.0 to a backend over a network:

    3947 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 156
    3947 connect(156, {sa_family=AF_INET, sin_port=htons(4043), ...}, 16) = -1 EINPROGRESS
    3947 setsockopt(156, SOL_TCP, TCP_ULP, [7564404], 4) = -1 ENOTCONN
    3947 epoll_ctl(148, EPOLL_CTL_ADD, 156, {events=EPOLLIN|EPOLLOUT|EPOLLRDHUP, ...}) = 0
    3947 epoll_wait(148, [{events=EPOLLOUT, data={u32=156, u64=156}}], 200, 0) = 1

## How to fix

Set the ULP once the connection is up: at the first EPOLLOUT without an error, or, simplest, just
before the keys are installed, when the TLS handshake has proved it. HAProxy did so with its
commit 96b08e959, after 3.4.0. With TCP Fast Open, `connect()` = 0 and EPOLLOUT prove nothing: set
the ULP before the keys.
"""

from collections.abc import Iterator

from ktrace.findings import Severity
from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import deciding_attempt, program
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import became, consequence, retried, to_peers
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import duration, sentences


class UlpBeforeEstablished(ConnectionRule):
    code = "KT101"
    name = "ulp-before-established"
    severity = "error"
    rests_on_state = True
    explains_missing_ulp = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        if judged.connection.ordering == "raced":
            attempt = deciding_attempt(judged, not_established=True)
            yield Hit((program(judged),), _severity(judged), attempt)

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        return Words(
            message="TLS ULP set before the connection was established",
            why="the kernel attaches the tls ULP only to a socket in ESTABLISHED;"
            " the SYN+ACK had not come yet",
            outcome=sentences(became(fold), _tried_again(fold), _too_early(fold), to_peers(fold)),
            help="set the ULP after the connection is up (first EPOLLOUT, or just before installing"
            " the keys); HAProxy up to 3.4.0 has this fault, fixed by its commit 96b08e959",
            notes=(*_fastopen(fold), *consequence(fold)),
        )


def _severity(judged: Judged) -> Severity:
    connection = judged.connection
    if connection.outcome == "not-connected":
        return "warning"
    return "note" if connection.recovered and connection.outcome != "fallback" else "error"


def _tried_again(fold: Fold) -> str:
    never_came_up = fold.outcomes["not-connected"] == fold.count
    return "" if never_came_up and not fold.retried else retried(fold)


def _too_early(fold: Fold) -> str:
    """Say by how much; raced margins are negative, and bounds where they are inferred."""
    margins = fold.margins
    if not margins.count or margins.low >= 0:
        return ""
    least, most = duration(max(0.0, -margins.high)), duration(-margins.low)
    if not margins.observed:
        return f"at most {most} too early"
    return f"{most} too early" if least == most else f"{least} to {most} too early"


def _fastopen(fold: Fold) -> tuple[str, ...]:
    if not fold.fastopen:
        return ()
    return ("with TCP Fast Open, connect() = 0 and EPOLLOUT do not prove ESTABLISHED",)
