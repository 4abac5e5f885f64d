"""Numbers, times and names as the pages write them."""

from collections.abc import Sequence

from ktrace import wording
from ktrace.findings import Connection, Rate

NNBSP = "\u202f"  # a narrow no-break space stands before each unit
MINUS = "\u2212"
DASH = "\u2013"

_UNITS = ((1e3, 1.0, "µs"), (1e6, 1e3, "ms"), (120e6, 1e6, "s"), (7.2e9, 60e6, "min"))


def clean(text: str) -> str:
    """Write control characters and direction marks as `\\x1b` or `\\u202e`; our own blanks stay."""
    return NNBSP.join(wording.clean(part) for part in text.split(NNBSP))


def clean_lines(text: str) -> str:
    """Clean a text of several lines, keeping the lines."""
    return "\n".join(clean(line) for line in text.split("\n"))


def count(n: int) -> str:
    """Return n with thousands parted: 6,687."""
    return f"{n:,}"


def three_digits(value: float) -> str:
    """Return a non-negative number with three significant digits, never in powers of ten."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    if rounded >= 100:
        return f"{rounded:,.0f}"
    return f"{rounded:.1f}" if rounded >= 10 else f"{rounded:.2f}"


def duration(us: float) -> str:
    """Return a length of time given in microseconds: "39.9 ms"."""
    size = abs(us)
    if size < 0.0005:
        return "0"
    for limit, unit, name in _UNITS:
        if float(f"{size:.3g}") < limit:
            return f"{three_digits(size / unit)}{NNBSP}{name}"
    return f"{three_digits(size / 3.6e9)}{NNBSP}h"


def signed(us: float) -> str:
    """Return a time with its sign, since the sign is the verdict: "−39.9 ms", "+740 µs", "0"."""
    text = duration(us)
    if text == "0":
        return text
    return (MINUS if us < 0 else "+") + text


def round_time(us: float) -> str:
    """Return a power of ten of microseconds as an axis writes it: "100 µs", "1 ms", "10 s"."""
    for limit, unit, name in ((1e3, 1.0, "µs"), (1e6, 1e3, "ms")):
        if us < limit:
            return f"{us / unit:g}{NNBSP}{name}"
    return f"{us / 1e6:,g}{NNBSP}s"


def share(value: float) -> str:
    """Return a share (0 to 1) in percent without the sign: "39.1", "0.05", "100"."""
    percent = value * 100
    if 0 < percent < 0.1:
        return f"{percent:.1g}"
    if 99.9 < percent < 100:
        return f"{min(percent, 99.99):.2f}"
    return f"{percent:.1f}".removesuffix(".0")


def interval(rate: Rate) -> str:
    """Return the bounds of a rate, "22.2 to 59.2 %"; empty where there is nothing to bound."""
    if rate.low is None or rate.high is None:
        return ""
    return f"{share(rate.low)} to {share(rate.high)}{NNBSP}%"


def number_of(connection_id: str) -> int:
    """Return 14 for "c14"."""
    digits = connection_id[1:]
    return int(digits) if digits.isdigit() else 0


def short_sources(sources: Sequence[str]) -> dict[str, str]:
    """Shorten paths to their last parts, as many as keep them apart: "strace.log", "b/trace"."""
    parts = {source: source.strip("/").split("/") for source in sources}
    for size in range(1, 6):
        names = {source: "/".join(part[-size:]) for source, part in parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {source: source for source in sources}


def process(connection: Connection) -> str:
    """Return the process name, or its number where the trace has no name."""
    return connection.comm or f"pid {connection.pid}"
