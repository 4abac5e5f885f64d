"""Every output of a check is read back by a reader that knows nothing of ktrace."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from junitparser import Error, Failure, JUnitXml
from markdown_it import MarkdownIt

from ktrace.check import github, junit, markdown, sarif, text
from ktrace.check.result import CheckResult
from tests.check_runs import check, fell_back, load, rule, run, several, tx_only
from tests.judged import plain, raced, safe, unordered

SARIF = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0.json").read_text())
HOSTILE = '\x1b[31m]]><!--|`</pre>\n::error::owned%0A\ud800"&'

CANDIDATES = {
    "failed": several((5, raced), (5, unordered), (5, safe)),
    "passed": several((9, safe), (1, fell_back)),
    "inconclusive": several((9, plain)),
}
BASELINE = several((9, safe), (1, tx_only))


def result_of(status: str) -> CheckResult:
    result = check(CANDIDATES[status], BASELINE if status == "failed" else None)
    assert result.status == status
    return result


def hostile() -> CheckResult:
    """A result whose texts, as if they came from a trace or a file name, try to break out."""
    result = result_of("failed")
    first, *others = result.rules
    evidence = tuple(
        msgspec.structs.replace(line, source=HOSTILE, text=HOSTILE) for line in first.evidence
    )
    first = msgspec.structs.replace(
        first, candidate=HOSTILE, message=HOSTILE, help=HOSTILE, scope=HOSTILE, evidence=evidence
    )
    changes = tuple(
        msgspec.structs.replace(c, message=HOSTILE, name=HOSTILE) for c in result.findings
    )
    return msgspec.structs.replace(
        result, rules=(first, *others), findings=changes, headline=HOSTILE
    )


# Text


@pytest.mark.parametrize("status", CANDIDATES)
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_text_fits(status: str, width: int) -> None:
    lines = text.render(result_of(status), width).splitlines()
    assert all(len(line) <= min(width, 100) for line in lines)
    assert lines[0].startswith(f"check {status}: ")


@pytest.mark.parametrize("status", CANDIDATES)
def test_the_last_line_says_status_exit_status_and_counts(status: str) -> None:
    result = result_of(status)
    last = text.render(result).splitlines()[-1]
    assert last.startswith(f"ktrace: check {status} (exit status {result.exit_status}): rules: ")
    counts = sum(
        int(n) for n in re.findall(r"(\d+) (?:failed|passed|not shown|inconclusive)", last)
    )
    assert counts == len(result.rules)


def test_each_failed_rule_says_its_figures_its_connections_and_the_evidence() -> None:
    result = result_of("failed")
    printed = text.render(result)
    for one in result.rules:
        if one.verdict == "failed":
            block = printed.split(f"failed: {one.title}\n")[1].split("\n\n")[0]
            words = " ".join(block.split())
            assert one.candidate in words and (one.baseline or "") in words
            assert "c1" in words and "strace.log:" in words and one.codes[0] in words


def test_text_is_free_of_control_characters() -> None:
    printed = text.render(hostile()) + text.render(hostile(), colour=False)
    assert all(char == "\n" or char.isprintable() for char in printed)
    assert not any(line.startswith("::") for line in printed.splitlines())


def test_colour_changes_nothing_but_colour() -> None:
    for status in CANDIDATES:
        coloured = text.render(result_of(status), colour=True)
        assert "\033[" in coloured
        assert re.sub(r"\033\[[0-9;]*m", "", coloured) == text.render(result_of(status))


# JUnit


@pytest.mark.parametrize("status", CANDIDATES)
def test_junit(status: str, tmp_path: Path) -> None:
    result = result_of(status)
    file = tmp_path / "junit.xml"
    file.write_text(junit.render(result), encoding="utf-8")
    (suite,) = JUnitXml.fromfile(str(file))
    kinds = {"failed": Failure, "inconclusive": Error}
    assert (suite.tests, suite.skipped) == (len(result.rules), 0)
    for case, one in zip(suite, result.rules, strict=True):
        assert case.name == one.title
        expected = [kinds[one.verdict]] if one.verdict in kinds else []
        assert [type(entry) for entry in case.result] == expected
        for entry in case.result:
            assert one.candidate in entry.message
            assert all(line.text in entry.text for line in one.evidence)
    assert (suite.failures + suite.errors > 0) == (result.exit_status != 0)
    properties = {p.name: p.value for p in suite.properties()}  # type: ignore[no-untyped-call]
    assert properties["exit_status"] == str(result.exit_status)


def test_junit_holds_hostile_text(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(junit.render(hostile()), encoding="utf-8")
    (suite,) = JUnitXml.fromfile(str(file))
    assert suite.tests == len(hostile().rules)


# SARIF


def sarif_of(result: CheckResult, status: str) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(sarif.render(result, run(CANDIDATES[status])))
    jsonschema.Draft4Validator(SARIF).validate(log)
    (one,) = log["runs"]
    return dict(one)


@pytest.mark.parametrize("status", CANDIDATES)
def test_sarif(status: str) -> None:
    result = result_of(status)
    log = sarif_of(result, status)
    assert log["invocations"][0]["exitCode"] == result.exit_status
    known = {entry["id"] for entry in log["tool"]["driver"]["rules"]}
    assert {entry["ruleId"] for entry in log["results"]} <= known
    assert all(entry["partialFingerprints"] for entry in log["results"])
    kinds = [entry["kind"] for entry in log["results"] if entry["ruleId"].startswith("check/")]
    assert kinds.count("fail") == sum(one.verdict == "failed" for one in result.rules)
    assert kinds.count("open") == sum(one.verdict == "inconclusive" for one in result.rules)


def test_sarif_says_where_and_whether_it_is_new() -> None:
    log = sarif_of(result_of("failed"), "failed")
    states = {e["ruleId"]: e["baselineState"] for e in log["results"] if "baselineState" in e}
    assert states == {"KT101": "new", "KT102": "new", "KT301": "absent"}
    (finding,) = [entry for entry in log["results"] if entry["ruleId"] == "KT101"]
    place = finding["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "strace.log"
    assert place["region"]["startLine"] > 100
    assert finding["level"] == "error"


def test_sarif_fingerprints_are_those_of_another_run_of_the_same_build() -> None:
    shifted = [raced(n + 40) for n in range(3)]
    before = json.loads(sarif.render(check(shifted), run(shifted)))["runs"][0]["results"]
    now = sarif_of(result_of("failed"), "failed")["results"]

    def prints(results: list[dict[str, Any]]) -> set[str]:
        return {json.dumps(e["partialFingerprints"]) for e in results if e["ruleId"] == "KT101"}

    assert prints(before) == prints(now) != set()


def test_sarif_of_a_waived_finding_is_suppressed(tmp_path: Path) -> None:
    toml = '[[check.waive]]\ncode = "KT101"\nuntil = 2026-12-31\nreason = "known"\n'
    result = check(CANDIDATES["failed"], rules=load(toml, tmp_path))
    (finding,) = [e for e in sarif_of(result, "failed")["results"] if e["ruleId"] == "KT101"]
    assert finding["suppressions"][0]["status"] == "accepted"
    assert "known" in finding["suppressions"][0]["justification"]


def test_sarif_holds_hostile_text() -> None:
    assert sarif_of(hostile(), "failed")["results"]


# Markdown


class Tags(HTMLParser):
    """Collects the tags of a page and checks that they close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def rendered(result: CheckResult) -> Tags:
    tags = Tags()
    tags.feed(
        MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown.render(result))
    )
    tags.close()
    assert tags.open == []
    return tags


@pytest.mark.parametrize("status", CANDIDATES)
def test_markdown(status: str) -> None:
    result = result_of(status)
    tags = rendered(result)
    rows = 1 + len(result.rules) + (1 + len(result.findings) if result.findings else 0)
    assert tags.seen.count("tr") == rows
    words = " ".join(" ".join(tags.words).split())
    assert f"ktrace check: {status}" in words
    for one in result.rules:
        assert one.title in words and one.candidate in words
    assert text.last_line(result) in words


def test_markdown_of_hostile_text_makes_no_markup() -> None:
    usual = rendered(result_of("failed"))
    assert sorted(set(rendered(hostile()).seen)) == sorted(set(usual.seen))
    assert rendered(hostile()).seen.count("tr") == usual.seen.count("tr")


# Annotations


def annotations(result: CheckResult) -> list[tuple[str, dict[str, str], str]]:
    """Read workflow commands as a runner does."""
    found = []
    for line in github.render(result).splitlines():
        match = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
        assert match, line
        pairs = (pair.split("=", 1) for pair in match[2].split(","))
        found.append((match[1], {k: _unescape(v) for k, v in pairs}, _unescape(match[3])))
    return found


def _unescape(value: str) -> str:
    for code, char in (("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        value = value.replace(code, char)
    return value


@pytest.mark.parametrize("status", CANDIDATES)
def test_annotations(status: str) -> None:
    result = result_of(status)
    shown = [one for one in result.rules if one.verdict != "passed"]
    for (command, properties, message), one in zip(annotations(result), shown, strict=True):
        assert command == {"not shown": "notice"}.get(one.verdict, "error")
        assert properties["title"].endswith(one.title)
        assert message.startswith(one.candidate)
        if one.evidence:
            assert properties["file"] == "strace.log"
            assert properties["line"] == str(one.evidence[0].line)


def test_annotations_of_hostile_text_are_one_command_each() -> None:
    shown = [one for one in hostile().rules if one.verdict != "passed"]
    assert len(annotations(hostile())) == len(shown)


def test_every_output_gives_the_same_status() -> None:
    """The one conclusion, whatever the format."""
    for status in CANDIDATES:
        result = result_of(status)
        code = result.exit_status
        assert f"(exit status {code})" in text.render(result)
        assert f'name="exit_status" value="{code}"' in junit.render(result)
        assert sarif_of(result, status)["invocations"][0]["exitCode"] == code
        assert f"(exit status {code})" in markdown.render(result)
        errors = "::error " in github.render(result)
        assert errors == (code != 0)


def test_a_rule_for_one_peer_says_so(tmp_path: Path) -> None:
    policy = load('[check.peer."10.1.0.3:4043"]\nmax_raced = 1\n', tmp_path)
    result = check(several((2, raced), (9, safe)), rules=policy)
    assert rule(result, "max_raced", "10.1.0.3:4043").verdict == "failed"
    for output in (text.render(result), junit.render(result), github.render(result)):
        assert "max_raced = 1 for 10.1.0.3" in output
