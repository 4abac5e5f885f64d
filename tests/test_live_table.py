"""What `ktrace live` shows while it runs."""

import io
import os

import msgspec
import pytest

from ktrace.cli.livetable import LiveTable, row
from tests import judged

WIDTHS = (80, 200)


def test_columns_stand_below_each_other_and_fit_a_terminal() -> None:
    raced, plain = (judged.raced().connection, judged.plain(number=12345, role="server").connection)
    lines = [row(connection) for connection in (raced, plain)]
    assert all(len(line) <= 79 for line in lines), lines
    for word in ("outcome", "role"):
        places = {
            line.index(f" {getattr(connection, word)} ")
            for line, connection in zip(lines, (raced, plain), strict=True)
        }
        assert len(places) == 1, lines


def test_a_peer_with_control_characters_is_one_line() -> None:
    connection = msgspec.structs.replace(judged.raced().connection, peer="10.0.0.1:1\n\033[2Jx")
    assert "\n" not in row(connection) and "\033" not in row(connection)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_repaints_within_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert os.environ["COLUMNS"] == str(width)
    screen = io.StringIO()
    table = LiveTable(screen)
    for number in range(1, 30):
        table.connection(judged.raced(number=number).connection)
    table.turn(1234, 56)
    painted = screen.getvalue()
    lines = painted.replace("\033[K", "").replace("\033[J", "").splitlines()
    assert "lost 56" in lines[0] and "/s)" in lines[0]
    assert lines[1].startswith("connections 29: fallback 29")
    assert len(lines) == 3 + 8 and all(len(line) < width for line in lines)
