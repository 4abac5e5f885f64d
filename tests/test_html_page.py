"""The race report as a page: what it says, in every state a trace can be in."""

import os
import re
from pathlib import Path

import msgspec
import pytest

from ktrace.analysis import analyse
from ktrace.findings import Finding, Report
from ktrace.reporters import html
from tests import htmlsamples as samples
from tests.htmlpage import Page
from tests.test_seccomp import FILTER, OPTION, opened

FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN = Path(__file__).parent / "golden"
ACTUAL = Path(__file__).parent / "actual"
OWN = 700_000


def rendered(report: Report) -> Page:
    return Page(html.render(report))


def logged(*names: str) -> Report:
    return analyse([str(FIXTURES / name) for name in names])


def finding(code: str, severity: str = "warning") -> Finding:
    base = samples.latent_finding(samples.Maker())
    return msgspec.structs.replace(base, code=code, severity=severity, count=0, connections=())


@pytest.mark.parametrize(
    "name", ["haproxy-before-delayed", "haproxy-before-local", "client-wait", "nginx"]
)
def test_golden(name: str) -> None:
    """What can be read of a page made from a real log.  `KTRACE_GOLDEN=1` accepts a change."""
    (log,) = (p for p in sorted((FIXTURES / name).iterdir()) if p.name.endswith("trace"))
    text = rendered(analyse([str(log)])).text()
    text = re.sub(r"ktrace \d+\.\d+\S*, schema", "ktrace VERSION, schema", text) + "\n"
    text = text.replace("\u202f", " ")
    golden = GOLDEN / f"html-{name}.txt"
    if os.environ.get("KTRACE_GOLDEN") == "1":
        golden.write_text(text, encoding="utf-8")
    if not golden.exists() or golden.read_text(encoding="utf-8") != text:
        ACTUAL.mkdir(exist_ok=True)
        (ACTUAL / golden.name).write_text(text, encoding="utf-8")
        pytest.fail(f"{golden} differs from {ACTUAL / golden.name}")


def test_sections_stand_in_order() -> None:
    page = rendered(samples.mixed())
    ids = [v["id"] for tag, v in page.elements if tag == "section" and "id" in v]
    assert ids == [
        "strip",
        "margin",
        "outcomes",
        "peers",
        "findings",
        "connections",
        "trust",
        "how",
    ]


def test_the_verdict_counts_and_names_the_broken_rule() -> None:
    text = rendered(samples.mixed()).text()
    assert (
        "7 of 14 client connections raced: the TLS ULP was set before the connection was "
        "established." in text
    )
    assert "Another 2 made the same calls in the same order and worked by luck." in text
    assert "5 connections went on with TLS in user space." in text
    assert "95\u202f% interval 26.8 to 73.2\u202f%" in text


def test_every_ktls_connection_has_a_row_a_sentence_and_a_link() -> None:
    report = samples.mixed()
    page = rendered(report)
    rows = [v for tag, v in page.elements if tag == "a" and v.get("class", "").startswith("row")]
    assert len(rows) == report.summary.attempted
    targets = set(page.attributes("id"))
    assert {row["href"].removeprefix("#") for row in rows} <= targets
    assert "c1, raced, 39.9\u202fms too early, fallback, 10.9.0.2:4043" in page.text()


def test_a_finding_shows_its_evidence() -> None:
    text = rendered(samples.mixed()).text()
    for part in (
        "error[KT101]",
        "haproxy:1302",
        "haproxy(ssl_sock_start+0x4f)",
        "sudo ktrace live --pid 333",
        "7 connections: c1 to c4, c7 to c9",
    ):
        assert part in text


def test_copied_text_is_what_the_text_report_prints() -> None:
    from ktrace.reporters import text

    report = logged("haproxy-before-delayed/trace")
    (copied,) = rendered(report).data["texts"]
    assert copied.strip().splitlines()[0].startswith("error[KT101]: ")
    assert copied.strip() in text.render(report, width=100)


def test_without_ktls_the_page_says_what_was_covered_and_how_to_record() -> None:
    make = samples.Maker()
    samples.plain(make)
    page = rendered(samples.report(make))
    text = page.text()
    assert "No connection tried kTLS." in text
    assert "ktrace record -o strace.log -- COMMAND" in text
    assert not {"strip", "margin", "peers"} & set(page.attributes("id"))


def test_where_a_filter_hides_calls_from_strace_the_page_names_what_sees_them(
    tmp_path: Path,
) -> None:
    log = tmp_path / "strace.log"
    log.write_text(opened(5) + FILTER + OPTION + opened(6))
    page = rendered(analyse([str(log)]))
    assert "sudo ktrace live -- COMMAND" in page.text()
    assert "ktrace record -o" not in page.text()
    assert "a call that a seccomp filter refuses may be missing" in page.text()
    assert "strace stops the program at each call" not in page.text()


def test_without_setsockopt_nothing_is_claimed() -> None:
    make = samples.Maker()
    samples.plain(make, outcome="unknown")
    text = rendered(samples.report(make, covered=("connect", "io"))).text()
    assert "The trace cannot tell: it does not show setsockopt() calls." in text
    assert "No connection tried kTLS" not in text


def test_a_clean_run_keeps_its_interval() -> None:
    make = samples.Maker()
    for n in range(23):
        samples.safe(make, 41, 60 + n, 200)
    text = rendered(samples.report(make)).text()
    assert "No client connection raced." in text
    assert "0 of 23 clients" in text
    assert "95\u202f% interval 0 to 14.3\u202f%" in text
    assert "no findings" in text


def test_what_cannot_be_judged_is_no_clean_run() -> None:
    make = samples.Maker()
    samples.safe(make, 41, 60, 200)
    samples.safe(make, 41, 60, 200, ordering="unknown")
    page = rendered(samples.report(make, [finding("KT902")]))
    assert "No race was seen, but 1 connection cannot be judged." in page.text()
    assert "calls not covered" in page.text()


def test_a_clean_run_with_lost_events_is_marked_open() -> None:
    make = samples.Maker()
    samples.safe(make, 41, 60, 200)
    page = rendered(samples.report(make, kind="live", lines=None, lost_events=7))
    assert "7 events lost" in page.text()
    marks = [v["href"] for tag, v in page.elements if tag == "use"]
    assert next(mark for mark in marks if mark.startswith("#m-")) == "#m-open"


def test_only_accepted_connections() -> None:
    make = samples.Maker()
    samples.accepted(make, "10.9.0.1:5000", 60, 200)
    text = rendered(samples.report(make)).text()
    assert "No accepted connection fell back. No client connection tried kTLS." in text
    assert "no connection" in text


def test_one_connection_is_opened_and_its_interval_explained() -> None:
    make = samples.Maker()
    samples.raced(make, 4.2, 44.1, 583)
    page = rendered(samples.report(make))
    assert page.data["open"] == "c1"
    assert "1 connection: the interval is wide" in page.text()
    assert not {"margin", "peers", "outcomes"} & set(page.attributes("id"))


def test_without_times_the_order_is_shown_and_no_length() -> None:
    page = rendered(logged("seeds/haproxy-3.4-mail.strace"))
    text = page.text()
    assert "order only" in text
    assert "call 1" in text
    assert "margin" not in page.attributes("id")
    assert not page.attributes("data-zero")
    assert not page.attributes("data-time")
    assert not re.search(r"\d\u202f(µs|ms|s)\b", text)


def test_no_connections_at_all() -> None:
    page = rendered(samples.report(samples.Maker(), covered=("setsockopt",)))
    assert "The trace shows no TCP connection." in page.text()


def test_a_list_left_out_is_said() -> None:
    report = msgspec.structs.replace(samples.mixed(), connections=())
    text = rendered(report).text()
    assert "The report was made without its list of connections." in text
    assert "7 of 14 client connections raced" in text


def test_beyond_the_cap_the_rest_is_aggregated_and_said() -> None:
    make = samples.Maker()
    for n in range(60):
        samples.safe(make, 41, 60 + n, 300)
    samples.lucky(make, 0.7, 5, 16, 220)
    report = samples.report(make, [samples.latent_finding(make)])
    page = Page(html.render(report, most=30))
    assert len(page.data["connections"]) == 30
    assert "c61" in [row[0] for row in page.data["connections"]]
    assert "30 of 61 connections are held in full" in page.text()
    assert "35 more" in page.text()
    assert "26 of 61 are drawn" in page.text()
    assert page.data["total"] == 61


def test_each_finding_gets_room_for_its_connections() -> None:
    make = samples.Maker()
    for _ in range(40):
        samples.raced(make, 4.2, 44.1, 583)
    for n in range(40):
        samples.safe(make, 41, 60 + n, 300, outcome="tx-only")
    rare = msgspec.structs.replace(finding("KT301"), connections=("c79", "c80"), count=2)
    report = samples.report(make, [samples.race_finding(make), rare])
    page = Page(html.render(report, most=70))
    assert {"c79", "c80"} <= {row[0] for row in page.data["connections"]}


def test_size_of_a_page() -> None:
    make = samples.Maker()
    for n in range(500):
        samples.safe(make, 41, 60 + n / 10, 300, peer=f"10.9.0.{n % 7}:4043")
        samples.raced(make, 4.2, 44.1 + n / 100, 583)
    page = html.render(samples.report(make, [samples.race_finding(make)]))
    assert len(page.encode()) < OWN + 1000 * 1024
    assert len(html.render(samples.mixed()).encode()) < OWN


def test_the_same_report_gives_the_same_page() -> None:
    assert html.render(samples.mixed()) == html.render(samples.mixed())


def test_a_missing_module_is_named_before_the_latent_race() -> None:
    """With ENOENT on every attempt the order of the calls is not what cost kTLS."""
    make = samples.Maker()
    for _ in range(3):
        c = samples.lucky(make, 0.7, 5, 16, 220)
        ulp = tuple(msgspec.structs.replace(a, result="ENOENT") for a in c.ulp)
        make.connections[-1] = msgspec.structs.replace(c, outcome="fallback", ulp=ulp, tx=(), rx=())
    error = msgspec.structs.replace(finding("KT201", "error"), message="the kernel has no tls ULP")
    text = rendered(samples.report(make, [error, samples.latent_finding(make)])).text()
    assert "3 of 3 kTLS connections fell back: the kernel has no tls ULP." in text
    assert "3 client connections did not wait for ESTABLISHED first" in text
    assert "worked by luck" not in text.split("Race strip\nOne row")[0]


def test_a_capture_has_no_column_of_lines() -> None:
    make = samples.Maker()
    c = samples.raced(make, 4.2, 44.1, 583)
    rows = tuple(msgspec.structs.replace(r, line=None) for r in c.timeline)
    make.connections[0] = msgspec.structs.replace(c, timeline=rows)
    page = rendered(samples.report(make, [samples.race_finding(make)], kind="live", lines=None))
    classes = [values.get("class", "") for tag, values in page.elements if tag == "table"]
    assert [name for name in classes if name.startswith("calls")] == [
        "calls unlined",
        "calls took unlined",
    ]
    assert "num ln" not in page.attributes("class")


def test_states_of_a_capture_come_from_the_kernel() -> None:
    """connect() that returned after ESTABLISHED says so; the span begins where the kernel says."""
    from ktrace.reporters.htmlreport.moments import moments

    make = samples.Maker()
    steps: list[samples.Step] = [
        (0.0, "connect(8, 10.9.0.1:4043)", "EINPROGRESS", 0.12, samples.UP, samples.UP),
        (0.012, samples.STATE, None, None, samples.OFF, samples.SYN),
        (0.069, samples.STATE, None, None, samples.SYN, samples.UP),
        (0.163, samples.ULP, "ok", 0.005, samples.UP, samples.UP),
        (1.0, "close(8)", "ok", 0.1, samples.UP, samples.FIN),
    ]
    times = moments(make.add(steps, True, ordering="unordered", margin_us=94.0))
    states = [(span.state, span.basis) for span in times.spans]
    assert states[:2] == [("SYN_SENT", "observed"), ("ESTABLISHED", "observed")]
    assert times.spans[0].start == pytest.approx(12, abs=1)
    assert times.established == pytest.approx(69, abs=1)
