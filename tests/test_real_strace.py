"""One real program under the real strace: every set of options must give the same connections.

Where a set shows less, the weaker verdict that the contract asks for is expected, not none: `View`
in the table says what is not shown.
"""

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ktrace.analysis import Options, analyse
from ktrace.findings import Connection, Report
from tests.programs import runner
from tests.programs.oracle import Verdict, View, judge

FULL = View()
WAITS = frozenset({"epoll", "poll", "select"})
ARRAYS = frozenset({"epoll", "poll"})  # what select returns is printed all the same
# The calls that a recorder wants; with them nothing is missing.
FAMILIES = (
    "socket,socketpair,bind,listen,accept,accept4,connect,setsockopt,getsockopt,getsockname,getpeername,"
    "shutdown,close,close_range,dup,dup2,dup3,fcntl,epoll_create,epoll_create1,epoll_ctl,epoll_wait,"
    "epoll_pwait,epoll_pwait2,poll,ppoll,select,pselect6,read,readv,write,writev,sendto,sendmsg,sendmmsg,"
    "recvfrom,recvmsg,recvmmsg,sendfile,splice,pidfd_open,pidfd_getfd,clone,clone3,fork,vfork,execve,exit,"
    "exit_group,openat,pipe2"
)
# Scripts whose descriptors cannot be followed without dup, close or clone in the log.
COPIED = (
    "copies",
    "proof-on-copy",
    "dup2-over",
    "close-range",
    "passed-to-self",
    "pidfd-getfd",
    "execve",
)
PASSED = ("passed-to-self", "passed-to-child")
SHORT = ("connect-blocking", "no-wait", "each-poll", "each-epoll", "ulp-then-keys", "thread-race")


@dataclass(frozen=True)
class OptionSet:
    """How strace is called.

    `to` is file, family (-ff), stderr or attach (-p); `without` and `only` choose scripts.
    """

    options: str
    view: View = FULL
    to: str = "file"
    without: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    shows_pid: bool = True
    key_bytes: bool = True
    stacks: bool = False
    slow: bool = False

    def __str__(self) -> str:
        return " ".join(
            p for p in (self.options.replace(FAMILIES, "families"), self.to) if p != "file"
        )

    @property
    def decorated(self) -> bool:
        return "-yy" in self.options or "--decode-fds=all" in self.options

    @property
    def follows(self) -> bool:
        return "-f" in self.options.replace("-ff", "-f").split()


OPTION_SETS = (
    OptionSet("", shows_pid=False),
    OptionSet("-f", slow=True),
    OptionSet("-f -t"),
    OptionSet("-f -tt -T"),
    OptionSet("-f -ttt -T -yy", slow=True),
    OptionSet("-f -r"),
    OptionSet("-f -tt -r"),
    OptionSet("-f --absolute-timestamps=unix,ns --syscall-times=ns"),
    OptionSet("-f --relative-timestamps=ns"),
    OptionSet("-f -y"),
    OptionSet("-f -yy -x"),
    OptionSet("-f -xx -yy"),
    OptionSet("-f --decode-fds=all"),
    OptionSet("-f -X raw", slow=True),
    OptionSet("-f -X verbose -yy", slow=True),
    OptionSet("-f -X abbrev"),
    OptionSet("-f -v"),
    OptionSet("-f -v -s 4", key_bytes=False),
    OptionSet("-f -s 64"),
    OptionSet("-f -s 8"),
    OptionSet("-f -s 4", View(array=4), key_bytes=False),
    OptionSet("-f -s 3", View(array=3), key_bytes=False),
    # No array, no string: poll and epoll show nothing, TCP_INFO no state, any ULP counts as "tls".
    # Nor does it show the numbers that socketpair() and SCM_RIGHTS gave.
    OptionSet(
        "-f -s 0",
        View(hidden=frozenset({"tcp_info", "other_ulp"}), array=0),
        without=("noise", *PASSED),
        key_bytes=False,
    ),
    # No structure at all: no addresses, no SO_ERROR, no SCM_RIGHTS, no flags of clone3().
    OptionSet(
        "-f -e verbose=none",
        View(
            hidden=ARRAYS | {"tcp_info", "so_error", "other_ulp", "other_ulp_int"},
            addresses=False,
        ),
        without=("noise", "disconnected", *PASSED),
        shows_pid=False,
        key_bytes=False,
    ),
    OptionSet(
        "-f -e raw=all",
        View(
            hidden=WAITS | {"tcp_info", "so_error", "other_ulp", "other_ulp_int"}, addresses=False
        ),
        without=("noise", "disconnected", "fast-open", *PASSED),
        shows_pid=False,
        key_bytes=False,
    ),
    OptionSet("-f -n"),
    OptionSet("-f -i"),
    OptionSet("-f -k", only=SHORT, stacks=True),
    OptionSet("-f -q"),
    OptionSet("-f -qqq -a 0"),
    OptionSet("-f -Y"),
    OptionSet("-f -C"),
    OptionSet("-f -e read=all -e write=all"),
    OptionSet("-f --seccomp-bpf -ttt -T -v -s 4 -e trace=" + FAMILIES, key_bytes=False, slow=True),
    OptionSet("-f -e trace=" + FAMILIES),
    # connect, getpeername, TCP_INFO and send still prove; no wait, read, write, close, dup, clone.
    OptionSet(
        "-e trace=%network",
        View(uncovered=frozenset({"wait", "close", "dup", "process"})),
        without=(*COPIED, "each-write", "each-read", "read-end", "fast-open-accept", "reused"),
        shows_pid=False,
    ),
    # To strace 6.1 close_range is no call on descriptors; a later strace may know it.
    OptionSet("-f -e trace=%network,%desc,%process", without=("close-range",)),
    OptionSet("-f", to="stderr", shows_pid=False),
    OptionSet("-tt", to="stderr", shows_pid=False),
    OptionSet("-ff -ttt", to="family", slow=True),
    OptionSet("-ff -ttt -T", to="family", slow=True),
    OptionSet("-D -f -ttt"),
    OptionSet("-f", to="attach"),
    OptionSet("-f -ttt -T -yy -s 4", to="attach", key_bytes=False),
    # A kernel with the module, in part: the calls are not made, strace gives the results.
    OptionSet(
        "-f -e inject=setsockopt:error=ENOTCONN", only=("no-wait", "each-poll", "race-then-close")
    ),
    OptionSet(
        "-f -e inject=setsockopt:retval=0",
        only=(
            "no-wait",
            "each-poll",
            "connect-blocking",
            "ulp-then-keys",
            "race-then-keys",
            "keys-only",
        ),
    ),
)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    why = runner.why_no_strace()
    if why and os.environ.get("CI") == "true":
        pytest.fail(f"{why}: CI does not allow this to be skipped")
    if why:
        pytest.skip(why)
    yield runner.build(tmp_path_factory.mktemp("act"))


def _names(program: Path, row: OptionSet) -> list[str]:
    known = runner.scripts(program)
    if row.to == "attach":
        return ["attached"]
    fits = [
        name
        for name, needs in known.items()
        if "attach" not in needs
        and (row.slow or "time" not in needs)
        and (row.follows or not needs & {"fork", "threads"})
    ]
    return [n for n in fits if n not in row.without and (not row.only or n in row.only)]


def _run(program: Path, folder: Path, row: OptionSet) -> runner.Run:
    names = _names(program, row)
    if row.to == "attach":
        return runner.attach(program, folder, row.options.split(), names)
    return runner.trace(program, folder, row.options.split(), names, row.to)


@dataclass(frozen=True)
class Expected:
    done: runner.Done
    verdict: Verdict
    before: bool

    @property
    def peer_shown(self) -> bool:
        """A call that the trace holds shows the peer."""
        calls = [f.call for f in self.done.facts]
        seen = calls[calls.index("begins") :] if self.before else calls
        return self.done.peer_shown and bool({"connect", "accept", "getpeername"} & set(seen))

    @property
    def listed(self) -> bool:
        return self.verdict.role != "unknown" or self.verdict.has_ktls

    @property
    def sure(self) -> bool:
        """A socket from before the trace shows itself only by calls that name it as TCP."""
        return not self.before or self.verdict.has_ktls


def _expect(done: runner.Done, view: View) -> Expected:
    calls = [f.call for f in done.facts]
    before = "begins" in calls
    facts = done.facts[calls.index("begins") + 1 :] if before else done.facts
    return Expected(done, judge(facts, view, opened_before=before), before)


def _tell_expected(row: OptionSet, e: Expected) -> list[str]:
    v = e.verdict
    calls = [
        f"{name}={','.join(map(str, r))}"
        for name, r in (("ulp", v.ulp), ("tx", v.tx), ("rx", v.rx))
    ]
    pid = f"pid {e.done.pid}" if row.shows_pid else ""
    peer = e.done.peer if e.peer_shown or row.decorated else None
    where = [f"fd {e.done.fd}", v.role, str(peer if row.view.addresses else None)]
    return [*where, str(v.ordering), v.outcome, *calls, f"recovered={v.recovered}", pid]


def _tell_found(row: OptionSet, c: Connection) -> list[str]:
    calls = [
        f"{name}={','.join(str(one.result) for one in made)}"
        for name, made in (("ulp", c.ulp), ("tx", c.tx), ("rx", c.rx))
    ]
    pid = f"pid {c.pid}" if row.shows_pid else ""
    where = [f"fd {c.fd}", c.role, str(c.peer if row.view.addresses else None)]
    return [*where, str(c.ordering), c.outcome, *calls, f"recovered={c.recovered}", pid]


def _compare(row: OptionSet, run: runner.Run, report: Report) -> str:
    """Return how the report differs from the account, empty when it does not."""
    every = [_expect(done, row.view) for done in run.done]
    wanted = [e for e in every if e.listed and e.sure]
    unsure = {e.done.fd for e in every if not e.sure}
    found = [c for c in report.connections if c.has_ktls or c.fd not in unsure]
    want = ["  ".join(_tell_expected(row, e)) for e in wanted]
    got = ["  ".join(_tell_found(row, c)) for c in found]
    if len(want) == len(got):
        pairs = zip(wanted, want, found, got, strict=True)
        return "".join(
            f"{e.done.script} {c.id}:\n  account {w}\n  ktrace  {g}\n"
            for e, w, c, g in pairs
            if w != g
        )
    return "\n".join(_misses(wanted, want, got))


def _misses(wanted: list[Expected], want: list[str], got: list[str]) -> Iterator[str]:
    """Yield what only one side has, with the script that made it or the one before it."""
    matcher = difflib.SequenceMatcher(None, want, got, autojunk=False)
    for what, a, b, c, d in matcher.get_opcodes():
        if what != "equal":
            yield f"near {wanted[max(0, min(a, len(wanted) - 1))].done.script}:"
            yield from (f"  account {line}" for line in want[a:b])
            yield from (f"  ktrace  {line}" for line in got[c:d])


def _codes(row: OptionSet, run: runner.Run) -> set[str]:
    """Return the findings that the account calls for, of those that do not depend on the kernel."""
    verdicts = [e.verdict for e in (_expect(done, row.view) for done in run.done) if e.listed]
    orderings = {o for v in verdicts for o in v.orderings}
    results = {r for v in verdicts for r in v.ulp}
    codes = {"raced": "KT101", "unordered": "KT102", "unconnected": "KT103", "late": "KT104"}
    wanted = {code for ordering, code in codes.items() if ordering in orderings}
    wanted |= {"KT201"} if "ENOENT" in results else set()
    wanted |= {"KT902"} if any(v.limited for v in verdicts) else set()
    keyed = any(f.call in ("tx", "rx") for done in run.done for f in done.facts)
    return wanted | ({"KT904"} if keyed and row.key_bytes else set())


CHECKED = frozenset({"KT101", "KT102", "KT103", "KT104", "KT201", "KT902", "KT903", "KT904"})


@pytest.mark.parametrize("row", OPTION_SETS, ids=str)
def test_every_option_set_gives_the_same_connections(
    row: OptionSet, program: Path, tmp_path: Path
) -> None:
    run = _run(program, tmp_path, row)
    report = analyse([str(log) for log in run.logs], Options(keep="all"))
    assert not (difference := _compare(row, run, report)), difference
    assert {f.code for f in report.findings} & CHECKED == _codes(row, run)
    assert report.trace.not_understood == 0
    if row.stacks:
        stacks = [attempt.stack for c in report.connections for attempt in c.ulp]
        assert stacks and all(s and any("ulp_named" in frame for frame in s) for s in stacks)


def test_a_family_without_times_says_that_threads_have_no_order(
    program: Path, tmp_path: Path
) -> None:
    run = runner.trace(program, tmp_path, ["-ff"], ["thread-race", "thread-overlap"], "family")
    report = analyse([str(log) for log in run.logs], Options(keep="all"))
    assert len(run.logs) > 1
    assert any("order" in warning for warning in report.trace.warnings)
    assert [c.ordering for c in report.connections if c.ulp] != []
    assert "safe" not in {c.ordering for c in report.connections}
