"""The TLS ULP was set on a socket that was not being connected.

## What it finds

A `setsockopt(fd, SOL_TCP, TCP_ULP, "tls")` on a fresh socket before any `connect()`, on a
listener, or on a socket whose `connect()` had already been seen to fail.

It is a warning; a note for listeners, and where a later attempt on the connection succeeded.

## Why it is bad

The kernel attaches the tls ULP only to a socket in ESTABLISHED, so these attempts can only fail
(ENOTCONN; a listener gave EINVAL on some stable kernels of January 2023). A program that takes
the refusal as "no kernel TLS here" and does not try again never gets it.

## Known limits

- Older OpenSSL (3.0.2, for one) with enable-ktls sets the ULP on every socket it is given,
  listeners too, whether kernel TLS is wanted or not; newer ones only when they have keys. On a
  listener nothing is lost: accepted sockets get their own attempt.
- Where the tls ULP is missing, the attempt fails with ENOENT before the kernel looks at the
  state; both findings are then reported, since both are to be fixed.

## Example

    984 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3<TCP:[12768]>
    984 setsockopt(3<TCP:[12768]>, SOL_TCP, TCP_ULP, "tls", 3) = -1 ENOTCONN

    984 listen(3<TCP:[12769]>, 5) = 0
    984 setsockopt(3<TCP:[127.0.0.1:54219]>, SOL_TCP, TCP_ULP, "tls", 3) = -1 ENOTCONN

## How to fix

Set the ULP on a connected socket: after `accept()`, after the first EPOLLOUT of a `connect()`, or
just before the keys are installed. After EPOLLERR, EPOLLHUP or a SO_ERROR that is not 0, close
the socket instead.
"""

from collections.abc import Iterator

from ktrace.findings import UlpAttempt
from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import deciding_attempt, program, unless_recovered
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import became, consequence, retried
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import listed, sentences

FRESH, LISTENER, FAILED = "fresh", "listener", "failed"
_MESSAGE = {
    FRESH: "TLS ULP set before connect()",
    LISTENER: "TLS ULP set on a listener",
    FAILED: "TLS ULP set after the connect had failed",
}
_HELP = {
    FRESH: "set the ULP after the connection is up (first EPOLLOUT, or just before installing the"
    " keys)",
    LISTENER: "nothing is lost if accepted sockets get the ULP themselves (older OpenSSL with"
    " enable-ktls tries it on every socket); else set it after accept()",
    FAILED: "look at SO_ERROR, EPOLLERR and EPOLLHUP first and close the socket when the connect"
    " has failed",
}


class UlpOnUnconnectedSocket(ConnectionRule):
    code = "KT103"
    name = "ulp-on-unconnected-socket"
    severity = "warning"
    rests_on_state = True
    explains_missing_ulp = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        if judged.connection.ordering != "unconnected":
            return
        attempt = deciding_attempt(judged, not_established=True)
        kind = _kind(judged, attempt)
        severity = "note" if kind == LISTENER else unless_recovered(judged, self.severity)
        tags = (attempt.result or "not returned",)
        yield Hit((kind, program(judged)), severity, attempt, tags, judged.facts.failure or "")

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        kind = fold.cause[0] if fold.cause[0] in _MESSAGE else FRESH
        failure = f" ({fold.hit.about})" if kind == FAILED and fold.hit.about else ""
        return Words(
            message=_MESSAGE[kind] + failure,
            why="the kernel attaches the tls ULP only to a socket in ESTABLISHED, so this attempt"
            " can only fail",
            outcome=sentences(f"refused with {listed(fold.tags)}", *_ended(kind, fold)),
            help=_HELP[kind],
            notes=consequence(fold),
        )


def _kind(judged: Judged, attempt: UlpAttempt) -> str:
    if judged.connection.role == "listener" or attempt.state == "LISTEN":
        return LISTENER
    if judged.facts.failure is not None and _connect_began(judged, attempt):
        return FAILED
    return FRESH


def _connect_began(judged: Judged, attempt: UlpAttempt) -> bool:
    """Return whether a connect() stands before the attempt in the timeline."""
    for row in judged.connection.timeline:
        if row.call == "connect":
            return True
        if "TCP_ULP" in row.text and (row.line, row.time) == (attempt.line, attempt.time):
            return False
    return True


def _ended(kind: str, fold: Fold) -> tuple[str, ...]:
    return () if kind == LISTENER else (became(fold), retried(fold))
