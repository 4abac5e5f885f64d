"""The head of the page: one sentence that is the verdict, the rates, and what was traced."""

from datetime import UTC, datetime

import msgspec

from ktrace.findings import Rate, Report, Summary
from ktrace.packed import ends
from ktrace.reporters.htmlreport.groups import group_of
from ktrace.reporters.htmlreport.trust import is_filtered
from ktrace.reporters.htmlreport.words import count, duration, short_sources
from ktrace.wording import listed, plural

_RACED = "the TLS ULP was set before the connection was established."
_LUCK = "the TLS ULP was set without waiting for the connection."
_LUCK_LEAD = (
    "The handshake was over before the call; the program had not been told."
    " A slower link turns this into a race."
)
_MINUTE = "%H:%M"


class Verdict(msgspec.Struct, frozen=True):
    """`strong` and `rest` make the sentence, `lead` is the text below, `mark` the glyph above."""

    mark: str
    tally: tuple[tuple[str, str], ...]
    tone: str
    strong: str
    rest: str
    lead: str
    command: str
    limits: tuple[str, ...]


class RateCell(msgspec.Struct, frozen=True):
    """One of the three rates at the head."""

    name: str
    glyph: str
    tone: str
    rate: Rate
    of: str
    few: str


def verdict(report: Report) -> Verdict:
    """Put the outcome of the whole trace into a sentence."""
    tone, strong, rest = _sentence(report)
    limits = tuple(_limits(report))
    return Verdict(
        mark=_mark(report, tone, bool(limits)),
        tally=tuple(_tally(report)),
        tone=tone,
        strong=strong,
        rest=rest,
        lead=_lead(report),
        command="" if report.summary.attempted else _record_command(report),
        limits=limits,
    )


def _sentence(report: Report) -> tuple[str, str, str]:
    """Return (tone, what stands out, how it goes on)."""
    s = report.summary
    clients = s.race_rate.n
    if not s.attempted:
        return _nothing_tried(report)
    if s.raced:
        return "race", f"{_of(s.raced, clients)} raced:", _RACED
    if s.fallback and report.findings and report.findings[0].severity == "error":
        return "race", f"{_of_tried(s)} fell back:", report.findings[0].message + "."
    if s.unordered:
        how = "worked by luck" if _worked_by_luck(report) else "did not wait"
        return "luck", f"{_of(s.unordered, clients)} {how}:", _LUCK
    unjudged = unjudged_connections(report)
    if unjudged:
        return (
            "open",
            "No race was seen,",
            f"but {plural(unjudged, 'connection')} cannot be judged.",
        )
    if not clients:
        return _accepted_only(report)
    if s.fallback:
        rest = f"but {plural(s.fallback, 'connection')} went on with TLS in user space."
        return "luck", "No client connection raced,", rest
    return "safe", "No client connection raced.", ""


def _of(k: int, n: int) -> str:
    if k == n == 1:
        return "The one client connection"
    return f"{count(k)} of {plural(n, 'client connection')}"


def _of_tried(summary: Summary) -> str:
    if summary.fallback == summary.attempted == 1:
        return "The one connection that tried kTLS"
    return f"{count(summary.fallback)} of {plural(summary.attempted, 'kTLS connection')}"


def _worked_by_luck(report: Report) -> bool:
    """Say whether the kernel took the ULP of a connection that did not wait."""
    hasty = [c for c in report.connections if c.ordering == "unordered"]
    return not hasty or any(a.result == "ok" for c in hasty for a in c.ulp)


def _nothing_tried(report: Report) -> tuple[str, str, str]:
    if "setsockopt" not in report.trace.covered:
        return "open", "The trace cannot tell:", "it does not show setsockopt() calls."
    if report.summary.unknown:
        unknown = plural(report.summary.unknown, "connection")
        return "open", "No connection is seen to try kTLS.", f"Of {unknown} the trace cannot tell."
    return "open", "No connection tried kTLS.", ""


def _accepted_only(report: Report) -> tuple[str, str, str]:
    s = report.summary
    if s.fallback:
        rest = "went on with TLS in user space."
        return "luck", f"{count(s.fallback)} of {plural(s.attempted, 'accepted connection')}", rest
    return "safe", "No accepted connection fell back.", "No client connection tried kTLS."


def unjudged_connections(report: Report) -> int:
    """Count connections whose ordering the trace does not show."""
    return sum(group_of(c) == "unknown" for c in report.connections)


def _lead(report: Report) -> str:
    s = report.summary
    parts = []
    if not s.attempted:
        parts.append(_seen(report))
    if s.unordered:
        parts.append(_latent(report))
    if s.fallback and s.raced:
        parts.append(f"{plural(s.fallback, 'connection')} went on with TLS in user space.")
    if s.attempted and not (s.raced or s.unordered or s.fallback):
        parts.append(_clean(report))
    if s.attempted and s.raced + s.unordered and (unjudged := unjudged_connections(report)):
        parts.append(f"{plural(unjudged, 'connection')} cannot be judged.")
    return " ".join(parts)


def _latent(report: Report) -> str:
    """Describe the latent races, in words that fit the first sentence."""
    s = report.summary
    lucky = _worked_by_luck(report)
    if s.raced:
        more = "One more" if s.unordered == 1 else f"Another {count(s.unordered)}"
        end = " and worked by luck." if lucky else ", and the ULP was refused for another reason."
        return f"{more} made the same calls in the same order{end}"
    if _sentence(report)[0] == "luck" and lucky:
        return _LUCK_LEAD
    some = f"{plural(s.unordered, 'client connection')} did not wait for ESTABLISHED first"
    return f"{some}: over a slower link this is a race, whatever else is mended."


def _seen(report: Report) -> str:
    s = report.summary
    if not s.connections:
        return "The trace shows no TCP connection."
    shown = plural(s.connections, "TCP connection")
    if s.unknown:
        return f"The trace shows {shown}; none is seen to set the TLS ULP or install keys."
    return f"The trace shows {shown}; none set the TLS ULP or installed keys."


def _clean(report: Report) -> str:
    s = report.summary
    parts = [(s.offloaded, "keyed in both directions"), (s.tx_only, "for TX only")]
    parts += [(s.rx_only, "for RX only"), (s.ulp_only, "with the ULP and no keys")]
    parts += [(s.not_connected, "never came up")]
    found = [f"{count(n)} {word}" for n, word in parts if n]
    return f"{plural(s.attempted, 'connection')} tried kTLS: {listed(found)}." if found else ""


def _record_command(report: Report) -> str:
    if is_filtered(report):
        return "sudo ktrace live -- COMMAND"  # strace misses what the program's filter refuses
    return "ktrace record -o strace.log -- COMMAND"


def _limits(report: Report) -> list[str]:
    """Name what keeps the verdict from being the whole truth."""
    trace = report.trace
    found = []
    if trace.lost_events:
        found.append(f"{plural(trace.lost_events, 'event')} lost")
    if any(f.code == "KT902" for f in report.findings):
        found.append("calls not covered")
    if trace.not_understood:
        found.append(f"{plural(trace.not_understood, 'line')} not understood")
    return found


def _mark(report: Report, tone: str, limited: bool) -> str:
    severities = {f.severity for f in report.findings}
    if "error" in severities:
        return "error"
    if tone == "open" or (limited and tone == "safe"):
        return "open"
    return "warning" if "warning" in severities or tone == "luck" else "passed"


def _tally(report: Report) -> list[tuple[str, str]]:
    """Return ("error", "2 errors"), ... of the severities that occur."""
    found = []
    for severity in ("error", "warning", "note"):
        n = sum(f.severity == severity for f in report.findings)
        if n:
            found.append((severity, plural(n, severity)))
    return found or [("none", "no findings")]


def rates(report: Report) -> tuple[RateCell, ...]:
    """Return the three rates; none where nothing tried kTLS."""
    s = report.summary
    if not s.attempted:
        return ()
    clients = "client" if s.race_rate.n == 1 else "clients"
    return (
        _cell("Race rate", "x", "race", s.race_rate, clients),
        _cell("Latent race rate", "luck", "luck", s.unordered_rate, clients),
        _cell("Fallback rate", "", "ink", s.fallback_rate, "keyed or fallen back"),
    )


def _cell(name: str, glyph: str, tone: str, rate: Rate, of: str) -> RateCell:
    few = f"{plural(rate.n, 'connection')}: the interval is wide" if 0 < rate.n < 5 else ""
    return RateCell(name, glyph, tone, rate, of, few)


def facts(report: Report) -> tuple[tuple[str, str], ...]:
    """Return what was traced, as (name, value) lines."""
    trace, s = report.trace, report.summary
    read = f"{plural(s.connections, 'connection')}, {count(s.attempted)} tried kTLS"
    found = [("Sources", _sources(report))]
    recorded = _recorded(report)
    if recorded:
        found.append(("Recorded", recorded))
    found += [("Read", read), ("Quality", _quality(report))]
    if trace.duration_s is not None:
        found.insert(-2, ("Duration", duration(trace.duration_s * 1e6)))
    return tuple(found)


def _sources(report: Report) -> str:
    live = report.trace.kind == "live"
    kind = "kernel capture" if live else "strace log"
    names = list(short_sources(report.trace.sources).values())
    if len(names) == 1:
        return f"{kind} {names[0].removeprefix('live: ')}"
    return plural(len(names), kind)


def _quality(report: Report) -> str:
    trace = report.trace
    lines = "every line understood"
    if trace.not_understood:
        lines = f"{plural(trace.not_understood, 'line')} not understood"
    lost = f"{plural(trace.lost_events, 'event')} lost"
    if is_filtered(report) and not trace.lost_events:
        lost = "refused calls may be missing"
    return lost if trace.lines is None else f"{lines}, {lost}"


def _recorded(report: Report) -> str:
    """Return the day and minutes of the trace, as exactly as its clock tells."""
    if report.trace.clock == "none":
        return "without times: order of calls only"
    if report.trace.clock == "relative":
        return "relative times"
    times = [time for c in report.connections for time in ends(c.timeline)]
    known = [time for time in times if time is not None]
    if not known:
        return ""
    return _span(min(known), max(known), report.trace.clock == "epoch")


def _span(first: float, last: float, epoch: bool) -> str:
    try:
        begin = datetime.fromtimestamp(first, UTC)
        end = datetime.fromtimestamp(last, UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    minutes = begin.strftime(_MINUTE)
    if end.strftime(_MINUTE) != minutes or end.date() != begin.date():
        minutes += f" to {end.strftime(_MINUTE)}"
    if not epoch:
        return f"{minutes}, time of day without date"
    return f"{begin.day} {begin.strftime('%b %Y')}, {minutes} UTC"
