"""What is lost is counted to the last event, and said; what need not be lost is not."""

import re
from pathlib import Path

import pytest

from tests.live.capturing import capture, parse

pytestmark = pytest.mark.live

BURST = 20_000
SOCKETS = 30_011  # two records each, far more than a ring of 4 KiB can hold between two looks


def test_a_burst_of_connections_loses_nothing(load: Path, tmp_path: Path) -> None:
    done = capture(tmp_path, [], [str(load), "connect", str(BURST), "1"])
    assert re.match(rf"connect {BURST} failed \d+ ", done.program_said)
    summary, trace = done.report.summary, done.report.trace
    assert trace.lost_events == 0
    assert (summary.attempted, summary.listeners) == (BURST, 1)
    assert summary.connections == 2 * BURST  # each seen from both ends
    roles = [connection.role for connection in done.report.connections]
    assert (roles.count("client"), roles.count("server")) == (BURST, BURST)


def test_losses_of_a_tiny_ring_are_exactly_what_is_missing(load: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    whole.mkdir()
    part.mkdir()
    command = [str(load), "sockets", str(SOCKETS)]
    complete = capture(whole, ["--ring-size", "64"], command)
    file = part / "run.capture"
    cut = capture(part, ["--ring-size", "0.004", "--output", str(file)], command)
    assert complete.report.trace.lost_events == 0
    lost = cut.report.trace.lost_events
    assert lost > 0
    assert cut.report.trace.events + lost == complete.report.trace.events
    codes = {finding.code for finding in cut.report.findings}
    assert "KT901" in codes
    assert parse(file) == cut.report
