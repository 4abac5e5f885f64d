"""`ktrace check` as a CI job calls it, on logs of real programs."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from ktrace.check.result import CheckedReport
from ktrace.cli import main
from ktrace.events import FAMILIES
from ktrace.findings import Report, json_schema
from ktrace.sources.capture import Header, Writer
from ktrace.sources.strace import open_traces

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "tests" / "fixtures"
BEFORE, AFTER = LOGS / "haproxy-before-delayed/trace", LOGS / "haproxy-after-delayed/trace"
BEFORE_LOCAL, AFTER_LOCAL = LOGS / "haproxy-before-local/trace", LOGS / "haproxy-after-local/trace"
PEER = "10.9.0.2:4043"

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Check:
    """Run the command in an empty folder; returns exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def call(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["check", *map(str, args)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return call


def parse_json(log: Path, file: Path) -> Path:
    assert main(["parse", str(log), "--json", str(file)]) == 0
    return file


def first_connections(log: Path, n: int, file: Path) -> Path:
    """Cut a log after its first n kTLS connections have closed."""
    report = msgspec.json.decode(parse_json(log, file).read_bytes(), type=Report)
    last = [c for c in report.connections if c.has_ktls][n - 1].timeline[-1].line
    assert last is not None
    lines = log.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:last]))
    return file


def without(log: Path, word: str, file: Path) -> Path:
    lines = log.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if word not in line))
    return file


# The builds of HAProxy before and after the fix


@pytest.mark.parametrize("baseline", [AFTER, AFTER_LOCAL], ids=["delayed", "local"])
def test_the_build_before_the_fix_fails_over_a_delayed_link(check: Check, baseline: Path) -> None:
    status, out, _ = check(BEFORE, "--baseline", baseline)
    assert status == 1
    assert out.startswith("check failed: 5 of 5 client connections raced\n")
    assert "failed: max_raced = 0\n" in out and "trace:1298" in out


@pytest.mark.parametrize("baseline", [AFTER, AFTER_LOCAL], ids=["delayed", "local"])
def test_the_build_before_the_fix_fails_on_loopback_where_nothing_fails(
    check: Check, baseline: Path
) -> None:
    status, out, _ = check(BEFORE_LOCAL, "--baseline", baseline)
    assert status == 1
    assert out.startswith("check failed: 5 of 5 client connections have a latent race\n")
    assert "failed: max_unordered = 0\n" in out and "TCP_ULP" in out


@pytest.mark.parametrize("log", [BEFORE, BEFORE_LOCAL, LOGS / "haproxy-before-60-clients/trace"])
def test_it_fails_without_a_baseline_too(check: Check, log: Path) -> None:
    assert check(log)[0] == 1


@pytest.mark.parametrize("log", [AFTER, AFTER_LOCAL])
@pytest.mark.parametrize("baseline", [AFTER, AFTER_LOCAL])
def test_the_build_after_the_fix_passes(check: Check, log: Path, baseline: Path) -> None:
    status, out, err = check(log, "--baseline", baseline)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("ktrace: check passed (exit status 0)")


def test_the_build_after_the_fix_passes_against_the_one_before(check: Check) -> None:
    status, out, _ = check(AFTER, "--baseline", BEFORE)
    assert status == 0
    assert "gone       error[KT101]" in out


def test_three_connections_are_inconclusive_when_the_policy_asks_for_thirty(
    check: Check, tmp_path: Path
) -> None:
    log = first_connections(AFTER, 3, tmp_path / "three.log")
    status, out, _ = check(log, "--min-attempted", 30)
    assert status == 3
    assert "27 more kTLS connections would decide" in out
    assert check(log)[0] == 0


# No evidence


@pytest.mark.parametrize("name", ["server-cut"])
def test_a_log_without_ktls_is_inconclusive(check: Check, name: str) -> None:
    status, out, _ = check(LOGS / name / "trace")
    assert (status, out.split(":")[0]) == (3, "check inconclusive")


def test_a_proxy_that_no_longer_tries_is_never_passed(check: Check, tmp_path: Path) -> None:
    log = without(AFTER, "SOL_T", tmp_path / "plain.log")  # no SOL_TCP, no SOL_TLS option
    assert check(log)[0] == 3
    status, out, _ = check(log, "--baseline", AFTER)
    assert status == 1
    assert "failed: kTLS still tried" in out


def test_a_log_without_any_setsockopt_is_inconclusive(check: Check, tmp_path: Path) -> None:
    shown = re.compile(r"\b(socket|connect|accept4|close|epoll_wait|getsockopt|listen)\(")
    lines = AFTER.read_text().splitlines(keepends=True)
    log = tmp_path / "cut.log"
    log.write_text("".join(line for line in lines if shown.search(line)))
    status, out, _ = check(log)
    assert status == 3
    assert "setsockopt is not covered" in out


@pytest.mark.parametrize("content", ["", "hello\nworld\n", "{}", "[]", "{"])
def test_what_is_no_trace_is_refused(check: Check, tmp_path: Path, content: str) -> None:
    (tmp_path / "log").write_text(content)
    status, out, err = check("log")
    assert (status, out) == (2, "")
    assert err.startswith("ktrace: ") and err.count("\n") == 2 and "\nhelp: " in err


def test_a_baseline_that_is_no_trace_is_refused(check: Check, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    assert check(AFTER, "--baseline", "empty")[0] == 2
    assert check(AFTER, "--baseline", "missing")[0] == 2


def test_lost_events_are_inconclusive(check: Check, tmp_path: Path) -> None:
    report = json.loads(parse_json(AFTER, tmp_path / "r.json").read_text())
    report["trace"]["lost_events"] = 7
    (tmp_path / "lost.json").write_text(json.dumps(report))
    status, out, _ = check("lost.json")
    assert status == 3
    assert "7 events lost" in out
    status, out, _ = check(AFTER, "--baseline", "lost.json")
    assert status == 3
    assert "7 events lost" in out


@pytest.mark.parametrize("lost", [0, 5])
def test_a_capture_that_lost_events_is_inconclusive(
    check: Check, tmp_path: Path, lost: int
) -> None:
    (trace,) = open_traces([str(AFTER)], jobs=1, progress=None)
    writer = Writer(
        str(tmp_path / "new.ktrace"), Header(1, "0", "live: haproxy", "libbpf", FAMILIES)
    )
    for event in trace.events():
        writer.add(event)
    if lost:
        writer.lost(lost)
    writer.close()
    status, out, _ = check("new.ktrace", "--baseline", AFTER)
    assert status == (3 if lost else 0)
    assert ("5 events lost" in out) == bool(lost)


def test_a_host_without_the_ulp_is_inconclusive_where_the_order_is_right(
    check: Check, tmp_path: Path
) -> None:
    log = tmp_path / "noent.log"
    text = AFTER.read_text()
    refused = "-1 ENOENT (No such file or directory)"
    lines = [
        line.replace(") = 0 ", f") = {refused} ") if "TCP_ULP" in line else line
        for line in text.splitlines(keepends=True)
        if "SOL_TLS" not in line
    ]
    log.write_text("".join(lines))
    status, out, _ = check(log, "--baseline", AFTER)
    assert status == 3
    assert "modprobe tls" in out


# Baselines


def test_both_runs_may_come_through_pipes(check: Check, tmp_path: Path) -> None:
    """What is read of a pipe to see what it holds must not be lost."""
    paths = []
    for name, log in (("new", BEFORE), ("old", AFTER)):
        pipe = tmp_path / name
        os.mkfifo(pipe)
        threading.Thread(target=pipe.write_bytes, args=(log.read_bytes(),), daemon=True).start()
        paths.append(pipe)
    status, out, _ = check(paths[0], "--baseline", paths[1])
    assert status == 1
    assert "5 of 5 client connections raced" in out


def test_a_report_of_an_earlier_run_is_a_baseline(check: Check, tmp_path: Path) -> None:
    good = parse_json(AFTER, tmp_path / "main.json")
    assert check(AFTER_LOCAL, "--baseline", good)[0] == 0
    assert check(BEFORE_LOCAL, "--baseline", good)[0] == 1


def test_a_report_of_ktls_connections_alone_is_the_same_baseline(
    check: Check, tmp_path: Path
) -> None:
    parse_json(AFTER, tmp_path / "all.json")
    assert main(["parse", str(AFTER), "--only-ktls", "--json", str(tmp_path / "few.json")]) == 0
    outputs = [check(BEFORE, "--baseline", name)[1] for name in ("all.json", "few.json")]
    assert outputs[0].replace("all.json", "few.json") == outputs[1]


def test_the_json_of_a_check_is_a_baseline_and_a_report(check: Check, tmp_path: Path) -> None:
    status, out, _ = check(BEFORE, "--baseline", AFTER, "--json", "check.json")
    data = json.loads((tmp_path / "check.json").read_text())
    jsonschema.validate(data, json_schema())
    assert (data["schema"], data["check"]["exit_status"]) == ("ktrace.report/1", status)
    assert {rule["verdict"] for rule in data["check"]["rules"]} == {"failed", "passed"}
    msgspec.json.decode((tmp_path / "check.json").read_bytes(), type=CheckedReport)
    again = check("check.json", "--baseline", AFTER)
    assert again[0] == 1
    assert again[1].replace("check.json", str(BEFORE)).split() == out.split()  # lines may differ
    assert check(AFTER, "--baseline", "check.json")[0] == 0


def test_a_small_baseline_judges_as_the_trace_it_was_made_of(check: Check, tmp_path: Path) -> None:
    assert check(AFTER, "--update-baseline", "small.json")[0] == 0
    text = (tmp_path / "small.json").read_text()
    assert "10.9.0" not in text and len(text) < 2000
    assert json.loads(text)["schema"] == "ktrace.baseline/1"
    for log, status in ((AFTER_LOCAL, 0), (BEFORE, 1), (BEFORE_LOCAL, 1)):
        assert check(log, "--baseline", "small.json")[0] == status


def test_a_small_baseline_is_the_same_for_the_same_run(check: Check, tmp_path: Path) -> None:
    check(AFTER, "--update-baseline", "one.json")
    check(AFTER, "--jobs", 2, "--update-baseline", "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_addresses_are_in_a_small_baseline_only_when_asked_for(
    check: Check, tmp_path: Path
) -> None:
    policy = tmp_path / "ktrace.toml"
    policy.write_text(f'[check.peer."{PEER}"]\nalpha = 0.05\n')
    check(AFTER, "--update-baseline", "with.json", "--baseline-addresses")
    check(AFTER, "--update-baseline", "without.json")
    assert PEER in (tmp_path / "with.json").read_text()
    assert check(AFTER, "--baseline", "with.json")[0] == 0
    status, out, _ = check(AFTER, "--baseline", "without.json")
    assert status == 3
    assert "--baseline-addresses" in out


def test_a_run_that_proves_nothing_becomes_no_baseline(check: Check, tmp_path: Path) -> None:
    files = ("--update-baseline", "small.json", "--junit", "junit.xml")
    status, out, err = check(LOGS / "server-cut/trace", *files)
    assert (status, out) == (2, "")
    assert "no connection tried kTLS" in err
    assert list(tmp_path.iterdir()) == []  # nothing that says another status


def test_a_baseline_may_be_replaced_by_its_update(check: Check) -> None:
    check(BEFORE, "--update-baseline", "small.json")
    args = ("--baseline", "small.json", "--update-baseline", "small.json")
    assert check(AFTER, *args)[0] == 0
    assert check(BEFORE, "--baseline", "small.json")[0] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "ktrace.report/2"}, "ktrace.report/2"),
        ({"schema": "ktrace.baseline/9"}, "ktrace.baseline/9"),
        ({"summary": None}, "summary"),
        ({"connections": []}, "0 of 5 kTLS connections"),
    ],
)
def test_a_report_that_cannot_be_read_is_refused(
    check: Check, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    report = json.loads(parse_json(AFTER, tmp_path / "r.json").read_text())
    (tmp_path / "r.json").write_text(json.dumps(report | change))
    status, out, err = check(AFTER, "--baseline", "r.json")
    assert (status, out) == (2, "")
    assert words in err


def test_a_report_cut_in_the_middle_is_refused(check: Check, tmp_path: Path) -> None:
    file = parse_json(AFTER, tmp_path / "r.json")
    file.write_bytes(file.read_bytes()[:4000])
    status, _, err = check(AFTER, "--baseline", "r.json")
    assert status == 2
    assert "not a whole ktrace report" in err


def test_counts_that_contradict_each_other_are_refused(check: Check, tmp_path: Path) -> None:
    check(AFTER, "--update-baseline", "small.json")
    data = json.loads((tmp_path / "small.json").read_text())
    data["counts"]["total"]["raced"] = 99
    (tmp_path / "small.json").write_text(json.dumps(data))
    status, _, err = check(AFTER, "--baseline", "small.json")
    assert status == 2
    assert "raced is larger than" in err


def test_a_small_baseline_is_no_candidate(check: Check) -> None:
    check(AFTER, "--update-baseline", "small.json")
    assert check("small.json")[0] == 2


# Policy and options


def test_options_say_the_same_as_the_policy(check: Check, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        "[check]\nmax_raced = 9\nmax_unordered = 9\nmax_fallback_rate = 0.3\nmin_attempted = 7\n"
        'require = ["tx", "rx"]\nmin_attempt_rate = 0.9\nalpha = 0.2\nforbid = ["KT101", "KT904"]\n'
    )
    options = {
        "--max-raced": 9,
        "--max-unordered": 9,
        "--max-fallback-rate": 0.3,
        "--min-attempted": 7,
        "--require": "tx,rx",
        "--min-attempt-rate": 0.9,
        "--alpha": 0.2,
        "--forbid": "KT101,KT904",
    }
    file = check(BEFORE, "--baseline", AFTER, "--policy", "p.toml")
    said = check(BEFORE, "--baseline", AFTER, *chain.from_iterable(options.items()))
    assert file[0] == said[0] == 1
    assert file[1].replace("p.toml, alpha", "options, alpha") == said[1]


def test_every_key_of_the_policy_is_an_option(check: Check) -> None:
    from ktrace.check.policy import Limits

    help_text = check("--help")[1]
    for key in Limits.__struct_fields__:
        assert f"--{key.replace('_', '-')} " in help_text


def test_an_unknown_key_is_refused_before_anything_is_read(check: Check, tmp_path: Path) -> None:
    (tmp_path / "ktrace.toml").write_text("[check]\nmax_race = 0\n")
    status, out, err = check("no-such-log")
    assert (status, out) == (2, "")
    assert "unknown key check.max_race; the nearest known key is max_raced" in err


@pytest.mark.parametrize(
    "args",
    [
        ["--max-raced", "-1"],
        ["--max-fallback-rate", "2"],
        ["--alpha", "0"],
        ["--require", "both"],
        ["--forbid", "KT999"],
        ["--policy", "missing.toml"],
        ["--max-fallback-rate", "nan"],
    ],
)
def test_wrong_options_are_refused(check: Check, args: Sequence[str]) -> None:
    status, out, err = check(AFTER, *args)
    assert (status, out) == (2, "")
    assert err.startswith("ktrace: ") and "Traceback" not in err


def test_a_peer_of_a_real_log(check: Check, tmp_path: Path) -> None:
    (tmp_path / "ktrace.toml").write_text(f'[check.peer."{PEER}"]\nmax_raced = 5\n')
    assert check(BEFORE)[0] == 0
    (tmp_path / "ktrace.toml").write_text(f'[check.peer."{PEER}"]\nmax_raced = 4\n')
    assert check(BEFORE)[0] == 1


# Files


def test_every_file_and_the_exit_status_agree(check: Check, tmp_path: Path) -> None:
    for log, expected in ((BEFORE, 1), (AFTER, 0), (LOGS / "server-cut/trace", 3)):
        files = ("--junit", "j.xml", "--sarif", "s.sarif", "--json", "c.json", "--markdown", "m.md")
        status, out, _ = check(log, *files)
        assert status == expected
        assert f"(exit status {status})" in out
        assert f'"exit_status" value="{status}"' in (tmp_path / "j.xml").read_text()
        runs = json.loads((tmp_path / "s.sarif").read_text())["runs"]
        assert runs[0]["invocations"][0]["exitCode"] == status
        assert json.loads((tmp_path / "c.json").read_text())["check"]["exit_status"] == status
        assert f"(exit status {status})" in (tmp_path / "m.md").read_text()


class Words(HTMLParser):
    """The text of a page, without scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.found.append(data)

    def __str__(self) -> str:
        return " ".join(" ".join(self.found).split())


@pytest.mark.parametrize("baseline", [None, "trace", "small"])
@pytest.mark.parametrize(("log", "status"), [(BEFORE, 1), (AFTER, 0), (BEFORE_LOCAL, 1)])
def test_the_page_says_the_status_and_every_rule(
    check: Check, tmp_path: Path, log: Path, status: int, baseline: str | None
) -> None:
    check(AFTER, "--update-baseline", "small.json")
    against = {"trace": AFTER, "small": "small.json", None: None}[baseline]
    args = () if against is None else ("--baseline", against)
    assert check(log, *args, "--html", "page.html", "--json", "c.json")[0] == status
    words = str(Words((tmp_path / "page.html").read_text(encoding="utf-8")))
    rules = json.loads((tmp_path / "c.json").read_text())["check"]["rules"]
    assert f"exit status {status}" in words
    assert all(rule["title"] in words for rule in rules)
    assert words.count("failed") >= sum(rule["verdict"] == "failed" for rule in rules)


def test_the_summary_of_a_github_job_is_appended_to(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    check(BEFORE)
    check(AFTER, "--markdown", "own.md")
    text = summary.read_text()
    assert text.startswith("# before\n")
    assert text.index("ktrace check: failed") < text.index("ktrace check: passed")
    assert (tmp_path / "own.md").read_text() in text


def test_github_annotations_are_printed_on_request(check: Check) -> None:
    assert "::error" not in check(BEFORE)[1]
    assert (
        "\n::error title=ktrace check failed%3A max_raced = 0,file=" in check(BEFORE, "--github")[1]
    )
    assert "::" not in check(AFTER, "--github")[1]


@pytest.mark.parametrize("option", ["--junit", "--sarif", "--markdown", "--json", "--html"])
def test_an_output_never_replaces_an_input(check: Check, tmp_path: Path, option: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(AFTER.read_bytes())
    for args in (("log", option, "log"), (AFTER, "--baseline", "log", option, "log")):
        assert check(*args)[0] == 2
    assert log.read_bytes() == AFTER.read_bytes()


def test_one_file_for_two_outputs_and_a_missing_folder_are_refused(check: Check) -> None:
    assert check(AFTER, "--junit", "a", "--sarif", "./a")[0] == 2
    assert check(AFTER, "--junit", "no/such/folder.xml")[0] == 2


def test_a_name_that_is_no_text_goes_through_every_output(check: Check, tmp_path: Path) -> None:
    log = tmp_path / os.fsdecode(b"trace-\xff\x1b[31m")
    log.write_bytes(BEFORE.read_bytes())
    files = ("--junit", "j.xml", "--sarif", "s.sarif", "--json", "c.json", "--markdown", "m.md")
    status, out, err = check(log, *files, "--github")
    assert (status, err) == (1, "")
    assert "\x1b" not in out
    for name in files[1::2]:
        assert b"\x1b" not in (tmp_path / name).read_bytes()


def test_a_clean_check_loads_no_scipy_and_no_pandas() -> None:
    code = (
        "import sys; from ktrace.cli import main\n"
        f"assert main(['check', {str(AFTER)!r}, '--baseline', {str(AFTER_LOCAL)!r}]) == 0\n"
        "heavy = {'scipy', 'numpy', 'pandas', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
