"""Where a time lies on the axis of the strip and of the margin chart, in percent of the width."""

import math
from collections.abc import Iterable

import msgspec

from ktrace.reporters.htmlreport.words import MINUS, round_time

_SHORTEST = 2.0  # microseconds; seconds since 1970 in a double are no finer
_RIGHT = 99.0  # the last mark keeps its right half


class Tick(msgspec.Struct, frozen=True):
    """A place on an axis; `value` in microseconds, or the number of a call."""

    at: float
    label: str
    value: float


class LogScale(msgspec.Struct, frozen=True):
    """Logarithmic from `low` microseconds on, linear below it over the first `part` percent."""

    low: float
    high: float
    part: float = 7.0

    def at(self, us: float) -> float:
        """Return the place of a time in percent; what lies before zero is drawn at zero."""
        if us <= 0:
            return 0.0
        if us <= self.low:
            return round(self.part * us / self.low, 2)
        decades = math.log10(min(us, self.high) / self.low) / math.log10(self.high / self.low)
        return round(self.part + (_RIGHT - self.part) * decades, 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Return zero and each power of ten within the scale."""
        found = [Tick(0.0, "0", 0.0)]
        value = self.low
        while value <= self.high * 1.001:
            found.append(Tick(self.at(value), round_time(value), value))
            value *= 10
        return tuple(found)


class CallScale(msgspec.Struct, frozen=True):
    """The order of calls, for traces without times: call 1 is the first of the timeline."""

    high: float

    def at(self, call: float) -> float:
        """Return the place of a call in percent."""
        return round(_RIGHT * min(max(call, 0.0), self.high) / self.high, 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Return about six calls at even steps."""
        step = max(1, math.ceil(self.high / 6))
        calls = range(0, int(self.high) + 1, step)
        return tuple(Tick(self.at(n), f"call {n + 1}" if n == 0 else str(n + 1), n) for n in calls)


Scale = LogScale | CallScale


def log_scale(times: Iterable[float]) -> LogScale:
    """Fit a scale to all marks: it starts at the power of ten under the smallest one above zero."""
    positive = [t for t in times if t >= _SHORTEST]
    if not positive:
        return LogScale(100.0, 1e6)
    low = 10.0 ** max(0, math.floor(math.log10(min(positive))))
    high = max(max(positive), low * 100)
    return LogScale(low, high)


def call_scale(places: Iterable[float]) -> CallScale:
    """Fit a scale to places in the order of calls."""
    return CallScale(max(max(places, default=1.0), 4.0))


class SignedScale(msgspec.Struct, frozen=True):
    """Logarithmic both ways from zero, for margins; `zero` is where 0 lies, in percent."""

    low: float
    high: float
    negative_high: float
    zero: float

    def at(self, us: float) -> float:
        """Return the place of a margin in percent."""
        if us == 0:
            return round(self.zero, 2)
        width = self.zero if us < 0 else 100.0 - self.zero
        limit = self.negative_high if us < 0 else self.high
        size = abs(us)
        near = 0.16 * width
        if size <= self.low:
            reach = near * size / self.low
        else:
            span = math.log10(limit / self.low)
            reach = near + (width * 0.92 - near) * math.log10(min(size, limit) / self.low) / span
        return round(self.zero + (reach if us > 0 else -reach), 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Return zero and the powers of ten on both sides, from left to right."""
        marks = [Tick(self.at(0), "0", 0.0)]
        for sign, limit in ((-1.0, self.negative_high), (1.0, self.high)):
            value = self.low
            while value <= limit * 1.001:
                label = (MINUS if sign < 0 else "+") + round_time(value)
                if abs(self.at(sign * value) - self.zero) > 5:
                    marks.append(Tick(self.at(sign * value), label, sign * value))
                value *= 10
        return tuple(sorted(marks, key=lambda tick: tick.at))


def signed_scale(margins: Iterable[float]) -> SignedScale:
    """Fit a two-sided scale; a side without a margin keeps a strip, so that zero is seen."""
    known = [m for m in margins if m]
    below = [-m for m in known if m < 0]
    above = [m for m in known if m > 0]
    smallest = min([*below, *above], default=1000.0)
    low = 10.0 ** max(0, math.floor(math.log10(smallest)))
    reach = {"below": _limit(below, low), "above": _limit(above, low)}
    zero = 4.0 if not below else 96.0 if not above else 34.0
    return SignedScale(low, reach["above"], reach["below"], zero)


def _limit(sizes: list[float], low: float) -> float:
    """Return the next 1, 3 or 10 above the largest size."""
    largest = max(sizes, default=0.0) * 1.05
    power = 10.0 ** math.floor(math.log10(largest)) if largest > 0 else low
    nice = next((power * step for step in (1, 3) if power * step >= largest), power * 10)
    return max(nice, low * 10)
