"""From a tracked socket that has ended to the public record of the connection, with its verdict."""

from typing import Literal, NamedTuple, cast

import msgspec

from ktrace.events import BEGIN, Event, Family, Kind
from ktrace.findings import (
    Basis,
    Connection,
    KeyInstall,
    Ordering,
    Outcome,
    Role,
    TcpState,
    TimelineRow,
    UlpAttempt,
)
from ktrace.sequencer.knowledge import result_of
from ktrace.sequencer.texts import describe
from ktrace.sequencer.tracked import Attempt, Install, Row, Tracked
from ktrace.sequencer.verdict import Covers, missing_proofs, ordering_of, outcome_of, recovered
from ktrace.tcp_state import CUT
from ktrace.timelines import Facts, Judged, Limit
from ktrace.uapi import TLS_CIPHERS, TLS_VERSIONS

NS = 1e9
Key = tuple[str, int | None, int | None, int | None, str | None]
SocketFamily = Literal["AF_INET", "AF_INET6"] | None


def judge(tracked: Tracked, covers: Covers, *, detailed: bool = True) -> Judged:
    """Return the connection with outcome, ordering and margin; `covers` tells a family's coverage.

    Without `detailed` it has no timeline; `with_timeline` gives it one.
    """
    asked: dict[Family, bool] = {}

    def remember(family: Family) -> bool:
        asked[family] = covers(family)
        return asked[family]

    ordering, decisive = ordering_of(tracked, remember)
    outcome = outcome_of(tracked, remember)
    missing = {family for family, there in asked.items() if not there}
    if ordering == "raced":
        missing.update(missing_proofs(tracked, covers))
    margin, margin_basis = _margin(tracked, ordering, decisive)
    version, cipher = _crypto(tracked)
    # one rule looks for connect() in it
    rows = timeline(tracked) if detailed or ordering == "unconnected" else ()
    connection = Connection(
        id=f"c{tracked.id_number}",
        pid=tracked.pid,
        comm=tracked.comm,
        fd=tracked.fd,
        role=_role(tracked),
        family=cast(SocketFamily, tracked.family),
        local=tracked.local,
        peer=tracked.peer,
        outcome=outcome,
        ordering=ordering,
        recovered=recovered(tracked),
        tls_version=version,
        cipher=cipher,
        margin_us=margin,
        margin_basis=margin_basis,
        ulp=tuple(map(_ulp, tracked.attempts)),
        tx=_installs(tracked, "tx"),
        rx=_installs(tracked, "rx"),
        timeline=rows,
        omitted=tracked.omitted,
    )
    return Judged(connection, _facts(tracked, tuple(sorted(missing)), ordering, decisive))


def with_timeline(judged: Judged, tracked: Tracked) -> Judged:
    """Return the same with the timeline that judge() left out; to be asked once."""
    if judged.connection.timeline:
        return judged
    rows = timeline(tracked)
    connection = msgspec.structs.replace(judged.connection, timeline=rows, omitted=tracked.omitted)
    return msgspec.structs.replace(judged, connection=connection)


class Plain(NamedTuple):
    """The verdict on a connection that no finding can be about: as much as is counted of it."""

    role: Role
    outcome: Outcome
    ordering: Ordering | None
    peer: str | None
    has_ktls: bool
    recovered: bool = False


def plain(tracked: Tracked, covers: Covers) -> Plain | None:
    """Return the verdict where all went well, or nobody tried kTLS; None where judge() has to look.

    It decides nothing of its own, and saves the making of a record that nobody will see.
    """
    if tracked.listening or not (tracked.proved or tracked.accepted):
        return None
    for attempt in tracked.attempts:
        if attempt.result != "ok" and not (attempt.result == "EEXIST" and tracked.ulp_ok):
            return None
    if any(key.result != "ok" for key in tracked.keys):
        return None
    outcome, (ordering, _) = outcome_of(tracked, covers), ordering_of(tracked, covers)
    if (outcome, ordering) not in (("offloaded", "safe"), ("none", None)):
        return None
    return Plain(_role(tracked), outcome, ordering, tracked.peer, tracked.has_ktls)


def _facts(
    tracked: Tracked, missing: tuple[str, ...], ordering: str | None, decisive: Attempt | None
) -> Facts:
    results = [attempt.result for attempt in tracked.attempts]
    results += [key.result for key in tracked.keys]
    limits: tuple[Limit, ...] = ("cut",) if CUT in results else ()
    if ordering == "unknown" and decisive is not None:
        found = {*decisive.limits, *limits}
        if tracked.fastopen_child:
            found.add("fastopen-child")
        limits = tuple(sorted(found))
    return Facts(
        number=tracked.id_number,
        opened=tracked.opened,
        source=tracked.opened.source,
        mptcp=tracked.mptcp,
        fastopen=tracked.fastopen or tracked.fastopen_child,
        missing=missing,
        limits=limits,
        keys=tuple(map(_key, tracked.keys)),
        failure=tracked.failure,
    )


def _key(key: Install) -> Key:
    detail = key.detail
    return detail.direction, detail.version, detail.cipher, detail.optlen, key.result


def _role(tracked: Tracked) -> Role:
    if tracked.connect_called:
        return "client"
    if tracked.listening:
        return "listener"
    if tracked.accepted:
        return "server"
    return "unknown"


def _margin(
    tracked: Tracked, ordering: str | None, attempt: Attempt | None
) -> tuple[float | None, Basis | None]:
    """Return the attempt's start minus the moment ESTABLISHED is known to have been reached."""
    if attempt is None or attempt.event.start_ns is None:
        return None, None
    start = attempt.event.start_ns
    if tracked.established_ns is not None:
        return (start - tracked.established_ns) / 1000, "observed"
    if ordering in ("safe", "late") and attempt.proof_ns is not None:
        return (start - attempt.proof_ns) / 1000, "inferred"
    if ordering == "raced" and tracked.proved and tracked.proof_ns is not None:
        return min((start - tracked.proof_ns) / 1000, 0.0), "inferred"
    if ordering == "unordered" and attempt.result == "ok":
        return (
            0.0,
            "inferred",
        )  # the attempt itself shows that ESTABLISHED had been reached, not when
    return None, None


def _crypto(tracked: Tracked) -> tuple[str | None, str | None]:
    good = [key for key in tracked.keys if key.result == "ok"]
    chosen = good[0] if good else tracked.keys[-1] if tracked.keys else None
    if chosen is None:
        return None, None
    return TLS_VERSIONS.get(chosen.detail.version or 0), TLS_CIPHERS.get(chosen.detail.cipher or 0)


def seconds(ns: int | None) -> float | None:
    return None if ns is None else round(ns / NS, 6)


def _ulp(attempt: Attempt) -> UlpAttempt:
    event = attempt.event
    return UlpAttempt(
        result=attempt.result,
        state=cast(TcpState, attempt.state),
        basis="observed" if attempt.observed else "inferred",
        line=event.line,
        time=seconds(event.start_ns),
        tid=event.tid,
        stack=event.stack,
    )


def _installs(tracked: Tracked, direction: str) -> tuple[KeyInstall, ...]:
    keys = tracked.keys
    return tuple([_install(key) for key in keys if key.detail.direction == direction])


def _install(key: Install) -> KeyInstall:
    return KeyInstall(key.result, key.event.line, seconds(key.event.start_ns))


def timeline(tracked: Tracked) -> tuple[TimelineRow, ...]:
    """Return the rows kept of a connection: its setup and end with kTLS, else its first and last
    call.
    """
    rows = tracked.rows
    if tracked.has_ktls or tracked.listening:
        tracked.omitted += len(tracked.tail)
    else:
        rows = sorted([*rows, *tracked.tail], key=_begin)
        if len(rows) > 2:
            tracked.omitted += len(rows) - 2
            rows = [rows[0], rows[-1]]
    tracked.tail.clear()
    return tuple(_row(row) for row in sorted(rows, key=_begin))


def _begin(row: Row) -> tuple[int, int]:
    event = row.event
    return event.start_ns or 0, event.line or 0


def _row(row: Row) -> TimelineRow:
    event = row.event
    duration = (
        (event.end_ns - event.start_ns) / 1000
        if event.end_ns is not None and event.start_ns is not None
        else None
    )
    is_state = event.kind is Kind.STATE
    return TimelineRow(
        line=event.line,
        time=seconds(event.start_ns),
        tid=None if is_state else event.tid,
        call="state" if is_state else event.call,
        text="state change in the kernel" if is_state else row.text or describe(event),
        result=None if is_state or event.phase is BEGIN else _shown_result(event),
        duration_us=duration,
        state_before=cast(TcpState, row.before),
        state_after=cast(TcpState, row.after),
        basis="observed" if row.observed else "inferred",
    )


def _shown_result(event: Event) -> str | None:
    if (
        event.kind in (Kind.READ, Kind.WRITE, Kind.WAIT)
        and event.errno is None
        and event.result is not None
    ):
        return str(event.result)
    return result_of(event)
