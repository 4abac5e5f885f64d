"""Real logs through the whole pipeline: findings are the recorded truth, every output holds."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from ktrace.analysis import Options, analyse
from ktrace.findings import Report
from ktrace.reporters import REPORTERS, text
from ktrace.reporters.layout import width_of
from ktrace.timelines import Judged
from tests.schema import check_connection, check_report

FIXTURES = Path(__file__).resolve().parent / "fixtures"
INDEX: list[dict[str, Any]] = json.loads((FIXTURES / "index.json").read_text(encoding="utf-8"))
ENTRIES = [
    pytest.param(tuple(f"{entry['name']}/{log}" for log in logs), entry["truth"], id="/".join(ids))
    for entry in INDEX
    for logs in ([entry["logs"]] if entry["name"].endswith("-ff") else [[x] for x in entry["logs"]])
    for ids in [(entry["name"], *logs[:1])]
]


@functools.cache
def analysed(logs: tuple[str, ...]) -> tuple[Report, tuple[Judged, ...]]:
    judged: list[Judged] = []
    report = analyse([str(FIXTURES / log) for log in logs], Options(on_connection=judged.append))
    return report, tuple(judged)


@pytest.mark.parametrize(("logs", "truth"), ENTRIES)
def test_findings_are_the_truth(logs: tuple[str, ...], truth: dict[str, Any]) -> None:
    found = {
        finding.code
        for finding in analysed(logs)[0].findings
        if finding.severity != "note" and not finding.code.startswith("KT9")
    }
    if "findings" in truth:
        assert found == set(truth["findings"])
    assert set(truth.get("findings_contain", ())) <= found


@pytest.mark.parametrize(("logs", "truth"), ENTRIES)
def test_findings_agree_with_the_verdicts(logs: tuple[str, ...], truth: dict[str, Any]) -> None:
    """Count again, from the connections, what each finding about order folds."""
    report, judged = analysed(logs)
    for code, ordering in (("KT101", "raced"), ("KT102", "unordered"), ("KT104", "late")):
        folded = [name for f in report.findings if f.code == code for name in f.connections]
        counted = [one.connection.id for one in judged if one.connection.ordering == ordering]
        assert sorted(folded) == sorted(counted)
    fallbacks = {c.connection.id for c in judged if c.connection.outcome == "fallback"}
    told = {name for f in report.findings for name in f.connections}
    assert fallbacks <= told, "a fallback without a finding"


@pytest.mark.parametrize(("logs", "truth"), ENTRIES)
def test_text_fits_and_stands_alone(logs: tuple[str, ...], truth: dict[str, Any]) -> None:
    report, _ = analysed(logs)
    for width in (80, 200):
        rendered = text.render(report, width=width)
        *lines, last = rendered.splitlines()
        # A path is cut only where it is longer than a line.
        assert all(width_of(line) <= width for line in lines)
        assert last.startswith("ktrace: ")
        assert rendered.isprintable() or rendered.replace("\n", "").isprintable()
    assert text.render(report, unicode=False).isascii()
    for connection in report.connections[:20]:
        timeline = text.render_connection(connection, width=80)
        assert all(width_of(line) <= 80 for line in timeline.splitlines())


@pytest.mark.parametrize(("logs", "truth"), ENTRIES)
def test_outputs_for_programs_hold(logs: tuple[str, ...], truth: dict[str, Any]) -> None:
    report, _ = analysed(logs)
    parsed = check_report(REPORTERS["json"].render(report))
    lines = REPORTERS["ndjson"].render(report)
    assert isinstance(lines, bytes)
    assert [check_connection(line) for line in lines.splitlines()] == parsed["connections"]
    rows = REPORTERS["csv"].render(report)
    assert isinstance(rows, str)
    assert rows.count("\n") == 1 + len(report.connections)
    assert parsed["summary"]["connections"] + parsed["summary"]["listeners"] == len(
        report.connections
    )
