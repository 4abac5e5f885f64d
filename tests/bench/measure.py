"""Runs a command and measures its time and the memory of it and its children."""

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY_S = 0.02


@dataclass(frozen=True)
class Measured:
    """`memory` is the highest sum of RSS over the process and its children, in bytes.

    Pages that parent and child share are counted in both, so the sum is an upper bound.
    """

    seconds: float
    memory: int
    output: str


def run(command: Sequence[str]) -> Measured:
    """Run to the end; a command that fails ends the benchmark."""
    begin = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watch = _Watch(process.pid)
        output, errors = process.communicate()
        seconds = time.perf_counter() - begin
        watch.stop()
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {errors[-2000:]}")
    return Measured(seconds, watch.highest, output)


class _Watch:
    """Samples the memory of a process tree until it is stopped."""

    def __init__(self, pid: int) -> None:
        self.pid, self.highest = pid, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._done.wait(EVERY_S):
            self.highest = max(self.highest, sum(_memory(p) for p in _tree(self.pid)))

    def stop(self) -> None:
        self._done.set()
        self._thread.join()


def _tree(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            todo += [int(child) for child in _read(task).split()]
    return found


def _memory(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * PAGE if fields else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""
