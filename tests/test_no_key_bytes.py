"""A log with marked key bytes goes through everything, and none of them comes out anywhere."""

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrace.cli import main
from ktrace.cli.output import FILES, FORMATS
from ktrace.rules import RULES
from tests.marked import MARK, RUN, crypto_info, left, octets
from tests.test_cli_parse import KTRACE, ROOT

HEAD = "674 17000000{:02}.000001 "
CALLS = [
    "socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 5",
    'connect(5, {{sa_family=AF_INET, sin_port=htons(4043), sin_addr=inet_addr("10.1.0.3")}}, 16)'
    " = -1 EINPROGRESS (Operation now in progress)",
    "setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4) = -1 ENOTCONN (Transport endpoint)",
    "epoll_wait(4, [{{events=EPOLLOUT, data={{u32=5, u64=5}}}}], 64, 1000) = 1",
    "setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4) = 0",
    "setsockopt(5, SOL_TLS, TLS_TX, {octal}, 40) = 0",
    "setsockopt(5, SOL_TLS, TLS_RX, {hexed}, 40) = -1 EINVAL (Invalid argument)",
    "setsockopt(5, SOL_TLS, TLS_RX, {octal}..., 40 <unfinished ...>",
    "<... setsockopt resumed>) = -1 EBUSY (Device or resource busy)",
    "setsockopt(6, 0x11a /* SOL_?? */, 1, {octal}..., 40) = -1 ENOPROTOOPT (Protocol)",
    "getsockopt(5, SOL_TLS, TLS_TX, {octal}, [40]) = 0",
    "close(5) = 0",
]
# Forms that the reader mends, misreads or refuses: its messages must not quote them.
BROKEN = [
    "setsockopt(5, SOL_TLS, TLS_TX, {octal}",
    "setsockopt(5, SOL_TLS, {octal}, 40) = 0",
    "setsockopt({octal}, SOL_TLS, TLS_TX, 40) = 0",
    "setsockopt(5, SOL_TCP, TCP_ULP, {octal}, 40) = -1 ENOENT (x)",
    "setsockopt(5, SOL_TCP, {octal}, TLS_TX, 40) = 0",
    "setsockopt(5, {octal}, TLS_TX, 1, 40) = 0",
    "setsockopt(5, SOL_TLS, TLS_TX, {octal}, {octal}) = {octal}",
    "TLS_TX, {octal}, 40) = 0",
    "{octal}, 40) = 0",
    "connect(5, {octal}, 16) = 0",
    "socket({octal}, {octal}, {octal}) = 5",
    "epoll_ctl(4, {octal}, 5, {octal}) = 0",
    "{bare}(5) = 0",
    "setsockopt(5, SOL_TLS, {bare}, [1], 4) = 0",
    "setsockopt(5, {bare}, TCP_ULP, [7564404], 4) = -1 {bare} (x)",
]


def log_of(calls: list[str]) -> str:
    bare = octets(MARK[:30])
    return "".join(
        HEAD.format(index)
        + call.format(octal=crypto_info(), hexed=crypto_info(True), bare=bare)
        + "\n"
        for index, call in enumerate(calls)
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KTRACE_DEBUG", raising=False)
    (tmp_path / "log").write_text(log_of(CALLS))
    (tmp_path / "broken").write_text(log_of([*CALLS, *BROKEN, *CALLS]))
    (tmp_path / "wrapped").write_text(
        "".join(f"> {line[i : i + 60]}\n" for line in log_of(CALLS).splitlines()
                for i in range(0, len(line), 60))
    )  # fmt: skip
    (tmp_path / "no-trace").write_text("".join(octets(MARK) + "\n" for _ in range(30)))
    (tmp_path / "log.gz").write_bytes(gzip.compress(log_of(CALLS).encode()))
    return tmp_path


INPUTS = ("log", "broken", "wrapped", "no-trace", "log.gz")


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file that a command made, unpacked where it is packed."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in INPUTS:
            data = path.read_bytes()
            yield path.name, gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    yield from ((name, archive.read(name)) for name in archive.namelist())


def assert_clean(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = capfd.readouterr()
    assert left(out.encode()) == []
    assert left(err.encode()) == []
    for name, data in contents(folder):
        assert left(data) == [], name


def test_the_logs_hold_what_is_looked_for(folder: Path) -> None:
    for name in ("log", "broken", "wrapped", "no-trace"):
        assert len(left((folder / name).read_bytes())) > 20, name
    assert left(MARK[3 : 3 + RUN]) and left(MARK.hex(" ").encode()) and not left(b"Xz7Qz7")


@pytest.mark.parametrize("log", INPUTS)
@pytest.mark.parametrize("form", [*FORMATS, "--connection", "files"])
def test_parse_shows_no_key_byte(
    folder: Path, capfd: pytest.CaptureFixture[str], log: str, form: str
) -> None:
    args = {"--connection": ["--connection", "c1"]}.get(form, ["--format", form])
    if form == "files":
        args = [word for name in FILES for word in (f"--{name}", f"out.{name}")]
    status = main(["parse", log, *args])
    assert status == (2 if log == "no-trace" else 0)
    if form == "files" and status == 0:
        assert {path.name for path in folder.glob("out.*")} == {f"out.{name}" for name in FILES}
    assert_clean(folder, capfd)


@pytest.mark.parametrize("log", INPUTS)
def test_check_shows_no_key_byte(folder: Path, capfd: pytest.CaptureFixture[str], log: str) -> None:
    files = ("junit", "sarif", "markdown", "json", "html", "update-baseline")
    outputs = [word for name in files for word in (f"--{name}", f"out.{name}")]
    main(["check", log, "--github", *outputs])
    assert_clean(folder, capfd)
    main(["check", log, "--baseline", "log", "--max-raced", "0", "--json", "again.json"])
    assert_clean(folder, capfd)


@pytest.mark.parametrize("log", INPUTS)
def test_scrub_leaves_no_key_byte(
    folder: Path, capfd: pytest.CaptureFixture[str], log: str
) -> None:
    """Or refuses: where key bytes stand in other calls, only --payload could know them."""
    status = main(["scrub", log, "-o", "clean.gz", "--payload", "--addresses"])
    assert status == (2 if log in ("no-trace", "broken") else 0)
    assert_clean(folder, capfd)


@pytest.mark.parametrize("call", BROKEN)
def test_a_broken_call_alone_leaves_no_key_byte(
    folder: Path, capfd: pytest.CaptureFixture[str], call: str
) -> None:
    (folder / "log").write_text(log_of([*CALLS, call]))
    main(["parse", "log", "--html", "out.html", "--json", "out.json"])
    main(["check", "log"])
    main(["explain", "KT904"])
    assert_clean(folder, capfd)


def test_explain_shows_no_key_byte(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for rule in RULES:
        assert main(["explain", rule.code]) == 0
    assert_clean(folder, capfd)


def test_an_internal_error_quotes_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not where an exception's own words hold the text of a call."""
    from ktrace.sources.strace import reader

    def fail(text: str) -> list[str]:
        raise ValueError(f"cannot read {text}")

    monkeypatch.setattr(reader, "split_args", fail)
    (folder / "log").write_text(log_of([*CALLS, BROKEN[4]]))
    assert main(["parse", "log"]) == 2
    out, err = capfd.readouterr()
    assert "internal error: ValueError" in err
    assert left((out + err).encode()) == []


PROGRAM = f"""
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
for level, option, value in ((6, 31, b"tls"), (282, 1, b"\\3\\3\\x33\\0" + {MARK[:36]!r})):
    try:
        client.setsockopt(level, option, value)
    except OSError:
        pass
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_record_writes_no_key_byte(folder: Path) -> None:
    """What strace itself writes with its defaults, and what ktrace lets it write."""
    (folder / "program").write_text(PROGRAM)
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    line = ["record", "-o", "recorded", "--", sys.executable, "program"]
    subprocess.run([*KTRACE, *line], cwd=folder, env=environ, check=True, capture_output=True)
    recorded = (folder / "recorded").read_bytes()
    assert b"SOL_TLS, TLS_TX" in recorded and left(recorded) == []
    plain = ["strace", "-f", "-s", "64", "-o", "log", sys.executable, "program"]
    subprocess.run(plain, cwd=folder, check=True, capture_output=True)
    assert left((folder / "log").read_bytes()) != []
    scrub = ["scrub", "log", "-o", "clean"]
    subprocess.run([*KTRACE, *scrub], cwd=folder, env=environ, check=True, capture_output=True)
    keys = [row for row in (folder / "clean").read_bytes().splitlines() if b"SOL_TLS" in row]
    assert keys and all(left(row) == [] for row in keys)
