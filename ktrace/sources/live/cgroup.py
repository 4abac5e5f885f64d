"""A cgroup as the probe compares it: its id and its depth below the root."""

import os
from pathlib import Path

from ktrace.errors import KtraceError


def find(path: str) -> tuple[int, int]:
    """Return (id, depth) of a cgroup (version 2), given as a folder or a path below its mount."""
    root = _mount_point()
    folder = Path(path)
    if not folder.is_relative_to(root):
        folder = root / path.lstrip("/")
    if not folder.is_dir():
        raise KtraceError(
            "no-cgroup", f"no cgroup {path} under {root}", "list them: systemd-cgls, or ls there"
        )
    depth = len(folder.resolve().relative_to(root.resolve()).parts)
    return os.stat(folder).st_ino, depth


def _mount_point() -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            return Path(fields[1])
    raise KtraceError(
        "no-cgroup2", "no cgroup file system of version 2 is mounted", "choose with --pid or --comm"
    )
