"""`ktrace record`: strace around a real program, absent but for the log."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ktrace import recording
from ktrace.cli import main
from ktrace.errors import KtraceError
from ktrace.events import FAMILIES
from tests.test_cli_parse import KTRACE, ROOT

ENVIRON = os.environ | {"PYTHONPATH": str(ROOT)}

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

SECRET = b"SESSIONKEYSESSIONKEYSESSIONKEYSESSIO"
PROGRAM = f"""
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
for level, option, value in ((6, 31, b"tls"), (282, 1, b"\\3\\3\\x33\\0" + {SECRET!r})):
    try:
        client.setsockopt(level, option, value)
    except OSError:
        pass
client.send({SECRET!r})
sys.exit(7)
"""
SLEEPER = "import time; print('up', flush=True); time.sleep(60)"


def ktrace(*args: str) -> list[str]:
    program = "import sys; from ktrace.cli import main; sys.exit(main())"
    return [sys.executable, "-c", program, *args]


def run(args: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)


def test_every_family_has_its_calls() -> None:
    assert set(recording.FAMILY_CALLS) == set(FAMILIES)
    assert len(set(recording.CALLS)) == len(recording.CALLS)


def test_an_attached_strace_gets_no_seccomp_filter() -> None:
    line = recording.command_line("strace", "|evil", [7, 8], [])
    assert line[-4:] == ["-p", "7", "-p", "8"]
    assert line[line.index("-o") + 1] == "./|evil"
    assert not {"--seccomp-bpf", "-y", "-yy"} & set(line)


@needs_strace
def test_the_log_has_the_calls_no_key_byte_and_the_exit_status(tmp_path: Path) -> None:
    log = tmp_path / "strace.log"
    done = run(ktrace("record", "-o", str(log), "--", sys.executable, "-c", PROGRAM))
    text = log.read_text()
    assert done.returncode == 7, done.stderr
    assert "TCP_ULP" in text and "TLS_TX" in text and r"\3\0033\0" in text
    assert "SESS" in text  # four bytes of what was sent are shown
    assert "SESSI" not in text and SECRET.decode() not in text


@needs_strace
def test_an_existing_log_stays_without_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "strace.log"
    log.write_text("precious")
    assert main(["record", "-o", str(log), "--", "true"]) == 2
    assert log.read_text() == "precious"
    assert capsys.readouterr().err.startswith(f"ktrace: {log} exists\nhelp: ")
    assert main(["record", "--force", "-o", str(log), "--", "true"]) == 0
    assert "execve" in log.read_text()


@needs_strace
def test_a_signal_reaches_the_program_and_its_death_is_told(tmp_path: Path) -> None:
    log = tmp_path / "strace.log"
    line = ktrace("record", "-o", str(log), "--", sys.executable, "-c", SLEEPER)
    child = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "up\n"
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 128 + signal.SIGTERM
    child.stdout.close()
    assert "killed by SIGTERM" in log.read_text()


@needs_strace
@pytest.mark.skipif(os.geteuid() != 0, reason="attaching needs root")
def test_attached_it_stops_when_told_and_leaves_the_program_alone(tmp_path: Path) -> None:
    log = tmp_path / "strace.log"
    program = "import os\nwhile os.read(0, 1): os.write(1, b'x')"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as traced:
        assert traced.stdin is not None and traced.stdout is not None
        recorder = subprocess.Popen(ktrace("record", "-o", str(log), "-p", str(traced.pid)))
        deadline = time.monotonic() + 30
        while "TracerPid:\t0" in Path(f"/proc/{traced.pid}/status").read_text():
            assert time.monotonic() < deadline
        for _ in range(2):  # the first read() may have begun before strace was there
            traced.stdin.write(b"a")
            traced.stdin.flush()
            assert traced.stdout.read(1) == b"x"
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(30) == 0
        assert traced.poll() is None
        traced.stdin.close()
    assert "read(0" in log.read_text()


def test_what_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    log = tmp_path / "strace.log"
    with pytest.raises(KtraceError, match="no such program"):
        recording.check_command(["no-such-program-at-all"])
    with pytest.raises(KtraceError, match="no process"):
        recording.check_pids([2**22 + 1])
    assert main(["record", "-o", str(log)]) == 2
    assert not log.exists()


def test_a_log_that_strace_could_not_finish_is_no_success(tmp_path: Path) -> None:
    """A full disk: strace complains, goes on, and exits as the program does."""
    fake = tmp_path / "strace"
    fake.write_text("""#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" = -o ] && printf '7 close(3) = 0\\n7 clo' > "$2"; shift; done
""")
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [*KTRACE, "record", "-o", "log", "--", "true"],
        cwd=tmp_path, env=ENVIRON | {"PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "ends in the middle of a line" in done.stderr


def test_a_device_is_never_removed(tmp_path: Path) -> None:
    """Nothing is recorded into /dev/null, and it is no empty log."""
    os.mkfifo(tmp_path / "pipe")
    with open(os.open(tmp_path / "pipe", os.O_RDWR), "rb"):
        line = [*KTRACE, "record", "-o", "pipe", "--force", "--", "true"]
        done = subprocess.run(
            line, cwd=tmp_path, env=ENVIRON, capture_output=True, text=True, check=False
        )
    assert (done.returncode, (tmp_path / "pipe").is_fifo()) == (0, True), done.stderr
