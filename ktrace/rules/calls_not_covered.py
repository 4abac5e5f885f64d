"""A verdict was limited because the trace does not show the calls that would decide it.

## What it finds

Connections whose outcome or order came out weaker (`unknown`, or `raced` without the proof that
would say otherwise) because

- whole families of calls are missing from the trace (a filter such as `strace -e trace=network`
  leaves out poll, epoll, read and close), or
- the result of a waiting call was cut (`[...]`, after 32 entries, or after the number of `-s`) or
  not printed, and could have held the proof, or
- epoll data fits more than one socket, or
- the program uses io_uring, whose completions no strace log shows, or
- a kTLS call failed and the name of its error is not in the log (it was cut there), or
- the ULP was refused on a socket that was opened before the trace began, or that came from a Fast
  Open listener, and nothing shows which TCP state it was in.

## Why it is bad

Absence proves something only for calls that the trace would show. Without this finding a filtered
log would read as an all-clear.

## Known limits

A family counts as covered when any call of it appears, when the capture says that it was
recorded, or when the trace is unfiltered. A program that makes no such call in a filtered log
looks like a gap.

## Example

    strace -f -e trace=network -p 3947

shows connect() and TCP_ULP, but not the epoll_wait() between them.

## How to fix

Record with `ktrace record`, which has every call that ktrace needs, keeps whole arrays, cuts
every key byte and costs little: `ktrace record -o strace.log --pid PID`, or with `-- COMMAND
...`. For io_uring use `ktrace live`, which reads the state of the socket in the kernel.
"""

from collections.abc import Iterator

from ktrace.events import FAMILIES
from ktrace.findings import Finding
from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import NOT_ESTABLISHED, deciding_attempt
from ktrace.rules.fold import Fold, Hit
from ktrace.timelines import Judged, Limit, TraceFacts
from ktrace.wording import listed, plural, sentences

_LIMITS: dict[Limit, str] = {
    "hidden-wait": "the result of a waiting call was cut or not printed and could have held the"
    " proof",
    "ambiguous-epoll": "epoll data fits more than one socket",
    "io_uring": "the program uses io_uring, whose completions the trace does not show",
    "cut": "a kTLS call failed, and the name of its error was cut off",
    "before-trace": "the connection was opened before the trace, so why the ULP was refused is not"
    " shown",
    "fastopen-child": "accepted from a Fast Open listener: whether its handshake was over is not"
    " shown",
}
_ONLY_WHERE_REFUSED = frozenset(("before-trace", "fastopen-child"))
_WHY = "absence proves something only for calls that the trace would show"
_FROM_THE_START = (
    "record from the start (`ktrace record -o strace.log -- COMMAND`), or capture with"
    " `sudo ktrace live`, which reads the state in the kernel"
)
_WHY_STATE = (
    "ENOTCONN has three causes: set too early (a race), never connected, closed by the peer"
)


class CallsNotCovered(ConnectionRule):
    code = "KT902"
    name = "calls-not-covered"
    severity = "warning"

    def hits(self, judged: Judged) -> Iterator[Hit]:
        facts = judged.facts
        refused = any(a.result in NOT_ESTABLISHED for a in judged.connection.ulp)
        limits = tuple(
            limit
            for limit in facts.limits
            if limit in _LIMITS and (refused or limit not in _ONLY_WHERE_REFUSED)
        )
        if facts.missing or limits:
            made = judged.connection.ulp
            call = deciding_attempt(judged, not_established=True) if made else None
            yield Hit((), self.severity, call, (*facts.missing, *limits))

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        missing: list[str] = [family for family in FAMILIES if fold.tags[family]]
        reasons = [
            f"{text} ({fold.tags[limit]:,})" for limit, text in _LIMITS.items() if fold.tags[limit]
        ]
        return Words(
            message=_message(missing, fold),
            why=_WHY_STATE if _is_state_alone(fold) else _WHY,
            outcome=sentences(
                f"the verdict on {plural(fold.count, 'connection')} is limited by it", *reasons
            ),
            help=_FROM_THE_START
            if _is_state_alone(fold)
            else _help(trace, fold.shown.connection.pid, bool(fold.tags["io_uring"])),
        )

    def without_hits(self, trace: TraceFacts) -> Finding | None:
        """Say that a trace without setsockopt cannot tell whether kTLS was tried."""
        if "setsockopt" in trace.covered:
            return None
        words = Words(
            message=_message(["setsockopt"], None),
            why=_WHY,
            outcome="whether any connection tried kTLS is not known",
            help=_help(trace, 0, io_uring=False),
        )
        return self.about_trace(words, 0)


def _is_state_alone(fold: Fold) -> bool:
    """Tell whether every call is there, and only the state that they met is not."""
    return all(tag in _ONLY_WHERE_REFUSED for tag in fold.tags)


def _message(missing: list[str], fold: Fold | None) -> str:
    if fold is not None and _is_state_alone(fold):
        return "the state in which a socket was refused the ULP is not in the trace"
    if not missing:
        return "calls that would decide a verdict are not shown in full"
    return f"calls that would decide a verdict are not in the trace: {listed(missing)}"


def _help(trace: TraceFacts, pid: int, io_uring: bool) -> str:
    who = f"--pid {pid}" if pid > 0 else "-- COMMAND"
    if trace.kind == "live" or io_uring:
        return f"capture with `sudo ktrace live {who}`, which reads the state in the kernel"
    return f"record with `ktrace record -o strace.log {who}`, which has all the calls needed"
