"""The page of a check in the browser."""

from pathlib import Path
from typing import Any

import pytest

from ktrace.cli import main
from tests.browser.conftest import FIXTURES, Open
from tests.browser.test_look import WINDOWS, overflow, violations


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("check") / "check.html"
    logs = [str(FIXTURES / f"haproxy-before-{name}/trace") for name in ("delayed", "local")]
    base = ["--baseline", str(FIXTURES / "haproxy-after-delayed/trace")]
    assert main(["check", *logs, *base, "--html", str(path)]) == 1
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("window", WINDOWS)
def test_it_opens_everywhere_and_everybody_can_read_it(
    open_report: Open, text: str, window: str
) -> None:
    page: Any = open_report(text, **WINDOWS[window]).page
    assert overflow(page) <= 0
    page.evaluate("document.querySelectorAll('.finding').forEach(f => { f.open = true })")
    assert violations(page) == []


def test_a_finding_opens_and_can_be_copied(open_report: Open, text: str) -> None:
    allowed = ["clipboard-read", "clipboard-write"]
    page = open_report(text, permissions=allowed).page
    page.click("details.finding summary >> nth=1")
    page.click("details.finding .copy >> nth=1")
    page.wait_for_selector("text=Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("warning[KT102]: ")
