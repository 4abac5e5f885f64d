"""How far to trust the report: what was read, lost, covered, observed."""

from collections.abc import Iterator

import msgspec

from ktrace.events import FAMILIES
from ktrace.findings import Report
from ktrace.reporters.htmlreport.words import count
from ktrace.wording import listed, plural


class Item(msgspec.Struct, frozen=True):
    """One column of the section; `mark` is passed, open or error."""

    mark: str
    title: str
    text: str


def trust(report: Report) -> tuple[Item, ...]:
    """Return what the trace could and could not show."""
    return (*_lines(report), _lost(report), _covered(report), _basis(report))


def _lines(report: Report) -> Iterator[Item]:
    trace = report.trace
    if trace.lines is None:
        yield Item("passed", "Events", f"{plural(trace.events, 'event')} read from the kernel")
    elif trace.not_understood:
        text = f"{count(trace.not_understood)} of {plural(trace.lines, 'line')} not understood"
        yield Item("open", "Lines", f"{text}: a verdict may rest on one of them")
    else:
        yield Item("passed", "Lines", f"{plural(trace.lines, 'line')} read, every one understood")


def _lost(report: Report) -> Item:
    trace = report.trace
    if trace.lost_events:
        text = f"{plural(trace.lost_events, 'event')} lost: connections they touch are unknown"
        return Item("open", "Events lost", text)
    if is_filtered(report):
        text = "a call that a seccomp filter refuses may be missing"
        return Item("open", "Events lost", text)
    if trace.kind == "strace":
        return Item("passed", "Events lost", "none: strace stops the program at each call")
    return Item("passed", "Events lost", f"0 of {plural(trace.events, 'event')}")


def is_filtered(report: Report) -> bool:
    """Tell whether the program had a seccomp filter that may have hidden calls from strace."""
    return any("seccomp filter" in warning for warning in report.trace.warnings)


def _covered(report: Report) -> Item:
    covered = [family for family in FAMILIES if family in report.trace.covered]
    missing = [family for family in FAMILIES if family not in report.trace.covered]
    limited = any(finding.code == "KT902" for finding in report.findings)
    text = ", ".join(covered) or "none"
    if missing:
        text += f". Not seen: {', '.join(missing)}"
        text += ", and a verdict is limited by it" if limited else "; no verdict needed them"
    return Item("open" if limited or not covered else "passed", "Calls covered", text)


def _basis(report: Report) -> Item:
    bases = [c.margin_basis for c in report.connections if c.margin_basis is not None]
    observed, inferred = bases.count("observed"), bases.count("inferred")
    parts = []
    if observed:
        parts.append(f"{plural(observed, 'margin')} observed in the kernel")
    if inferred:
        parts.append(
            f"{plural(inferred, 'margin')} inferred from calls, where the figure is a bound"
        )
    text = listed(parts) if parts else "no margin could be measured"
    return Item("passed" if observed and not inferred else "open", "Basis", text)
