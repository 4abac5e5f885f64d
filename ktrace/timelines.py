"""What the sequencer hands to the rules: a connection with its verdict, and the facts behind it."""

from typing import Literal

import msgspec

from ktrace.findings import Connection

Limit = Literal[
    "hidden-wait",  # a wait call whose result was cut or not shown could have held the proof
    "io_uring",  # completions that the trace does not show
    "lost-events",
    "before-trace",  # opened before the trace began
    "fastopen-child",  # accepted from a Fast Open listener, perhaps in SYN_RECV
    "ambiguous-epoll",  # epoll data that fits more than one socket
    "cut",  # a call failed, and the log does not show with which error
]


class Place(msgspec.Struct, frozen=True):
    """Where in the trace: index of the source, line (None in captures), thread."""

    source: int
    line: int | None
    tid: int | None


class Facts(msgspec.Struct, frozen=True):
    """What the JSON of a connection does not say but a rule needs.

    `missing` are uncovered families, and `limits` other reasons, that decided between a definite
    verdict and a weaker one.  `keys` lists every install as (direction, version, cipher, optlen,
    result).
    """

    number: int
    opened: Place | None
    source: int
    mptcp: bool = False
    fastopen: bool = False
    missing: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    keys: tuple[tuple[str, int | None, int | None, int | None, str | None], ...] = ()
    key_bytes_shown: bool = False
    failure: str | None = None  # how the connect failed, e.g. "ECONNREFUSED" or "EPOLLHUP"
    lines: tuple[int, ...] = ()  # source index of each timeline row where it differs from `source`


class Judged(msgspec.Struct, frozen=True):
    """A connection that has ended (or the trace has), ready for the rules."""

    connection: Connection
    facts: Facts


class Gap(msgspec.Struct, frozen=True):
    """A stretch of the trace where events are known to be missing."""

    start_ns: int | None
    end_ns: int | None
    lost: int
    reason: Literal["lost-events", "attached-late", "truncated"]


class TraceFacts(msgspec.Struct, frozen=True):
    """What a source knows of itself when it has ended; feeds `findings.Trace` and the KT9xx rules.

    `bad_lines` are the first lines not understood as (source index, line, reason); no raw text.
    `key_lines` are the first places that show key bytes.
    """

    kind: Literal["strace", "live"]
    sources: tuple[str, ...]
    lines: int | None
    events: int
    not_understood: int
    lost_events: int
    clock: Literal["epoch", "time-of-day", "relative", "none"]
    duration_s: float | None
    covered: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    bad_lines: tuple[tuple[int, int, str], ...] = ()
    key_lines: tuple[tuple[int, int], ...] = ()
    key_line_count: int = 0
    gaps: tuple[Gap, ...] = ()
