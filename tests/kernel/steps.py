"""Runs the programs that build a guest, with one log."""

import os
import subprocess
import sys
from pathlib import Path

TOLD = 3000  # characters of the log that a failure shows


class NotBuilt(Exception):
    """A guest cannot be built here; says why."""


class Steps:
    def __init__(self, log: Path) -> None:
        self.log = log
        self._env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}

    def do(self, *words: str | Path) -> None:
        """Run a program that must succeed; its output goes to the log."""
        line = " ".join(map(str, words))
        print(f"guest: {line[:110]}", file=sys.stderr, flush=True)
        with self.log.open("ab") as log:
            log.write(f"+ {line}\n".encode())
            log.flush()
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                check=False,
            )
        if done.returncode:
            raise NotBuilt(f"{words[0]} ended with {done.returncode}:\n{self._last()}")

    def ask(self, *words: str | Path) -> str:
        """Run a program that must succeed and return what it prints."""
        with self.log.open("ab") as log:
            done = subprocess.run(
                words, stdout=subprocess.PIPE, stderr=log, env=self._env, text=True, check=False
            )
        if done.returncode:
            raise NotBuilt(f"{words[0]} ended with {done.returncode}:\n{self._last()}")
        return done.stdout

    def _last(self) -> str:
        return self.log.read_text(errors="replace")[-TOLD:]
