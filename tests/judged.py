"""Build judged connections by hand: what the sequencer would hand to the rules."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ktrace.events import FAMILIES
from ktrace.findings import (
    SCHEMA,
    Connection,
    Finding,
    KeyInstall,
    Report,
    TcpState,
    TimelineRow,
    Tool,
    Trace,
    UlpAttempt,
)
from ktrace.rules import FindingFolder
from ktrace.tally import Tally
from ktrace.timelines import Facts, Judged, Place, TraceFacts

ALL = FAMILIES
PEER = "10.1.0.3:4043"
TLS_1_2, TLS_1_3 = 0x0303, 0x0304
GCM_128, GCM_256 = 51, 52


def trace_facts(**changes: Any) -> TraceFacts:
    facts = TraceFacts(
        kind="strace",
        sources=("strace.log",),
        lines=100,
        events=90,
        not_understood=0,
        lost_events=0,
        clock="epoch",
        duration_s=1.5,
        covered=ALL,
    )
    return msgspec.structs.replace(facts, **changes)


class Socket:
    """A connection that is written down call by call; `judged()` closes the book.

    Calls come one millisecond and one line after each other.
    """

    def __init__(
        self, number: int = 1, role: str = "client", fd: int = 156, peer: str | None = PEER
    ):
        self.number = number
        self.fields: dict[str, Any] = {
            "role": role,
            "fd": fd,
            "peer": peer,
            "pid": 3947,
            "comm": None,
        }
        self.facts: dict[str, Any] = {}
        self.rows: list[TimelineRow] = []
        self.attempts: list[UlpAttempt] = []
        self.keys: list[tuple[str, int | None, int | None, int | None, str | None]] = []
        self.installs: dict[str, list[KeyInstall]] = {"tx": [], "rx": []}
        self.state: TcpState = "CLOSE"
        self.line = 100 * number
        self.call("socket", "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)")

    @property
    def fd(self) -> int:
        fd: int = self.fields["fd"]
        return fd

    def call(
        self, call: str, text: str, result: str | None = "ok", to: TcpState | None = None
    ) -> "Socket":
        before, self.state = self.state, to or self.state
        self.line += 1
        self.rows.append(
            TimelineRow(
                line=self.line,
                time=self.time,
                tid=3947,
                call=call,
                text=text,
                result=result,
                duration_us=12.5,
                state_before=before,
                state_after=self.state,
                basis="inferred",
            )
        )
        return self

    @property
    def time(self) -> float:
        return 1795300000.0 + self.line / 1000

    def connect(self, result: str = "EINPROGRESS", to: TcpState = "SYN_SENT") -> "Socket":
        return self.call("connect", f"connect({self.fd}, {self.fields['peer']})", result, to)

    def accepted(self) -> "Socket":
        self.rows.clear()
        return self.call("accept4", f"accept4(3) -> {self.fd}", "ok", "ESTABLISHED")

    def writable(self) -> "Socket":
        return self.call(
            "epoll_wait", f"epoll_wait(148) -> {self.fd} EPOLLOUT", "ok", "ESTABLISHED"
        )

    def ulp(self, result: str | None = "ok", stack: tuple[str, ...] | None = None) -> "Socket":
        self.call("setsockopt", f'setsockopt({self.fd}, SOL_TCP, TCP_ULP, "tls")', result)
        self.attempts.append(
            UlpAttempt(
                result=result,
                state=self.state,
                basis="inferred",
                line=self.line,
                time=self.time,
                tid=3947,
                stack=stack,
            )
        )
        return self

    def key(
        self,
        direction: str = "tx",
        result: str | None = "ok",
        version: int | None = TLS_1_2,
        cipher: int | None = GCM_128,
        optlen: int | None = 40,
    ) -> "Socket":
        option = f"TLS_{direction.upper()}"
        self.call("setsockopt", f"setsockopt({self.fd}, SOL_TLS, {option})", result)
        self.installs[direction].append(KeyInstall(result=result, line=self.line, time=self.time))
        self.keys.append((direction, version, cipher, optlen, result))
        return self

    def close(self) -> "Socket":
        return self.call("close", f"close({self.fd})", "ok", "CLOSE")

    def judged(self, outcome: str, ordering: str | None = None, **changes: Any) -> Judged:
        """Give the verdict; `changes` are fields of the connection or of the facts."""
        fields = {**_DEFAULTS, **self.fields, "outcome": outcome, "ordering": ordering}
        facts = {"opened": Place(0, 100 * self.number + 1, 3947), "source": 0, **self.facts}
        for name, value in changes.items():
            (fields if name in Connection.__struct_fields__ else facts)[name] = value
        connection = Connection(
            id=f"c{self.number}",
            ulp=tuple(self.attempts),
            tx=tuple(self.installs["tx"]),
            rx=tuple(self.installs["rx"]),
            timeline=tuple(self.rows),
            **fields,
        )
        return Judged(
            connection,
            Facts(number=self.number, keys=tuple(self.keys), **facts),
        )


_DEFAULTS: dict[str, Any] = {
    "family": "AF_INET",
    "local": None,
    "recovered": False,
    "tls_version": None,
    "cipher": None,
    "margin_us": None,
    "margin_basis": None,
    "omitted": 0,
}


def raced(number: int = 1, outcome: str = "fallback", **changes: Any) -> Judged:
    """The race of HAProxy 3.4: refused in SYN_SENT, not tried again."""
    socket = Socket(number).connect().ulp("ENOTCONN")
    if outcome != "not-connected":
        socket.writable()
    margin = {"margin_us": -1000.0, "margin_basis": "inferred"}
    return socket.close().judged(outcome, "raced", **{**margin, **changes})


def unordered(number: int = 1, **changes: Any) -> Judged:
    socket = Socket(number).connect().ulp("ok").writable().key("tx").key("rx").close()
    return socket.judged("offloaded", "unordered", **changes)


def safe(number: int = 1, **changes: Any) -> Judged:
    socket = Socket(number).connect().writable().ulp("ok").key("tx").key("rx").close()
    return socket.judged("offloaded", "safe", **changes)


def plain(number: int = 1, role: str = "client", **changes: Any) -> Judged:
    """A connection that never tried kTLS."""
    return Socket(number, role=role).connect("ok", "ESTABLISHED").judged("none", **changes)


def findings(*judged: Judged, trace: TraceFacts | None = None) -> tuple[Finding, ...]:
    return report(judged, trace).findings


def report(judged: Sequence[Judged], trace: TraceFacts | None = None) -> Report:
    """Do what the analysis does when all connections have ended."""
    trace = trace or trace_facts()
    folder, tally = FindingFolder(), Tally()
    for one in judged:
        folder.add(one)
        tally.add(one)
    summary = tally.summary()
    shared = {name: getattr(trace, name) for name in Trace.__struct_fields__}
    return Report(
        schema=SCHEMA,
        tool=Tool("ktrace", "0.1.0"),
        trace=Trace(**shared),
        summary=summary,
        peers=tally.peers(),
        connections=tuple(
            one.connection for one in sorted(judged, key=lambda one: one.facts.number)
        ),
        findings=folder.finish(trace, summary),
    )
