"""A program with a seccomp filter of its own: what that refuses may be missing from a log."""

import subprocess
import sys
from pathlib import Path

import pytest

from ktrace import recording
from ktrace.analysis import Options, analyse
from ktrace.findings import Report
from tests.live import refused
from tests.test_live_record import ktrace, needs_strace, run

TCP = "AF_INET, SOCK_STREAM, IPPROTO_TCP"
PEER = '{sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("10.0.0.1")}, 16'
FILTER = "10 prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, {len=4, filter=0x7f1}) = 0\n"
ULP = '{tid} setsockopt({fd}, SOL_TCP, TCP_ULP, "tls", 4) = {result}\n'
REFUSED = ULP.format(tid=10, fd=5, result="-1 EPERM (Operation not permitted)")
WARNING = "installed a seccomp filter"


def opened(fd: int, tid: int = 10) -> str:
    return f"{tid} socket({TCP}) = {fd}\n{tid} connect({fd}, {PEER}) = 0\n"


OPTION = "10 setsockopt(9, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0\n"  # so that they are covered
OUTCOMES = {
    "a socket of before and one of after": (
        opened(5) + FILTER + opened(6),
        ["unknown", "unknown"],
    ),
    "one that ended before is not concerned": (
        opened(5) + "10 close(5) = 0\n" + FILTER + opened(5),
        ["none", "unknown"],
    ),
    "a refused call that is shown": (opened(5) + FILTER + REFUSED, ["fallback"]),
    "the ULP without keys": (
        opened(5) + FILTER + ULP.format(tid=10, fd=5, result=0) + "10 close(5) = 0\n",
        ["unknown"],
    ),
    "seccomp()": (
        opened(5) + "10 seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=4, filter=0x7f1}) = 0\n",
        ["unknown"],
    ),
    "raw numbers": (opened(5) + "10 prctl(0x16, 0x2, 0x7ffc, 0x1, 0) = 0\n", ["unknown"]),
    "in two halves": (
        opened(5)
        + "10 seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=4, filter=0x7f1} <unfinished ...>\n"
        + opened(7, 11)
        + "10 <... seccomp resumed>) = 0\n",
        ["unknown", "none"],
    ),
    "a filter that was not installed": (
        opened(5) + FILTER.replace("= 0", "= -1 EACCES (Permission denied)"),
        ["none"],
    ),
    "other uses of the two calls": (
        opened(5)
        + '10 prctl(PR_SET_NAME, "worker") = 0\n10 prctl(PR_GET_SECCOMP) = 0\n'
        + "10 seccomp(SECCOMP_GET_ACTION_AVAIL, 0, [SECCOMP_RET_ERRNO]) = 0\n",
        ["none"],
    ),
    "a thread that shares its descriptors": (
        "10 clone(child_stack=0x7, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 11\n"
        + opened(5, 11)
        + FILTER,
        ["unknown"],
    ),
    "a child has it too, a process without does not": (
        FILTER + "10 clone(child_stack=NULL, flags=SIGCHLD) = 11\n" + opened(5, 11) + opened(5, 20),
        ["unknown", "none"],
    ),
    "and execve() keeps it": (
        FILTER + '10 execve("/bin/x", ["x"], 0x7) = 0\n' + opened(5),
        ["unknown"],
    ),
    "a descriptor that came by a message": (
        opened(5)
        + "10 clone(child_stack=NULL, flags=SIGCHLD) = 11\n"
        + FILTER.replace("10 ", "11 ", 1),
        ["unknown"],
    ),
    "unfiltered logs are not written with --seccomp-bpf": (
        "10 brk(NULL) = 0x55\n" + opened(5) + FILTER + opened(6),
        ["none", "none"],
    ),
}


def parse(folder: Path, text: str) -> Report:
    log = folder / "strace.log"
    log.write_text(text)
    return analyse([str(log)], Options())


@pytest.mark.parametrize("name", OUTCOMES)
def test_what_a_filter_may_have_refused_is_unknown(name: str, tmp_path: Path) -> None:
    text, outcomes = OUTCOMES[name]
    report = parse(tmp_path, OPTION + text)
    assert [c.outcome for c in report.connections] == outcomes
    assert report.trace.not_understood == 0
    warned = any(WARNING in warning for warning in report.trace.warnings)
    assert warned == ("unknown" in outcomes or name == "a refused call that is shown")


def test_the_text_claims_no_absence(tmp_path: Path) -> None:
    (tmp_path / "strace.log").write_text(OPTION + FILTER + opened(5))
    done = run(ktrace("parse", str(tmp_path / "strace.log")))
    assert "no connection is seen to try kTLS" in done.stdout
    assert "tried kTLS" not in done.stdout
    page = tmp_path / "page.html"
    run(ktrace("parse", str(tmp_path / "strace.log"), "--html", str(page)))
    assert "none is seen to set the TLS ULP" in page.read_text()
    assert "none set the TLS ULP" not in page.read_text()


@needs_strace
@pytest.mark.parametrize("action", ["errno", "allow"])
def test_a_program_with_a_filter_is_recorded_without_an_all_clear(
    action: str, tmp_path: Path
) -> None:
    log = tmp_path / "strace.log"
    program = [sys.executable, refused.__file__, action, "ulp"]
    assert run(ktrace("record", "-o", str(log), "--", *program)).returncode == 0
    report = analyse([str(log)], Options())
    assert any(WARNING in warning for warning in report.trace.warnings)
    (client,) = [c for c in report.connections if c.role == "client" and c.peer]
    if action == "errno" and not client.ulp:
        assert client.outcome == "unknown"
    else:
        assert len(client.ulp) == 1


UNDER = """
import os, sys
sys.path.insert(0, {root!r})
from tests.live.refused import ACTIONS, refuse
refuse(ACTIONS[{action!r}])
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def under(action: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in a process that got a filter from the one that started it."""
    code = UNDER.format(root=str(Path(__file__).parent.parent), action=action)
    return run([sys.executable, "-c", code, *words])


@needs_strace
def test_a_filter_of_the_container_makes_record_look_at_every_call(tmp_path: Path) -> None:
    log = tmp_path / "strace.log"
    words = ktrace("record", "-o", str(log), "--", sys.executable, refused.__file__, "allow", "ulp")
    done = under("errno", *words[1:])
    text = log.read_text()
    assert 'TCP_ULP, "tls"' in text, done.stderr
    assert "prctl" not in text  # there is nothing that strace does not see
    report = analyse([str(log)], Options())
    assert {finding.code for finding in report.findings} == {"KT206"}


@pytest.mark.parametrize("action", ["errno", "trap", "kill", "allow"])
def test_whether_the_container_refuses_is_tried(action: str) -> None:
    done = under(action, "-c", "from ktrace import recording; print(recording.refuses_ktls())")
    assert done.stdout.strip() == str(action != "allow"), done.stderr


def test_a_process_without_a_filter_is_refused_nothing() -> None:
    if "Seccomp:\t0" not in Path("/proc/self/status").read_text():
        pytest.skip("this process has a filter itself")
    assert not recording.refuses_ktls()
