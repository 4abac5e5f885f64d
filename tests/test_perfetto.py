"""The Chrome trace: its format, and that it tells the same story as the report."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ktrace.analysis import analyse
from ktrace.findings import Report
from ktrace.reporters import perfetto
from tests import htmlsamples as samples

FIXTURES = Path(__file__).parent / "fixtures"
LOGS = sorted(
    path
    for path in FIXTURES.glob("*/*")
    if path.name.endswith("trace") and "mixed-s4" not in path.parts
)
# What the Trace Event Format asks of each phase that is used here.
NEEDED = {
    "M": {"name", "pid", "tid", "args"},
    "X": {"name", "cat", "ts", "dur", "pid", "tid", "args"},
    "i": {"name", "cat", "ts", "pid", "tid", "s"},
    "s": {"name", "cat", "ts", "pid", "tid", "id"},
    "f": {"name", "cat", "ts", "pid", "tid", "id", "bp"},
}


def events(report: Report) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(perfetto.render(report))["traceEvents"]
    return found


def tracks(found: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Return the slices of each track."""
    by_track = defaultdict(list)
    for event in found:
        if event["ph"] == "X":
            by_track[event["pid"], event["tid"]].append(event)
    return by_track


def overlaps(slices: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield slices that overlap without one holding the other: they could not be drawn."""
    open_until: list[tuple[float, str]] = []
    for event in sorted(slices, key=lambda e: (e["ts"], -e["dur"])):
        end = event["ts"] + event["dur"]
        while open_until and open_until[-1][0] <= event["ts"] + 0.5:
            open_until.pop()
        if open_until and end > open_until[-1][0] + 0.5:
            yield open_until[-1][1], event["name"]
        open_until.append((end, event["name"]))


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.parent.name)
def test_format(log: Path) -> None:
    found = events(analyse([str(log)]))
    names = {(e["pid"], e["tid"]) for e in found if e["name"] == "thread_name"}
    processes = {e["pid"] for e in found if e["name"] == "process_name"}
    for event in found:
        assert NEEDED[event["ph"]] <= set(event)
        assert event["pid"] in processes
        if event["ph"] != "M":
            assert event["ts"] >= 0
            assert event.get("dur", 0) >= 0
            assert (event["pid"], event["tid"]) in names
    for slices in tracks(found).values():
        assert list(overlaps(slices)) == []


def test_flows_come_in_pairs_and_go_forward() -> None:
    found = events(samples.mixed())
    ends = defaultdict(list)
    for event in found:
        if event["ph"] in "sf":
            ends[event["id"]].append(event)
    tried = [c for c in samples.mixed().connections if c.has_ktls]
    assert len(ends) == sum(c.outcome != "not-connected" for c in tried)
    for start, end in ends.values():
        assert (start["ph"], end["ph"]) == ("s", "f")
        assert start["ts"] <= end["ts"]
        assert start["name"] == end["name"]


def test_a_flow_touches_a_slice_at_both_ends() -> None:
    found = events(samples.mixed())
    by_track = tracks(found)
    for event in found:
        if event["ph"] in "sf":
            slices = by_track[event["pid"], event["tid"]]
            assert any(s["ts"] - 1 <= event["ts"] <= s["ts"] + s["dur"] + 1 for s in slices), event


def test_the_length_of_a_race_is_its_margin() -> None:
    found = events(samples.mixed())
    early = [e for e in found if e["name"] == "too early"]
    assert len(early) == 5
    for event in early:
        assert event["dur"] == pytest.approx(-event["args"]["margin_us"], abs=1)


def test_ulp_and_keys_are_marks() -> None:
    names = [e["name"] for e in events(samples.mixed()) if e["ph"] == "i"]
    assert names.count("ULP ENOTCONN") == 7
    assert "TX key ok" in names
    assert "RX key ok" in names
    assert "TX key EINVAL" in names


def test_states_say_whether_they_were_observed() -> None:
    bases = {e["args"]["basis"] for e in events(samples.mixed()) if e.get("cat") == "tcp"}
    assert bases == {"observed", "inferred"}


def test_without_times_calls_stand_in_order() -> None:
    found = events(analyse([str(FIXTURES / "seeds/haproxy-3.4-mail.strace")]))
    calls = [e for e in found if e.get("cat") == "call"]
    assert [e["ts"] for e in calls] == [1000.0 * n for n in range(len(calls))]


def test_hostile_names_stay_text() -> None:
    make = samples.Maker()
    samples.raced(make, 4.2, 44.1, 583)
    samples.never_up(make, 2, 5, comm='"}]\x1b\u202e', pid=77)
    found = events(samples.report(make))
    names = [e["args"]["name"] for e in found if e["name"] == "process_name"]
    assert '"}]\\x1b\\u202e' in names


def test_pieces_are_the_whole() -> None:
    report = samples.mixed()
    assert b"".join(perfetto.chunks(report)) == perfetto.render(report)
