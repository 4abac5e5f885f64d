"""The examples of docs/ci.md work: each is taken from the page and used."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrace.check import policy
from ktrace.check.statistics import decided_with
from ktrace.check.trust import RULES as TRUST_RULES
from ktrace.cli import main
from ktrace.statistics import wilson
from tests.check_runs import CODES, check, fell_back, several
from tests.judged import safe

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")


def block(language: str, words: str) -> str:
    """Return the one code block of a language that holds some words."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if words in text]
    return found


@pytest.mark.parametrize(
    ("words", "schema"), [("runs-on:", "github-workflows"), ("stage: test", "gitlab-ci")]
)
def test_workflows_are_valid(words: str, schema: str, tmp_path: Path) -> None:
    file = tmp_path / "ci.yml"
    file.write_text(block("yaml", words))
    linter = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*linter, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_ktrace_command_of_the_page_is_one_that_exists() -> None:
    """Options in the examples are parsed by the command itself."""
    from ktrace.cli.check import command

    examples = re.findall(r"^.*?(ktrace check [^`#\n]*(?:\n {10}--[^\n]*)*)", PAGE, re.MULTILINE)
    calls = [text.split()[2:] for text in examples if "LOG..." not in text and ".strace" in text]
    assert len(calls) >= 4
    for call in calls:
        command.make_context("check", call, resilient_parsing=False).close()


def test_the_policy_of_the_page_is_read(tmp_path: Path) -> None:
    file = tmp_path / "ktrace.toml"
    file.write_text(block("toml", "[check]"))
    read = policy.load(str(file), policy.Limits(), CODES)
    assert all(getattr(read.limits, key) is not None for key in policy.Limits.__struct_fields__)
    assert read.peers and read.waivers


def test_the_numbers_of_the_page() -> None:
    assert "needs 381 to show a rate below 1 %, 73 for 5 % and 35 for\n10 %" in PAGE
    assert [decided_with(wilson(0, 0), limit) for limit in (0.01, 0.05, 0.1)] == [381, 73, 35]
    for number, name in enumerate(("passed", "failed", "not done", "inconclusive")):
        assert f"| {number} | {name}" in PAGE
    result = check(several((5, fell_back), (5, safe)), several((10, safe)))
    assert {rule.rule for rule in result.rules} >= set(TRUST_RULES)


def test_the_makefile_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(block("make", "check-ktls"))
    (tmp_path / "tests").mkdir()
    for name in ("haproxy", "tests/ktls.sh", "tests/ktls.cfg"):
        (tmp_path / name).touch()
    done = subprocess.run(
        ["make", "-n", "check-ktls"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "tests/ktls.sh build/ktls.strace\nktrace check build/ktls.strace" in done.stdout


def test_the_python_of_the_page_compiles() -> None:
    for text in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        compile(text, "docs/ci.md", "exec")


# The slow relay


@pytest.fixture
def server() -> Iterator[int]:
    """An echo server; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_echo, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def _echo(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_echo_one, args=(client,), daemon=True).start()


def _echo_one(client: socket.socket) -> None:
    with client:
        while data := client.recv(1000):
            client.sendall(data)


def free_ports(n: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture
def relay(server: int, tmp_path: Path) -> Iterator[int]:
    """The relay of the page, full for half a second; gives its port."""
    script = tmp_path / "slow_backend.py"
    script.write_text(block("python", "slow_backend.py"))
    (port,) = free_ports(1)
    args = [sys.executable, str(script), str(port), str(server), "0.5"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "full\n"
        yield port
        process.kill()


def test_the_relay_keeps_connects_waiting_and_then_relays(relay: int) -> None:
    clients = [socket.socket() for _ in range(5)]
    for client in clients:
        client.setblocking(False)
        assert client.connect_ex(("127.0.0.1", relay)) != 0
    time.sleep(0.3)
    assert all(
        client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\2" for client in clients
    )
    for client in clients:
        client.settimeout(20)
        while client.connect_ex(("127.0.0.1", relay)) not in (0, 106):  # 106: already connected
            time.sleep(0.05)
        client.sendall(b"through")
        assert client.recv(100) == b"through"
        client.close()


# The whole example, with a stand-in for the proxy

PROXY = r'''#!/usr/bin/env python3
"""Relay 8080 to 8443; set the TLS ULP as HAProxy 3.4 did, right after connect()."""
import select, socket, ssl, threading, time

def relay(client):
    server = socket.socket()
    server.setblocking(False)
    try:
        server.connect(("127.0.0.1", 8443))
    except BlockingIOError:
        pass
    if not EARLY:
        select.select([], [server], [], 20)
    try:
        server.setsockopt(socket.IPPROTO_TCP, 31, b"tls")
    except OSError:
        pass
    select.select([], [server], [], 20)
    server.close()
    client.recv(1000)
    client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    client.close()

def serve(port, answer):
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

def ready(client):
    client.recv(1000)
    client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    client.close()

threading.Thread(target=serve, args=(8080, relay), daemon=True).start()
serve(8081, ready)
'''


@pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("strace", "openssl", "curl")),
    reason="needs strace, openssl and curl",
)
@pytest.mark.parametrize(("early", "status"), [(True, {1}), (False, {0, 3})])
def test_the_test_run_of_the_page(early: bool, status: set[int], tmp_path: Path) -> None:
    """A proxy with the fault fails; one without passes, or is open where the kernel has no ULP."""
    ports = dict(zip(("8080", "8081", "8443", "9443"), map(str, free_ports(4)), strict=True))

    def put(name: str, text: str) -> None:
        text = re.sub("|".join(ports), lambda match: ports[match[0]], text)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    put("tests/ktls.sh", block("sh", "tests/ktls.sh LOG").replace("seq 40", "seq 8"))
    put("tests/slow_backend.py", block("python", "slow_backend.py"))
    put("haproxy", PROXY.replace("EARLY", str(early)))
    put("bin/ktrace", f'#!/bin/sh\nexec {sys.executable} -m ktrace_main "$@"\n')
    put("ktrace_main.py", "import sys\nfrom ktrace.cli import main\nsys.exit(main())\n")
    environment = os.environ | {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    done = subprocess.run(
        ["sh", "tests/ktls.sh", "new.strace"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    log = tmp_path / "new.strace"
    assert done.returncode == 0, done.stderr
    assert main(["check", str(log), "--max-unordered", "0", "--min-attempted", "8"]) in status
