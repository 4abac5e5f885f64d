"""TLS keys were installed on a socket that has no ULP.

## What it finds

A `setsockopt(fd, SOL_TLS, TLS_TX or TLS_RX, ...)` that failed with ENOPROTOOPT or EOPNOTSUPP, on
a connection where no other finding explains why the ULP was missing.

## Why it is bad

The SOL_TLS options exist only once the tls ULP is attached. Without it the keys go nowhere and
the connection goes on with TLS in user space.

## Known limits

- After a refused ULP (KT101, KT103, KT104, KT201, KT202, KT206) the failed keys are a
  consequence: they are told there and not counted here.
- On a connection that was opened before the trace began, the refused ULP may lie before it too.

## Example

    984 connect(7<TCP:[11960]>, {sa_family=AF_INET, sin_port=htons(44749), ...}, 16) = 0
    984 setsockopt(7<TCP:[...]>, SOL_TLS, TLS_TX, "\\3\\0033\\0"..., 40) = -1 ENOPROTOOPT

## How to fix

Set the ULP first, `setsockopt(fd, SOL_TCP, TCP_ULP, "tls", 3)`, on the connected socket, look at
its result, and install keys only when it was 0 (or EEXIST: it is attached already).
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import NO_ULP, NOT_ESTABLISHED, OK, program, refused_attempts
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import became
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import sentences

_EXPLAINED = frozenset(("raced", "unconnected", "late"))
NEVER, REFUSED, AFTERWARDS = "never", "refused", "afterwards"
_WHY = {
    NEVER: "no TCP_ULP call was made on it in this trace",
    REFUSED: "TCP_ULP had failed, in a TCP state that the trace does not tell",
    AFTERWARDS: "TCP_ULP succeeded only later, or on another socket",
}


class KeysWithoutUlp(ConnectionRule):
    code = "KT203"
    name = "keys-without-ulp"
    severity = "error"
    rests_on_absence = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        connection = judged.connection
        failed = [key for key in connection.tx + connection.rx if key.result in NO_ULP]
        if failed and not _explained(judged):
            yield Hit((_reason(judged), program(judged)), self.severity, failed[0])

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        before = "before-trace" in fold.shown.facts.limits
        return Words(
            message=f"TLS keys installed on a socket without the tls ULP ({fold.result})",
            why="the SOL_TLS options exist only once the ULP is attached; "
            + _WHY[_reason(fold.shown)],
            outcome=sentences(became(fold)),
            help="set the ULP on the connected socket first, look at its result, and install keys"
            " only when it was 0 (or EEXIST: attached already)",
            notes=("the connection was opened before the trace; the cause may lie there",)
            if before
            else (),
        )


def _explained(judged: Judged) -> bool:
    """Return whether a finding about the ULP says already why it was missing."""
    if any(refused_attempts(judged)):
        return True
    failed = any(attempt.result in NOT_ESTABLISHED for attempt in judged.connection.ulp)
    return failed and judged.connection.ordering in _EXPLAINED


def _reason(judged: Judged) -> str:
    results = {attempt.result for attempt in judged.connection.ulp}
    if OK in results:
        return AFTERWARDS
    return REFUSED if results & NOT_ESTABLISHED else NEVER
