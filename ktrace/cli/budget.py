"""Stop before the connections that a report keeps use up the memory."""

from typing import TYPE_CHECKING

from ktrace.errors import KtraceError

if TYPE_CHECKING:
    from ktrace.findings import Connection

SHARE = 0.7  # of the memory that is free at the start; rendering needs the rest

# What a record takes in memory, measured with tracemalloc over kept connections of real traces.
CONNECTION_BYTES = 600
ROW_BYTES = 70

MEMINFO = "/proc/meminfo"
CGROUP_LIMIT = "/sys/fs/cgroup/memory.max"


class Budget:
    """Counts what kept connections take; raises KtraceError when it comes near to what there is."""

    def __init__(self, limit: float | None = None) -> None:
        self._left = SHARE * memory_available() if limit is None else limit
        self._kept = 0

    def add(self, connection: "Connection") -> None:
        self._kept += 1
        self._left -= CONNECTION_BYTES + ROW_BYTES * len(connection.timeline)
        if self._left < 0:
            raise KtraceError(
                "too-many-connections",
                f"the memory is nearly full after {self._kept:,} connections of this log",
                "use --format ndjson, which keeps none of them, or --only-ktls, which keeps fewer",
            )


def memory_available() -> float:
    """Return the bytes that this process may still take; infinity where nothing says."""
    limits = [float("inf")]
    try:
        with open(MEMINFO) as file:
            fields = dict(line.split(":", 1) for line in file)
        limits.append(float(fields["MemAvailable"].split()[0]) * 1024)
        with open(CGROUP_LIMIT) as file:
            limits.append(float(file.read()))  # "max" where there is none
    except (OSError, KeyError, ValueError):
        pass
    return min(limits)
