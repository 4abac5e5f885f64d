"""Baselines that are JSON: a report of an earlier run, or the small file meant for a repository.

Formats carry a version; one that this ktrace does not know is refused, never guessed at.
"""

import codecs
import os
import re
from pathlib import Path
from typing import Any, Literal

import msgspec

import ktrace
from ktrace.check.counts import Census, RunCounts
from ktrace.check.result import CheckedReport
from ktrace.check.run import KnownFinding, Run, run_of
from ktrace.check.trust import faults
from ktrace.errors import KtraceError
from ktrace.findings import SCHEMA as REPORT_SCHEMA
from ktrace.findings import Tool

SCHEMA = "ktrace.baseline/1"
_SNIFF = 4096


class BaselineFile(msgspec.Struct, frozen=True):
    """The small baseline: counts, and findings without their words, which may hold addresses."""

    schema: Literal["ktrace.baseline/1"]
    tool: Tool
    covered: tuple[str, ...]
    counts: RunCounts
    findings: tuple[KnownFinding, ...]


def is_json(path: str) -> bool:
    """Tell a JSON document from a trace by its first character; no trace begins with a brace.

    A pipe is a trace: what is read of it to look is gone.
    """
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(_SNIFF).removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"
    except OSError:
        return False  # the reader of traces says what is wrong with it


def load(path: str) -> Run | None:
    """Read a report or a small baseline; None where a file is JSON of another program (a trace)."""
    data = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    schema = _schema(data, path)
    if schema == REPORT_SCHEMA:
        report = _decode(data, CheckedReport, path)
        return _sound(_report_run(report, path))
    if schema == SCHEMA:
        return _sound(_run(_decode(data, BaselineFile, path), path))
    if schema is not None and schema.startswith(("ktrace.report/", "ktrace.baseline/")):
        raise KtraceError(
            "baseline-schema",
            f"{path}: schema {schema!r} is not one that ktrace {ktrace.__version__} reads",
            "read it with the ktrace that wrote it, or record the baseline again",
        )
    return None


def render(run: Run, addresses: bool) -> str:
    """Return the small baseline of a run; two runs with the same counts give the same text.

    Raises KtraceError for a run that is no evidence: it would let every later run pass.
    """
    missing = faults(run)
    if missing:
        raise KtraceError(
            "baseline-proves-nothing",
            f"the baseline is not written: {'; '.join(missing)}",
            "record again; a baseline without evidence would let every later run pass",
        )
    findings = (
        msgspec.structs.replace(finding, message="")
        for finding in sorted(run.findings, key=lambda f: (f.code, f.fingerprint))
    )
    file = BaselineFile(
        schema="ktrace.baseline/1",
        tool=Tool("ktrace", ktrace.__version__),
        covered=tuple(sorted(run.covered)),
        counts=RunCounts(run.counts.total, run.counts.peers if addresses else None),
        findings=tuple(findings),
    )
    return msgspec.json.format(msgspec.json.encode(file), indent=2).decode() + "\n"


def _report_run(report: CheckedReport, path: str) -> Run:
    try:
        census = Census(report.connections)
    except (ValueError, OverflowError):
        raise _unreadable(path, "a connection's id is no number") from None
    return run_of(report, census, report.counts, path)


def _run(file: BaselineFile, path: str) -> Run:
    return Run(
        name=path,
        counts=file.counts,
        findings=file.findings,
        covered=file.covered,
        lost_events=0,
    )


def _sound(run: Run) -> Run:
    """Refuse counts that contradict each other, as a file edited by hand may have."""
    for counts in (run.counts.total, *(run.counts.peers or {}).values()):
        if (fault := counts.fault()) is not None:
            raise _unreadable(run.name, fault)
    return run


def _schema(data: bytes, path: str) -> str | None:
    """Return the `schema` of a JSON document; None where it has none, as a capture may."""

    class Head(msgspec.Struct):
        schema: Any = None

    try:
        schema = msgspec.json.decode(data, type=Head).schema
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if not re.match(rb'\s*\{\s*"schema":\s*"ktrace\.(report|baseline)/', data):
            return None  # not ours: the reader of traces says what is wrong with it
        raise _unreadable(path, error) from None
    return schema if isinstance(schema, str) else None


def _decode(data: bytes, kind: type[Any], path: str) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: object) -> KtraceError:
    return KtraceError(
        "baseline-unreadable",
        f"{path}: not a whole ktrace report: {error}",
        "write it with: ktrace parse LOG --json FILE, or ktrace check LOG --update-baseline FILE",
    )
