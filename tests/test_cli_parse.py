"""`ktrace parse`: what it prints, what it writes, and what it refuses."""

import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from ktrace.cli import main
from ktrace.cli.output import FILES, FORMATS

ROOT = Path(__file__).resolve().parent.parent
KTRACE = [sys.executable, "-c", "import sys; from ktrace.cli import main; sys.exit(main())"]
RACED = "tests/fixtures/haproxy-before-delayed/trace"
CLEAN = "tests/fixtures/haproxy-after-delayed/trace"


class Done(NamedTuple):
    """What a run in this process left: it spares each test the import of pandas."""

    returncode: int
    stdout: str
    stderr: str


def run(*args: str, encoding: str = "utf-8") -> Done:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        status = main(["parse", *args])
    for stream in streams:
        stream.seek(0)
    return Done(status, streams[0].read(), streams[1].read())


def output(*args: str, encoding: str = "utf-8") -> str:
    done = run(*args, encoding=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_text_has_summary_findings_and_a_last_line() -> None:
    text = output(RACED)
    assert "error[KT101]" in text
    assert text.splitlines()[-1].startswith("ktrace: 5 of 5 kTLS connections fell back")
    assert "\x1b" not in text


def test_a_finding_does_not_change_the_exit_status() -> None:
    assert run(RACED).returncode == run(CLEAN).returncode == 0


def test_json_and_file_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    printed = output(RACED, "--format", "json", "--json", str(file))
    assert file.read_text() == printed
    report = json.loads(printed)
    assert report["schema"] == "ktrace.report/1"
    assert report["summary"]["raced"] == 5


def test_every_file_format_is_written(tmp_path: Path) -> None:
    files = {name: tmp_path / f"out.{name}" for name in FILES}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    output(RACED, *options)
    assert {name for name, path in files.items() if path.stat().st_size == 0} == set()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"out.{n}" for n in FILES)


def test_ndjson_has_the_connections_of_the_json() -> None:
    lines = [json.loads(line) for line in output(RACED, "--format", "ndjson").splitlines()]
    listed = json.loads(output(RACED, "--format", "json"))["connections"]
    assert sorted(lines, key=lambda line: int(line["id"][1:])) == listed


def test_csv_has_one_row_a_connection() -> None:
    header, *rows = output(RACED, "--format", "csv").splitlines()
    assert header.startswith("id,")
    assert len(rows) == len(json.loads(output(RACED, "--format", "json"))["connections"])


@pytest.mark.parametrize("form", ["json", "csv", "ndjson"])
def test_only_ktls_shortens_the_list(form: str) -> None:
    whole, part = (output(RACED, "--format", form, *more) for more in ((), ("--only-ktls",)))
    count = part.count('"id":') if form != "csv" else len(part.splitlines()) - 1
    assert count == 5
    assert len(part) < len(whole)


def test_only_ktls_changes_no_count() -> None:
    whole, part = (
        json.loads(output(RACED, "--format", "json", *more)) for more in ((), ("--only-ktls",))
    )
    assert part["summary"] == whole["summary"]
    assert [c["id"] for c in part["connections"]] == [
        c["id"] for c in whole["connections"] if c["ulp"]
    ]


def test_one_connection() -> None:
    assert "c3" in output(RACED, "--connection", "c3").splitlines()[0]
    for form in ("json", "ndjson"):
        shown = json.loads(output(RACED, "--connection", "c3", "--format", form))
        assert (shown["id"], shown["ordering"]) == ("c3", "raced")
    rows = output(RACED, "--connection", "c3", "--format", "csv").splitlines()
    assert [row.split(",")[0] for row in rows] == ["id", "c3"]


def test_a_connection_that_is_not_there() -> None:
    done = run(RACED, "--connection", "c999")
    assert (done.returncode, done.stdout) == (2, "")
    assert "c999" in done.stderr
    assert run(RACED, "--connection", "3").returncode == 2


def test_standard_input() -> None:
    done = subprocess.run(
        [*KTRACE, "parse", "-"], input=(ROOT / RACED).read_bytes(), capture_output=True, check=True
    )
    assert done.stdout.decode().splitlines()[1:] == [
        line.replace(RACED, "-") for line in output(RACED).splitlines()[1:]
    ]


def test_ndjson_prints_a_connection_when_it_ends() -> None:
    """The first record must come out of the pipe while the log is still being written."""
    process = subprocess.Popen(
        [*KTRACE, "parse", "-", "--format", "ndjson"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    stdin, seen = process.stdin, threading.Event()

    def feed() -> None:
        with stdin:
            stdin.write((ROOT / RACED).read_bytes() * 5)
            stdin.flush()
            seen.wait(60)

    threading.Thread(target=feed, daemon=True).start()
    with process:
        first = json.loads(process.stdout.readline())
        assert process.poll() is None  # its standard input is still open
        seen.set()
        process.stdout.read()
    assert first["id"].startswith("c")


def test_a_pipe_that_trickles_without_a_pause_is_not_waited_for() -> None:
    """A live strace writes a line every few milliseconds: a block of them would take minutes."""
    command = [*KTRACE, "parse", "-", "--format", "ndjson"]
    seen, given_up = threading.Event(), threading.Event()
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1) as process:
        assert process.stdin is not None and process.stdout is not None
        stdin = process.stdin

        def feed() -> None:
            with stdin:
                stdin.write((ROOT / RACED).read_bytes())
                for _ in range(5_000):
                    stdin.write(b"7 1795299745.433677 getpid() = 7\n")
                    stdin.flush()
                    if seen.wait(0.004):
                        return
            given_up.set()

        threading.Thread(target=feed, daemon=True).start()
        assert json.loads(process.stdout.readline())["id"].startswith("c")
        seen.set()
        assert not given_up.is_set()
        process.stdout.read()


@pytest.mark.parametrize("form", FORMATS)
def test_jobs_change_nothing(form: str) -> None:
    assert output(RACED, "--format", form, "--jobs", "2") == output(RACED, "--format", form)


def test_a_log_is_not_overwritten(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes((ROOT / RACED).read_bytes())
    link = tmp_path / "link"
    link.symlink_to(log)
    for target in (log, link):
        done = run(str(log), "--json", str(target))
        assert done.returncode == 2
        assert "would overwrite the log itself" in done.stderr
    assert log.read_bytes() == (ROOT / RACED).read_bytes()


def test_two_outputs_need_two_names(tmp_path: Path) -> None:
    both = str(tmp_path / "out")
    done = run(RACED, "--json", both, "--csv", both)
    assert done.returncode == 2
    assert "another output" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "report.json"
    old.write_text("old")
    assert run("no-such-log", "--json", str(old)).returncode == 2
    assert old.read_text() == "old"


def test_a_terminal_that_knows_only_ascii() -> None:
    text = output(RACED, encoding="ascii")
    assert text.isascii()
    assert "KT101" in text


def test_a_file_name_that_is_no_utf8(tmp_path: Path) -> None:
    log = os.fsencode(tmp_path) + b"/log-\xff"
    with open(log, "wb") as file:
        file.write((ROOT / RACED).read_bytes())
    for form in FORMATS:
        assert output(os.fsdecode(log), "--format", form)


def on_terminal(*args: str, **environment: str) -> str:
    """Run ktrace with a terminal as its output, progress at once, and return what it shows."""
    eager = (
        "import sys; from ktrace.cli import main, progress\n"
        "progress.FIRST_AFTER = progress.INTERVAL = 0\n"
        "sys.exit(main())"
    )
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", eager, "parse", *args],
        env=os.environ | {"TERM": "xterm", "NO_COLOR": ""} | environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    while chunk := read_terminal(master):
        shown += chunk
    os.close(master)
    assert process.wait(timeout=60) == 0
    return shown.decode()


def read_terminal(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # Linux says EIO when the other side is gone
        return b""


def test_colour_is_for_terminals_that_want_it() -> None:
    colour = "\x1b[1m"
    assert colour in on_terminal(RACED)
    assert colour not in on_terminal(RACED, NO_COLOR="1")
    assert colour not in on_terminal(RACED, TERM="dumb")


def test_long_work_shows_progress_and_wipes_it(tmp_path: Path) -> None:
    long = tmp_path / "long.log"
    long.write_bytes((ROOT / RACED).read_bytes() * 10)
    shown = on_terminal(str(long))
    assert re.search(r"\rreading \[[#.]+\] +\d+%  [\d.]+ [kM]B of 2\.3 MB\x1b\[K", shown)
    assert re.search(r"100%[^\r]*\r\x1b\[K", shown)


def test_ndjson_on_a_terminal_has_no_progress_between_its_lines() -> None:
    assert "reading" not in on_terminal(RACED, "--format", "ndjson")
