"""Where classic tracepoints have their numbers and fields."""

import os
import re
from pathlib import Path

from ktrace.errors import KtraceError
from ktrace.sources.live.kernel import call

TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same on every architecture
_FSCONFIG_CMD_CREATE = 6


class Tracefs:
    """Reads tracepoint numbers, also where tracefs is mounted nowhere."""

    def __init__(self) -> None:
        self._root = self._open()

    def number(self, category: str, name: str) -> int | None:
        """Return the number of a tracepoint, None where this kernel has none of that name."""
        text = self.read(f"events/{category}/{name}/id")
        return None if text is None else int(text)

    def read(self, path: str) -> str | None:
        """Return a file of tracefs, None where there is none."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._root)
        except FileNotFoundError:
            return None
        with open(fd) as file:
            return file.read()

    def field(self, category: str, name: str, field: str) -> int:
        """Return where a field lies in a tracepoint's record, in bytes."""
        text = self.read(f"events/{category}/{name}/format") or ""
        found = re.search(rf"field:[^;]*\b{field};\s*offset:(\d+);", text)
        if found is None:
            raise KtraceError(
                "tracepoint-format",
                f"the tracepoint {category}:{name} has no field {field}",
                "use --backend libbpf, or `ktrace record`",
            )
        return int(found[1])

    def close(self) -> None:
        os.close(self._root)

    @staticmethod
    def _open() -> int:
        for root in TRACEFS:
            if Path(root, "events", "syscalls").is_dir():
                return os.open(root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        return _tracefs_without_mount_point()


def _tracefs_without_mount_point() -> int:
    """Open tracefs without leaving a mount behind (fsopen, Linux 5.2)."""
    try:
        context = call(_FSOPEN, b"tracefs", 1)
        try:
            call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
            return call(_FSMOUNT, context, 1, 0)
        finally:
            os.close(context)
    except OSError as error:
        raise KtraceError(
            "no-tracefs",
            f"tracefs is not mounted and cannot be opened ({error.strerror})",
            "mount it: mount -t tracefs tracefs /sys/kernel/tracing",
        ) from None
