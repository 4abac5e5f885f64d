"""The report: what the analysis produces and every reporter consumes (schema `ktrace.report/1`).

These types are the public JSON, field for field and in this order; msgspec encodes them, validates
them and derives the JSON Schema.  Times are seconds of the trace's clock, durations and margins
microseconds.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

SCHEMA = "ktrace.report/1"

Severity = Literal["error", "warning", "note"]
Role = Literal["client", "server", "listener", "unknown"]
Outcome = Literal[
    "offloaded", "tx-only", "rx-only", "not-connected", "fallback", "ulp-only", "none", "unknown"
]
Ordering = Literal["raced", "unconnected", "unordered", "late", "safe", "unknown"]
Basis = Literal["observed", "inferred"]
Clock = Literal["epoch", "time-of-day", "relative", "none"]
TcpState = Literal[
    "CLOSE",
    "LISTEN",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "CLOSING",
    "UNKNOWN",
]


class Rate(msgspec.Struct, frozen=True):
    """k of n with its 95 % Wilson interval; value, low and high are shares (0 to 1), None when n is
    0.
    """

    k: int
    n: int
    value: float | None
    low: float | None
    high: float | None


class UlpAttempt(msgspec.Struct, frozen=True):
    """One TCP_ULP "tls" call; `state` is the socket's TCP state when it began."""

    result: str | None
    state: TcpState
    basis: Basis
    line: int | None
    time: float | None
    tid: int | None
    stack: tuple[str, ...] | None = None


class KeyInstall(msgspec.Struct, frozen=True):
    """One TLS_TX or TLS_RX call."""

    result: str | None
    line: int | None
    time: float | None


class TimelineRow(msgspec.Struct, frozen=True):
    """One call, or a state change seen in the kernel (`call` is "state", without a tid)."""

    line: int | None
    time: float | None
    tid: int | None
    call: str
    text: str
    result: str | None
    duration_us: float | None
    state_before: TcpState
    state_after: TcpState
    basis: Basis


class Connection(msgspec.Struct, frozen=True):
    """The life of one TCP socket, with its verdict."""

    id: str
    pid: int
    comm: str | None
    fd: int
    role: Role
    family: Literal["AF_INET", "AF_INET6"] | None
    local: str | None
    peer: str | None
    outcome: Outcome
    ordering: Ordering | None
    recovered: bool
    tls_version: str | None
    cipher: str | None
    margin_us: float | None
    margin_basis: Basis | None
    ulp: tuple[UlpAttempt, ...]
    tx: tuple[KeyInstall, ...]
    rx: tuple[KeyInstall, ...]
    timeline: Sequence[TimelineRow]
    omitted: int

    @property
    def has_ktls(self) -> bool:
        """A ULP attempt or a key install was made."""
        return bool(self.ulp or self.tx or self.rx)


class Evidence(msgspec.Struct, frozen=True):
    """A place in a source; `text` is built from decoded fields, never from the raw line."""

    source: str
    line: int | None
    text: str


class EvidenceRow(msgspec.Struct, frozen=True):
    """A row of the small table that a finding shows; `marked` is the wrong call."""

    line: int | None
    time: float | None
    tid: int | None
    text: str
    result: str | None
    state: TcpState
    basis: Basis
    marked: bool = False


class Finding(msgspec.Struct, frozen=True):
    """One cause, folded over all connections that show it.

    `fingerprint` holds no pid, fd, time, line or local port, so that two runs of one build agree.
    """

    code: str
    name: str
    severity: Severity
    message: str
    count: int
    connections: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    why: str
    help: str
    outcome: str = ""
    notes: tuple[str, ...] = ()
    who: str = ""  # the connection that is shown: role, peer, fd and where it was created
    rows: tuple[EvidenceRow, ...] = ()
    stack: tuple[str, ...] | None = None
    fingerprint: str = ""


class Peer(msgspec.Struct, frozen=True):
    peer: str
    role: Literal["client", "server"]
    connections: int
    attempted: int
    fallback: int
    raced: int
    fallback_rate: Rate


class Tool(msgspec.Struct, frozen=True):
    name: str
    version: str


class Trace(msgspec.Struct, frozen=True):
    """What was read.  `lines` is None for live captures; `covered` are syscall families."""

    kind: Literal["strace", "live"]
    sources: tuple[str, ...]
    lines: int | None
    events: int
    not_understood: int
    lost_events: int
    clock: Clock
    duration_s: float | None
    covered: tuple[str, ...]
    warnings: tuple[str, ...]


class Summary(msgspec.Struct, frozen=True):
    """Counts of connections (listeners apart) and the three rates."""

    connections: int
    listeners: int
    attempted: int
    offloaded: int
    tx_only: int
    rx_only: int
    fallback: int
    not_connected: int
    ulp_only: int
    none: int
    unknown: int
    raced: int
    unordered: int
    unconnected: int
    late: int
    recovered: int
    fallback_rate: Rate
    race_rate: Rate
    unordered_rate: Rate


class Report(msgspec.Struct, frozen=True):
    """Everything a reporter needs; `connections` is empty where the caller did not ask to keep
    them.
    """

    schema: str
    tool: Tool
    trace: Trace
    summary: Summary
    peers: tuple[Peer, ...]
    connections: tuple[Connection, ...]
    findings: tuple[Finding, ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a report, derived from these types."""
    return msgspec.json.schema(Report)
