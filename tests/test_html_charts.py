"""Where things lie in the strip and the margin chart."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrace.findings import Connection
from ktrace.reporters.htmlreport import groups, hover, margin, moments, strip
from ktrace.reporters.htmlreport.scale import LogScale, call_scale, log_scale, signed_scale
from tests import htmlsamples as samples

SCALE = LogScale(100.0, 1e6)
US = st.floats(0, 1e10, allow_nan=False)


def one(connection: Connection) -> tuple[Connection, moments.Moments]:
    return connection, moments.moments(connection)


def looks(connection: Connection) -> list[str]:
    """Return what is painted for a connection, back to front."""
    row = strip.row(connection, moments.moments(connection), SCALE, None)
    return [element.look for element in row.elements]


@given(st.lists(US, min_size=2, max_size=20))
def test_later_never_lies_further_left(times: list[float]) -> None:
    scale = log_scale(times)
    places = [scale.at(t) for t in sorted(times)]
    assert all(a <= b for a, b in pairwise(places))
    assert all(0 <= place <= 100 for place in places)


@given(st.lists(st.floats(-1e9, 1e9, allow_nan=False), min_size=1, max_size=20))
def test_margins_lie_on_their_side_of_zero(margins: list[float]) -> None:
    scale = signed_scale(margins)
    for value in margins:
        place = scale.at(value)
        assert 0 <= place <= 100
        assert (place <= scale.zero) if value < 0 else (place >= scale.zero)


def test_the_axis_starts_at_the_power_of_ten_under_the_smallest_time() -> None:
    scale = log_scale([740.0, 1_210_000.0])
    assert [t.label.replace("\u202f", " ") for t in scale.ticks()] == [
        "0",
        "100 µs",
        "1 ms",
        "10 ms",
        "100 ms",
        "1 s",
    ]
    assert scale.at(100.0) == 7.0


def test_the_axis_of_calls_counts_from_one() -> None:
    assert [tick.label for tick in call_scale([5.0]).ticks()] == ["call 1", "2", "3", "4", "5", "6"]


def test_the_red_bar_is_the_margin() -> None:
    connection, times = one(samples.raced(samples.Maker(), 4.2, 44.1, 583))
    assert times.attempt == 4200.0
    assert times.established == 44100.0
    row = strip.row(connection, times, SCALE, None)
    (bar,) = (e for e in row.elements if e.look == "race")
    assert (bar.t, bar.e) == (4200.0, 44100.0)
    assert bar.e is not None
    assert bar.e - bar.t == pytest.approx(-(connection.margin_us or 0))
    assert row.margin == "\u221239.9\u202fms"
    assert not row.bound


def test_a_race_that_never_came_up_is_an_open_bar_to_the_end() -> None:
    connection, times = one(samples.never_up(samples.Maker(), 3.4, 9.6))
    assert times.established is None
    painted = looks(connection)
    assert "race-open" in painted
    assert "race" not in painted
    assert "up" not in painted
    assert strip.margin_words(connection) == "never up"


def test_painting_order_puts_the_attempt_on_top() -> None:
    painted = looks(samples.recovered(samples.Maker()))
    assert painted == [
        "s-conn hatch",
        "s-up hatch",
        "race-ground",
        "race",
        "up",
        "end",
        "tx",
        "ok",
        "x",
    ]


def test_luck_lies_in_the_dark_until_the_program_is_told() -> None:
    connection, times = one(samples.lucky(samples.Maker(), 0.74, 11.24, 18.5, 360))
    assert times.told == pytest.approx(18_500, abs=1)
    painted = looks(connection)
    assert painted.index("dark") < painted.index("told") < painted.index("luck")
    assert "Set 7.26\u202fms before the program could know" in hover.sentence(connection, times)


def test_a_refused_key_is_struck_through() -> None:
    connection = samples.safe(samples.Maker(), 41, 45, 60, outcome="fallback", tx="EINVAL")
    assert "notx" in looks(connection)


def test_spans_say_what_was_observed() -> None:
    seen = looks(samples.safe(samples.Maker(), 41, 98, 440, observed=True))
    assert "s-up" in seen
    assert not any("hatch" in look for look in seen)
    assert "s-up hatch" in looks(samples.safe(samples.Maker(), 41, 98, 440))


def test_time_zero_of_an_accepted_connection_is_the_return_of_accept() -> None:
    _, times = one(samples.accepted(samples.Maker(), "10.9.0.1:52260", 65.6, 400))
    assert times.established == pytest.approx(0, abs=1)
    assert times.attempt == pytest.approx(65_600, abs=1)


@pytest.mark.parametrize(
    ("ordering", "result", "state", "look"),
    [
        ("late", "ENOTCONN", "CLOSE_WAIT", "late"),
        ("unconnected", "ENOTCONN", "CLOSE", "square"),
        ("unordered", "ENOENT", "SYN_SENT", "noluck"),
        ("safe", "EPERM", "ESTABLISHED", "x"),
        ("unknown", None, "UNKNOWN", "cut"),
    ],
)
def test_each_order_has_its_own_mark(
    ordering: str, result: str | None, state: str, look: str
) -> None:
    make = samples.Maker()
    steps: list[samples.Step] = [
        *samples.opening("10.9.0.2:4043"),
        (5.0, samples.ULP, result, 0.1, state, state),  # type: ignore[list-item]
        (9.0, "close(8)", "ok", 0.1, "CLOSE", "CLOSE"),
    ]
    assert looks(make.add(steps, ordering=ordering, outcome="fallback"))[-1] == look


def test_eexist_after_a_success_is_not_drawn() -> None:
    make = samples.Maker()
    again: samples.Step = (50.0, samples.ULP, "EEXIST", 0.1, samples.UP, samples.UP)
    steps: list[samples.Step] = [
        *samples.opening("10.9.0.2:4043"),
        (20.0, "epoll_wait(4) -> 8 EPOLLOUT", "1", 20.0, samples.SYN, samples.UP),
        (45.0, samples.ULP, "ok", 0.1, samples.UP, samples.UP),
        again,
    ]
    painted = looks(make.add(steps))
    assert painted.count("ok") == 1
    assert "x" not in painted


def test_groups_come_worst_first_and_never_established_last() -> None:
    found = groups.grouped(samples.mixed().connections)
    assert [group.key for group, _ in found] == ["raced", "latent", "safe"]
    raced = found[0][1]
    margins = [c.margin_us for c in raced]
    known = [m for m in margins if m is not None]
    assert known == sorted(known)
    assert margins[len(known) :] == [None] * (len(margins) - len(known))


def test_rows_without_times_lie_by_the_order_of_calls() -> None:
    connection = samples.raced(samples.Maker(timed=False), 4.2, 44.1, 583)
    times = moments.moments(connection, by_order=True)
    assert times.at == tuple(float(n) for n in range(len(connection.timeline)))
    assert times.attempt == 3.0
    assert times.established == 6.0
    assert strip.margin_words(connection, by_order=True) == "order only"


def test_the_margin_chart_has_a_mark_for_each_known_margin() -> None:
    connections = samples.mixed().connections
    chart = margin.margin_chart(connections)
    assert chart is not None
    known = [c for c in connections if c.margin_us is not None]
    assert len(chart.pieces) == len(known)
    left = [piece for piece in chart.pieces if piece.x < chart.zero]
    assert len(left) == sum((c.margin_us or 0) < 0 for c in known)
    assert {piece.kind for piece in left} == {"raced"}
    assert "2 raced connections never came up" in chart.note


def test_many_margins_become_bars() -> None:
    make = samples.Maker()
    for n in range(margin.MARKS_AT_MOST + 1):
        samples.safe(make, 41, 60 + n, 900)
    chart = margin.margin_chart(make.connections)
    assert chart is not None
    assert chart.bars
    assert max(piece.y + piece.h for piece in chart.pieces) == pytest.approx(margin.HEIGHT)


def test_outcomes_add_up() -> None:
    report = samples.mixed()
    table = margin.outcome_table(report.connections)
    assert table is not None
    assert sum(table.totals) == report.summary.attempted
    columns = list(table.columns)
    raced = {word: cells for word, _, cells in table.rows}["raced"]
    assert raced[columns.index("fallback")] == (4, "bad")
    assert raced[columns.index("not connected")] == (2, "bad")
