"""Calls that no descriptor names, state changes that no call explains: io_uring in a capture."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from ktrace.analysis import Analysis, Options
from ktrace.events import (
    FAMILIES,
    Endpoint,
    Event,
    FdNote,
    Kind,
    Phase,
    RingDetail,
    SocketDetail,
    StateDetail,
    UlpDetail,
)
from ktrace.findings import Connection
from ktrace.reporters.layout import Paper
from ktrace.reporters.text_timeline import write_timeline
from ktrace.sources.capture import Header
from ktrace.sources.recorded import IO_URING, IO_URING_INSIDE, RecordedTrace

PID, SOCK = 71, 5
PEER = Endpoint("AF_INET", "10.0.0.9", 443)
NOTE = FdNote("TCP", 900, "10.0.0.1:4711", "10.0.0.9:443")


class Given:
    """A source of events that were made up."""

    on_loss: Callable[[int], None]

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events

    def events(self) -> Iterator[Event]:
        yield from self._events


def connections(*events: Event, inside: bool = True) -> tuple[list[Connection], list[str]]:
    header = Header(1, "0", "live: test", "libbpf", FAMILIES, inside=inside)
    trace = RecordedTrace(Given(events), header)
    analysis = Analysis(Options())
    analysis.run(trace.events(), trace, trace.consumed_by)
    report = analysis.report(trace.facts())
    return list(report.connections), list(report.trace.warnings)


def call(kind: Kind, at: int, name: str, phase: Phase = Phase.WHOLE, **fields: Any) -> Event:
    fields = {"tid": PID, "tgid": PID, "start_ns": at, "end_ns": at + 1, "sock": SOCK} | fields
    if phase is Phase.BEGIN:
        fields |= {"end_ns": None, "result": None}
    return Event(kind=kind, phase=phase, call=name, **fields)


def opened(at: int = 1000) -> Event:
    detail = SocketDetail("AF_INET", "SOCK_STREAM", "IPPROTO_IP")
    return call(Kind.SOCKET, at, "socket", result=7, detail=detail)


def ring(inside: bool) -> Event:
    detail = RingDetail(inside)
    return call(Kind.IO_URING, 500, "io_uring_enter", result=0, detail=detail, sock=None)


def state(at: int, old: str, new: str) -> Event:
    change = StateDetail(old, new)
    return call(Kind.STATE, at, "state", tid=0, tgid=None, detail=change, note=NOTE)


def connect(
    at: int, end: int, fd: int | None = None, errno: str | None = "EINPROGRESS"
) -> list[Event]:
    told: dict[str, Any] = {"fd": fd, "detail": PEER}
    back = told | {"errno": errno, "result": -1 if errno else 0, "end_ns": end}
    return [
        call(Kind.CONNECT, at, "connect", Phase.BEGIN, state="CLOSE", **told),
        call(Kind.CONNECT, at, "connect", Phase.END, **back),
    ]


def ulp(
    at: int, errno: str | None, seen: str, at_call: str | None = None, fd: int | None = None
) -> list[Event]:
    told: dict[str, Any] = {"fd": fd, "detail": UlpDetail("tls", 4)}
    back = told | {"errno": errno, "result": -1 if errno else 0, "state": at_call or seen}
    return [
        call(Kind.ULP, at, "setsockopt", Phase.BEGIN, state=seen, **told),
        call(Kind.ULP, at, "setsockopt", Phase.END, **back),
    ]


def test_an_early_attempt_through_the_ring_raced() -> None:
    events = [ring(True), opened(), *connect(2000, 2100), state(2050, "CLOSE", "SYN_SENT")]
    (found,), warnings = connections(*events, *ulp(3000, "ENOTCONN", "SYN_SENT"))
    assert (found.role, found.ordering, found.outcome) == ("client", "raced", "fallback")
    assert [(a.result, a.state, a.basis) for a in found.ulp] == [
        ("ENOTCONN", "SYN_SENT", "observed")
    ]
    assert (found.fd, found.peer) == (7, "10.0.0.9:443")
    assert warnings == [IO_URING_INSIDE]


def test_what_the_ring_told_the_program_is_not_known() -> None:
    events = [ring(True), opened(), *connect(2000, 2100), state(2050, "CLOSE", "SYN_SENT")]
    up = state(2500, "SYN_SENT", "ESTABLISHED")
    (found,), _ = connections(*events, up, *ulp(3000, None, "ESTABLISHED"))
    assert (found.ordering, found.margin_us, found.margin_basis) == ("unknown", 0.5, "observed")


@pytest.mark.parametrize("fd", [None, 7])
def test_a_socket_that_nobody_saw_made_is_one_connection(fd: int | None) -> None:
    calls = [*connect(2000, 2100), *ulp(3000, "ENOTCONN", "SYN_SENT", fd=fd)]
    found, _ = connections(ring(True), *calls, state(4000, "SYN_SENT", "CLOSE"))
    assert [(c.fd, len(c.ulp), c.ordering) for c in found] == [
        (-1 if fd is None else 7, 1, "raced")
    ]


def test_a_connect_that_no_call_shows_is_told_by_the_kernel() -> None:
    events = [ring(False), opened(), state(2050, "CLOSE", "SYN_SENT")]
    (found,), warnings = connections(
        *events, *ulp(3000, "ENOTCONN", "SYN_SENT", fd=7), inside=False
    )
    assert (found.role, found.ordering, found.peer) == ("client", "raced", "10.0.0.9:443")
    assert warnings == [IO_URING]


@pytest.mark.parametrize(("inside", "outcome"), [(True, "none"), (False, "unknown")])
def test_no_attempt_is_none_only_where_the_ring_was_looked_into(inside: bool, outcome: str) -> None:
    for before in ([ring(inside), opened()], [opened(), ring(inside)]):
        (found,), _ = connections(*before, *connect(2000, 2100, 7, None), inside=inside)
        assert found.outcome == outcome


@pytest.mark.parametrize(("inside", "outcome"), [(True, "ulp-only"), (False, "unknown")])
def test_no_keys_is_said_only_where_the_ring_was_looked_into(inside: bool, outcome: str) -> None:
    events = [ring(inside), opened(), *connect(2000, 2100, 7, None)]
    (found,), _ = connections(*events, *ulp(3000, None, "ESTABLISHED", fd=7), inside=inside)
    assert found.outcome == outcome


def test_the_state_is_that_of_the_very_call() -> None:
    events = [opened(), *connect(2000, 2100, 7), *ulp(3000, None, "SYN_SENT", "ESTABLISHED", 7)]
    (found,), _ = connections(*events)
    assert found.ulp[0].state == "ESTABLISHED"


def test_a_timeline_shows_states_in_the_order_they_came() -> None:
    states = [state(2030, "CLOSE", "SYN_SENT"), state(2060, "SYN_SENT", "ESTABLISHED")]
    begin, end = connect(2000, 2100, 7, None)
    attempt = ulp(3000, None, "ESTABLISHED", fd=7)
    (found,), _ = connections(opened(), begin, *states, end, *attempt)
    paper = Paper(width=120)
    write_timeline(paper, found)
    rows = [
        line for line in str(paper).splitlines() if "connect(" in line or "state change" in line
    ]
    assert [line.split()[-1] for line in rows] == [
        "CLOSE",
        "SYN_SENT",
        "ESTABLISHED",
        "ESTABLISHED",
    ]
    assert "..." in rows[0] and "connect() returns" in rows[-1]
