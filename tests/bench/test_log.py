"""The generated log is what the benchmark says it is."""

import io
from collections import Counter
from pathlib import Path

from ktrace.analysis import Options, analyse
from tests.bench import generate

LINES = 40_000
SETS_UP = ("socket", "connect", "accept4", "setsockopt", "epoll_ctl", "close", "shutdown")


def test_the_log_is_the_same_every_time() -> None:
    first, second = io.StringIO(), io.StringIO()
    assert generate.write(first, 20_000) == generate.write(second, 20_000)
    assert first.getvalue() == second.getvalue()


def test_the_log_has_the_promised_mix() -> None:
    out = io.StringIO()
    truth = generate.write(out, LINES)
    lines = out.getvalue().splitlines()
    calls = Counter(line.split(None, 2)[2].removeprefix("<... ").split("(")[0] for line in lines)
    wanted = sum(count for call, count in calls.items() if call.split()[0] in SETS_UP)
    assert truth.lines == len(lines) == LINES
    assert 0.09 < wanted / LINES < 0.12
    assert 140 < len(out.getvalue()) / LINES < 170
    assert 0.05 < sum("<unfinished ...>" in line for line in lines) / LINES < 0.2


def test_ktrace_finds_the_truth_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "proxy.strace"
    with log.open("w") as out:
        truth = generate.write(out, LINES)
    report = analyse([str(log)], Options(keep="none"))
    told = {name: getattr(report.summary, name) for name in vars(truth) if name != "lines"}
    assert told == {name: value for name, value in vars(truth).items() if name != "lines"}
    assert report.trace.lines == truth.lines
    assert report.trace.not_understood == 0
