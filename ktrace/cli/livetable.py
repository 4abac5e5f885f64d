"""What `ktrace live` shows while it runs: a table on a terminal, else a line a connection."""

import shutil
import sys
import time
from collections import Counter, deque
from typing import TextIO

from ktrace.cli.failures import one_line
from ktrace.findings import Connection

REPAINT_S = 0.25
LATEST = 8
# 79 columns, unless a peer has a long IPv6 address
COLUMNS = "{id:<8} {role:<8} {peer:<22} {outcome:<13} {ordering:<11} {margin:>12}"


class LiveTable:
    """Repaints itself in place on a terminal; `close()` wipes it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._outcomes: Counter[str] = Counter()
        self._orderings: Counter[str] = Counter()
        self._latest: deque[Connection] = deque(maxlen=LATEST)
        self._lines = 0
        self._painted = 0.0
        self._start = self._before = time.monotonic()
        self._events_before = self._connections_before = self._lost_before = 0

    def connection(self, connection: Connection) -> None:
        self._outcomes[connection.outcome] += 1
        if connection.ordering is not None:
            self._orderings[connection.ordering] += 1
        self._latest.append(connection)

    def turn(self, events: int, lost: int) -> None:
        """Repaint when it is time."""
        now = time.monotonic()
        if now - self._painted < REPAINT_S:
            return
        self._painted = now
        self._paint(self._content(now, events, lost))

    def close(self) -> None:
        self._paint([])

    def _content(self, now: float, events: int, lost: int) -> list[str]:
        passed = max(now - self._before, 1e-6)
        total = self._outcomes.total()
        head = (
            f"{now - self._start:7.1f} s   {(events - self._events_before) / passed:,.0f} events/s"
            f"   {(total - self._connections_before) / passed:,.0f} connections/s"
            f"   lost {lost:,} ({(lost - self._lost_before) / passed:,.0f}/s)"
        )
        if passed >= 1:
            self._before, self._events_before, self._lost_before = now, events, lost
            self._connections_before = total
        lines = [head, f"connections {total:,}: {_counts(self._outcomes)}"]
        if self._orderings:
            lines.append(f"order of the ULP: {_counts(self._orderings)}")
        return lines + [row(connection) for connection in reversed(self._latest)]

    def _paint(self, lines: list[str]) -> None:
        width = shutil.get_terminal_size((100, 24)).columns - 1
        up = f"\033[{self._lines}F" if self._lines else ""
        body = "".join(f"{line[:width]}\033[K\n" for line in lines)
        self._stream.write(f"{up}{body}\033[J")
        self._stream.flush()
        self._lines = len(lines)


def row(connection: Connection) -> str:
    """Return one connection as one line."""
    margin = "" if connection.margin_us is None else f"{connection.margin_us:,.0f} us"
    return COLUMNS.format(
        id=connection.id,
        role=connection.role,
        peer=one_line(connection.peer or "-"),
        outcome=connection.outcome,
        ordering=connection.ordering or "-",
        margin=margin,
    )


def print_line(connection: Connection) -> None:
    """Print a connection that has ended."""
    print(row(connection).rstrip(), file=sys.stdout, flush=True)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common()) or "none"
