"""Runs strace around the program of a test, as `ktrace record` does, and analyses the log."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ktrace import recording
from ktrace.analysis import Options, analyse
from ktrace.errors import KtraceError
from ktrace.pytest_plugin.recorded import Recorded

ATTACH_SECONDS = 10.0
STOP_SECONDS = 10.0


class Recorder:
    """What the fixture gives: call it with a command, or `attach` to processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        timeout: float | None = 60.0,
        check: bool = True,
        **options: Any,
    ) -> Recorded:
        """Run a command to its end under strace and return the report.

        `timeout` is in seconds; `options` go to subprocess (cwd, env, ...).  With `check` a command
        that fails raises CalledProcessError.
        """
        words = [os.fspath(word) for word in command]
        recording.check_command(words)
        log = self._new_log()
        line = recording.command_line(recording.find_strace(), str(log), [], words)
        status = _run(line, timeout, options)
        if check and status:
            raise subprocess.CalledProcessError(status, words)
        return _read(log, status)

    @contextlib.contextmanager
    def attach(self, *pids: int) -> Iterator["Recording"]:
        """Trace running processes, all their threads and children, until the block ends."""
        recording.check_pids(pids)
        log = self._new_log()
        line = recording.command_line(recording.find_strace(), str(log), pids, [])
        result = Recording()
        with subprocess.Popen(line) as strace:
            try:
                _wait_until_attached(strace, pids)
                yield result
            finally:
                _stop(strace)
        result.set(_read(log, None))

    def _new_log(self) -> Path:
        self._count += 1
        return self._folder / f"ktrace-{self._count}.strace"


class Recording:
    """A recording that goes on; its report is there when the block has ended."""

    def __init__(self) -> None:
        self._report: Recorded | None = None

    def set(self, report: Recorded) -> None:
        self._report = report

    @property
    def report(self) -> Recorded:
        if self._report is None:
            raise RuntimeError("the recording goes on; read its report after the `with` block")
        return self._report


def _read(log: Path, status: int | None) -> Recorded:
    return Recorded(analyse([str(log)], Options(keep="all")), log, status)


def _run(line: list[str], timeout: float | None, options: dict[str, Any]) -> int:
    """Run strace and its program in a group of their own, which a timeout ends as a whole."""
    child = subprocess.Popen(line, start_new_session=True, **options)
    try:
        return child.wait(timeout)
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise


def _wait_until_attached(strace: "subprocess.Popen[bytes]", pids: Sequence[int]) -> None:
    """Return when strace traces every thread; what the program did before is not in the log."""
    deadline = time.monotonic() + ATTACH_SECONDS
    while not all(_traced_by(pid, strace.pid) for pid in pids):
        if strace.poll() is not None or time.monotonic() > deadline:
            raise KtraceError(
                "not-attached",
                f"strace could not attach to {', '.join(map(str, pids))}",
                "its own message is above; another user's process needs root or CAP_SYS_PTRACE",
            )
        time.sleep(0.01)


def _traced_by(pid: int, tracer: int) -> bool:
    try:
        states = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    except OSError:
        return False  # a thread ended meanwhile
    return bool(states) and all(f"TracerPid:\t{tracer}\n" in state for state in states)


def _stop(strace: "subprocess.Popen[bytes]") -> None:
    """Let strace detach and write out its log."""
    if strace.poll() is None:
        strace.send_signal(signal.SIGINT)
    try:
        strace.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        strace.kill()
