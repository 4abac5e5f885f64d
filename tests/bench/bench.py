"""Measures `ktrace parse` on a generated proxy log, beside grep and flametrace on the same log.

`python -m tests.bench.bench [--lines N] [--repeat N] [--json FILE]`; `make bench` runs it.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.bench import generate
from tests.bench.measure import Measured, run

KTRACE = (str(Path(sys.executable).with_name("ktrace")),)
FLAMETRACE = "flametrace 1.1.1"
TARGETS = {
    "ratio_to_flametrace": 2.0,
    "lines_per_s": 500_000,
    "memory_mb": 100.0,
    "help_s": 0.15,
    "short_log_s": 0.4,
}
MORE_IS_BETTER = ("ratio_to_flametrace", "lines_per_s")


@dataclass(frozen=True)
class Row:
    """One command on the long log: the median of the runs, the highest memory."""

    name: str
    seconds: float
    lines_per_s: float
    mb_per_s: float
    memory_mb: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="write the log here and leave it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = chosen.keep or Path(folder) / "proxy.strace"
        report = measure_all(log, Path(folder), chosen.lines, chosen.repeat)
    print(table(report))
    if chosen.json:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if report["wrong"] else 0


def measure_all(log: Path, folder: Path, lines: int, repeat: int) -> dict[str, Any]:
    """Generate the log and run every command on it in turn, `repeat` times over."""
    with log.open("w") as out:
        truth = generate.write(out, lines)
    size = log.stat().st_size
    commands = commands_for(log)
    runs: dict[str, list[Measured]] = {name: [] for name in commands}
    for _ in range(repeat):
        for name, command in commands.items():
            runs[name].append(run(command))
    rows = [_row(name, taken, truth.lines, size) for name, taken in runs.items()]
    report: dict[str, Any] = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "log": {"bytes": size, "bytes_per_line": round(size / truth.lines, 1), **asdict(truth)},
        "rows": [asdict(row) for row in rows],
        "wrong": wrong(runs, truth),
    }
    return report | small_figures(log, folder) | ratios(rows)


def commands_for(log: Path) -> dict[str, Sequence[str]]:
    """Return what is measured on the long log, in the order of the table."""
    reader = str(Path(__file__).with_name("flametrace_reader.py"))
    commands: dict[str, Sequence[str]] = {
        "ktrace parse": (*KTRACE, "parse", str(log)),
        "ktrace parse --jobs 2": (*KTRACE, "parse", "--jobs", "2", str(log)),
        "grep -cE": ("grep", "-cE", "setsockopt|connect", str(log)),
    }
    if find_spec("flametrace") is not None:
        commands[FLAMETRACE] = (sys.executable, reader, str(log))
    return commands


def _row(name: str, taken: list[Measured], lines: int, size: int) -> Row:
    seconds = statistics.median(m.seconds for m in taken)
    memory = max(m.memory for m in taken)
    return Row(name, seconds, lines / seconds, size / 1e6 / seconds, memory / 1e6)


def wrong(runs: dict[str, list[Measured]], truth: generate.Truth) -> list[str]:
    """Return what the reports say against the truth: a fast wrong answer is no answer."""
    ours = {name: taken for name, taken in runs.items() if name.startswith("ktrace")}
    outputs = {m.output for taken in ours.values() for m in taken}
    problems = [] if len(outputs) == 1 else ["the reports of equal runs differ"]
    said = f"{truth.fallback:,} of {truth.offloaded + truth.fallback:,} kTLS connections fell back"
    problems += [f"no report says: {said}"] if any(said not in text for text in outputs) else []
    return problems


def small_figures(log: Path, folder: Path) -> dict[str, float]:
    """Return the median times of `ktrace --help` and of a log of 100 lines, in seconds."""
    short = folder / "short.strace"
    with log.open() as lines:
        short.write_text("".join(next(lines) for _ in range(100)))

    def median(command: Sequence[str]) -> float:
        return statistics.median(run(command).seconds for _ in range(7))

    return {
        "help_s": median((*KTRACE, "--help")),
        "short_log_s": median((*KTRACE, "parse", str(short))),
    }


def ratios(rows: list[Row]) -> dict[str, float | None]:
    """Return the speed of one job as a multiple of the others'."""
    speed = {row.name: row.lines_per_s for row in rows}
    one = speed["ktrace parse"]
    other = speed.get(FLAMETRACE)
    return {
        "ratio_to_flametrace": one / other if other else None,
        "ratio_to_grep": one / speed["grep -cE"],
    }


def table(report: dict[str, Any]) -> str:
    """Return the report for people; targets that are missed are marked."""
    log = report["log"]
    out = [
        f"{log['lines']:,} lines of {log['bytes_per_line']} bytes, {log['bytes'] / 1e6:.0f} MB, "
        f"{log['connections']:,} connections; {report['machine']}",
        f"{'command':24} {'seconds':>8} {'lines/s':>12} {'MB/s':>8} {'memory MB':>10}",
    ]
    for row in report["rows"]:
        out.append(
            f"{row['name']:24} {row['seconds']:8.2f} {row['lines_per_s']:12,.0f} "
            f"{row['mb_per_s']:8.1f} {row['memory_mb']:10.1f}"
        )
    return "\n".join([*out, "", *_judged(report), *report["wrong"]])


def _judged(report: dict[str, Any]) -> list[str]:
    one = next(row for row in report["rows"] if row["name"] == "ktrace parse")
    figures = {**report, "lines_per_s": one["lines_per_s"], "memory_mb": one["memory_mb"]}
    lines = []
    for name, target in TARGETS.items():
        if (figure := figures[name]) is None:
            lines.append(f"{name:24} not measured: pip install flametrace==1.1.1")
            continue
        more_is_better = name in MORE_IS_BETTER
        met = figure >= target if more_is_better else figure <= target
        word = "at least" if more_is_better else "at most"
        verdict = "" if met else "   MISSED"
        lines.append(f"{name:24} {figure:12,.2f}   (target: {word} {target:,}){verdict}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
