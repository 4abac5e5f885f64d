"""What became of a connection (outcome), and whether its ULP attempts were in order (ordering).

Each word is defined in docs/verdicts.md; this is the one place that decides them.
"""

from collections.abc import Callable

from ktrace.events import Family
from ktrace.findings import Ordering, Outcome
from ktrace.sequencer.tracked import Attempt, Tracked
from ktrace.tcp_state import CUT, NOT_CONNECTED

Covers = Callable[[Family], bool]

# Without these a trace cannot show that a connect was waited for.  A program that proves a
# connection by getpeername() or by data alone still starts with connect() and, when that does not
# block, with a wait.
PROVING: tuple[Family, ...] = ("connect", "wait")
# TCP Fast Open makes a socket writable before it is connected: only data from the peer tells
FAST_OPEN_PROVING: tuple[Family, ...] = ("connect", "io")

WORST_FIRST: tuple[Ordering, ...] = ("raced", "unconnected", "unordered", "late", "unknown", "safe")
_RANK = {order: rank for rank, order in enumerate(WORST_FIRST)}


def missing_proofs(connection: Tracked, covers: Covers) -> tuple[Family, ...]:
    """Return the families that could have shown a proof and are not in the trace."""
    proving = FAST_OPEN_PROVING if connection.fastopen else PROVING
    return tuple(family for family in proving if not covers(family))


def is_benign(connection: Tracked, attempt: Attempt) -> bool:
    """EEXIST after a success, or on a socket whose setup lies before the trace, means nothing."""
    return attempt.result == "EEXIST" and (connection.ulp_ok or connection.before_trace)


def order_of(connection: Tracked, attempt: Attempt, covers: Covers) -> Ordering | None:
    """Return the order of one attempt, None for an EEXIST that means nothing."""
    if is_benign(connection, attempt):
        return None
    refused = attempt.result in NOT_CONNECTED
    if attempt.order == "proved":
        return "late" if refused else "safe"
    if attempt.order == "in-flight":
        if refused:
            return "raced"
        limited = attempt.limits or attempt.result == CUT or missing_proofs(connection, covers)
        return "unknown" if limited else "unordered"
    if attempt.order == "unconnected":
        # a socket that takes the ULP was connected by a call that the trace does not show
        hidden = attempt.result == "ok" or "io_uring" in attempt.limits
        hidden = hidden or not (connection.listening or covers("connect"))
        return "unknown" if hidden else "unconnected"
    return "unknown"


def ordering_of(connection: Tracked, covers: Covers) -> tuple[Ordering | None, Attempt | None]:
    """Return the worst order among the attempts, and the first attempt that shows it."""
    worst: Ordering | None = None
    decisive = None
    for attempt in connection.attempts:
        order = order_of(connection, attempt, covers)
        if order is not None and (worst is None or _RANK[order] < _RANK[worst]):
            worst, decisive = order, attempt
    if worst is None and connection.attempts:
        return "unknown", connection.attempts[0]
    return worst, decisive


def outcome_of(connection: Tracked, covers: Covers) -> Outcome:
    """Return what became of the connection's TLS."""
    if connection.listening and not connection.connect_called:
        return "none"
    if not connection.has_ktls:
        if never_came_up(connection, covers):
            return "not-connected"
        unseen = connection.before_trace or connection.blind
        return "none" if covers("setsockopt") and not unseen else "unknown"
    tx, rx = _installed(connection, "tx"), _installed(connection, "rx")
    if tx and rx:
        return "offloaded"
    if tx or rx:
        return "tx-only" if tx else "rx-only"
    if never_came_up(connection, covers):
        return "not-connected"
    if _failed(connection):
        return "fallback"
    if connection.ulp_ok or (
        connection.attempts and all(is_benign(connection, a) for a in connection.attempts)
    ):
        return "unknown" if connection.blind else "ulp-only"
    return "unknown"  # a call that never returned


def _installed(connection: Tracked, direction: str) -> bool:
    for key in connection.keys:
        # EBUSY: this direction was installed before, even if the trace does not show when
        if key.detail.direction == direction and key.result in ("ok", "EBUSY"):
            return True
    return False


def never_came_up(connection: Tracked, covers: Covers) -> bool:
    """Tell a connect that failed, or a socket that was closed with nothing to show that it ever
    came up.
    """
    if connection.accepted or connection.before_trace or connection.proved:
        return False
    if connection.established_ns is not None:
        return False  # live: the kernel made the transition, whoever was told
    if connection.failure is not None:
        return True
    if not connection.closed or connection.limits:
        return False
    return not missing_proofs(connection, covers)


def recovered(connection: Tracked) -> bool:
    """Tell whether a failed attempt was followed by one that succeeded."""
    failed = False
    for attempt in connection.attempts:
        if attempt.result == "ok" and failed:
            return True
        failed = failed or (attempt.returned and attempt.result not in ("ok", "EEXIST"))
    return False


def _failed(connection: Tracked) -> bool:
    ulp_failed = not connection.ulp_ok and any(
        attempt.result not in (None, "ok") and not is_benign(connection, attempt)
        for attempt in connection.attempts
    )
    return ulp_failed or any(key.result not in (None, "ok") for key in connection.keys)
