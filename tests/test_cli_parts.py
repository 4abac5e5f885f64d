"""The small parts of the command line: progress, memory budget, output options."""

import re
import sys
from pathlib import Path

import pytest

import ktrace
from ktrace.cli import budget, progress
from ktrace.errors import KtraceError

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (23_000_000, "23.0 MB"),
        (4_500_000_000, "4.5 GB"),
        (2_000_000_000_000, "2.0 TB"),
    ],
)
def test_sizes(count: int, words: str) -> None:
    assert progress.size(count) == words


def test_bars() -> None:
    assert progress.bar("reading", 1_000_000, 4_000_000) == (
        "reading [######..................]  25%  1.0 MB of 4.0 MB"
    )
    assert progress.bar("reading", 5, 4).endswith("100%  5 B of 4 B")
    assert progress.bar("reading", 1_500, None) == "reading 1.5 kB"


@pytest.mark.parametrize(("terminal", "wanted"), [(False, True), (True, False), (True, True)])
def test_progress_is_for_terminals(
    terminal: bool,
    wanted: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "FIRST_AFTER", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress.Progress("reading", wanted) as show:
        show(1, 2)
        show(2, 2)  # too soon after the first
    said = capsys.readouterr().err
    assert len(re.findall("reading", said)) == (1 if terminal and wanted else 0)
    assert said.endswith("\r\033[K") == (terminal and wanted)


def test_memory_that_is_free_is_the_smallest_of_the_limits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    monkeypatch.setattr(budget, "MEMINFO", info)
    monkeypatch.setattr(budget, "CGROUP_LIMIT", limit)
    assert budget.memory_available() == float("inf")
    info.write_text("MemTotal: 9 kB\nMemAvailable:    4096 kB\n")
    limit.write_text("max\n")
    assert budget.memory_available() == 4096 * 1024
    limit.write_text("1000\n")
    assert budget.memory_available() == 1000


def test_exceeding_the_budget_names_the_ways_out() -> None:
    log = ROOT / "tests/fixtures/haproxy-before-delayed/trace"
    connections = ktrace.parse(log).data.connections
    roomy, tight = budget.Budget(limit=1e9), budget.Budget(limit=2_000)
    for connection in connections:
        roomy.add(connection)
    with pytest.raises(KtraceError) as caught:
        for connection in connections:
            tight.add(connection)
    assert "--format ndjson" in caught.value.help
    assert "--only-ktls" in caught.value.help
