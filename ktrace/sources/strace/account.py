"""What one trace showed: coverage, clock, keys, and what was not understood."""

from ktrace.events import FAMILIES, Family
from ktrace.sources.strace.calls import FAMILY_OF
from ktrace.sources.strace.repair import MAX_BAD


class Account:
    """What one trace showed: coverage, clock, and what was not understood."""

    def __init__(self) -> None:
        self.lines = 0
        self.events = 0
        self.records = 0
        self.not_understood = 0
        self.bad: list[tuple[int, int, str]] = []
        self.names: set[str] = set()
        self.unfiltered = False
        self.seccomp = False  # a program installed a filter, and what that refuses may be missing
        self.clock = "none"
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.key_lines: list[tuple[int, int]] = []
        self.key_line_count = 0
        self.failures = 0
        self.successes = 0
        self.complete = False  # the whole trace was read: what was not seen is not there
        self.warnings: list[str] = []

    def not_read(self, source: int, line: int, reason: str) -> None:
        self.not_understood += 1
        if len(self.bad) < MAX_BAD:
            self.bad.append((source, line, reason))

    def saw_key(self, source: int, line: int) -> None:
        self.key_line_count += 1
        if len(self.key_lines) < MAX_BAD:
            self.key_lines.append((source, line))

    def count_result(self, result: int | None, errno: str | None) -> None:
        if errno:
            self.failures += 1
        elif result is not None:
            self.successes += 1

    @property
    def covered(self) -> frozenset[Family]:
        if self.unfiltered:
            return frozenset(FAMILIES)
        return frozenset(family for name in self.names if (family := FAMILY_OF.get(name)))
