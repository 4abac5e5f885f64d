"""Every output format: what a reader sees, and what a program can rely on."""

import csv
import io
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrace import tables
from ktrace.errors import KtraceError
from ktrace.findings import Report
from ktrace.reporters import REPORTERS, markdown, text, write_atomically
from ktrace.reporters.layout import Paper, shortened, width_of, wrapped
from ktrace.wording import clean, duration, id_runs, listed, percent
from tests.judged import (
    Socket,
    findings,
    plain,
    raced,
    report,
    safe,
    trace_facts,
    unordered,
)
from tests.schema import check_report

HOSTILE = "\x1b]0;own\x07\u202egpj\u2066\r\n\x9b31m"
LONG_PEER = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535"


def mixed() -> Report:
    """A report with most of what a report can have."""
    return report(
        [
            *(raced(n, comm="haproxy") for n in range(1, 6)),
            raced(6, "not-connected", peer=LONG_PEER),
            unordered(7),
            safe(8, tls_version="TLS 1.2", cipher="AES_GCM_128"),
            plain(9),
            plain(10, role="listener"),
            Socket(11)
            .connect()
            .writable()
            .ulp()
            .key()
            .judged("tx-only", "safe", missing=("wait",)),
            Socket(12).connect().writable().ulp().judged("ulp-only", "safe"),
            Socket(13).connect().writable().ulp("ENOENT").judged("fallback", "safe"),
        ],
        trace_facts(
            not_understood=3,
            bad_lines=((0, 7, "expected a thread id or a time"),),
            key_line_count=2,
            key_lines=((0, 12),),
            warnings=("the first line is cut",),
        ),
    )


def hostile() -> Report:
    socket = Socket(1, peer="10.0.0.1:443").connect().ulp("ENOTCONN", (f"evil{HOSTILE}(f+0x1)",))
    socket.call("epoll_wait", f"epoll_wait(4) -> {HOSTILE}", "ok", "ESTABLISHED")
    return report(
        [socket.judged("fallback", "raced", comm=f"ev{HOSTILE}", peer=f"1.2.3.4{HOSTILE}:1")],
        trace_facts(sources=(f"log{HOSTILE}",), warnings=(HOSTILE,)),
    )


# text


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("build", [mixed, hostile, lambda: report([])])
def test_text_fits_the_width(width: int, build: Any) -> None:
    lines = text.render(build(), width=width).splitlines()
    assert all(width_of(line) <= width for line in lines[:-1])
    assert not any(line.endswith(" ") for line in lines)


def test_text_reads_like_this() -> None:
    rendered = text.render(report([raced(1)]))
    assert (
        rendered
        == """\
strace.log: 100 lines, 1.5 s

  connections     1 (1 tried kTLS)
  outcome         1 fallback
  fallback rate    100 %  1 of 1 keyed or fallback    95 % interval 21 to 100 %
  raced            100 %  1 of 1 clients              95 % interval 21 to 100 %
  latent races       0 %  0 of 1 clients              95 % interval 0 to 79 %

  peer           role    conns  kTLS  fallback  raced  fallback rate
  10.1.0.3:4043  client      1     1         1      1  100 %, 21 to 100 %

error[KT101]: TLS ULP set before the connection was established
 --> strace.log:103
  c1  client -> 10.1.0.3:4043   fd 156 of pid 3947, created at line 101

     line   time  call                             result       TCP state
      102      0  connect(156, 10.1.0.3:4043)      EINPROGRESS  SYN_SENT ~
  >   103  +1 ms  setsockopt(156, TCP_ULP, "tls")  ENOTCONN     SYN_SENT ~
      104  +2 ms  epoll_wait(148) -> 156 EPOLLOUT               ESTABLISHED ~

  why: the kernel attaches the tls ULP only to a socket in ESTABLISHED; the
    SYN+ACK had not come yet
  outcome: the connection went on with TLS in user space; the ULP was not tried
    again; at most 1 ms too early
  help: set the ULP after the connection is up (first EPOLLOUT, or just before
    installing the keys); HAProxy up to 3.4.0 has this fault, fixed by its
    commit 96b08e959
  note: ~ is inferred from calls; `sudo ktrace live --pid 3947` observes it

ktrace: 1 of 1 kTLS connections fell back (100 %, 95 % interval 21 to 100 %); 1 raced; 1 error; \
every line understood
"""
    )


def test_wide_text_shows_whole_calls() -> None:
    rendered = text.render(report([raced(1)]), width=100)
    assert 'setsockopt(156, SOL_TCP, TCP_ULP, "tls")' in rendered


@pytest.mark.parametrize("name", ["text", "markdown", "csv"])
def test_hostile_names_are_escaped(name: str) -> None:
    rendered = REPORTERS[name].render(hostile())
    assert isinstance(rendered, str)
    assert all(char == "\n" or char.isprintable() for char in rendered)
    assert "\\x1b" in rendered and "\\u202e" in rendered


def test_text_without_unicode_is_ascii() -> None:
    socket = (
        Socket(1)
        .connect()
        .ulp("ENOTCONN")
        .judged("fallback", "raced", comm="größe", margin_us=-740.0, margin_basis="observed")
    )
    rendered = text.render(report([socket]), unicode=False)
    assert rendered.isascii()
    assert "740 us too early" in rendered
    assert "gr\\xf6\\xdfe" in rendered


def test_color_is_asked_for_and_says_nothing_alone() -> None:
    painted = text.render(mixed(), color=True)
    assert "\x1b[1;31merror[KT101]:\x1b[0m" in painted
    plain_text = painted
    for code in ("1;31", "1;33", "1;36", "1", "2", "31", "33", "32", "0"):
        plain_text = plain_text.replace(f"\x1b[{code}m", "")
    assert plain_text == text.render(mixed())


def test_last_line_counts_what_was_not_seen() -> None:
    last = text.render(mixed()).splitlines()[-1]
    assert last.startswith("ktrace: 6 of 9 kTLS connections fell back (67 %, 95 % interval ")
    assert "; 6 raced; 1 latent race; " in last
    assert last.endswith("3 lines not understood, 1 verdict limited by calls not covered")
    lost = text.render(report([safe()], trace_facts(lost_events=1204, kind="live", lines=None)))
    assert lost.splitlines()[-1].endswith("1 warning; 1,204 events lost")
    live = text.render(report([safe()], trace_facts(kind="live", lines=None)))
    assert live.splitlines()[-1].endswith("no findings; no event lost")


def test_no_ktls_says_so_and_on_what_ground() -> None:
    rendered = text.render(report([plain(1)]))
    assert "No connection tried kTLS (covered: socket, connect, " in " ".join(rendered.split())
    assert rendered.splitlines()[-1].startswith("ktrace: no connection tried kTLS; no findings")
    blind = text.render(report([], trace_facts(covered=("socket", "connect"))))
    assert "not known: setsockopt is not covered" in blind
    assert "No connection tried" not in blind
    assert "ktrace: not known whether any connection tried kTLS; 1 warning" in blind


def test_no_rate_where_nothing_was_decided() -> None:
    rendered = text.render(report([raced(1, "not-connected")]))
    assert "ktrace: 1 connection tried kTLS, none as far as keys or fallback; 1 raced" in rendered


def test_many_peers_show_the_worst_and_count_the_rest() -> None:
    judged = [raced(n, peer=f"10.0.{n // 250}.{n % 250}:443") for n in range(1, 1201)]
    judged += [safe(n, peer=f"10.9.{n // 250}.{n % 250}:443") for n in range(1201, 3001)]
    rendered = text.render(report(judged))
    assert "and 2,990 more peers, 1,190 fallback among them" in rendered
    assert rendered.count(":443") < 30
    assert len(rendered) < 6000


def test_findings_of_the_trace_show_places_and_reasons() -> None:
    rendered = text.render(mixed())
    assert (
        "note[KT903]: 3 lines were not understood\n --> strace.log:7  expected a thread" in rendered
    )
    assert "     and 2 more\n" in rendered


def test_timeline_of_a_connection_shows_all_of_it() -> None:
    socket = Socket(3).connect().ulp("ENOTCONN", ("haproxy(ssl_sock_start+0x4f)",)).writable()
    judged = (
        socket.ulp()
        .key()
        .close()
        .judged(
            "tx-only",
            "raced",
            recovered=True,
            margin_us=-39865.0,
            margin_basis="inferred",
            omitted=22,
        )
    )
    rendered = text.render_connection(judged.connection)
    for row in judged.connection.timeline:
        assert str(row.line) in rendered
    assert "raced, a later attempt succeeded" in rendered
    assert "at most 39.9 ms before ESTABLISHED" in rendered
    assert "haproxy(ssl_sock_start+0x4f)" in rendered
    assert "22 calls left out" in rendered
    assert all(width_of(line) <= 80 for line in rendered.splitlines())


def test_timeline_without_times_and_lines() -> None:
    judged = raced(1)
    rows = tuple(
        msgspec.structs.replace(row, time=None, line=None, duration_us=None)
        for row in judged.connection.timeline
    )
    connection = msgspec.structs.replace(judged.connection, timeline=rows)
    header = text.render_connection(connection, width=100).splitlines()[5]
    assert header.split() == ["call", "result", "TCP", "state"]


# json, ndjson, csv, parquet, markdown


@pytest.mark.parametrize("build", [mixed, hostile, lambda: report([])])
def test_json_is_the_report_and_fits_the_schema(build: Any) -> None:
    built = build()
    rendered = REPORTERS["json"].render(built)
    check_report(rendered)
    assert json.loads(rendered) == json.loads(msgspec.json.encode(built))
    assert msgspec.json.decode(rendered, type=Report).summary == built.summary


def test_json_has_one_connection_a_line() -> None:
    rendered = REPORTERS["json"].render(mixed())
    assert isinstance(rendered, bytes)
    lines = [line for line in rendered.splitlines() if line.startswith(b'  {"id":"c')]
    assert len(lines) == 13


def test_json_survives_names_that_are_no_utf8() -> None:
    rendered = REPORTERS["json"].render(report([safe()], trace_facts(sources=("log\udcff",))))
    check_report(rendered)
    assert json.loads(rendered)["trace"]["sources"] == ["log\ufffd\ufffd\ufffd"]


def test_ndjson_has_the_connections() -> None:
    built = mixed()
    rendered = REPORTERS["ndjson"].render(built)
    assert isinstance(rendered, bytes)
    assert [json.loads(line)["id"] for line in rendered.splitlines()] == [
        connection.id for connection in built.connections
    ]


def test_csv_has_the_scalar_fields() -> None:
    built = mixed()
    rendered = REPORTERS["csv"].render(built)
    assert isinstance(rendered, str)
    rows = list(csv.DictReader(io.StringIO(rendered)))
    assert list(rows[0]) == list(tables.CONNECTION_COLUMNS)
    for row, connection in zip(rows, built.connections, strict=True):
        for name, cell in row.items():
            value = getattr(connection, name)
            assert cell == ("" if value is None else str(value))


def test_csv_of_nothing_is_a_header() -> None:
    assert REPORTERS["csv"].render(report([])) == ",".join(tables.CONNECTION_COLUMNS) + "\n"


def test_scalar_fields_are_all_there() -> None:
    lists = {"ulp", "tx", "rx", "timeline"}
    fields = set(type(mixed().connections[0]).__struct_fields__)
    assert set(tables.CONNECTION_COLUMNS) == fields - lists


def test_frames() -> None:
    built = mixed()
    frame = tables.connections(built)
    assert len(frame) == len(built.connections)
    assert (frame.outcome == "fallback").sum() == built.summary.fallback
    assert frame.margin_us.isna().sum() == sum(c.margin_us is None for c in built.connections)
    assert list(tables.findings(built).code) == [finding.code for finding in built.findings]
    peers = tables.peers(built)
    assert peers.fallback_rate_n.sum() == built.summary.fallback_rate.n
    assert list(tables.connections(report([])).columns) == list(tables.CONNECTION_COLUMNS)


def test_parquet_reads_back() -> None:
    pytest.importorskip("pyarrow")
    import pandas as pd

    built = mixed()
    rendered = REPORTERS["parquet"].render(built)
    assert isinstance(rendered, bytes)
    back = pd.read_parquet(io.BytesIO(rendered))
    pd.testing.assert_frame_equal(back, tables.connections(built), check_dtype=False)


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(KtraceError, match="needs pyarrow") as caught:
        tables.connections_parquet(report([]))
    assert "ktrace[parquet]" in caught.value.help


def test_markdown_shows_findings_and_escapes() -> None:
    rendered = markdown.render(mixed())
    assert "### error KT101: TLS ULP set before the connection was established" in rendered
    assert '| &rarr; | 103 | `setsockopt(156, SOL_TCP, TCP_ULP, "tls")` | ENOTCONN |' in rendered
    evil = (
        Socket(1)
        .connect()
        .ulp("ENOTCONN")
        .judged("fallback", "raced", comm="<img src=x>|`a`", peer="1.2.3.4:1|x")
    )
    rendered = markdown.render(report([evil], trace_facts(warnings=("<b>",))))
    prose = re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", rendered)
    assert "<img" not in prose and "<b>" not in prose.replace("\\<b\\>", "")
    assert "`1.2.3.4:1\\|x`" in rendered


@given(st.text(alphabet="ab `<>|", max_size=40))
def test_markdown_code_spans_cannot_be_ended_from_inside(value: str) -> None:
    span = markdown.code(value)
    fence = re.match("`+", span)
    assert fence is not None
    inner = span[fence.end() : -fence.end()]
    assert fence[0] not in re.findall("`+", inner)
    assert inner.strip(" ") == value.strip(" ")


# the common parts


@pytest.mark.parametrize(
    "name", [name for name in REPORTERS if name not in ("html", "perfetto", "parquet")]
)
def test_chunks_are_what_render_gives(name: str) -> None:
    built = mixed()
    rendered = REPORTERS[name].render(built)
    expected = rendered.encode() if isinstance(rendered, str) else rendered
    assert b"".join(REPORTERS[name].chunks(built)) == expected


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")
    target.chmod(0o640)
    with pytest.raises(RuntimeError), write_atomically(target) as file:
        file.write("half")
        raise RuntimeError
    assert target.read_text() == "old"
    REPORTERS["json"].write(mixed(), target)
    check_report(target.read_bytes())
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.touch()
    with write_atomically(tmp_path / "new", "wb") as file:
        file.write(b"x")
    assert (tmp_path / "new").stat().st_mode == beside.stat().st_mode


def test_links_and_devices_keep_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with write_atomically(tmp_path / "link") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    with write_atomically("/dev/null") as file:
        file.write("x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    wanted = tmp_path / "nowhere" / "report.json"
    with pytest.raises(FileNotFoundError) as caught, write_atomically(wanted):
        pass
    assert caught.value.filename == str(wanted)


@given(st.text())
def test_clean_leaves_nothing_unprintable(value: str) -> None:
    assert clean(value).isprintable()
    if value.isprintable():
        assert clean(value) == value


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.integers(40, 120))
def test_wrapping_loses_no_word_and_fits(value: str, width: int) -> None:
    spelled = Paper(unicode=False).spell(value)
    lines = wrapped(spelled, width, "  ", "    ")
    assert "".join("".join(lines).split()) == "".join(spelled.split())
    assert all(len(line) <= width for line in lines)


@given(st.text(), st.integers(4, 60))
def test_shortening_fits(value: str, size: int) -> None:
    assert width_of(shortened(value, size, "...")) <= size


@pytest.mark.parametrize(
    ("us", "words"),
    [
        (0, "0 µs"),
        (0.5, "0.5 µs"),
        (12, "12 µs"),
        (999.4, "999 µs"),
        (999.6, "1 ms"),
        (39865, "39.9 ms"),
        (999_600, "1 s"),
        (1_310_000, "1.31 s"),
        (9_150_000_000, "9,150 s"),
    ],
)
def test_durations_have_three_digits(us: float, words: str) -> None:
    assert duration(us) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0"),
        (1, "100"),
        (0.5, "50"),
        (0.0456, "4.6"),
        (0.9336, "93.4"),
        (0.0001, "<0.1"),
        (0.9999, ">99.9"),
    ],
)
def test_percent_is_never_rounded_to_an_end(share: float, words: str) -> None:
    assert percent(share) == words


def test_lists_in_words() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert id_runs(["c1", "c2", "c4", "c5", "c6"]) == "c1, c2, c4 to c6"
    assert id_runs([f"c{2 * n}" for n in range(1, 20)], most=2) == "c2, c4 and 17 more"


def test_every_finding_of_a_trace_alone_is_rendered() -> None:
    assert not findings(safe())
    for name in ("text", "markdown"):
        rendered = REPORTERS[name].render(mixed())
        assert isinstance(rendered, str)
        for finding in mixed().findings:
            assert finding.code in rendered
