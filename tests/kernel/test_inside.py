"""Where the probe looks into the kernel's functions: io_uring is seen, and nothing twice."""

import pytest

from ktrace.findings import Connection
from tests.kernel.inside import BY_RING, FOREIGN_CALLS, ROUNDS, WANTED, WAYS, Inside

pytestmark = pytest.mark.kernel

RING_SETS_OPTIONS_SINCE = (6, 7)


@pytest.mark.parametrize("script", WANTED)
@pytest.mark.parametrize("way", WAYS)
def test_every_attempt_is_seen_once(inside: Inside, way: str, script: str) -> None:
    if script in BY_RING and inside.release < RING_SETS_OPTIONS_SINCE:
        # the kernel refuses the request before it comes to the socket
        assert not any(c.ulp for c in inside.report(way, script).connections)
        return
    report = inside.report(way, script)
    tried = [c for c in report.connections if c.ulp]
    order, outcome = WANTED[script]
    assert [(c.role, c.ordering, c.outcome) for c in tried] == [("client", order, outcome)] * ROUNDS
    assert [(len(c.ulp), len(c.tx)) for c in tried] == [(1, int(script != "early"))] * ROUNDS
    assert all(_connects(c) == 1 for c in tried)
    assert {c.ulp[0].basis for c in tried} == {"observed"}
    assert {(c.tls_version, c.cipher) for c in tried if c.tx} <= {("TLS 1.3", "AES_GCM_128")}


@pytest.mark.parametrize("way", WAYS)
def test_the_report_says_that_the_ring_is_looked_into(inside: Inside, way: str) -> None:
    warnings = inside.report(way, "calls").trace.warnings
    assert any("made through it are in the capture" in warning for warning in warnings)
    assert not any("are not seen" in warning for warning in warnings)


def test_bcc_sees_the_ulp_of_a_ring_and_claims_nothing_of_the_rest(inside: Inside) -> None:
    report = inside.report("bcc", "data")
    tried = [c for c in report.connections if c.ulp]
    if inside.release < RING_SETS_OPTIONS_SINCE:
        assert not tried
        return
    assert {(c.ordering, c.outcome, len(c.tx)) for c in tried} <= {("unknown", "unknown", 0)}
    if not report.trace.lost_events:
        assert [(len(c.ulp), c.ulp[0].basis) for c in tried] == [(1, "observed")] * ROUNDS
    assert any("made through it are not in the capture" in w for w in report.trace.warnings)


def test_calls_of_a_32_bit_program_are_counted_as_lost(inside: Inside) -> None:
    report = inside.report("fentry", "foreign")
    told = f"{FOREIGN_CALLS} calls of 32-bit programs"
    assert any(told in warning for warning in report.trace.warnings)
    assert report.trace.lost_events >= FOREIGN_CALLS
    assert not report.connections


def _connects(connection: Connection) -> int:
    return sum(row.call == "connect" for row in connection.timeline)
