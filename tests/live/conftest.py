"""The live suite needs root and BPF; where CI lacks them it fails, elsewhere it is skipped."""

import os
import subprocess
from pathlib import Path

import pytest

from ktrace.errors import KtraceError
from ktrace.sources.live import backends
from tests.programs import runner

HERE = Path(__file__).resolve().parent


def why_not() -> str | None:
    """Return why nothing can be captured here."""
    if os.geteuid() != 0:
        return "live capture needs root"
    try:
        for backend in backends.LOADERS:
            backends.LOADERS[backend](1 << 16).close()
    except KtraceError as error:
        return error.message
    return None


def need(reason: str | None) -> None:
    """Skip for a reason, but never in CI."""
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"{reason}: CI does not allow this to be skipped")
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def able() -> None:
    need(why_not())


@pytest.fixture(scope="session")
def act(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that makes calls in a chosen order and writes its account."""
    return runner.build(tmp_path_factory.mktemp("act"))


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that makes many connections."""
    program = tmp_path_factory.mktemp("load") / "load"
    source = str(HERE / "load.c")
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread"]
    subprocess.run(["gcc", *flags, "-o", str(program), source], check=True)
    return program
