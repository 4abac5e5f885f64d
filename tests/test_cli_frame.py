"""The frame of the command line: help, versions, errors in two lines, quiet ends."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

import ktrace
from ktrace.cli import commands, failures, main
from ktrace.errors import KtraceError

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "tests/fixtures/haproxy-before-delayed/trace"
KTRACE = [sys.executable, "-c", "import sys; from ktrace.cli import main; sys.exit(main())"]


def run(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KTRACE, *args],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_every_command_and_both_spellings_agree() -> None:
    long, short = run("--help"), run("-h")
    assert long.returncode == short.returncode == 0
    assert long.stdout == short.stdout
    for name in commands.available():
        assert f"\n  {name} " in long.stdout


def test_version() -> None:
    assert run("--version").stdout == f"ktrace {ktrace.__version__}\n"


def test_every_listed_command_has_help() -> None:
    for name in commands.available():
        done = run(name, "-h")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: ktrace {name}")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ktrace.cli import main; main(['--help'])\n"
        "heavy = {'pandas', 'numpy', 'scipy', 'jinja2', 'msgspec', 'zstandard', 'bcc', 'pyarrow'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_missing_module_is_a_command_that_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    ghost = commands.Entry("ghost", "ktrace.cli.no_such_module", "Not here.")
    monkeypatch.setattr(commands, "COMMANDS", (*commands.COMMANDS, ghost))
    assert "ghost" not in commands.available()
    assert commands.group.get_command(click.Context(commands.group), "ghost") is None


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("no-such-command",),
        ("--no-such-option",),
        ("parse",),
        ("parse", "--no-such-option", str(LOG)),
        ("parse", "--format", "no-such-format", str(LOG)),
        ("parse", "--jobs", "0", str(LOG)),
        ("parse", "no-such-file"),
        ("parse", "tests"),
        ("parse", "README.md"),
        ("parse", "/dev/null"),
        ("parse", str(LOG), "--json", "no/such/folder/out.json"),
        ("parse", str(LOG), "--json", "/dev/full"),
        ("parse", str(LOG), "--connection", "c999"),
        ("explain", "KT000"),
    ],
)
def test_what_cannot_be_done_is_said_in_two_lines(args: tuple[str, ...]) -> None:
    done = run(*args)
    first, second, *rest = done.stderr.splitlines()
    assert (done.returncode, done.stdout, rest) == (2, "", [])
    assert first.startswith("ktrace: ")
    assert second.startswith("help: ")
    assert len(first) > len("ktrace: ") and len(second) > len("help: ")


def test_control_characters_of_a_file_name_are_escaped(tmp_path: Path) -> None:
    done = run("parse", str(tmp_path / "bad\x1b[31m\nname"))
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(LOG.read_bytes())
    log.chmod(0)
    assert "Permission denied" in run("parse", str(log)).stderr


def test_a_full_disk_is_said() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*KTRACE, "--help"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["ktrace", "help"]
    assert "No space left on device" in done.stderr


def test_a_closed_pipe_ends_quietly() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [*KTRACE, "parse", str(LOG)],
        cwd=ROOT,
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (failures.PIPE_CLOSED, b"")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_quietly(jobs: str) -> None:
    """As on a terminal, every process of the command gets the signal."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [*KTRACE, "parse", "-", "--jobs", jobs],
        cwd=ROOT,
        stdin=read_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a background job of a shell ignores it, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(read_end)
    with open(write_end, "wb") as log:
        log.write(LOG.read_bytes() * 5)
        log.flush()
        wait_until_it_reads(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=20)
    assert (process.returncode, *said) == (failures.INTERRUPTED, "", "")


def wait_until_it_reads(pid: int) -> None:
    """Wait until the process sleeps in read() of its standard input."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if re.match(r"\d+ 0x0 ", Path(f"/proc/{pid}/syscall").read_text()):
            return
        time.sleep(0.02)
    raise AssertionError("it never came to read its standard input")


def test_an_internal_error_shows_no_text_of_the_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: list[str]) -> int:
        raise ValueError("setsockopt(3, SOL_TLS, secret)")

    monkeypatch.setattr("ktrace.cli._run", fail)
    assert main([]) == 2
    said = capsys.readouterr().err
    assert "ValueError at test_cli_frame.py:" in said
    assert "KTRACE_DEBUG=1" in said
    assert "secret" not in said

    monkeypatch.setenv("KTRACE_DEBUG", "1")
    assert main([]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KtraceError("slug", "what", "how"), 2, "ktrace: what\nhelp: how\n"),
        (KtraceError("slug", "two\nlines \x1b", "how"), 2, "ktrace: two lines \\x1b\nhelp: how\n"),
        (OSError(errno.ENOSPC, "No space", "f"), 2, "ktrace: f: No space\nhelp: free some space"),
        (MemoryError(), 2, "ktrace: out of memory\nhelp: use --format ndjson"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_errors_and_their_exit_status(
    error: BaseException, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failures.tell(error) == status
    said = capsys.readouterr().err
    assert said.startswith(words) and bool(said) == bool(words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    done = run(_KTRACE_COMPLETE=f"{shell}_source")
    assert done.returncode == 0
    assert "_KTRACE_COMPLETE" in done.stdout


def test_completion_knows_the_commands_and_options() -> None:
    words = {"COMP_WORDS": "ktrace pa", "COMP_CWORD": "1", "_KTRACE_COMPLETE": "bash_complete"}
    assert run(**words).stdout.split(",") == ["plain", "parse\n"]
    words = {"COMP_WORDS": "ktrace parse --perf", "COMP_CWORD": "2"}
    done = run(**words, _KTRACE_COMPLETE="bash_complete")
    assert done.stdout == "plain,--perfetto\n"
