"""Every kind of page in every kind of window: no fault, no overflow, usable by everybody."""

from typing import Any

import pytest

from ktrace.analysis import analyse
from ktrace.findings import Report
from ktrace.reporters import html
from tests import htmlsamples as samples
from tests.browser.conftest import AXE, FIXTURES, PHONE, Open
from tests.test_html_safety import HOSTILE, poisoned

LOGS = (
    "haproxy-before-delayed/trace",
    "haproxy-before-local/trace",
    "client-wait/trace",
    "errno-matrix/trace",
    "nginx/nginx.trace",
    "no-module/trace",
    "seeds/haproxy-3.4-mail.strace",
    "seeds/openssl-3.0-post.strace",
)
WINDOWS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": PHONE},
    "narrow": {"color_scheme": "light", "viewport": {"width": 780, "height": 700}},
}


def overflow(page: Any) -> float:
    """Return by how many pixels the page is wider than its window."""
    wider: float = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return wider


def violations(page: Any) -> list[str]:
    """Return what axe-core finds to be serious or critical."""
    if not AXE.exists():
        pytest.skip("no axe-core (npm ci --prefix tests/browser)")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{v['id']}: {node['target']} {node['failureSummary']}"
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("log", LOGS)
def test_real_logs(open_report: Open, log: str, window: str) -> None:
    opened = open_report(analyse([str(FIXTURES / log)]), **WINDOWS[window])
    assert overflow(opened.page) <= 0
    assert opened.page.is_visible("h1")


@pytest.mark.parametrize("window", WINDOWS)
def test_accessibility(open_report: Open, proxy_report: Report, window: str) -> None:
    opened = open_report(proxy_report, "#c=c5", **WINDOWS[window])
    opened.page.evaluate("document.querySelectorAll('.finding').forEach(f => { f.open = true })")
    assert violations(opened.page) == []


def test_accessibility_of_what_opens(open_report: Open) -> None:
    page = open_report(samples.mixed()).page
    page.click("[data-filter=peer] summary")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.hover("#chart li[data-id=c1] .row")
    page.wait_for_selector("#card:not([hidden])")
    assert violations(page) == []
    page.keyboard.press("?")
    assert violations(page) == []


def test_accessibility_without_times(open_report: Open) -> None:
    opened = open_report(analyse([str(FIXTURES / "seeds/haproxy-3.4-mail.strace")]))
    assert violations(opened.page) == []


def test_the_first_raced_row_is_seen_without_scrolling(
    open_report: Open, proxy_report: Report
) -> None:
    box = open_report(proxy_report).page.locator("#chart li").first.bounding_box()
    assert box["y"] < 640


def test_controls_are_large_enough(open_report: Open) -> None:
    page = open_report(samples.mixed()).page
    small = page.eval_on_selector_all(
        "button, summary, .chip, input:not([type=checkbox])",
        """nodes => nodes.filter(n => n.offsetParent !== null)
            .map(n => [n.textContent.trim(), n.getBoundingClientRect()])
            .filter(([, box]) => box.height < 23.5 || box.width < 23.5)
            .map(([text, box]) => `${text} ${box.width}x${box.height}`)""",
    )
    assert small == []


def test_text_is_never_tiny(open_report: Open) -> None:
    page = open_report(samples.mixed(), "#c=c1").page
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter(n => !n.children.length && n.textContent.trim() && n.getClientRects().length)
            .map(n => parseFloat(getComputedStyle(n).fontSize))"""
    )
    assert min(sizes) >= 11


def test_without_a_script_everything_can_be_read(open_report: Open, proxy_report: Report) -> None:
    page = open_report(proxy_report, java_script_enabled=False).page
    text = page.inner_text("body")
    for part in (
        "5 of 10 client connections raced",
        "Race strip",
        "What became of them",
        "Findings",
        "How far to trust this",
        "Timelines",
    ):
        assert part in text
    for control in (".seg", "#q", ".menu", ".copy", "#pages", "#keys-open"):
        assert not page.is_visible(control), control
    page.click("noscript details.finding >> nth=0")
    assert page.is_visible("noscript table.calls >> nth=0")
    page.click("#chart li[data-id=c7] .row")
    assert page.evaluate("location.hash") == "#c=c7"


def test_print_is_light_and_opens_the_findings(open_report: Open, proxy_report: Report) -> None:
    page = open_report(proxy_report, color_scheme="dark").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert not page.is_visible(".seg")
    assert page.locator("details.finding[open]").count() == len(proxy_report.findings)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.finding[open]").count() == 1
    assert page.pdf().startswith(b"%PDF")


def test_forced_colours_keep_edges_and_marks(open_report: Open) -> None:
    page = open_report(samples.mixed(), forced_colors="active").page
    assert page.evaluate("matchMedia('(forced-colors: active)').matches")
    edge = page.evaluate("getComputedStyle(document.querySelector('#chart rect.s-up')).stroke")
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert edge not in ("none", ground)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_run_nothing(open_report: Open, text: str) -> None:
    opened = open_report(poisoned(text), "#c=c1")
    assert opened.page.is_visible("[id='t-c1']")
    opened.page.hover("#chart li[data-id=c2] .row")
    opened.page.wait_for_selector("#card:not([hidden])")
    assert overflow(opened.page) <= 0
    assert opened.page.locator("img, iframe, object").count() == 0


def test_the_policy_is_in_force(open_report: Open) -> None:
    opened = open_report(samples.mixed())
    ran = opened.page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
            const shape = document.createElement('p');
            shape.setAttribute('style', 'color: red');
            return [window.ran === true, shape.style.color];
        }"""
    )
    assert ran == [False, ""]
    assert all("Content Security Policy" in fault for fault in opened.faults)
    assert len(opened.faults) >= 1
    opened.faults.clear()


def test_many_connections_open_and_scroll(open_report: Open) -> None:
    """100,000 connections, of which 2,000 are held in full."""
    make = samples.Maker()
    for n in range(25_000):
        samples.raced(make, 3 + n % 7, 41 + n % 11, 400)
        samples.safe(make, 41, 60 + n % 90, 300, peer=f"10.9.{n % 3}.1:4043")
        samples.safe(make, 41, 80 + n % 90, 300, outcome="tx-only")
        samples.plain(make)
    text = html.render(samples.report(make, [samples.race_finding(make)]))
    assert len(text.encode()) < 700_000 + 2000 * 1024
    opened = open_report(text)
    page = opened.page
    assert page.inner_text("#shown") == "2,000 of 100,000 shown"
    assert page.locator("#chart .fold").count() >= 2
    page.mouse.wheel(0, 6000)
    opened.until("scrollY > 2000")
    page.fill("#q", "c12")
    opened.until("!document.getElementById('shown').textContent.startsWith('2,000')")
    page.click("#conns > tbody > tr >> nth=0")
    assert page.is_visible("svg.tl")
