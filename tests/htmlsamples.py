"""Reports for the tests of the pages, put together by hand after real HAProxy, nginx, Python runs.

Times are milliseconds from connect(), as a reader of a log says them.  What is `observed` was
seen by the kernel probe; the others are as strace shows them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from ktrace.events import FAMILIES
from ktrace.findings import (
    SCHEMA,
    Basis,
    Connection,
    Evidence,
    EvidenceRow,
    Finding,
    KeyInstall,
    Report,
    TcpState,
    TimelineRow,
    Tool,
    Trace,
    UlpAttempt,
)
from ktrace.tally import Tally
from ktrace.timelines import Facts, Judged

EPOCH = 1795300954.0
ULP = 'setsockopt(8, SOL_TCP, TCP_ULP, "tls")'
STATE = "state change in the kernel"
UP: TcpState = "ESTABLISHED"
SYN: TcpState = "SYN_SENT"
FIN: TcpState = "FIN_WAIT1"
OFF: TcpState = "CLOSE"
# (at, text, result, took, state before, state after)
Fields = dict[str, Any]
Step = tuple[float, str, str | None, float | None, TcpState, TcpState]


class Maker:
    """Makes connections with ids, lines and times that follow each other."""

    def __init__(self, timed: bool = True) -> None:
        self.connections: list[Connection] = []
        self._timed = timed
        self._line = 1290

    def add(self, steps: Sequence[Step], observed: bool = False, **fields: Any) -> Connection:
        """Add a connection; its ULP attempts and key installs are read off its calls."""
        number = len(self.connections) + 1
        basis: Basis = "observed" if observed else "inferred"
        pid = fields.get("pid", 333)
        rows = [self._row(step, EPOCH + number * 0.4, basis, pid) for step in steps]
        if not self._timed:
            fields.pop("margin_us", None)
        if fields.get("margin_us") is not None:
            fields["margin_us"] = round(fields["margin_us"], 1)
            fields["margin_basis"] = basis
        values: dict[str, Any] = {
            "id": f"c{number}",
            "pid": pid,
            "comm": "haproxy",
            "fd": 8,
            "role": "client",
            "family": "AF_INET",
            "local": None,
            "peer": "10.9.0.2:4043",
            "outcome": "offloaded",
            "ordering": "safe",
            "recovered": False,
            "tls_version": None,
            "cipher": None,
            "margin_us": None,
            "margin_basis": None,
            "ulp": _attempts(rows),
            "tx": _keys(rows, "TLS_TX"),
            "rx": _keys(rows, "TLS_RX"),
            "timeline": tuple(rows),
            "omitted": 0,
        }
        connection = Connection(**{**values, **fields})
        self.connections.append(connection)
        return connection

    def _row(self, step: Step, zero: float, basis: Basis, tid: int) -> TimelineRow:
        at, text, result, took, before, after = step
        state = text == STATE
        self._line += 0 if state else 3
        return TimelineRow(
            line=None if state else self._line,
            time=round(zero + at / 1e3, 6) if self._timed else None,
            tid=None if state else tid,
            call="state" if state else text.partition("(")[0],
            text=text,
            result=result,
            duration_us=round(took * 1e3, 1) if self._timed and took is not None else None,
            state_before=before,
            state_after=after,
            basis=basis,
        )


def _attempts(rows: Iterable[TimelineRow]) -> tuple[UlpAttempt, ...]:
    return tuple(
        UlpAttempt(row.result, row.state_before, row.basis, row.line, row.time, row.tid)
        for row in rows
        if "TCP_ULP" in row.text
    )


def _keys(rows: Iterable[TimelineRow], name: str) -> tuple[KeyInstall, ...]:
    return tuple(KeyInstall(row.result, row.line, row.time) for row in rows if name in row.text)


def opening(peer: str) -> list[Step]:
    """Return the calls before and at connect()."""
    return [
        (-7.59, "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)", "8", 1.11, OFF, OFF),
        (-2.10, "setsockopt(8, SOL_TCP, TCP_NODELAY, [1])", "ok", 0.309, OFF, OFF),
        (0.0, f"connect(8, {peer})", "EINPROGRESS", 1.07, OFF, SYN),
    ]


def key(at: float, direction: str, crypto: str, result: str = "ok") -> Step:
    return (at, f"setsockopt(8, SOL_TLS, TLS_{direction}, {crypto})", result, 0.3, UP, UP)


def raced(make: Maker, attempt: float, up: float, end: float) -> Connection:
    """Add a HAProxy connection that lost the race, seen by the kernel probe too."""
    steps: list[Step] = [
        *opening("10.9.0.2:4043"),
        (attempt, ULP, "ENOTCONN", 0.889, SYN, SYN),
        (attempt + 5.6, "epoll_ctl(4, ADD, 8, EPOLLIN|EPOLLOUT)", "ok", 0.382, SYN, SYN),
        (up - 15.4, "epoll_wait(4) -> 8 EPOLLOUT", "1", 18.1, SYN, UP),
        (up, STATE, None, None, SYN, UP),
        (up + 6.7, "sendmsg(8)", "188", 0.867, UP, UP),
        (end - 77, "shutdown(8, SHUT_WR)", "ok", 3.61, UP, FIN),
        (end - 0.6, "close(8)", "ok", 0.58, FIN, OFF),
    ]
    early = (attempt - up) * 1e3
    verdict: Fields = {
        "ordering": "raced",
        "outcome": "fallback",
        "margin_us": early,
        "omitted": 22,
    }
    return make.add(steps, True, **verdict)


def never_up(make: Maker, attempt: float, end: float, **fields: Any) -> Connection:
    """Add a Python client that closed its socket before the connection came up."""
    steps: list[Step] = [
        *opening("10.9.0.2:4000"),
        (attempt, ULP, "ENOTCONN", 0.1, SYN, SYN),
        (end, "close(8)", "ok", 0.1, SYN, OFF),
    ]
    who: Fields = {"comm": "python3", "pid": 193, "peer": "10.9.0.2:4000"}
    return make.add(steps, **{**who, "ordering": "raced", "outcome": "not-connected", **fields})


def recovered(make: Maker) -> Connection:
    """Add a Python client that lost the race, waited, and tried again."""
    steps: list[Step] = [
        *opening("10.9.0.2:4000"),
        (2.2, ULP, "ENOTCONN", 0.2, SYN, SYN),
        (30.0, "poll([8]) -> 8 POLLOUT", "1", 12.1, SYN, UP),
        (46.0, ULP, "ok", 0.2, UP, UP),
        key(50.0, "TX", "TLS 1.2 AES_GCM_128"),
        (67.0, "close(8)", "ok", 0.3, UP, OFF),
    ]
    who: Fields = {"comm": "python3", "pid": 193, "peer": "10.9.0.2:4000", "tls_version": "TLS 1.2"}
    verdict: Fields = {
        "ordering": "raced",
        "outcome": "tx-only",
        "recovered": True,
        "margin_us": -39900.0,
    }
    return make.add(steps, **who, **verdict, cipher="AES_GCM_128")


def lucky(make: Maker, up: float, attempt: float, told: float, end: float) -> Connection:
    """Add a connection that worked by luck, seen by the kernel probe."""
    steps: list[Step] = [
        *opening("10.9.0.1:4043"),
        (up, STATE, None, None, SYN, UP),
        (attempt, ULP, "ok", 0.5, UP, UP),
        (told - 3, "epoll_wait(4) -> 8 EPOLLOUT", "1", 3.0, UP, UP),
        key(told + 14, "RX", "TLS 1.2 AES_GCM_256"),
        key(told + 20, "TX", "TLS 1.2 AES_GCM_256"),
        (end - 3, "close(8)", "ok", 0.4, UP, OFF),
    ]
    crypto: Fields = {"tls_version": "TLS 1.2", "cipher": "AES_GCM_256"}
    late = (attempt - up) * 1e3
    where: Fields = {"pid": 790, "peer": "10.9.0.1:4043"}
    return make.add(steps, True, **where, ordering="unordered", margin_us=late, **crypto)


def safe(
    make: Maker, up: float, attempt: float, end: float, observed: bool = False, **fields: Any
) -> Connection:
    """Add a connection that waited for ESTABLISHED; `tx` is the result of its key install."""
    wait: Step = (up - 20, "epoll_wait(4) -> 8 EPOLLOUT", "1", 20.0, SYN, SYN if observed else UP)
    seen: list[Step] = [(up, STATE, None, None, SYN, UP)] if observed else []
    both = fields.get("outcome", "offloaded") == "offloaded"
    steps: list[Step] = [
        *opening(fields.get("peer", "10.9.0.2:4043")),
        wait,
        *seen,
        (attempt, ULP, "ok", 0.4, UP, UP),
        key(attempt + 3, "TX", "TLS 1.2 AES_GCM_128", fields.pop("tx", "ok")),
        *([key(attempt + 5, "RX", "TLS 1.2 AES_GCM_128")] if both else []),
        (end - 10, "shutdown(8, SHUT_WR)", "ok", 0.3, UP, FIN),
        (end, "close(8)", "ok", 0.3, FIN, OFF),
    ]
    crypto: Fields = {"tls_version": "TLS 1.2", "cipher": "AES_GCM_128"}
    return make.add(steps, observed, margin_us=(attempt - up) * 1e3, **{**crypto, **fields})


def accepted(make: Maker, peer: str, attempt: float, end: float) -> Connection:
    """Add an nginx connection: accepted, so in ESTABLISHED from the start."""
    steps: list[Step] = [
        (-5.0, f"accept4(6, {peer}) -> 8", "ok", 5.0, UP, UP),
        (attempt, ULP, "ok", 0.3, UP, UP),
        key(attempt + 2, "TX", "TLS 1.3 AES_GCM_256"),
        (end, "close(8)", "ok", 0.3, UP, OFF),
    ]
    who: Fields = {
        "comm": "nginx",
        "pid": 501,
        "role": "server",
        "peer": peer,
        "outcome": "tx-only",
    }
    crypto: Fields = {"tls_version": "TLS 1.3", "cipher": "AES_GCM_256"}
    return make.add(steps, margin_us=attempt * 1e3, **who, **crypto)


def plain(make: Maker, **fields: Any) -> Connection:
    """Add a connection without kTLS."""
    peer = fields.get("peer", "10.9.0.3:80")
    close: Step = (30.0, "close(8)", "ok", 0.1, UP, OFF)
    none: Fields = {"outcome": "none", "ordering": None, "comm": "curl", "peer": peer}
    return make.add([opening(peer)[2], close], **{**none, **fields})


def mixed() -> Report:
    """Return a run with raced, latent and safe connections, observed and inferred."""
    make = Maker()
    for attempt, up, end in (
        (4.2, 44.1, 583),
        (3.5, 41.8, 380),
        (4.6, 41.2, 378),
        (3.2, 41.2, 40e1),
    ):
        raced(make, attempt, up, end)
    for up, attempt, told, end in ((0.74, 11.24, 18.5, 360), (0.53, 4.8, 19.1, 222)):
        lucky(make, up, attempt, told, end)
    for attempt, end in ((3.4, 9.6), (2.3, 6.2)):
        never_up(make, attempt, end)
    recovered(make)
    python: Fields = {"comm": "python3", "pid": 193, "peer": "10.9.0.2:4000"}
    safe(make, 41.0, 45.4, 60, **python)
    safe(make, 41.0, 45.1, 59, outcome="fallback", tx="EINVAL", **python)
    for up, attempt, end in ((42.0, 202.0, 1210.0), (41.0, 107.3, 450.0), (41.0, 99.9, 378.0)):
        safe(make, up, attempt, end, observed=True)
    for i, attempt in enumerate((65.6, 69.7, 167, 27.1)):
        accepted(make, f"10.9.0.1:{52260 + 10 * i}", attempt, attempt * 2.6 + 200)
    accepted(make, "[fd09::1]:49664", 173, 400)
    for _ in range(3):
        plain(make)
    return report(make, (race_finding(make), latent_finding(make)))


def race_finding(make: Maker) -> Finding:
    """Return the finding of the races as the rule writes it."""
    those = [c for c in make.connections if c.ordering == "raced"]
    first = those[0]
    rows = tuple(
        EvidenceRow(
            r.line, r.time, r.tid, r.text, r.result, r.state_after, r.basis, "TCP_ULP" in r.text
        )
        for r in first.timeline
        if r.call in ("socket", "connect", "state", "epoll_wait") or "TCP_ULP" in r.text
    )
    return Finding(
        code="KT101",
        name="ulp-before-established",
        severity="error",
        message="TLS ULP set before the connection was established",
        count=len(those),
        connections=tuple(c.id for c in those),
        evidence=tuple(Evidence("logs/haproxy", c.ulp[0].line, f"{ULP} = ENOTCONN") for c in those),
        why="the kernel attaches the tls ULP only to a socket in ESTABLISHED",
        help="set the ULP after the connection is up, at the first EPOLLOUT",
        outcome="4 connections went on with TLS in user space",
        notes=("~ is inferred from calls; `sudo ktrace live --pid 333` observes it",),
        who=f"{first.id}  client -> {first.peer}   fd 8 of haproxy 333, created at line 1293",
        rows=rows,
        stack=("haproxy(ssl_sock_start+0x4f)",),
        fingerprint="f1",
    )


def latent_finding(make: Maker) -> Finding:
    """Return the finding of the latent races."""
    those = [c for c in make.connections if c.ordering == "unordered"]
    return Finding(
        code="KT102",
        name="ulp-unordered-with-connect",
        severity="warning",
        message="TLS ULP set without waiting for the connection (latent race)",
        count=len(those),
        connections=tuple(c.id for c in those),
        evidence=(),
        why="the handshake was over; the program had not been told",
        help="wait for EPOLLOUT",
    )


def report(make: Maker, findings: Sequence[Finding] = (), **trace: Any) -> Report:
    """Count the connections as the analysis does."""
    tally = Tally()
    for number, connection in enumerate(make.connections, 1):
        tally.add(Judged(connection, Facts(number, None, 0)))
    values: dict[str, Any] = {
        "kind": "strace",
        "sources": ("logs/haproxy",),
        "lines": 6687,
        "events": 4021,
        "not_understood": 0,
        "lost_events": 0,
        "clock": "epoch",
        "duration_s": 12.5,
        "covered": FAMILIES,
        "warnings": (),
    }
    return Report(
        schema=SCHEMA,
        tool=Tool("ktrace", "0.1.0"),
        trace=Trace(**{**values, **trace}),
        summary=tally.summary(),
        peers=tally.peers(),
        connections=tuple(make.connections),
        findings=tuple(findings),
    )
