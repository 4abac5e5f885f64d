"""How a capture begins and ends: targets, signals, exit status, what is left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from ktrace.findings import Report
from ktrace.sources.live import kernel
from tests.live.capturing import KTRACE, MAIN, capture, ktrace, parse

pytestmark = pytest.mark.live

# Connects each time a line comes in, with the ULP too early, and says when it is done.
PROGRAM = """
import os, socket, sys
server = socket.create_server(("127.0.0.1", 0), backlog=64)
def once():
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(server.getsockname())
    try:
        client.setsockopt(6, 31, b"tls")
    except OSError:
        pass
    client.close()
    server.accept()[0].close()
print("up", flush=True)
for line in sys.stdin:
    if line == "fork\\n":
        child = os.fork()
        if child == 0:
            once()
            os._exit(0)
        os.waitpid(child, 0)
    else:
        once()
    print("done", flush=True)
"""


@contextmanager
def program() -> Iterator["subprocess.Popen[str]"]:
    pipe = subprocess.PIPE
    line = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True, bufsize=1) as running:
        assert running.stdout is not None and running.stdin is not None
        assert running.stdout.readline() == "up\n"
        yield running
        running.stdin.close()


def tell(running: "subprocess.Popen[str]", word: str) -> None:
    assert running.stdout is not None and running.stdin is not None
    running.stdin.write(f"{word}\n")
    assert running.stdout.readline() == "done\n"


@contextmanager
def capturing(target: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Start `ktrace live` and wait until it says that it captures."""
    words = [*KTRACE, "live", "--format", "json", "--json", str(target), *options]
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stderr is not None
        assert run.stderr.readline().startswith("ktrace: capturing with ")
        yield run
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
        assert run.wait(30) in (0, -signal.SIGKILL)


def report_of(target: Path) -> Report:
    return msgspec.json.decode(target.read_bytes(), type=Report)


def programs_loaded() -> int:
    """Count the kernel's BPF programs."""
    count = after = 0
    while True:
        try:
            after = kernel.next_program(after)
        except OSError:
            return count
        count += 1


# Before it attaches, it has the program fork a child, which goes on when the capture has begun.
LATE_FORK = """
import os, signal, time
from ktrace.sources.live import probe
attach = probe.attach
def late(loaded):
    os.kill(TARGET, signal.SIGUSR1)
    while not os.path.exists(READY):
        time.sleep(0.01)
    return attach(loaded)
probe.attach = late
"""
FORKS = """
import os, signal, socket, sys, time
server = socket.create_server(("127.0.0.1", 0), backlog=64)
def fork(*ignored):
    if os.fork():
        return
    if os.fork():  # the one that connects is a child's child
        os.wait()
        os._exit(0)
    open(sys.argv[1], "w").close()
    time.sleep(2)
    client = socket.create_connection(server.getsockname())
    client.close()
    os._exit(0)
signal.signal(signal.SIGUSR1, fork)
print("up", flush=True)
while True:
    try:
        os.wait()
        break
    except ChildProcessError:
        signal.pause()
"""


@pytest.mark.parametrize("backend", ["libbpf", "bcc"])
def test_a_child_that_is_made_before_the_attach_is_taken(backend: str, tmp_path: Path) -> None:
    target, ready = tmp_path / "report.json", str(tmp_path / "ready")
    line = [sys.executable, "-c", FORKS, ready]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stdout.readline() == "up\n"
        hook = f"TARGET, READY = {running.pid}, {ready!r}\n{LATE_FORK}"
        words = ["live", "--backend", backend, "--json", str(target), "--pid", str(running.pid)]
        subprocess.run([sys.executable, "-c", f"{hook}\n{MAIN}", *words], timeout=60, check=True)
    clients = [c for c in report_of(target).connections if c.role == "client"]
    assert [c.pid != running.pid for c in clients] == [True]
    assert clients[0].fd >= 0 and clients[0].outcome == "none"


def test_a_running_process_and_only_that(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    with program() as wanted, program() as other:
        tell(wanted, "before")
        with capturing(target, "--pid", str(wanted.pid)):
            for _ in range(7):
                tell(wanted, "go")
                tell(other, "go")
        report = report_of(target)
    clients = [c for c in report.connections if c.role == "client"]
    assert len(clients) == 7
    assert {c.pid for c in report.connections} == {wanted.pid}
    assert {c.ordering for c in clients} == {"unordered"}


@pytest.mark.parametrize(("options", "children"), [((), 3), (("--no-follow",), 0)])
def test_children_are_followed_unless_told_not_to(
    options: tuple[str, ...], children: int, tmp_path: Path
) -> None:
    target = tmp_path / "report.json"
    with program() as wanted:
        with capturing(target, "--pid", str(wanted.pid), *options):
            for _ in range(3):
                tell(wanted, "fork")
            tell(wanted, "go")
        report = report_of(target)
    clients = [c for c in report.connections if c.role == "client"]
    assert len(clients) == 1 + children
    assert sum(c.pid != wanted.pid for c in clients) == children


def test_a_name_also_catches_what_starts_later(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    name = Path(sys.executable).resolve().name[:15]
    with program() as early:
        comm = Path(f"/proc/{early.pid}/comm").read_text().strip()
        assert name.startswith(comm) or comm
        with capturing(target, "--comm", comm):
            tell(early, "go")
            with program() as late:
                tell(late, "go")
        report = report_of(target)
    pids = {c.pid for c in report.connections if c.role == "client"}
    assert {early.pid, late.pid} <= pids


def test_sockets_from_before_are_marked_as_such(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    line = (
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "c = socket.create_connection(s.getsockname())\n"
        "print(c.getsockname()[1], flush=True); sys.stdin.readline()\n"
        "try: c.setsockopt(6, 31, b'tls')\n"
        "except OSError: pass\n"
        "print('done', flush=True); sys.stdin.readline()\n"
    )
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", line]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, bufsize=1) as running:
        assert running.stdout is not None and running.stdin is not None
        port = int(running.stdout.readline())
        with capturing(target, "--pid", str(running.pid)):
            tell(running, "go")
        running.stdin.close()
        report = report_of(target)
    found = [c for c in report.connections if c.local == f"127.0.0.1:{port}"]
    assert [(c.role, c.ordering) for c in found] == [("unknown", "unknown")]
    assert found[0].ulp[0].state == "ESTABLISHED" and found[0].ulp[0].basis == "observed"


def test_the_exit_status_of_a_command_is_passed_on(tmp_path: Path) -> None:
    assert capture(tmp_path, [], ["sh", "-c", "exit 7"]).status == 7
    assert capture(tmp_path, [], ["sh", "-c", "kill -9 $$"]).status == 128 + 9


def test_a_command_that_is_not_there_is_told_in_two_lines() -> None:
    done = ktrace("live", "--", "/no/such/program")
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()[-2:]] == ["ktrace", "help"]


def test_duration_ends_a_capture(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    with program() as wanted:
        done = ktrace("live", "--pid", str(wanted.pid), "--duration", "0.3", "--json", str(target))
    assert done.returncode == 0, done.stderr
    assert report_of(target).summary.attempted == 0


def test_it_ends_with_the_process(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    with program() as wanted:
        with capturing(target, "--pid", str(wanted.pid)) as run:
            tell(wanted, "go")
            assert wanted.stdin is not None
            wanted.stdin.close()
            assert run.wait(30) == 0
        assert report_of(target).summary.attempted == 1


def test_kill_leaves_a_readable_capture_and_nothing_attached(tmp_path: Path) -> None:
    file = tmp_path / "run.capture"
    before = programs_loaded()
    with program() as wanted:
        with capturing(
            tmp_path / "never.json", "--pid", str(wanted.pid), "--output", str(file)
        ) as run:
            tell(wanted, "go")
            assert programs_loaded() > before
            _wait_for_growth(file)
            os.kill(run.pid, signal.SIGKILL)
            run.wait(30)
        _wait_until(lambda: programs_loaded() <= before)
    report = parse(file)
    assert report.summary.attempted == 1
    assert any("no end" in warning for warning in report.trace.warnings)
    # cut in the middle of a frame it still opens
    file.write_bytes(file.read_bytes()[:-5])
    assert parse(file).trace.kind == "live"


def _wait_for_growth(file: Path) -> None:
    size = file.stat().st_size
    _wait_until(lambda: file.stat().st_size > size)


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_metrics_are_served_while_it_runs(tmp_path: Path) -> None:
    import urllib.request

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with program() as wanted:
        options = ("--pid", str(wanted.pid), "--metrics", address)
        with capturing(tmp_path / "report.json", *options):
            for _ in range(5):
                tell(wanted, "go")
            deadline = time.monotonic() + 30
            text = ""
            while 'outcome="fallback"' not in text:
                assert time.monotonic() < deadline, text
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
                    text = answer.read().decode()
    assert "ktrace_lost_events_total 0.0" in text
    assert 'ordering="unordered"' in text and 'role="client"' in text


def test_privileges_are_dropped_once_attached(tmp_path: Path) -> None:
    with program() as wanted, capturing(tmp_path / "r.json", "--pid", str(wanted.pid)) as run:
        status = Path(f"/proc/{run.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        left = int(fields["CapEff"], 16)
        assert left >> 39 & 1, "CAP_BPF reads the counters"
        assert not left >> 21 & 1, "CAP_SYS_ADMIN is not needed any more"
        assert int(fields["CapBnd"], 16) & ~left == 0
        assert fields["NoNewPrivs"] == "1"


def test_without_privilege_it_says_which_is_missing() -> None:
    words = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all"]
    line = [*words, *KTRACE, "live", "--pid", "1"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ktrace: live capture needs CAP_BPF and CAP_PERFMON\nhelp: ")


@pytest.mark.parametrize("backend", ["libbpf", "auto"])
def test_without_btf_the_other_loader_does_or_the_reason_is_told(backend: str) -> None:
    """BTF is hidden in a mount namespace of its own."""
    hidden = 'mount -t tmpfs tmpfs /sys/kernel/btf && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", hidden, "sh", *KTRACE]
    line = [*words, "live", "--backend", backend, "--", "true"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if backend == "libbpf":
        assert done.returncode == 2
        assert done.stderr.startswith("ktrace: this kernel does not describe its types")
    else:
        assert done.returncode == 0
        assert done.stderr.startswith("ktrace: capturing with bcc (not libbpf: this kernel does")
