"""Builds the program `act`, runs it under strace, and reads its account."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.programs.oracle import Fact

HERE = Path(__file__).resolve().parent
LIMIT_S = 120


@dataclass(frozen=True)
class Done:
    """A socket of the account, in the order of opening."""

    script: str
    family: str
    pid: int
    tid: int
    fd: int
    peer: str | None
    peer_shown: bool
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Run:
    """`logs` are what strace wrote; `skipped` says which parts this kernel cannot do."""

    logs: tuple[Path, ...]
    done: tuple[Done, ...]
    skipped: tuple[str, ...]


def build(folder: Path) -> Path:
    """Compile the program into `folder`."""
    program = folder / "act"
    sources = sorted(str(p) for p in HERE.glob("*.c"))
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread"]
    subprocess.run(["gcc", *flags, "-o", str(program), *sources], check=True)
    return program


def scripts(program: Path) -> dict[str, frozenset[str]]:
    """Return the names of all scripts with what each needs: fork, threads, time."""
    text = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout
    return {name: frozenset(needs) for name, *needs in (line.split() for line in text.splitlines())}


def why_no_strace() -> str | None:
    """Return why strace cannot trace here, None when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed (apt-get install strace)"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"strace cannot trace here: {tried.stderr.strip()}"


def trace(
    program: Path, folder: Path, options: Sequence[str], names: Sequence[str], to: str
) -> Run:
    """Run scripts under strace; `to` is "file", "family" (-ff) or "stderr"."""
    log, account = folder / "trace", folder / "account"
    target = [] if to == "stderr" else ["-o", str(log)]
    command = ["strace", *options, *target, str(program), str(account), *names]
    with (folder / "stderr").open("wb") as errors:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=errors, timeout=LIMIT_S, check=False
        )
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {_tail(folder / 'stderr')}")
    if to == "stderr":
        (folder / "stderr").rename(log)
    logs = tuple(sorted(folder.glob("trace.*"))) if to == "family" else (log,)
    _wait_for_end(logs)
    return Run(logs, *read_account(done.stdout))


def attach(program: Path, folder: Path, options: Sequence[str], names: Sequence[str]) -> Run:
    """Start the program, attach strace when it says so, let it go on, and wait for both."""
    log, account = folder / "trace", folder / "account"
    pipe = subprocess.PIPE
    with subprocess.Popen([program, account, *names], stdin=pipe, stdout=pipe) as acting:
        assert acting.stdin and acting.stdout
        assert acting.stdout.readline() == b"ready\n"
        command = ["strace", *options, "-o", str(log), "-p", str(acting.pid)]
        with subprocess.Popen(command, stderr=pipe) as tracer:
            assert tracer.stderr
            _wait_for_attach(tracer.stderr.fileno(), acting.pid)
            acting.stdin.write(b"go\n")
            acting.stdin.close()
            text = acting.stdout.read()
            acting.wait(LIMIT_S)
            tracer.wait(LIMIT_S)
    return Run((log,), *read_account(text))


def _wait_for_attach(fd: int, pid: int) -> None:
    """Read strace's messages until it says that it is attached to every thread."""
    os.set_blocking(fd, False)
    text, until = b"", time.monotonic() + LIMIT_S
    want = b"Process %d attached" % pid
    while want not in text:
        assert time.monotonic() < until, text
        time.sleep(0.02)
        text += os.read(fd, 65536) if _readable(fd) else b""
    time.sleep(0.2)


def _readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def _wait_for_end(logs: Sequence[Path]) -> None:
    """A tracer that runs apart (-D) may still be writing when the program is done."""
    sizes: list[int] = []
    for _ in range(100):
        now = [p.stat().st_size for p in logs]
        if now == sizes:
            return
        sizes = now
        time.sleep(0.05)


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-2000:]


def read_account(text: bytes) -> tuple[tuple[Done, ...], tuple[str, ...]]:
    """Return the sockets of an account, and what was skipped."""
    told = json.loads(text)
    return tuple(_done(c) for c in told["connections"]), tuple(told["skipped"])


def _done(told: dict[str, object]) -> Done:
    facts = told.pop("facts")
    assert isinstance(facts, list)
    listed = tuple(Fact(**f, begin=i, end=i) for i, f in enumerate(facts))
    return Done(**told, facts=listed)  # type: ignore[arg-type]
