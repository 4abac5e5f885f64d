"""Capture files: what goes in comes out, and a cut file opens up to its last complete frame."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ktrace.analysis import Options, analyse
from ktrace.errors import KtraceError
from ktrace.events import (
    AcceptDetail,
    CloneDetail,
    CloseRangeDetail,
    Detail,
    DupDetail,
    Endpoint,
    Event,
    FdNote,
    IntDetail,
    KeyDetail,
    Kind,
    OptionDetail,
    Phase,
    Ready,
    SocketDetail,
    StateDetail,
    UlpDetail,
    WaitDetail,
)
from ktrace.sources.capture import DETAILS, MAGIC, Capture, Header, Writer, is_capture
from ktrace.sources.recorded import CaptureTrace

HEADER = Header(1, "0", "live: test", "libbpf", ("socket", "connect", "setsockopt"))
PEER = Endpoint("AF_INET6", "::1", 443)
SOME: tuple[Detail, ...] = (
    PEER,
    SocketDetail("AF_INET", "SOCK_STREAM", "IPPROTO_TCP", cloexec=True),
    AcceptDetail(PEER, True),
    UlpDetail("tls", 4),
    KeyDetail("rx", 0x0304, 52, 56),
    OptionDetail("SOL_TCP", "TCP_FASTOPEN_CONNECT", 1),
    IntDetail(104),
    CloseRangeDetail(3, 2**32 - 1, cloexec=True),
    DupDetail(7, True),
    WaitDetail((Ready(4, None, 0x2004),), hidden=True),
    CloneDetail(files=True, thread=True),
    StateDetail("SYN_SENT", "ESTABLISHED"),
)

notes = st.none() | st.builds(
    FdNote,
    st.sampled_from(["TCP", "TCPv6"]),
    st.none() | st.integers(1, 2**32),
    st.none() | st.text(),
    st.none(),
)
numbers = st.none() | st.integers(-1, 2**31 - 1)
times = st.none() | st.integers(0, 2**62)
events = st.builds(
    Event,
    kind=st.sampled_from(Kind),
    phase=st.sampled_from(Phase),
    tid=st.integers(0, 2**22),
    call=st.text(max_size=8),
    fd=numbers,
    result=numbers,
    errno=st.none() | st.just("ENOTCONN"),
    start_ns=times,
    end_ns=times,
    detail=st.none() | st.sampled_from(SOME),
    note=notes,
    result_note=notes,
    tgid=st.none() | st.integers(1, 2**22),
    comm=st.none() | st.text(max_size=15),
    stack=st.none() | st.lists(st.text(), max_size=3).map(tuple),
    sock=st.none() | st.integers(1, 2**40),
    state=st.none() | st.just("SYN_SENT"),
    told=st.none() | st.booleans(),
)


def write(path: Path, listed: list[Event], *, end: bool = True, lost: int = 0) -> None:
    writer = Writer(str(path), HEADER, force=True)
    for event in listed:
        writer.add(event)
        if len(listed) > 3:
            writer.flush()
    if lost:
        writer.lost(lost)
    if end:
        writer.close()


def test_the_examples_hold_what_the_probe_makes() -> None:
    assert {type(detail) for detail in SOME} <= set(DETAILS)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=50,
)
@given(st.lists(events, max_size=8))
def test_events_come_back_as_they_went_in(tmp_path: Path, listed: list[Event]) -> None:
    path = tmp_path / "capture"
    write(path, listed)
    capture = Capture(str(path))
    assert list(capture.events()) == listed
    assert capture.footer is not None and capture.footer.events == len(listed)
    assert capture.header == HEADER


def test_a_file_cut_anywhere_opens_up_to_its_last_complete_frame(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    one = Event(Kind.EXEC, Phase.WHOLE, 1, "execve", result=0, start_ns=1, end_ns=1)
    write(path, [one] * 5)
    whole = path.read_bytes()
    counts = []
    for size in range(len(MAGIC) + 2, len(whole)):
        path.write_bytes(whole[:size])
        try:
            trace = CaptureTrace(str(path))
        except KtraceError as error:
            assert error.slug == "empty-capture"
            continue
        counts.append(len(list(trace.events())))
        facts = trace.facts()
        assert any("no end" in warning for warning in facts.warnings)
        assert [gap.reason for gap in facts.gaps] == ["truncated"]
    assert counts == sorted(counts) and set(counts) == set(range(6))


def test_a_damaged_frame_ends_the_file(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    write(path, [Event(Kind.EXEC, Phase.WHOLE, 1, "execve")] * 5)
    raw = bytearray(path.read_bytes())
    raw[-30] ^= 0xFF
    path.write_bytes(raw)
    trace = CaptureTrace(str(path))
    assert len(list(trace.events())) <= 5
    assert trace.facts().gaps


def test_losses_are_kept_and_reach_the_report(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    write(path, [Event(Kind.EXEC, Phase.WHOLE, 1, "execve", start_ns=5)], lost=17)
    report = analyse([str(path)], Options())
    assert report.trace.kind == "live" and report.trace.lost_events == 17
    assert "KT901" in {finding.code for finding in report.findings}


def test_the_use_of_io_uring_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    twice = [Event(Kind.IO_URING, Phase.WHOLE, 1, "io_uring_enter", start_ns=5)] * 2
    write(path, twice * 2, end=False)
    trace = CaptureTrace(str(path))
    assert len(list(trace.events())) == 4
    assert sum("io_uring" in warning for warning in trace.facts().warnings) == 1


def test_a_capture_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    path, log = tmp_path / "capture", tmp_path / "log"
    write(path, [])
    log.write_text("1 connect(3, ...) = 0\n")
    assert is_capture(str(path)) and not is_capture(str(log)) and not is_capture("-")


def test_a_newer_format_is_refused_and_an_existing_file_kept(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(MAGIC + b"99\n")
    with pytest.raises(KtraceError, match="format 99"):
        Capture(str(path))
    with pytest.raises(KtraceError, match="exists"):
        Writer(str(path), HEADER)
    assert path.read_bytes() == MAGIC + b"99\n"


def test_several_traces_with_a_capture_among_them_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    write(path, [])
    with pytest.raises(KtraceError, match="together"):
        analyse([str(path), str(path)], Options())
