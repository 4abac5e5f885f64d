"""The scanner for large logs of the usual shape finds what the grammar finds."""

import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrace import analysis
from ktrace.analysis import Options
from ktrace.sources.strace import lines, scan, trace, usual
from ktrace.sources.strace.rows import RESUMED, Block, Dialect, Row
from tests.bench import generate

FIXTURES = Path(__file__).parent / "fixtures"
LOGS = sorted(
    p
    for p in FIXTURES.rglob("*")
    if p.is_file() and p.name not in ("README", "gt.txt") and p.suffix not in (".json", ".md")
)
SYMBOLIC = Dialect(symbolic=True)

AGAIN = "-1 EAGAIN (Resource temporarily unavailable)"
RECORDS = [
    'recvmsg(5<TCP:[7]>, {msg_name=NULL, msg_iov=[{iov_base="\\27\\3"..., iov_len=9}]}, 0) = {n}',
    'sendto(12, "= 123 <0.000021>"..., 1400, MSG_NOSIGNAL, NULL, 0) = {n}',
    "recvfrom(5, 0x7f12, 8, 0, NULL, NULL) = " + AGAIN,
    "read(5, 0x7f12, 8) = -1 ECONNRESET (Connection reset by peer)",
    'read(5, "", 8) = 0',
    'readlink("/proc/self/exe", "/usr/sbin/haproxy", 4096) = 17',
    "writev(5, <unfinished ...>",
    "<... writev resumed>) = {n}",
    "<... recvmsg resumed>{msg_namelen=0}, 0) = " + AGAIN,
    "<... read resumed> <unfinished ...>",
    "epoll_wait(4<anon_inode:[eventpoll]>, [{events=EPOLLIN, data=0x5}], 200, 1000) = 1",
    "epoll_wait(4, [{events=EPOLLIN, data=0x5}, {events=EPOLLOUT, data=0x6}], 200, 1) = 2",
    "epoll_wait(4, [{events=EPOLLIN|EPOLLRDHUP, data={u32=5, u64=5}}], 200, 1000) = 1",
    "epoll_wait(4, [{events=EPOLLIN, data=0x5}, ...], 200, 1000) = 40",
    "epoll_wait(4, [], 200, 0) = 0",
    "epoll_wait(4, 0x7ffd1234, 200, 0) = 1",
    "epoll_pwait(4,  <unfinished ...>",
    "<... epoll_pwait resumed>[{events=EPOLLIN, data=0x5}], 200, 1000, NULL, 8) = 1",
    "<... epoll_wait resumed>[{events=EPOLLOUT, data=0x5}], 200, 1000) = 1",
    "epoll_ctl(4, EPOLL_CTL_ADD, 5, {events=EPOLLIN, data=0x5}) = 0",
    "futex(0x7f, FUTEX_WAKE_PRIVATE, 1) = 1",
    "<... futex resumed>) = 0",
    "getpid() = 7",
    "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---",
    "+++ exited with 0 +++",
    "setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4) = -1 ENOTCONN (Transport endpoint)",
    'setsockopt(5, SOL_TLS, TLS_TX, "\\3\\0033\\0"..., 40) = 0',
    "close(5<TCP:[1.1.1.1:1->2.2.2.2:2]>) = 0",
]
ODD = [
    "<... wri",
    'write(1, "connect(", 8) = 8',
    "futex(0x7f, FUTEX_WA674 1795299745.000211 setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4) = 0",
    "Segmentation fault",
    "setsockopt(5, SOL_TCP, TCP_ULP, [7564404]",
    "",
]


def blocks_of(data: bytes, size: int = 1 << 17) -> list[bytes]:
    cuts = [data.rfind(b"\n", 0, min(at + size, len(data))) + 1 for at in range(0, len(data), size)]
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=False) if a < b]


def grammar(data: bytes) -> Block:
    return scan.scan(data, SYMBOLIC, look=False)


def of_both(block: Block | None) -> Block | None:
    """Return what both scanners give; checks the times that only this one reads."""
    if block is None:
        return None
    for row in block.rows:
        epoch = row.time is not None and len(row.time) == 17
        assert row.at_ns == (lines.nanoseconds(row.time.decode()) if epoch and row.time else -1)
    rows = [msgspec.structs.replace(row, at_ns=-1) for row in block.rows]
    return block._replace(data=None, rows=rows)


def check_fds(block: Block, data: bytes) -> None:
    """The descriptors of each quiet part are those that the grammar finds in it."""
    assert block.data is not None
    fds, ends, *_ = block.data
    for row, first, last in zip(block.rows, [0, *ends], ends, strict=False):
        wanted = {int(fd) for _, _, fd in scan.data_calls(data, row.quiet)}
        assert set(fds[first:last]) - {0} == wanted - {0}
    check_lines(data)


def check_lines(data: bytes) -> None:
    """Asked for details, it tells of each data call what the grammar reads there."""
    block = usual.scan_usual(data, symbolic=True, detailed=True)
    assert block is not None and block.data is not None
    fds, ends, where, _ = block.data
    assert where is not None
    for row, first, last in zip(block.rows, [0, *ends], ends, strict=False):
        found = [usual.data_row(data, where, index) for index in range(first, last)]
        read = [bare(msgspec.structs.replace(one, at_ns=-1)) for one in found]
        assert all(bare(one) in read for one in scan.careful_rows(data, row))
        for index, one in zip(range(first, last), found, strict=True):
            number = one.rest.partition(b",")[0].partition(b"<")[0].partition(b")")[0]
            assert fds[index] in (-1, 0) or fds[index] == int(number)
            assert (fds[index] == -1) == (one.form == RESUMED)


def test_a_generated_log_gives_the_same_rows() -> None:
    out = io.StringIO()
    generate.write(out, 20_000)
    blocks = blocks_of(out.getvalue().encode())
    assert len(blocks) > 10
    for data in blocks:
        found = usual.scan_usual(data, symbolic=True)
        assert of_both(found) == grammar(data)
        assert found is not None
        check_fds(found, data)


def bare(row: Row) -> Row:
    return msgspec.structs.replace(row, quiet=(0, 0), quiet_line=0)


heads = st.sampled_from(
    ["{pid:<5} 1795299745.{us:06} ", "22:16:45.{us:06} ", "{pid} 22:16:45.{us:06} "]
)
numbers = st.sampled_from([1, 9, 10, 99, 100, 12345, 1000])
durations = st.sampled_from([" <0.000021>", " <12.000021>", ""])
record = st.tuples(st.sampled_from(RECORDS), numbers, durations, st.integers(100, 999))


@settings(deadline=None)
@given(heads, st.lists(record, min_size=1, max_size=12), st.lists(st.sampled_from(ODD), max_size=1))
def test_no_row_of_the_grammar_is_swallowed(
    head: str, records: list[tuple[str, int, str, int]], odd: list[str]
) -> None:
    log = [
        head.format(pid=pid, us=place) + text.replace("{n}", str(number)) + duration
        for place, (text, number, duration, pid) in enumerate(records)
    ]
    for text in odd:
        log.insert(len(log) // 2, head.format(pid=100, us=7) + text)
    data = "".join(f"{line}\n" for line in log).encode()
    block, wanted = usual.scan_usual(data, symbolic=True), grammar(data)
    found = of_both(block)
    if block is None or found is None:
        return
    assert not odd or odd == [""] or odd == ["setsockopt(5, SOL_TCP, TCP_ULP, [7564404]"]
    rows = [bare(row) for row in found.rows]
    missing = [row for row in map(bare, wanted.rows) if row not in rows]
    assert not missing
    assert found._replace(rows=[]) == wanted._replace(rows=[])
    check_fds(block, data)
    more = [row for row in found.rows if bare(row) not in list(map(bare, wanted.rows))]
    assert all(row.is_data or row.form == RESUMED or row.name == "epoll_pwait" for row in more)


TORN_LINES = [
    "munm <0.000897>",
    'close197   1795299745.000311 openat(AT_FDCWD, "x", O_RDONLY) = 3 <0.000449>',
    "recvm193   1795299745.000311 close(5) = 3 <0.000449>",
    "epoll_wa193   1795299745.000311 close(5) = 3 <0.000449>",
    "exit_gro420   1795299745.000311 +++ exited with 0 +++",
]


@pytest.mark.parametrize("text", ODD[:4] + TORN_LINES)
def test_an_odd_line_leaves_the_block_to_the_grammar(text: str) -> None:
    whole = "674   1795299745.000211 munmap(0x7f12, 4096) = 0 <0.000021>\n"
    whole += "674   1795299745.000211 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---\n"
    whole += "674   1795299745.000211 close(5) = 0 <0.000021>\n"
    odd = f"674   1795299745.000211 {text}\n"
    assert usual.scan_usual(whole.encode(), symbolic=True) is not None
    assert usual.scan_usual((whole + odd + whole).encode(), symbolic=True) is None


@pytest.mark.parametrize("log", LOGS, ids=lambda p: str(p.relative_to(FIXTURES)))
def test_real_logs_give_the_same_report(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = analysis.analyse([str(log)])
    monkeypatch.setattr(trace, "LARGE", 0)
    assert analysis.analyse([str(log)]) == before


TORN = """\
100 1795299745.000001 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 5 <0.000010>
100 1795299745.000002 connect(5, {sa_family=AF_INET, sin_port=htons(443), \
sin_addr=inet_addr("10.0.0.1")}, 16) = 0 <0.000100>
100 1795299745.000003 recvmsg(5,  <unfinished ...>
200 1795299745.000004 sendto(7, "x"..., 123, 0, NULL, 0) = 123 <0.000021>
100 1795299745.000005 <... recvmsg res200 1795299745.000006 futex(0x7f, FUTEX_WAKE) = 123 <0.000021>
100 1795299745.000007 close(5) = 0 <0.000010>
"""


def test_a_torn_second_half_among_the_data_calls_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "trace"
    log.write_text(TORN)
    assert usual.scan_usual(TORN.encode(), symbolic=True, detailed=True) is not None
    before = analysis.analyse([str(log)])
    monkeypatch.setattr(trace, "LARGE", 0)
    after = analysis.analyse([str(log)])
    assert after.connections == before.connections and len(after.connections) == 1


NOTE = "<TCP:[10.0.0.1:443->10.9.0.{}:40000]>"


def of_before(count: int) -> str:
    """Return the log of a server that was attached to: some of its sockets only move data."""
    lines = ["100 1795299745.000001 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 4<TCP:[7]>"]
    for place in range(count):
        fd, note = 5 + place % 7, NOTE.format(place % 7)
        lines.append(f'100 1795299745.0001{place:02} read({fd}{note}, "x"..., 99) = 99')
        if place % 7 == 6:
            lines.append(f"100 1795299745.0002{place:02} close(11{note}) = 0")
    lines.append(f'100 1795299745.000300 read(20{NOTE.format(20)}, "x"..., 99) = 99')
    return "".join(f"{line} <0.000021>\n" for line in lines)


@pytest.mark.parametrize("large", [0, 4])
def test_text_counts_connections_of_which_only_data_is_seen(
    large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "trace"
    log.write_text(of_before(28))
    monkeypatch.setattr(trace, "LARGE", large)
    assert usual.scan_usual(log.read_bytes(), symbolic=True) is not None
    every = analysis.analyse([str(log)])
    counts = analysis.analyse([str(log)], Options(keep="none", timelines=False)).summary
    assert counts == every.summary
    assert counts.connections == counts.unknown == 11  # seven, and one number four times over


EDITS: dict[str, Callable[[list[str], int, int, int], None]] = {}


def edit(change: Callable[[list[str], int, int, int], None]) -> None:
    EDITS[change.__name__] = change


@edit
def lose(lines: list[str], at: int, _other: int, _column: int) -> None:
    del lines[at]


@edit
def move(lines: list[str], at: int, other: int, _column: int) -> None:
    lines[at], lines[other] = lines[other], lines[at]


@edit
def cut(lines: list[str], at: int, _other: int, column: int) -> None:
    lines[at] = lines[at][:column]


@edit
def glue(lines: list[str], at: int, other: int, column: int) -> None:
    lines[at] = lines[at][:column] + lines[other]


@edit
def split(lines: list[str], at: int, _other: int, column: int) -> None:
    lines[at] = f"{lines[at][:column]}\n{lines[at][column:]}"


@edit
def gap(lines: list[str], at: int, other: int, column: int) -> None:
    lines[at] = lines[at][:column] + lines[at][column + other % 40 :]


DAMAGED = [
    (FIXTURES / name / "trace").read_text().splitlines()
    for name in ("haproxy-before-delayed", "mixed-s4", "errno-matrix", "client-wait")
]
places = st.integers(0, 1 << 16)
edits = st.lists(st.tuples(st.sampled_from(sorted(EDITS)), places, places, places), max_size=6)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(DAMAGED), edits)
def test_both_scanners_and_both_ways_to_count_agree_on_damaged_logs(
    log: list[str], damage: list[tuple[str, int, int, int]]
) -> None:
    lines = list(log)
    for name, at, other, column in damage:
        at, other = at % len(lines), other % len(lines)
        EDITS[name](lines, at, other, column % (len(lines[at]) + 1))
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "trace"
        path.write_text("\n".join(lines) + "\n")
        found = []
        for large in (4, 0):
            patch.setattr(trace, "LARGE", large)
            every = analysis.analyse([str(path)])
            counts = analysis.analyse([str(path)], Options(keep="none", timelines=False))
            assert counts.summary == every.summary
            assert counts.trace.not_understood == every.trace.not_understood
            found.append((every.connections, every.findings, every.trace.not_understood))
    assert found[0] == found[1]
