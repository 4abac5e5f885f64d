"""A real browser for the pages: Debian's chromium, driven by playwright.  Needs no network."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ktrace.analysis import analyse
from ktrace.findings import Report
from ktrace.reporters import html

FIXTURES = Path(__file__).parent.parent / "fixtures"
AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder needs the browser."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A page in the browser, and everything that went wrong in it."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.path = path
        self.faults: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", self._asked)
        page.on("request", self._asked_for)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _asked(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _asked_for(self, request: Any) -> None:
        if request.url.partition("#")[0] != self.path.as_uri():
            self.faults.append(f"request: {request.url}")

    def go(self, fragment: str = "") -> Any:
        """Load the page anew with a fragment."""
        self.page.goto("about:blank")
        self.page.goto(self.path.as_uri() + fragment)
        return self.page

    def until(self, condition: str) -> None:
        """Wait for a condition; playwright's own waiting needs eval(), which the policy forbids."""
        for _ in range(100):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never came true: {condition}")

    def rows(self) -> list[str]:
        """Return the ids that the connections table shows, in its order."""
        ids: list[str] = self.page.eval_on_selector_all(
            "#conns > tbody > tr[data-id]", "rows => rows.map(row => row.dataset.id)"
        )
        return ids

    def strip(self) -> list[str]:
        """Return the ids that the strip shows, in its order."""
        ids: list[str] = self.page.eval_on_selector_all(
            "#chart li[data-id]",
            "items => items.filter(i => i.offsetParent !== null).map(i => i.dataset.id)",
        )
        return ids

    def fragment(self) -> str:
        found: str = self.page.evaluate("decodeURIComponent(location.hash)")
        return found

    def focused(self) -> str:
        """Return the strip row or table row that has the focus, as "strip c1" or "table c1"."""
        found: str = self.page.evaluate(
            """() => {
                const at = document.activeElement;
                const item = at.closest('#chart li'), row = at.closest('#conns tr');
                return item ? `strip ${item.dataset.id}` : row ? `table ${row.dataset.id}` : at.id;
            }"""
        )
        return found


Open = Callable[..., Opened]


@pytest.fixture
def open_report(chromium: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a report in the browser; at the end nothing may have gone wrong in any of them."""
    contexts: list[Any] = []
    opened: list[Opened] = []

    def open_it(report: Report | str, fragment: str = "", **options: Any) -> Opened:
        path = tmp_path / f"report{len(opened)}.html"
        text = report if isinstance(report, str) else html.render(report)
        path.write_text(text, encoding="utf-8")
        context = chromium.new_context(**{"viewport": DESK, **options})
        contexts.append(context)
        page = Opened(context.new_page(), path)
        opened.append(page)
        page.go(fragment)
        return page

    yield open_it
    for page in opened:
        assert page.faults == []
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def proxy_report() -> Report:
    """Two runs of HAProxy, raced and lucky, and one of nginx."""
    names = ("haproxy-before-delayed/trace", "haproxy-before-local/trace", "nginx/nginx.trace")
    return analyse([str(FIXTURES / name) for name in names])


@pytest.fixture(scope="session")
def crowd_report() -> Report:
    """60 clients of one HAProxy; 56 raced."""
    return analyse([str(FIXTURES / "haproxy-before-60-clients/trace")])
