"""The page of a check: both runs on one axis, and what changed between them."""

from pathlib import Path
from typing import Any

import pytest

from ktrace.analysis import analyse
from ktrace.cli import main
from ktrace.findings import Connection, Report
from ktrace.reporters.htmlreport import order
from tests import htmlsamples as samples
from tests.htmlpage import Page, csp_hash

FIXTURES = Path(__file__).parent / "fixtures"
BEFORE = ("haproxy-before-delayed/trace", "haproxy-before-local/trace")
AFTER = ("haproxy-after-delayed/trace", "haproxy-after-local/trace")


def logs(names: tuple[str, ...]) -> list[str]:
    return [str(FIXTURES / name) for name in names]


def checked(tmp_path: Path, *arguments: str) -> Page:
    """Run `ktrace check --html` and read the page."""
    path = tmp_path / "check.html"
    assert main(["check", "--html", str(path), *arguments]) in (0, 1, 3)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Compare the racing HAProxy with the mended one."""
    folder = tmp_path_factory.mktemp("check")
    baseline = folder / "after.json"
    main(["parse", *logs(AFTER), "--json", str(baseline)])
    return checked(folder, *logs(BEFORE), "--baseline", str(baseline))


def written(connection: Connection) -> list[str]:
    return [step.text for step in order.steps(connection)]


def test_the_head_is_the_conclusion(page: Page) -> None:
    text = page.text()
    assert "check failed, exit status 1" in text
    assert "5 of 10 client connections raced" in text
    assert "haproxy-before-delayed/trace, haproxy-before-local/trace: 10 client" in text


def test_each_rule_has_a_row_with_its_evidence(page: Page) -> None:
    text = page.text()
    assert "max_raced = 0" in text
    assert "c3, c5, c7, c9 and 1 more, first at haproxy-before-delayed/trace:1298" in text


def test_strips_hold_both_runs_by_peer(page: Page) -> None:
    text = page.text()
    assert "Baseline b3, safe" in text
    assert "Candidate c3, raced, 42.9\u202fms too early, fallback, 10.9.0.2:4043" in text
    assert text.index("10.9.0.2:4043") < text.index("10.9.0.1:4043")


def test_the_order_of_calls_shows_what_changed(page: Page) -> None:
    text = page.text()
    assert "TCP_ULP = ENOTCONN" in text[text.index("What changed") :]
    assert "5 of 5" in text


def test_rates_and_findings(page: Page) -> None:
    text = page.text()
    assert "latent race" in text
    assert "0 → 5 connections" in text
    assert "new" in text


def test_the_page_is_as_closed_as_the_report(page: Page) -> None:
    policy = page.policy()
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == [csp_hash(text) for text in page.inline["script"]]
    assert policy["style-src"] == [csp_hash(text) for text in page.inline["style"]]
    assert page.attributes("style") == page.attributes("src") == []
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))


def test_without_a_baseline_the_candidate_stands_alone(tmp_path: Path) -> None:
    text = checked(tmp_path, *logs(AFTER)).text()
    assert "check passed, exit status 0" in text
    assert "Baseline b" not in text
    assert "Rates" not in text


def test_nothing_tried_is_inconclusive_and_has_no_strips(tmp_path: Path) -> None:
    log = tmp_path / "plain.log"
    log.write_text(
        "1 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3\n"
        '1 connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.1")}, 16)'
        " = 0\n1 setsockopt(3, SOL_TCP, TCP_NODELAY, [1], 4) = 0\n1 close(3) = 0\n"
    )
    page = checked(tmp_path, str(log))
    assert "check inconclusive, exit status 3" in page.text()
    assert "strips" not in page.attributes("id")


def test_orders_fold_and_say_what_came_first() -> None:
    make = samples.Maker()
    assert written(samples.raced(make, 4.2, 44.1, 583)) == [
        "connect()",
        "TCP_ULP = ENOTCONN",
        "EPOLLOUT",
        "no keys",
    ]
    assert written(samples.safe(make, 41, 98, 440)) == ["connect()", "EPOLLOUT", "TCP_ULP", "keys"]
    assert written(samples.recovered(make)) == [
        "connect()",
        "TCP_ULP = ENOTCONN",
        "POLLOUT",
        "TCP_ULP",
        "keys",
    ]
    (keys,) = [s for s in order.steps(make.connections[1]) if s.text == "keys"]
    assert keys.glyphs == ("tx", "rx")
    folded, others = order.orders([make.connections[1]] * 4 + [make.connections[0]])
    assert [(o.many, o.total) for o in folded] == [(4, 5), (1, 5)]
    assert others == 0


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (BEFORE[0], ["connect()", "TCP_ULP = ENOTCONN", "EPOLLOUT", "no keys"]),
        (AFTER[0], ["connect()", "EPOLLOUT", "TCP_ULP", "keys"]),
    ],
)
def test_orders_of_real_logs(name: str, wanted: list[str]) -> None:
    report: Report = analyse([str(FIXTURES / name)])
    ours: list[Any] = [c for c in report.connections if c.has_ktls]
    assert {tuple(written(c)) for c in ours} == {tuple(wanted)}
