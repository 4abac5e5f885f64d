"""Run `ktrace live` as a user does, and read what it says."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ktrace.findings import Report

MAIN = "import sys; from ktrace.cli import main; sys.exit(main())"
KTRACE = (sys.executable, "-c", MAIN)
LIMIT_S = 120


@dataclass(frozen=True)
class Captured:
    report: Report
    program_said: str
    ktrace_said: str
    status: int


def ktrace(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*KTRACE, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def capture(
    folder: Path, options: Sequence[str], command: Sequence[str], before: str = ""
) -> Captured:
    """Capture a command; what it prints goes to a file of its own.

    `before` is Python to run in ktrace's process first.
    """
    target, said = folder / "report.json", folder / "said"
    quiet = ["/bin/sh", "-c", 'exec "$0" "$@" >"$SAID"', *command]
    words = ["live", "--format", "json", "--json", str(target), *options, "--", *quiet]
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{MAIN}", *words],
        env={**os.environ, "SAID": str(said)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert target.is_file(), done.stderr
    report = msgspec.json.decode(target.read_bytes(), type=Report)
    return Captured(report, said.read_text(), done.stderr, done.returncode)


def parse(path: Path) -> Report:
    done = ktrace("parse", "--format", "json", str(path))
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=Report)
