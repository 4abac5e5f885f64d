"""Calls that come by another door, or are stopped at it: seen, or said not to be."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from ktrace.events import FAMILIES
from ktrace.sources.live import backends, hooks
from tests.live.capturing import Captured, capture
from tests.live.conftest import HERE, need

pytestmark = pytest.mark.live

ROUNDS = 3
OLDER = "from ktrace.sources.live import libbpf; libbpf.CASTS_SINCE = (99, 0)"  # its object
FOREIGN_ROUNDS = 7  # of foreign.c, with three calls in each that concern a connection
BACKENDS = tuple(backends.LOADERS)


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that calls through io_uring."""
    program = tmp_path_factory.mktemp("ring") / "ring"
    flags = ["-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", program, HERE / "ring.c"], check=True)
    done = subprocess.run([program, "all", "1"], capture_output=True, text=True, check=False)
    need(None if done.returncode == 0 else f"no io_uring here: {done.stderr.strip()}")
    return program


def _run(ring: Path, folder: Path, script: str, backend: str) -> Captured:
    command = [str(ring), script, str(ROUNDS)]
    done = capture(folder, ["--backend", backend], command)
    assert done.status == 0, done.ktrace_said
    assert done.report.trace.covered == tuple(FAMILIES)
    return done


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_of_a_program_with_a_ring_are_seen_once(
    ring: Path, tmp_path: Path, backend: str
) -> None:
    done = _run(ring, tmp_path, "calls", backend)
    clients = [c for c in done.report.connections if c.role == "client"]
    assert [(c.ordering, len(c.ulp)) for c in clients] == [("safe", 1)] * ROUNDS
    assert any("the program uses io_uring" in warning for warning in done.report.trace.warnings)


def test_what_goes_through_the_ring_is_seen_or_said_not_to_be(ring: Path, tmp_path: Path) -> None:
    done = _run(ring, tmp_path, "early", "libbpf")
    clients = [c for c in done.report.connections if c.role == "client"]
    blind = [warning for warning in done.report.trace.warnings if backends.BLIND in warning]
    if blind:
        assert not hooks.ways_in(), "the probe could have looked inside"
        # The kernel's own state changes tell of the connects; of the ULP nothing does.
        assert [c.outcome for c in clients] == ["unknown"] * (ROUNDS + 1)
        assert all(c.ordering is None for c in clients)
    else:
        tried = [c for c in clients if c.ulp]
        assert len(tried) == ROUNDS
        assert {(c.ulp[0].state, c.ulp[0].basis) for c in tried} == {("SYN_SENT", "observed")}
    assert all(c.peer is not None for c in clients)


def test_a_connect_through_the_ring_never_makes_an_attempt_safe(ring: Path, tmp_path: Path) -> None:
    """The answer lies in shared memory: whether the program looked is not to be seen."""
    done = _run(ring, tmp_path, "connect", "libbpf")
    tried = [c for c in done.report.connections if c.ulp]
    assert [(c.role, c.ordering) for c in tried] == [("client", "unknown")] * ROUNDS


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_of_a_32_bit_program_are_counted_as_lost(tmp_path: Path, backend: str) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("the program is written for x86")
    program = tmp_path / "foreign"
    flags = ["-m32", "-O1", "-nostdlib", "-static", "-ffreestanding", "-fno-pic", "-no-pie"]
    subprocess.run(["gcc", *flags, "-o", program, HERE / "foreign.c"], check=True)
    done = capture(tmp_path, ["--backend", backend], [str(program)])
    assert done.report.trace.lost_events == 3 * FOREIGN_ROUNDS
    assert not done.report.connections
    assert any("32-bit" in warning for warning in done.report.trace.warnings)
    assert "KT901" in {finding.code for finding in done.report.findings}


@pytest.mark.parametrize("backend", [*BACKENDS, "older"])
@pytest.mark.parametrize("action", ["errno", "trap", "kill", "allow"])
def test_a_call_that_a_seccomp_filter_refuses_is_seen(
    tmp_path: Path, action: str, backend: str
) -> None:
    """The kernel's tracepoint of the entry comes after the filter: there is only an exit."""
    tries = ["ulp"] if action == "kill" else ["other", "ulp", "tx"]
    program = [sys.executable, str(HERE / "refused.py"), action, *tries]
    before = OLDER if backend == "older" else ""
    options = ["--backend", "libbpf" if backend == "older" else backend]
    done = capture(tmp_path, options, program, before)
    (client,) = [c for c in done.report.connections if c.role == "client"]
    tried = [one.result for one in client.ulp] + [one.result for one in client.tx]
    assert client.ordering == "safe"
    assert not done.report.trace.lost_events
    if action == "errno":
        assert (client.outcome, tried) == ("fallback", ["EPERM", "EPERM"])
        assert {finding.code for finding in done.report.findings} == {"KT206"}
    elif action == "allow":
        assert len(tried) == 2
        assert not {None, "EPERM"}.intersection(tried)
    else:  # a signal in place of a result
        assert (client.outcome, set(tried)) == ("unknown", {None})


def test_a_thread_that_a_seccomp_filter_kills_in_a_call_is_seen(tmp_path: Path) -> None:
    """Others go on, and the kernel shows neither the entry nor the exit of its call."""
    program = [sys.executable, str(HERE / "refused.py"), "kill-thread", "ulp"]
    done = capture(tmp_path, ["--backend", "libbpf"], program)
    (client,) = [c for c in done.report.connections if c.role == "client"]
    assert (client.outcome, client.ordering) == ("unknown", "safe")
    assert [one.result for one in client.ulp] == [None]
