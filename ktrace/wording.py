"""Figures, lists and untrusted text in words; plain text with ordinary blanks."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktrace.findings import Rate


def clean(text: str) -> str:
    """Escape what is not printable (control characters, direction marks) as `\\x1b`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(ord(char)) for char in text)


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plural(count: int, noun: str) -> str:
    """Return "1 call", "1,200 calls"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(items: Iterable[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    *first, final = items
    return f"{', '.join(first)} and {final}" if first else final


def sentences(*parts: str) -> str:
    """Join what is not empty: "a; b; c"."""
    return "; ".join(part for part in parts if part)


def duration(us: float) -> str:
    """Return microseconds with three significant digits: "740 µs", "39.9 ms", "1.31 s"."""
    for limit, scale, unit in ((999.5, 1.0, "µs"), (999_500.0, 1e3, "ms")):
        if abs(us) < limit:
            return f"{_three_digits(us / scale)} {unit}"
    return f"{_three_digits(us / 1e6)} s"


def _three_digits(value: float) -> str:
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    digits = f"{value:.{1 if abs(value) >= 9.995 else 2}f}"
    return digits.rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """Return a share without its sign, finer near the ends: "57", "4.6", "99.2", "<0.1"."""
    value = 100 * share
    if value in (0, 100) or 10 <= value <= 90:
        return f"{value:.0f}"
    if value < 0.05:
        return "<0.1"
    if value > 99.95:
        return ">99.9"
    return f"{value:.1f}".removesuffix(".0")


def interval(rate: "Rate") -> str:
    """Return "21 to 100 %"; empty where there is nothing to bound."""
    if rate.low is None or rate.high is None:
        return ""
    return f"{percent(rate.low)} to {percent(rate.high)} %"


def id_runs(ids: Sequence[str], most: int = 6) -> str:
    """Fold ascending ids into runs: "c1 to c5, c9 and 12 more"."""
    runs: list[list[str]] = []
    for name in ids:
        if runs and int(runs[-1][-1][1:]) + 1 == int(name[1:]):
            runs[-1].append(name)
        else:
            runs.append([name])
    shown = ", ".join(_run(run) for run in runs[:most])
    left = sum(len(run) for run in runs[most:])
    return f"{shown} and {left:,} more" if left else shown


def _run(run: list[str]) -> str:
    if len(run) <= 2:
        return ", ".join(run)
    return f"{run[0]} to {run[-1]}"
