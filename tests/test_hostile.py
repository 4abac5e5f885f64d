"""Input that means harm: a right result or a one-line error, in bounded memory, in linear time.

The processor time of a child is limited to many times what a linear path needs; a quadratic one
needs many times the limit.
"""

import functools
import gzip
import io
import lzma
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ktrace.sources.strace import files
from tests.hostile import MAKERS
from tests.test_cli_parse import CLEAN, KTRACE, ROOT

GB = 1 << 30
COMMANDS = (["parse", "{}", "--json", "out"], ["scrub", "{}", "-o", "out"])
LINE = b"674 setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4) = 0\n"


def limited(
    args: list[str], cpu: int, memory: int = GB, file: int | None = None, **more: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with limits on processor time (seconds), memory and file size (bytes)."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        if file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file, file))

    environ = {name: value for name, value in os.environ.items() if name != "KTRACE_DEBUG"}
    environ |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        args, capture_output=True, check=False, preexec_fn=limit, env=environ, **more
    )


def assert_refused(done: subprocess.CompletedProcess[bytes], folder: Path) -> None:
    """One line says what is wrong, one what to do; no half file is left."""
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 2, done
    assert [line.partition(":")[0] for line in lines] == ["ktrace", "help"], lines
    assert b"Traceback" not in done.stderr and b"internal error" not in done.stderr
    assert not [name for name in os.listdir(folder) if "out" in name or name.endswith(".tmp")]


def run(
    command: list[str], path: str, folder: Path, **more: Any
) -> subprocess.CompletedProcess[bytes]:
    return limited([*KTRACE, *(word.format(path) for word in command)], 30, cwd=folder, **more)


@pytest.mark.parametrize("how", ["parse", "scrub"])
def test_every_hostile_log_takes_linear_time(tmp_path: Path, how: str) -> None:
    done = limited([sys.executable, "-m", "tests.hostile", how, "200000", str(tmp_path)], 90)
    assert done.returncode == 0, (done.stdout[-200:], done.stderr[-2000:])
    assert done.stdout.count(b"\n") == len(MAKERS)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["parse", "scrub"])
def test_every_large_hostile_log_takes_linear_time(tmp_path: Path, how: str) -> None:
    done = limited([sys.executable, "-m", "tests.hostile", how, "8000000", str(tmp_path)], 1500)
    assert done.returncode == 0, (done.stdout[-200:], done.stderr[-2000:])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 4096, bytes(range(256)) * 64, b"\x7fELF" + b"\1" * 999, b"GIF89a" * 99],
    ids=["empty", "nul", "bytes", "elf", "gif"],
)
def test_no_log_is_refused(tmp_path: Path, command: list[str], data: bytes) -> None:
    (tmp_path / "log").write_bytes(data)
    assert_refused(run(command, "log", tmp_path), tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_directories_and_missing_files_are_refused(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("folder", "missing", "missing/log", "a\x1b[31mb", "x" * 300):
        done = run(command, name, tmp_path)
        assert_refused(done, tmp_path)
        assert b"\x1b" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_unreadable_files_are_refused(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "log").write_bytes(LINE)
    (tmp_path / "log").chmod(0)
    assert_refused(run(command, "log", tmp_path), tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_fifo_is_read_to_its_end(tmp_path: Path, command: list[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(LINE * 2000,))
    writer.start()
    done = run(command, "pipe", tmp_path)
    writer.join()
    assert (done.returncode, (tmp_path / "out").exists()) == (0, True)


def family(folder: Path, count: int) -> None:
    for tid in range(1000, 1000 + count):
        calls = ("socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3", "close(3) = 0")
        lines = (f"170000000{second}.{tid:06} {call}\n" for second, call in enumerate(calls))
        (folder / f"log.{tid}").write_text("".join(lines))


def limit_files(soft: int, hard: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_family_larger_than_the_limit_of_open_files(tmp_path: Path) -> None:
    """A program with many threads: as many files are read side by side."""
    family(tmp_path, 200)
    for hard, status in ((1024, 0), (64, 2)):
        done = subprocess.run(
            [*KTRACE, "parse", "log"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False,
            preexec_fn=functools.partial(limit_files, 64, hard),
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        if status:
            assert "Too many open files" in done.stderr and "ulimit" in done.stderr
            assert done.stderr.count("\n") == 2


def test_a_file_that_vanishes_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ktrace.cli import main

    log = tmp_path / "log"
    log.write_bytes(LINE)
    checked = files.check_readable

    def check_and_remove(entry: files.Input) -> None:
        checked(entry)
        log.unlink(missing_ok=True)

    monkeypatch.setattr(files, "check_readable", check_and_remove)
    for command in COMMANDS:
        log.write_bytes(LINE)
        args = [word.format(log) for word in command[:-1]] + [str(tmp_path / "out")]
        assert main(args) == 2
        assert capsys.readouterr().err.count("\n") == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_a_full_disk_leaves_no_half_file(tmp_path: Path, command: list[str]) -> None:
    """The limit on the size of a file stands for the disk: writing fails in the middle."""
    (tmp_path / "log").write_bytes((ROOT / CLEAN).read_bytes())
    done = run(command, "log", tmp_path, file=5000)
    assert_refused(done, tmp_path)


BOMB = 1500 << 20


def bomb(how: str) -> bytes:
    """Pack 1.5 GB of one byte."""
    piece = b"\0" * (1 << 20)
    packed = io.BytesIO()
    if how == "gz":
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
            for _ in range(BOMB >> 20):
                file.write(piece)
    elif how == "xz":
        with lzma.LZMAFile(packed, "wb", preset=0) as file:
            for _ in range(BOMB >> 20):
                file.write(piece)
    else:
        with zstandard.ZstdCompressor().stream_writer(packed, closefd=False) as writer:
            for _ in range(BOMB >> 20):
                writer.write(piece)
    return packed.getvalue()


@pytest.mark.parametrize("how", ["gz", "xz", "zst"])
def test_bombs_are_refused(tmp_path: Path, how: str) -> None:
    (tmp_path / "log").write_bytes(bomb(how))
    for command in COMMANDS:
        assert_refused(run(command, "log", tmp_path), tmp_path)


def test_an_xz_file_that_wants_much_memory_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20, "preset": 0}]
    packer = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=filters)
    (tmp_path / "log").write_bytes(packer.compress(LINE * 99) + packer.flush())
    assert_refused(run(COMMANDS[0], "log", tmp_path), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_one_line_of_a_gigabyte(tmp_path: Path, command: list[str]) -> None:
    with (tmp_path / "log").open("wb") as file:
        for _ in range(1024):
            file.write(b"x" * (1 << 20))
    assert_refused(run(command, "log", tmp_path), tmp_path)


@pytest.mark.slow
def test_a_million_unfinished_calls_and_descriptors(tmp_path: Path) -> None:
    for name in ("unfinished-calls", "many-fds", "many-threads"):
        line = len(MAKERS[name](100))
        (tmp_path / "log").write_bytes(MAKERS[name](max(line, 60) * 1_000_000))
        done = limited([*KTRACE, "parse", "log"], 300, cwd=tmp_path)
        assert done.returncode in (0, 2), done
        assert b"Traceback" not in done.stderr
