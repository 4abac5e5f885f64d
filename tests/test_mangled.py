"""Real logs in forms that lose nothing: connections and findings are those of the log as it was."""

import quopri
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ktrace.analysis import analyse
from ktrace.findings import Report
from ktrace.sources.strace import files, passed

FIXTURES = Path(__file__).parent / "fixtures"
LOGS = (
    "haproxy-before-delayed-tt/trace",
    "haproxy-before-60-clients/trace",
    "mixed-s4/trace",
    "nginx/nginx.trace",
    "openssl35-rekey-kernel612/trace",
)
_RECORD = re.compile(r"^((?:\d+ +)?)([\d:.]+ )?(.*)$")


def _lines(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(f"{change(line)}\n" for line in text.splitlines())


def _folded(line: str) -> str:
    """Break as a terminal of 72 columns does, within words too."""
    return "\n".join(line[start : start + 72] for start in range(0, len(line), 72))


def _wrapped(line: str) -> str:
    """Break at blanks, as a mailer does."""
    return textwrap.fill(line, 72, break_long_words=False, break_on_hyphens=False)


def _glued(text: str) -> str:
    """Lose every second newline, but none of another thread's first halves."""
    out: list[str] = []
    for line in text.splitlines():
        if len(out) % 2 and re.search(r"\) += ", out[-1]) and "\n" not in out[-1]:
            out[-1] += line + "\n"
        else:
            out.append(line)
    return "".join(line.rstrip("\n") + "\n" for line in out)


def _deltas(text: str) -> str:
    """Give the times as -r does; the log's own are seconds or times of day."""
    out, before = [], None
    for line in text.splitlines():
        match = _RECORD.match(line)
        assert match
        if match[2]:
            parts = [float(part) for part in match[2].split(":")]
            now = sum(part * 60**power for power, part in enumerate(reversed(parts)))
            line = f"{match[1]}{now - (now if before is None else before):13.6f} {match[3]}"
            before = now
        out.append(line + "\n")
    return "".join(out)


MANGLED: dict[str, Callable[[str], str]] = {
    "folded": _lines(_folded),
    "folded, then quoted": lambda text: _lines("> {}".format)(_lines(_folded)(text)),
    "numbered and wrapped": lambda text: "".join(
        f"{n:>5}: {line}\n" for n, line in enumerate(_lines(_wrapped)(text).splitlines(), 1)
    ),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()).decode(),
    "glued": _glued,
    "typographic dots": lambda text: text.replace("...", "\u2026"),
    "deltas": _deltas,
}


def _told(report: Report) -> list[tuple[object, ...]]:
    told: list[tuple[object, ...]] = [
        (
            c.id,
            c.pid,
            c.fd,
            c.role,
            c.peer,
            c.outcome,
            c.ordering,
            c.cipher,
            [a.result for a in c.ulp],
        )
        for c in report.connections
    ]
    return told + [(f.code, f.count) for f in report.findings if f.code != "KT903"]


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("form", MANGLED, ids=str)
def test_a_mangled_log_tells_the_same(form: str, log: str, tmp_path: Path) -> None:
    mangled = tmp_path / "log"
    mangled.write_text(MANGLED[form]((FIXTURES / log).read_text()), newline="")
    assert _told(analyse([str(mangled)])) == _told(analyse([str(FIXTURES / log)]))


def test_a_call_stands_where_its_first_line_does(tmp_path: Path) -> None:
    log = FIXTURES / "mixed-s4" / "trace"
    for form in ("folded", "quoted-printable"):
        mangled = tmp_path / "log"
        mangled.write_text(MANGLED[form](log.read_text()))
        lines = mangled.read_text().splitlines()
        attempts = [a for c in analyse([str(mangled)]).connections for a in c.ulp]
        assert attempts
        assert all(a.line and "setsockopt(" in lines[a.line - 1] for a in attempts), form


def test_times_of_data_calls_are_sums_of_deltas(tmp_path: Path) -> None:
    log = FIXTURES / "openssl35-rekey-kernel612" / "trace"
    mangled = tmp_path / "log"
    mangled.write_text(_deltas(log.read_text()))
    wanted, got = (analyse([str(path)]).connections for path in (log, mangled))
    assert [[row.line for row in c.timeline] for c in got] == [
        [row.line for row in c.timeline] for c in wanted
    ]
    assert [round(c.margin_us or 0) for c in got] == [round(c.margin_us or 0) for c in wanted]


@pytest.mark.parametrize("log", LOGS)
def test_where_a_block_ends_changes_nothing(
    log: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = analyse([str(FIXTURES / log)])
    monkeypatch.setattr(files, "BLOCK", 3333)
    parts = analyse([str(FIXTURES / log)])
    assert _told(parts) == _told(whole)
    assert [[row.line for row in c.timeline] for c in parts.connections] == [
        [row.line for row in c.timeline] for c in whole.connections
    ]


WAIT_BEGINS = """\
100 epoll_create1(EPOLL_CLOEXEC) = 3
100 socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 5
100 connect(5, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("10.0.0.1")}, 16)\
 = -1 EINPROGRESS (Operation now in progress)
100 epoll_ctl(3, EPOLL_CTL_ADD, 5, {events=EPOLLOUT, data={u32=77, u64=77}}) = 0
100 epoll_wait(3,  <unfinished ...>
"""
WAIT_ENDS = """\
100 <... epoll_wait resumed>[{events=EPOLLOUT, data={u32=77, u64=77}}], 200, 1000) = 1
100 setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4) = 0
"""
OTHERS = '200 recvfrom(9, "abcdefgh"..., 16384, 0, NULL, NULL) = 1448\n'


@pytest.mark.parametrize(
    ("remembered", "ordering"), [(passed.MAX_REMEMBERED, "safe"), (1 << 16, "unknown")]
)
def test_a_wait_may_go_on_for_many_blocks(
    remembered: int, ordering: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(files, "BLOCK", 1 << 14)
    monkeypatch.setattr(passed, "MAX_REMEMBERED", remembered)
    log = tmp_path / "log"
    log.write_text(WAIT_BEGINS + OTHERS * 4000 + WAIT_ENDS)
    report = analyse([str(log)])
    assert [c.ordering for c in report.connections] == [ordering]
    assert [f.code for f in report.findings if f.code == "KT902"] == (
        ["KT902"] if ordering == "unknown" else []
    )
