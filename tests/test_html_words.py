"""Figures as the pages write them."""

import pytest

from ktrace.findings import Rate
from ktrace.reporters.htmlreport import words
from ktrace.statistics import wilson


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0"),
        (0.4, "0.40 µs"),
        (740, "740 µs"),
        (999.6, "1.00 ms"),
        (4270, "4.27 ms"),
        (39_900, "39.9 ms"),
        (160_000, "160 ms"),
        (999_700, "1.00 s"),
        (1_310_000, "1.31 s"),
        (150e6, "2.50 min"),
        (3 * 3600e6, "3.00 h"),
        (5000 * 3600e6, "5,000 h"),
    ],
)
def test_durations_have_three_digits_and_a_unit(us: float, text: str) -> None:
    assert words.duration(us) == text.replace(" ", words.NNBSP)


def test_margins_always_show_their_sign() -> None:
    assert words.signed(-39_900) == "\u221239.9\u202fms"
    assert words.signed(740) == "+740\u202fµs"
    assert words.signed(0) == "0"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1, "100"), (0.391, "39.1"), (0.5, "50"), (0.0004, "0.04"), (0.99996, "99.99")],
)
def test_shares_never_round_to_none_or_all(value: float, text: str) -> None:
    assert words.share(value) == text


def test_an_interval_of_nothing_is_empty() -> None:
    assert words.interval(Rate(0, 0, None, None, None)) == ""
    assert words.interval(wilson(9, 23)) == "22.2 to 59.2\u202f%"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("\u202egnp", "\\u202egnp"),
        ("a\nb", "a\\x0ab"),
        ("\u2028", "\\u2028"),
        ("\udc80", "\\udc80"),
        ("39.9\u202fms", "39.9\u202fms"),
        ("日本", "日本"),
    ],
)
def test_names_cannot_move_the_text_around_them(text: str, shown: str) -> None:
    assert words.clean(text) == shown


def test_axis_labels_are_powers_of_ten() -> None:
    labels = [words.round_time(10.0**n).replace(words.NNBSP, " ") for n in range(8)]
    assert labels == ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]
