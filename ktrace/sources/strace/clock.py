"""The time of a record on the trace's clock, whatever form of time the log has."""

from ktrace.sources.strace import lines
from ktrace.sources.strace.account import Account
from ktrace.sources.strace.rows import Row

DAY_NS = 86_400_000_000_000
_EPOCH_NS = 100_000_000 * 1_000_000_000  # smaller numbers are deltas


class Clock:
    """Of one file.  The account learns which clock the trace has, and its first and last time.

    `relative_ns`: the -r deltas of all blocks before this one.
    """

    def __init__(self, account: Account) -> None:
        self.relative_ns = 0
        self._account = account
        self._day = 0
        self._last = 0

    def at(self, row: Row) -> int | None:
        """Return the row's time in nanoseconds of the trace's clock, without wraps at midnight."""
        account = self._account
        if row.at_ns >= 0 and account.clock == "epoch":
            account.last_ns = row.at_ns
            return row.at_ns
        if row.time is None:
            return None
        raw = row.time
        if len(raw) == 17 and raw[10] == 0x2E and account.clock == "epoch" and raw[0] != 0x30:
            account.last_ns = now = int(raw.replace(b".", b"")) * 1000
            return now
        text = raw.decode()
        now = lines.nanoseconds(text)
        if ":" in text:
            clock = "time-of-day"
            now = self._unwrapped(now)
        elif now >= _EPOCH_NS:
            clock = "epoch"
        else:
            clock, now = "relative", self.relative_ns + row.passed
        if account.clock == "none":
            account.clock = clock
        if account.first_ns is None:
            account.first_ns = now
        account.last_ns = now
        return now

    def began(self, row: Row) -> int | None:
        """Return when a call began of which the second half has come; `row` counts from the start
        of the file.
        """
        if self._account.clock == "relative" and row.time is not None:
            return row.passed
        return self.at(row)

    def _unwrapped(self, now: int) -> int:
        day = self._day
        if now + day < self._last - DAY_NS // 2:
            day = self._day = day + DAY_NS
        elif now + day > self._last + DAY_NS // 2 and day:
            day -= DAY_NS  # the start, before midnight, of a call that came back after it
        self._last = max(self._last, now + day)
        return now + day
