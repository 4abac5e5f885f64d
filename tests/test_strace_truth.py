"""Every bundled real log gives the truth that its recording knows, whole and in every harmless
form."""

import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ktrace.analysis import Options, analyse
from ktrace.errors import KtraceError
from ktrace.findings import Report

FIXTURES = Path(__file__).parent / "fixtures"
INDEX: list[dict[str, Any]] = json.loads((FIXTURES / "index.json").read_text())
# openssl-* hold one trace for each end; the truth holds for each
RUNS = [
    (entry, logs)
    for entry in INDEX
    for logs in (
        [[log] for log in entry["logs"]]
        if entry["name"].startswith("openssl-")
        else [entry["logs"]]
    )
]


def _paths(entry: dict[str, Any], logs: list[str]) -> list[str]:
    return [str(FIXTURES / entry["name"] / log) for log in logs]


def _differs(report: Report, truth: dict[str, Any]) -> dict[str, tuple[object, object]]:
    """Return what the report says otherwise than the truth: {field: (wanted, got)}."""
    strong = {f.code for f in report.findings if f.severity != "note" and f.code < "KT9"}
    ktls = [c for c in report.connections if c.has_ktls]
    got: dict[str, object] = {
        "findings": sorted(strong),
        "findings_contain": sorted(strong),
        "peer": truth.get("peer") if truth.get("peer") in {p.peer for p in report.peers} else None,
        "tls_version": next((c.tls_version for c in ktls), None),
        "cipher": next((c.cipher for c in ktls), None),
    }
    differs = {}
    for field, wanted in truth.items():
        value = got[field] if field in got else getattr(report.summary, field)
        if wanted is None or value == wanted:
            continue
        if field == "findings_contain" and set(wanted) <= strong:
            continue
        differs[field] = (wanted, value)
    return differs


@pytest.mark.parametrize(
    ("entry", "logs"), RUNS, ids=[f"{entry['name']}-{logs[0]}" for entry, logs in RUNS]
)
def test_a_real_log_gives_its_truth(entry: dict[str, Any], logs: list[str]) -> None:
    report = analyse(_paths(entry, logs))
    assert not _differs(report, entry["truth"])
    assert report.trace.not_understood == 0


def test_without_timelines_the_summary_and_the_findings_are_the_same() -> None:
    for entry, logs in RUNS:
        paths = _paths(entry, logs)
        with_all, without = analyse(paths), analyse(paths, Options(keep="none"))
        assert without.summary == with_all.summary, entry["name"]
        assert without.peers == with_all.peers, entry["name"]
        assert [(f.code, f.count, f.message) for f in without.findings] == [
            (f.code, f.count, f.message) for f in with_all.findings
        ], entry["name"]
        assert not without.connections


def test_two_jobs_give_the_same_report() -> None:
    path = str(FIXTURES / "haproxy-before-60-clients" / "trace")
    assert analyse([path], Options(jobs=2)) == analyse([path])


MENDED = FIXTURES / "seeds" / "haproxy-3.4-mail.strace"


@pytest.mark.parametrize("suffix", ["gz", "xz", "zst"])
def test_a_compressed_log_is_told_by_its_content(suffix: str, tmp_path: Path) -> None:
    entry = next(e for e in INDEX if e["name"] == "haproxy-before-local")
    raw = (FIXTURES / entry["name"] / "trace").read_bytes()
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "xz": lzma.compress,
        "zst": zstandard.ZstdCompressor().compress,
    }
    packed = packers[suffix](raw)
    log = tmp_path / "log"  # no suffix at all
    log.write_bytes(packed)
    assert not _differs(analyse([str(log)]), entry["truth"])


PACKERS = [gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress]


@pytest.mark.parametrize("pack", PACKERS, ids=["gz", "xz", "zst"])
def test_a_cut_compressed_log_is_read_up_to_the_cut_and_says_so(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_bytes(pack((FIXTURES / "haproxy-before-60-clients" / "trace").read_bytes())[:40_000])
    report = analyse([str(log)])
    assert report.summary.raced > 10
    assert any("cut here" in e.text for f in report.findings for e in f.evidence)


@pytest.mark.parametrize("pack", PACKERS, ids=["gz", "xz", "zst"])
def test_a_compressed_log_that_lacks_its_last_bytes_says_so(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """Also where all of the text is there: nobody can know that it is."""
    log = tmp_path / "log"
    whole = pack((FIXTURES / "client-race-optlen3" / "trace").read_bytes())
    for missing in (1, 2, 5, 9, len(whole) - 7):
        log.write_bytes(whole[:-missing])
        try:
            report = analyse([str(log)])
        except KtraceError as error:
            assert "cut here" in error.message, (missing, error.message)
            continue
        assert any("cut here" in e.text for f in report.findings for e in f.evidence), missing


def test_zstd_frames_are_read_one_after_the_other(tmp_path: Path) -> None:
    """As `cat a.zst b.zst` and pzstd make them; a skippable frame holds no text."""
    raw = (FIXTURES / "haproxy-before-local" / "trace").read_bytes()
    skippable = b"\x51\x2a\x4d\x18\x03\0\0\0abc"
    (tmp_path / "plain").write_bytes(raw)
    (tmp_path / "log").write_bytes(
        skippable.join(zstandard.compress(raw[i : i + 9999]) for i in range(0, len(raw), 9999))
    )
    plain, packed = analyse([str(tmp_path / "plain")]), analyse([str(tmp_path / "log")])
    assert packed.summary == plain.summary
    assert packed.trace.lines == plain.trace.lines


def test_a_pipe_is_read_as_it_comes() -> None:
    log = FIXTURES / "client-race-optlen3" / "trace"
    command = [sys.executable, "-m", "ktrace", "parse", "-", "--format", "ndjson"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parse:
        assert parse.stdin is not None
        assert parse.stdout is not None
        parse.stdin.write(log.read_bytes())
        parse.stdin.flush()
        # the writer has not closed: what has ended is there all the same
        assert json.loads(parse.stdout.readline())["ordering"] == "raced"
        parse.stdin.close()


def test_a_family_may_be_given_by_its_stem() -> None:
    stem = FIXTURES / "client-race-ff" / "trace"
    by_stem = analyse([str(stem)])
    by_names = analyse([f"{stem}.{tid}" for tid in (387, 385, 386)])
    assert by_stem == by_names
    assert by_stem.summary.raced == 6
    assert not by_stem.trace.warnings


def test_a_family_without_times_says_so(tmp_path: Path) -> None:
    for tid in (385, 386, 387):
        text = (FIXTURES / "client-race-ff" / f"trace.{tid}").read_text()
        untimed = "".join(line.split(" ", 1)[1] for line in text.splitlines(keepends=True))
        (tmp_path / f"trace.{tid}").write_text(untimed)
    report = analyse([str(tmp_path / "trace")])
    assert report.summary.raced == 6
    assert any("no usable timestamps" in warning for warning in report.trace.warnings)


def _cut_prefix(text: str) -> str:
    return text.replace("3947 ", "")


DAMAGE: dict[str, Any] = {
    "quoted twice": lambda text: "".join(f"> > {line}\n" for line in text.splitlines()),
    "numbered by an editor": lambda text: "".join(
        f"{n:>4}  {line}\n" for n, line in enumerate(text.splitlines(), 1)
    ),
    "numbered with colons": lambda text: "".join(
        f"{n}: {line}\n" for n, line in enumerate(text.splitlines(), 1)
    ),
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "old line ends": lambda text: text.replace("\n", "\r"),
    "no-break spaces": lambda text: text.replace(" ", "\xa0"),
    "entities": lambda text: text.replace("&", "&amp;").replace('"', "&quot;").replace(">", "&gt;"),
    "colours": lambda text: "".join(f"\x1b[32m{line}\x1b[0m\n" for line in text.splitlines()),
    "a comment": lambda text: "".join(f"# {line}\n" for line in text.splitlines()),
    "no final newline": lambda text: text.rstrip("\n"),
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "prose around": lambda text: f"Hello,\n\nthis is what I see:\n\n{text}\nAny idea?\n-- \nJo\n",
    "no thread ids": _cut_prefix,
    "breaks for newlines": lambda text: text.replace("\n", "<br>\n"),
}


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
def test_the_mailed_log_gives_its_verdict_whatever_happened_to_it(
    damage: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_text(DAMAGE[damage](MENDED.read_text()), newline="")
    report = analyse([str(log)])
    (connection,) = (c for c in report.connections if c.role == "client")
    assert (connection.ordering, connection.outcome) == ("raced", "fallback")
    assert connection.peer == "10.1.0.3:4043"
    assert [a.result for a in connection.ulp] == ["ENOTCONN"]
