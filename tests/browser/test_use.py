"""Filtering, sorting, searching, opening: by mouse and by keyboard."""

import pytest

from ktrace.findings import Report
from tests import htmlsamples as samples
from tests.browser.conftest import PHONE, Open

RACED = ["c3", "c5", "c9", "c11", "c7"]


def test_buttons_filter_strip_and_table_alike(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report)
    before = opened.page.inner_text(".rates")
    opened.page.click("[data-o=raced]")
    assert opened.strip() == RACED
    assert opened.rows() == RACED
    assert opened.page.inner_text("#shown") == "5 of 41 shown"
    assert opened.fragment() == "#o=raced"
    assert opened.page.inner_text(".rates") == before
    opened.page.click("[data-o='']")
    assert len(opened.rows()) == 22
    assert opened.fragment() == ""


def test_menus_filter_and_count(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report)
    opened.page.click("[data-filter=out] summary")
    opened.page.check("[data-filter=out] input[value=tx-only]")
    assert len(opened.rows()) == 5
    opened.page.check("[data-filter=out] input[value=fallback]")
    assert len(opened.rows()) == 10
    assert opened.fragment() == "#out=tx-only,fallback"
    opened.page.keyboard.press("Escape")
    assert not opened.page.is_visible("[data-filter=out] fieldset")
    opened.page.click("#clear")
    assert len(opened.rows()) == 22


def test_search_finds_errors_peers_and_descriptors(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report)
    opened.page.keyboard.press("/")
    assert opened.focused() == "q"
    opened.page.keyboard.type("enotconn 10.9.0.2")
    opened.until("document.getElementById('shown').textContent[0] === '5'")
    assert opened.rows() == RACED
    assert opened.fragment() == "#q=enotconn 10.9.0.2"
    opened.page.keyboard.press("Escape")
    assert len(opened.rows()) == 22
    opened.page.fill("#q", "no such thing")
    opened.until("document.getElementById('shown').textContent[0] === '0'")
    assert opened.page.inner_text("#paged") == "No connection fits these filters."


def test_heads_sort_both_ways(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report)
    head = opened.page.locator("#conns > thead th[data-sort=id]")
    head.locator("button").click()
    numbers = [int(name[1:]) for name in opened.rows()]
    assert numbers == sorted(numbers)
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert [int(name[1:]) for name in opened.rows()] == numbers[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    assert opened.fragment() == "#sort=-id"
    head.locator("button").click()
    assert opened.rows()[:5] == RACED


def test_margin_sorts_as_a_figure(open_report: Open) -> None:
    report = samples.mixed()
    opened = open_report(report, "#sort=margin")
    margins = {c.id: c.margin_us for c in report.connections}
    known = [m for name in opened.rows() if (m := margins[name]) is not None]
    assert known == sorted(known)


def test_connections_without_ktls_can_be_shown(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report)
    opened.page.click("#tried")
    assert len(opened.rows()) == 41
    assert opened.fragment() == "#all=1"


def test_pages(open_report: Open, crowd_report: Report) -> None:
    opened = open_report(crowd_report, "#all=1")
    assert len(opened.rows()) == 50
    first = opened.rows()
    opened.page.click("#pages [aria-label='Page 3']")
    assert len(opened.rows()) == 21
    assert not set(first) & set(opened.rows())
    assert opened.fragment() == "#all=1&page=3"
    opened.page.click("#pages [aria-label='Page before']")
    assert len(opened.rows()) == 50


def test_a_row_opens_its_timeline_and_closes_it(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report)
    opened.page.click("[id='c=c5'] td.pe")
    assert opened.page.is_visible("[id='t-c5'] svg.tl")
    assert "ENOTCONN" in opened.page.inner_text("[id='t-c5'] table.calls")
    assert "at most 40.9\u202fms too early" in opened.page.text_content("[id='t-c5'] svg.tl")
    assert opened.fragment() == "#c=c5"
    assert opened.page.get_attribute("[id='c=c5'] button", "aria-expanded") == "true"
    opened.page.click("[id='c=c5'] button")
    assert not opened.page.locator("[id='t-c5']").count()
    assert opened.fragment() == ""


def test_bars_and_calls_mark_each_other(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report, "#c=c5")
    opened.page.hover("[id='t-c5'] rect.call.bad")
    hot = opened.page.locator("[id='t-c5'] tr.hot")
    assert "TCP_ULP" in hot.inner_text()
    opened.page.hover("[id='t-c5'] table.calls tbody tr:nth-child(3)")
    assert opened.page.locator("[id='t-c5'] rect.hot").count() == 1


def test_keyboard_alone(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report)
    page = opened.page
    page.focus("[data-time=lin]")
    page.keyboard.press("Tab")
    assert opened.focused() == "strip c3"
    page.keyboard.press("ArrowDown")
    assert opened.focused() == "strip c5"
    assert page.is_visible("#card")
    page.keyboard.press("End")
    assert opened.focused() == f"strip {opened.strip()[-1]}"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert opened.focused() == "table c5"
    assert page.is_visible("[id='t-c5'] svg.tl")
    page.keyboard.press("Escape")
    assert opened.focused() == "strip c5"
    assert not page.locator("[id='t-c5']").count()


def test_the_strip_is_one_tab_stop(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report)
    stops = opened.page.eval_on_selector_all(
        "#chart .row", "rows => rows.filter(row => row.tabIndex === 0).length"
    )
    assert stops == 1
    opened.page.click("[data-o=safe]")
    opened.page.focus("[data-time=lin]")
    opened.page.keyboard.press("Tab")
    assert opened.focused() == f"strip {opened.strip()[0]}"


def test_table_rows_by_keyboard(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report)
    opened.page.focus("[id='c=c3'] button")
    opened.page.keyboard.press("ArrowDown")
    assert opened.focused() == "table c5"
    opened.page.keyboard.press("Enter")
    assert opened.page.is_visible("[id='t-c5']")
    assert opened.focused() == "table c5"
    opened.page.keyboard.press("Escape")
    assert opened.focused() == "table c5"
    assert not opened.page.locator("[id='t-c5']").count()


def test_the_list_of_keys(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report)
    opened.page.keyboard.press("?")
    assert opened.page.is_visible("#keys")
    opened.page.keyboard.press("Escape")
    assert not opened.page.is_visible("#keys")


def test_hovering_shows_the_evidence_clear_of_the_row(
    open_report: Open, proxy_report: Report
) -> None:
    opened = open_report(proxy_report)
    row = opened.page.locator("#chart li[data-id=c14] .row")
    row.hover()
    opened.page.wait_for_selector("#card:not([hidden])")
    text = opened.page.inner_text("#card")
    assert "c14 worked by luck" in text
    assert 'setsockopt(TCP_ULP, "tls") = 0' in text
    assert "before the program could know" in text
    card, marks = opened.page.locator("#card").bounding_box(), row.bounding_box()
    assert card["y"] >= marks["y"] + marks["height"] or card["y"] + card["height"] <= marks["y"]
    opened.page.hover("#card p")
    opened.page.wait_for_timeout(300)
    assert opened.page.is_visible("#card")
    opened.page.mouse.move(5, 5)
    opened.page.wait_for_selector("#card", state="hidden")


def test_a_findings_id_opens_its_connection(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report, "#o=safe")
    opened.page.click("#findings .ids a[href='#c=c7']")
    assert opened.focused() == "table c7"
    assert opened.page.is_visible("[id='t-c7']")
    opened.page.keyboard.press("Escape")
    assert opened.page.evaluate("document.activeElement.textContent") == "c7"


def test_copy_as_text(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report, permissions=["clipboard-read", "clipboard-write"])
    opened.page.click(".copy >> nth=0")
    opened.page.wait_for_selector("text=Copied")
    copied = opened.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("error[KT101]: ")
    assert "help: " in copied


def test_the_fragment_holds_the_whole_view(open_report: Open, proxy_report: Report) -> None:
    wanted = "#o=raced,latent&out=fallback&peer=10.9.0.2:4043&q=ENOTCONN&sort=-margin&c=c5&zero=est"
    opened = open_report(proxy_report, wanted + "&t=lin")
    assert opened.rows() == ["c7", "c11", "c9", "c5", "c3"]
    assert opened.page.is_visible("[id='t-c5']")
    assert opened.page.get_attribute("[data-zero=est]", "aria-pressed") == "true"
    assert opened.page.get_attribute("[data-time=lin]", "aria-pressed") == "true"
    opened.page.click("[data-time='']")
    assert opened.fragment() == wanted


def test_a_nonsense_fragment_does_no_harm(open_report: Open, proxy_report: Report) -> None:
    opened = open_report(proxy_report, "#o=<b>&sort=nothing&page=-3&c=c999&zero=x&t=%E0%A4%A&x")
    assert opened.page.inner_text("#paged") == "No connection fits these filters."
    assert open_report(proxy_report, "#findings").rows()[:5] == RACED


@pytest.mark.parametrize("view", ["#zero=est", "#zero=est&t=lin"])
def test_established_at_zero_lines_up(open_report: Open, view: str) -> None:
    opened = open_report(samples.mixed(), view)
    ticks = opened.page.eval_on_selector_all(
        "#chart .t-up", "ticks => ticks.map(tick => tick.getAttribute('x1'))"
    )
    assert len(ticks) > 10
    assert len(set(ticks)) == 1


def test_linear_time_keeps_lengths_in_proportion(open_report: Open) -> None:
    opened = open_report(samples.mixed(), "#t=lin")
    bars = opened.page.eval_on_selector_all(
        "#chart rect.race",
        "bars => bars.map(b => [b.dataset.e - b.dataset.t, b.getBoundingClientRect().width])",
    )
    ratios = [width / length for length, width in bars]
    assert len(ratios) >= 4
    assert max(ratios) - min(ratios) < 0.02 * max(ratios)


def test_going_back_to_the_first_view_restores_it(open_report: Open) -> None:
    opened = open_report(samples.mixed())
    places = "nodes => nodes.map(n => n.getAttribute('x') || n.getAttribute('x1'))"
    before = opened.page.eval_on_selector_all("#chart [data-t]", places)
    opened.page.click("[data-zero=est]")
    opened.page.click("[data-time=lin]")
    moved = opened.page.eval_on_selector_all("#chart [data-t]", places)
    opened.page.click("[data-zero='']")
    opened.page.click("[data-time='']")
    after = opened.page.eval_on_selector_all("#chart [data-t]", places)
    assert moved != before
    apart = [abs(float(a[:-1]) - float(b[:-1])) for a, b in zip(before, after, strict=True)]
    assert max(apart) < 0.05


def test_on_a_phone_safe_rows_fold(open_report: Open) -> None:
    make = samples.Maker()
    for n in range(10):
        samples.safe(make, 41, 60 + n, 300)
    opened = open_report(samples.report(make), viewport=PHONE)
    assert len(opened.strip()) == 6
    opened.page.click("#more-safe")
    assert len(opened.strip()) == 10


def test_one_connection_comes_opened(open_report: Open) -> None:
    make = samples.Maker()
    samples.raced(make, 4.2, 44.1, 583)
    opened = open_report(samples.report(make))
    assert opened.page.is_visible("[id='t-c1'] svg.tl")
    assert opened.page.evaluate("scrollY") == 0


@pytest.mark.parametrize("made", ["proxy", "mixed"])
def test_what_is_packed_comes_out_as_it_was(
    open_report: Open, proxy_report: Report, made: str
) -> None:
    report = proxy_report if made == "proxy" else samples.mixed()
    opened = open_report(report)
    found = opened.page.evaluate(
        """kt.connections.map(c => [c.id, c.process, c.peer, c.role, c.outcome, c.margin, c.fd,
            c.rows().map(r => [r.line, r.tid, r.call, r.text, r.result, r.took, r.state,
                r.inferred])])"""
    )
    wanted = [
        [
            c.id,
            f"{c.comm} {c.pid}" if c.comm else f"pid {c.pid}",
            c.peer or "\u2013",
            c.role,
            c.outcome,
            c.margin_us,
            c.fd,
            [
                [
                    r.line,
                    r.tid,
                    r.call,
                    r.text,
                    r.result,
                    r.duration_us,
                    r.state_after,
                    r.basis == "inferred",
                ]
                for r in c.timeline
            ],
        ]
        for c in report.connections
    ]
    assert found == wanted
