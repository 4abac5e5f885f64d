"""The pytest fixture, in test runs of its own, around real programs."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ktrace.pytest_plugin.recorded import NoEvidence, Recorded
from ktrace.timelines import Judged
from tests import judged
from tests.check_runs import fell_back, no_module, several
from tests.judged import plain, raced, safe, unordered

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

# One client on loopback; with "early" it sets the ULP before it knows that the connection is up.
# Where the kernel has no tls module the call fails, which says nothing about the order.
CLIENT = """
import select, socket, sys
server = socket.create_server(("127.0.0.1", 0))
sys.stdin.readline()
client = socket.socket()
client.setblocking(False)
try:
    client.connect(server.getsockname())
except BlockingIOError:
    pass
if "early" not in sys.argv:
    select.select([], [client], [], 10)
if "plain" not in sys.argv:
    try:
        client.setsockopt(socket.IPPROTO_TCP, 31, b"tls")
    except OSError:
        pass
select.select([], [client], [], 10)
sys.exit("fail" in sys.argv)
"""


@pytest.fixture
def client(tmp_path: Path) -> Path:
    file = tmp_path / "client.py"
    file.write_text(CLIENT)
    return file


def outcomes(pytester: pytest.Pytester, client: Path, body: str) -> pytest.RunResult:
    """Run a test module that uses the fixture, in a pytest of its own."""
    head = f"import subprocess, sys\nimport pytest\nCLIENT = [sys.executable, {str(client)!r}]\n"
    pytester.makepyfile(head + body)
    return pytester.runpytest_subprocess()


@needs_strace
def test_a_command_is_traced_to_its_end(pytester: pytest.Pytester, client: Path) -> None:
    result = outcomes(
        pytester,
        client,
        """
def test_late(ktrace_record):
    report = ktrace_record(CLIENT, stdin=subprocess.DEVNULL)
    assert (report.returncode, report.attempted) == (0, 1)
    assert not report.unordered
    assert report.log.is_file()

def test_early(ktrace_record):
    report = ktrace_record([*CLIENT, "early"], stdin=subprocess.DEVNULL)
    assert not report.unordered and not report.raced
""",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*assert not report.unordered*"])


@needs_strace
def test_no_kTLS_attempt_never_holds(pytester: pytest.Pytester, client: Path) -> None:
    result = outcomes(
        pytester,
        client,
        """
def test_plain(ktrace_record):
    report = ktrace_record([*CLIENT, "plain"], stdin=subprocess.DEVNULL)
    assert not report.raced

def test_checked(ktrace_record):
    report = ktrace_record([*CLIENT, "plain"], stdin=subprocess.DEVNULL)
    assert report.check().status == "inconclusive"
""",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*NoEvidence*no connection tried kTLS*"])


@needs_strace
def test_a_command_that_fails_or_hangs_fails_the_test(
    pytester: pytest.Pytester, client: Path
) -> None:
    result = outcomes(
        pytester,
        client,
        """
def test_fails(ktrace_record):
    with pytest.raises(subprocess.CalledProcessError):
        ktrace_record([*CLIENT, "fail"], stdin=subprocess.DEVNULL)
    report = ktrace_record([*CLIENT, "fail"], stdin=subprocess.DEVNULL, check=False)
    assert report.returncode == 1

def test_hangs(ktrace_record):
    with pytest.raises(subprocess.TimeoutExpired):
        ktrace_record(CLIENT, stdin=subprocess.PIPE, timeout=1)

def test_is_not_there(ktrace_record):
    with pytest.raises(Exception, match="no such program"):
        ktrace_record(["no-such-program-anywhere"])
""",
    )
    result.assert_outcomes(passed=3)


@needs_strace
def test_a_running_process_is_traced_while_the_block_lasts(
    pytester: pytest.Pytester, client: Path
) -> None:
    result = outcomes(
        pytester,
        client,
        """
def test_attach(ktrace_record):
    with subprocess.Popen([*CLIENT, "early"], stdin=subprocess.PIPE) as proxy:
        with ktrace_record.attach(proxy.pid) as recording:
            with pytest.raises(RuntimeError):
                recording.report
            proxy.communicate(b"go\\\\n", timeout=30)
        assert recording.report.unordered == 1
        assert recording.report.check().status == "failed"
""",
    )
    result.assert_outcomes(passed=1)


def test_the_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"ktrace": "ktrace.pytest_plugin"}


def test_the_plugin_loads_nothing_until_it_is_used() -> None:
    code = (
        "import sys, pytest\n"
        "import ktrace.pytest_plugin\n"
        "heavy = {'ktrace.analysis', 'msgspec', 'pandas', 'scipy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def recorded(*connections: Judged, **facts: object) -> Recorded:
    report = judged.report(connections, judged.trace_facts(**facts))
    return Recorded(report, Path("strace.log"), 0)


def test_counts_are_there_where_the_trace_proves_them() -> None:
    report = recorded(*several((2, raced), (3, unordered), (4, safe)))
    assert (report.raced, report.unordered, report.fallback, report.attempted) == (2, 3, 2, 9)
    assert recorded(*several((4, safe))).raced == 0


def test_none_is_not_said_where_nothing_is_proven() -> None:
    for report in (
        recorded(),
        recorded(*several((3, plain))),
        recorded(*several((3, safe)), lost_events=1),
    ):
        for name in ("raced", "unordered", "fallback"):
            with pytest.raises(NoEvidence):
                getattr(report, name)


def test_a_race_is_proven_even_where_events_were_lost() -> None:
    assert recorded(*several((1, raced), (3, safe)), lost_events=1).raced == 1


def test_the_order_is_proven_on_a_host_without_the_ulp() -> None:
    report = recorded(*several((3, no_module)))
    assert report.unordered == 0
    with pytest.raises(NoEvidence, match="no tls ULP"):
        assert not report.raced


def test_a_report_is_checked_against_a_baseline(tmp_path: Path) -> None:
    main = tmp_path / "main.json"
    main.write_text(recorded(*several((20, safe))).to_json())
    worse = recorded(*several((10, fell_back), (10, safe)))
    assert worse.check().status == "passed"
    assert worse.check(baseline=main).status == "failed"
    assert worse.check(max_fallback_rate=0.2).status == "failed"
