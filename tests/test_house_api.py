"""`import ktrace`: the report object, and that it costs nothing before it is used."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import ktrace
from ktrace.findings import Connection

ROOT = Path(__file__).resolve().parent.parent
RACED = ROOT / "tests/fixtures/haproxy-before-delayed/trace"
CLEAN = ROOT / "tests/fixtures/haproxy-after-delayed/trace"
SCALARS = {"ulp", "tx", "rx", "timeline"}


@pytest.fixture(scope="module")
def report() -> ktrace.Report:
    return ktrace.parse(RACED)


def test_connections_are_a_frame_with_every_scalar_field(report: ktrace.Report) -> None:
    frame = report.connections
    assert isinstance(frame, pd.DataFrame)
    assert set(frame.columns) == set(Connection.__struct_fields__) - SCALARS
    assert frame.ordering.value_counts().to_dict() == {"raced": 5}
    assert frame is report.connections


def test_races_read_as_a_test_would(report: ktrace.Report) -> None:
    assert report.raced == report.summary.raced == 5
    assert not report.unordered
    assert not ktrace.parse(CLEAN).raced


def test_findings(report: ktrace.Report) -> None:
    assert [finding.code for finding in report.findings] == ["KT101"]


def test_json_is_what_the_command_prints(report: ktrace.Report) -> None:
    command = "import sys; from ktrace.cli import main; sys.exit(main())"
    printed = subprocess.run(
        [sys.executable, "-c", command, "parse", str(RACED), "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert report.to_json() == printed.stdout


def test_printing_shows_the_text_report(report: ktrace.Report) -> None:
    assert "error[KT101]" in str(report)
    assert repr(report).startswith("<ktrace.Report: 10 connections, 5 with kTLS calls, 5 fell")
    assert "KT101" in report.to_markdown()


def test_files(report: ktrace.Report, tmp_path: Path) -> None:
    names = ("html", "csv", "parquet", "perfetto")
    for name in names:
        getattr(report, f"to_{name}")(tmp_path / name)
    assert "KT101" in (tmp_path / "html").read_text(encoding="utf-8")
    assert len(pd.read_csv(tmp_path / "csv")) == len(report.connections)
    assert list(pd.read_parquet(tmp_path / "parquet").id) == list(report.connections.id)
    assert json.loads((tmp_path / "perfetto").read_text())


def test_only_ktls_keeps_the_counts(report: ktrace.Report) -> None:
    part = ktrace.parse(RACED, only_ktls=True)
    assert part.summary == report.summary
    assert len(part.connections) == 5 < len(report.connections)


def test_several_files_and_jobs(report: ktrace.Report) -> None:
    assert ktrace.parse(RACED, jobs=2).data == report.data
    assert ktrace.parse(RACED, str(CLEAN)).summary.attempted == 10


def test_what_is_no_trace_raises() -> None:
    with pytest.raises(ktrace.KtraceError) as caught:
        ktrace.parse(ROOT / "README.md")
    assert caught.value.message and caught.value.help


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'prase'"):
        ktrace.prase  # noqa: B018 - reading it is the test


def test_importing_costs_nothing() -> None:
    code = (
        "import sys, ktrace\n"
        "loaded = {'click', 'msgspec', 'pandas', 'ktrace.analysis'} & set(sys.modules)\n"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
