"""When things happened on one connection, in microseconds from connect() or accept().

Where a trace has no times, the place in the order of calls takes their part: the first call of the
timeline lies at 0, the next at 1, and the end after the last.
"""

from collections.abc import Iterator, Sequence

import msgspec

from ktrace.findings import Basis, Connection, TcpState, TimelineRow, UlpAttempt

WAITS = frozenset(
    (
        "epoll_wait",
        "epoll_pwait",
        "epoll_pwait2",
        "poll",
        "ppoll",
        "select",
        "pselect6",
        "_newselect",
    )
)
_PROVING_CALLS = frozenset(
    [
        "connect",
        "getpeername",
        "read",
        "readv",
        "recv",
        "recvfrom",
        "recvmsg",
        "recvmmsg",
        "pread64",
        "preadv",
        "write",
        "writev",
        "send",
        "sendto",
        "sendmsg",
        "sendmmsg",
        "sendfile",
        "sendfile64",
        "splice",
    ]
)
_OPENING = frozenset(("connect", "accept", "accept4"))
_UP: frozenset[TcpState] = frozenset(("ESTABLISHED",))
_BEFORE_UP: frozenset[TcpState] = frozenset(("CLOSE", "LISTEN", "SYN_SENT", "SYN_RECV", "UNKNOWN"))


class Span(msgspec.Struct, frozen=True):
    """A stretch of one TCP state."""

    state: TcpState
    start: float
    end: float
    basis: Basis


class Moments(msgspec.Struct, frozen=True):
    """The times of one connection; `zero` is the trace's clock (seconds) at connect() or accept().

    `attempt` is the ULP call that the verdict rests on, `told` the first proof of ESTABLISHED that
    the program saw after it.  `by_order`: the figures are places in the order of calls, not times.
    """

    zero: float | None
    by_order: bool
    at: tuple[float, ...]  # the beginning of each timeline row
    spans: tuple[Span, ...]
    attempt: float | None
    attempt_row: int | None
    established: float | None
    established_row: int | None
    told: float | None
    told_row: int | None
    end: float


def moments(connection: Connection, by_order: bool = False) -> Moments:
    """Work out the times of a connection from its timeline and its margin."""
    rows = connection.timeline
    opening = opening_row(connection)
    by_order = by_order or any(row.time is None for row in rows)
    zero = None if by_order else _zero(connection, opening)
    at = tuple(_begin(row, i, zero) for i, row in enumerate(rows))
    attempt = deciding_attempt(connection)
    attempt_row = _row_of(connection, attempt)
    attempted = at[attempt_row] if attempt_row is not None else _attempt_time(attempt, zero)
    up_row = _up_row(rows, opening)
    up = None if up_row is None else at[up_row] + _length(rows[up_row], by_order)
    if not by_order and attempted is not None and connection.margin_us is not None:
        up = attempted - connection.margin_us
    told_row = _told_row(rows, attempt_row)
    return Moments(
        zero=zero,
        by_order=by_order,
        at=at,
        spans=tuple(_spans(rows, at, by_order, up)),
        attempt=attempted,
        attempt_row=attempt_row,
        established=up,
        established_row=up_row,
        told=None if told_row is None else at[told_row] + _length(rows[told_row], by_order),
        told_row=told_row,
        end=_end(rows, at, by_order),
    )


def opening_row(connection: Connection) -> int | None:
    """Return the row of connect() or accept(), which is time zero."""
    for i, row in enumerate(connection.timeline):
        if row.call in _OPENING:
            return i
    return None


def quick_zero(connection: Connection) -> float | None:
    """Return time zero alone, for connections of which only a median is shown."""
    return _zero(connection, opening_row(connection))


def deciding_attempt(connection: Connection) -> UlpAttempt | None:
    """Return the ULP attempt the ordering rests on: a race's first refused one, else the first."""
    if connection.ordering in ("raced", "late"):
        for attempt in connection.ulp:
            if attempt.result in ("ENOTCONN", "ENOTSUPP"):
                return attempt
    return connection.ulp[0] if connection.ulp else None


def _zero(connection: Connection, opening: int | None) -> float | None:
    if not connection.timeline:
        return None
    row = connection.timeline[opening or 0]
    if row.time is None or opening is None:
        return row.time
    # accept() may have waited long for a client: its return is where the connection begins
    accepted = row.call != "connect"
    return row.time + (row.duration_us or 0.0) / 1e6 if accepted else row.time


def _begin(row: TimelineRow, index: int, zero: float | None) -> float:
    if zero is None or row.time is None:
        return float(index)
    return round((row.time - zero) * 1e6, 1)


def _end(rows: Sequence[TimelineRow], at: tuple[float, ...], by_order: bool) -> float:
    if by_order:
        return float(len(rows))
    return max(
        (begin + (row.duration_us or 0.0) for row, begin in zip(rows, at, strict=True)), default=0.0
    )


def _length(row: TimelineRow, by_order: bool) -> float:
    return 0.0 if by_order else row.duration_us or 0.0


def _up_row(rows: Sequence[TimelineRow], opening: int | None) -> int | None:
    """Return the row that shows ESTABLISHED: the kernel's own change, else the first proof."""
    found = [i for i, row in enumerate(rows) if _comes_up(row)]
    if found:
        return next((i for i in found if rows[i].call == "state"), found[0])
    accepted = opening is not None and rows[opening].call != "connect"
    return (
        opening if accepted and opening is not None and rows[opening].state_after in _UP else None
    )


def _comes_up(row: TimelineRow) -> bool:
    return row.state_after in _UP and row.state_before in _BEFORE_UP


def _row_of(connection: Connection, attempt: UlpAttempt | None) -> int | None:
    """Return the timeline row of an attempt: the same thread, line and time."""
    if attempt is None:
        return None
    for i, row in enumerate(connection.timeline):
        if "TCP_ULP" in row.text and (row.line, row.time, row.tid) == (
            attempt.line,
            attempt.time,
            attempt.tid,
        ):
            return i
    return None


def _attempt_time(attempt: UlpAttempt | None, zero: float | None) -> float | None:
    if attempt is None or attempt.time is None or zero is None:
        return None
    return round((attempt.time - zero) * 1e6, 1)


def _told_row(rows: Sequence[TimelineRow], attempt_row: int | None) -> int | None:
    """Return the first row after the attempt whose result tells the program of ESTABLISHED."""
    if attempt_row is None:
        return None
    for i in range(attempt_row + 1, len(rows)):
        if tells(rows[i]):
            return i
    return None


def tells(row: TimelineRow) -> bool:
    """Say whether this call's result told the program that the connection is up."""
    if row.state_after in ("SYN_SENT", "SYN_RECV", "CLOSE", "UNKNOWN"):
        return False
    if row.call in WAITS:
        return "OUT" in row.text and "ERR" not in row.text
    return row.call in _PROVING_CALLS and _worked(row.result)


def _worked(result: str | None) -> bool:
    return result is not None and (result in ("ok", "EISCONN") or result.isdigit())


def _spans(
    rows: Sequence[TimelineRow], at: tuple[float, ...], by_order: bool, up: float | None
) -> Iterator[Span]:
    """Yield the stretches between changes of state; CLOSE and LISTEN draw nothing."""
    changes = list(_changes(rows, at, by_order, up))
    end = _end(rows, at, by_order)
    for (start, state, basis), following in zip(changes, [*changes[1:], None], strict=True):
        stop = end if following is None else following[0]
        if state not in ("CLOSE", "LISTEN") and stop > start:
            yield Span(state, start, stop, basis)


def _changes(
    rows: Sequence[TimelineRow], at: tuple[float, ...], by_order: bool, up: float | None
) -> Iterator[tuple[float, TcpState, Basis]]:
    """Yield (when, state, basis): a proof counts from its end, other calls from their start.

    Where the kernel's own changes were seen, calls count only after the last of them.
    """
    state: TcpState | None = None
    last = float("-inf")
    seen = max((i for i, row in enumerate(rows) if row.call == "state"), default=-1)
    for i, (row, begin) in enumerate(zip(rows, at, strict=True)):
        if i < seen and row.call != "state":
            continue
        if row.state_before != state:
            state, last = row.state_before, max(begin, last)
            yield last, state, row.basis
        if row.state_after == state:
            continue
        came_up = _comes_up(row)
        when = begin + (_length(row, by_order) if came_up else 0.0)
        if came_up and up is not None:
            when = up
        state, last = row.state_after, max(when, last)
        yield last, state, row.basis
