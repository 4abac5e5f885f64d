"""A real program's own account against what the probe saw: every connection, one by one."""

from pathlib import Path

import pytest

from ktrace.findings import Connection, Report
from tests.live.capturing import Captured, capture, ktrace, parse
from tests.programs import runner
from tests.programs.oracle import Verdict, judge

pytestmark = pytest.mark.live

PRIME = 13  # times a script is run; a lost, doubled or mixed-up connection does not go unseen
# Cheap scripts, one for each way to connect, to be told, and to move a descriptor.
MANY = (
    "connect-blocking",
    "connect-blocking-v6",
    "no-wait",
    "no-wait-full-queue",
    "each-epoll",
    "each-poll",
    "each-select",
    "accepts",
    "copies",
    "passed-to-self",
    "reused",
    "refused",
    "thread-race",
    "fork-child-race",
    "fork-child-proof",
)


SKIPPED = 3  # runs of bcc's programs that may be lost in one run of all scripts
# bcc cannot look into the kernel's structures: what it says of these is less, and it says so.
NOT_BCC = ("passed-to-self", "pidfd-getfd", "passed-to-child")


def _names(act: Path) -> list[str]:
    return [name for name, needs in runner.scripts(act).items() if "attach" not in needs]


def _run(
    act: Path, folder: Path, names: list[str], *options: str, before: str = ""
) -> tuple[runner.Run, Captured]:
    done = capture(folder, options, [str(act), str(folder / "account"), *names], before)
    assert done.status == 0, done.ktrace_said
    return runner.Run((), *runner.read_account(done.program_said.encode())), done


def _wanted(done: runner.Done, v: Verdict) -> str:
    calls = f"ulp={v.ulp} tx={v.tx} rx={v.rx} recovered={v.recovered}"
    return f"fd {done.fd} pid {done.pid} {v.role} {v.ordering} {v.outcome} {calls}"


def _found(c: Connection) -> str:
    ulp, tx, rx = (tuple(one.result for one in made) for made in (c.ulp, c.tx, c.rx))
    calls = f"ulp={ulp} tx={tx} rx={rx} recovered={c.recovered}"
    return f"fd {c.fd} pid {c.pid} {c.role} {c.ordering} {_by_calls(c)} {calls}"


def _by_calls(c: Connection) -> str:
    """The outcome as the calls alone tell it, which is all that an account of calls can say.

    The probe also sees a connection come up that the program closed without having been told.
    """
    told = any(row.call == "connect" and row.result == "ok" for row in c.timeline)
    came_up = any(row.state_after == "ESTABLISHED" for row in c.timeline if row.call == "state")
    if c.outcome == "fallback" and c.ordering == "unordered" and came_up and not told:
        return "fallback or not-connected"
    return c.outcome


def _compare(run: runner.Run, report: Report) -> str:
    told = [f"account {w}\nktrace  {g}" for w, g in _different(run, report)]
    return "\n".join((*told, f"lost events: {report.trace.lost_events}"))


def _different(run: runner.Run, report: Report) -> list[tuple[str, str]]:
    """Pair what the account says with what ktrace found, where the two are not the same."""
    verdicts = [(done, judge(done.facts)) for done in run.done]
    listed = [(d, v) for d, v in verdicts if v.role != "unknown" or v.has_ktls]
    want = [f"{d.script}: {_wanted(d, v)}" for d, v in listed]
    got = [_found(c) for c in report.connections]
    assert len(want) == len(got), "\n".join((*want, "found:", *got))
    return [(w, g) for w, g in zip(want, got, strict=True) if not _same(w, g)]


def _same(want: str, got: str) -> bool:
    choices = ("fallback", "not-connected") if "fallback or" in got else ("",)
    texts = {got.replace("fallback or not-connected", choice) for choice in choices}
    return want.partition(": ")[2] in texts


def test_every_script_gives_what_its_account_says(act: Path, tmp_path: Path) -> None:
    run, done = _run(act, tmp_path, _names(act))
    assert not _different(run, done.report), _compare(run, done.report)
    assert done.report.trace.lost_events == 0
    assert done.ktrace_said.startswith("ktrace: capturing with libbpf")


def test_the_object_for_older_kernels_gives_the_same(act: Path, tmp_path: Path) -> None:
    older = "from ktrace.sources.live import libbpf; libbpf.CASTS_SINCE = (99, 0)"
    run, done = _run(act, tmp_path, _names(act), "--backend", "libbpf", before=older)
    assert not _different(run, done.report), _compare(run, done.report)
    assert done.report.trace.lost_events == 0


def test_bcc_gives_the_same_but_for_what_it_says(act: Path, tmp_path: Path) -> None:
    names = [name for name in _names(act) if name not in NOT_BCC]
    run, done = _run(act, tmp_path, names, "--backend", "bcc")
    # The kernel skips a classic tracepoint's program while another runs on that CPU, now and then.
    lost, different = done.report.trace.lost_events, _different(run, done.report)
    assert lost <= SKIPPED
    assert lost or not different, _compare(run, done.report)
    assert all(" unknown " in got for _, got in different), _compare(run, done.report)
    assert any(finding.code == "KT901" for finding in done.report.findings) == (lost > 0)
    assert any("sees less than libbpf" in warning for warning in done.report.trace.warnings)


def test_what_bcc_cannot_follow_is_unknown_and_never_safe(act: Path, tmp_path: Path) -> None:
    run, done = _run(act, tmp_path, list(NOT_BCC), "--backend", "bcc")
    tried = [c for c in done.report.connections if c.ulp]
    wanted = [d for d in run.done if any(fact.call == "ulp" for fact in d.facts)]
    assert len(tried) == len(wanted)
    assert {c.ordering for c in tried} == {"unknown"}


@pytest.mark.parametrize("script", MANY)
def test_a_prime_number_of_each(script: str, act: Path, tmp_path: Path) -> None:
    run, done = _run(act, tmp_path, [script] * PRIME)
    assert not _different(run, done.report), _compare(run, done.report)
    counted = done.report.summary.connections + done.report.summary.listeners
    assert counted == len(done.report.connections) and counted % PRIME == 0


def test_the_capture_gives_the_same_report_byte_for_byte(act: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.capture"
    _run(act, tmp_path, _names(act), "--output", str(file))
    again = ktrace("parse", "--format", "json", str(file))
    assert again.stdout == (tmp_path / "report.json").read_text()


def test_recording_with_strace_gives_the_same_verdicts(act: Path, tmp_path: Path) -> None:
    names = [n for n in _names(act) if n not in ("mptcp", "fast-open", "fast-open-accept")]
    _, live = _run(act, tmp_path, names)
    log = tmp_path / "strace.log"
    account = str(tmp_path / "account2")
    done = ktrace("record", "-o", str(log), "--", str(act), account, *names)
    assert done.returncode == 0, done.stderr
    recorded = parse(log)
    assert len(recorded.connections) == len(live.report.connections)
    for a, b in zip(live.report.connections, recorded.connections, strict=True):
        assert (a.fd, a.role, a.ordering) == (b.fd, b.role, b.ordering), (a.id, b.id)
        assert b.outcome in _by_calls(a), (a, b)


def test_states_are_observed_and_margins_measured(act: Path, tmp_path: Path) -> None:
    _, done = _run(act, tmp_path, ["connect-blocking", "no-wait-full-queue"])
    blocking, stuck = (c for c in done.report.connections if c.ulp)
    assert blocking.margin_basis == "observed" and blocking.margin_us is not None
    assert blocking.margin_us > 0
    assert (stuck.ulp[0].state, stuck.ulp[0].basis) == ("SYN_SENT", "observed")
    assert stuck.ordering == "unordered" and stuck.margin_us is None


@pytest.mark.parametrize("backend", ["libbpf", "bcc"])
def test_an_early_attempt_names_the_code_that_made_it(
    backend: str, act: Path, tmp_path: Path
) -> None:
    # A process that is gone before anybody can look has no maps left: late-up takes its time.
    names = ["no-wait-full-queue", "late-up"]
    _, done = _run(act, tmp_path, names, "--backend", backend)
    early = [c for c in done.report.connections if c.ordering in ("raced", "unordered")]
    attempts = [c.ulp[0] for c in early]
    assert attempts and all(a.stack and any("ulp_named" in f for f in a.stack) for a in attempts)
