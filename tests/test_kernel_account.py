"""The kernel suite's own readers: what they take for the kernel's account must be what it wrote."""

from pathlib import Path

import pytest

from tests.kernel import account, tracefs
from tests.kernel.account import RX, TX, Install, Seen, Ulp
from tests.kernel.results import Ulp as Shown
from tests.kernel.results import sockets

# The kernel keeps a peer's port in network order, and so do `ulp` and `tls`: 35091 is port 5001.
RECORDED = """Attaching 6 probes...
begin
state 100 ff1 0 5001 7 2
call 200 71 70 3 6 31 7564404
ulp 210 71 ff1 40000 35091 2 tls
done 220 71 -107
state 300 ff1 40000 5001 2 1
state 310 ff2 5001 40000 3 1
call 400 71 70 3 6 31 7564404
ulp 410 71 ff1 40000 35091 1 tls
done 420 71 0
call 430 71 70 3 282 1 3343107
tls 440 71 ff1 40000 35091 1
done 450 71 0
call 460 72 70 4 282 2 3408644
done 470 72 -92
ulp 480 73 ff9 0 0 7 mptcp


@in[73]: 1
"""
EVENTS = """# tracer: nop
          python3-71      [001] .....   12.000200: sys_setsockopt(fd: 3, level: 6, optname: 1f)
           <idle>-0       [000] ..s2.   12.000301: inet_sock_set_state: family=AF_INET \
protocol=IPPROTO_TCP sport=40000 dport=5001 saddr=10.9.0.1 daddr=10.9.0.2 saddrv6=::ffff:10.9.0.1 \
daddrv6=::ffff:10.9.0.2 oldstate=TCP_SYN_SENT newstate=TCP_ESTABLISHED
"""
MISSED = """          <idle>-0       [000] ..s2.   12.000400: inet_sock_set_state: family=AF_INET \
protocol=IPPROTO_TCP sport=5001 dport=40002 saddr=10.9.0.2 daddr=10.9.0.1 saddrv6=::ffff:10.9.0.2 \
daddrv6=::ffff:10.9.0.1 oldstate=TCP_SYN_RECV newstate=TCP_ESTABLISHED
"""
SHOWN = """0      0      127.0.0.1:5001      127.0.0.1:40000 ino:7 sk:1 <-> \
tcp-ulp-tls version: 1.2 cipher: aes-gcm-256 rxconf: sw txconf: none cubic rto:204
0      0      [fd09:20::1]:40002  [fd09:20::2]:5002 ino:8 sk:2 <-> cubic rto:204
"""


def test_the_recorder_s_lines_become_ends_of_connections(tmp_path: Path) -> None:
    (tmp_path / "recorder").write_text(RECORDED)
    (tmp_path / "recorder.said").write_text("Lost 3 events\nLost 4 events\n")
    (tmp_path / "tracefs").write_text(EVENTS + MISSED)
    read = account.read(tmp_path)
    assert read.lost == 7
    ends = read.of_port(5001)
    attempts = [Ulp(200, 2, 107), Ulp(400, 1, 0)]
    assert ends["client"] == [Seen(300, attempts, [Install(TX, 0x0303, 51)])]
    assert ends["server"] == [Seen(310), Seen(12_000_400_000)]
    assert ends["client"][0].early() and not ends["server"][0].early()
    assert read.state_ns[40000, 5001, 2, 1] == 300
    assert len(read.call_ns) == 4


@pytest.mark.parametrize(
    ("attempts", "installs", "outcome"),
    [
        ([], [], "none"),
        ([107], [], "fallback"),
        ([0], [], "ulp-only"),
        ([0, 17], [], "ulp-only"),
        ([107, 0], [(TX, 0)], "tx-only"),
        ([0], [(RX, 0)], "rx-only"),
        ([0], [(TX, 0), (RX, 0)], "offloaded"),
        ([0], [(TX, 0), (RX, 22)], "tx-only"),
        ([0], [(TX, 22)], "fallback"),
        ([], [(TX, 92)], "fallback"),
    ],
)
def test_the_outcome_follows_from_the_calls(
    attempts: list[int], installs: list[tuple[int, int]], outcome: str
) -> None:
    calls = [Ulp(0, 1, result) for result in attempts]
    keys = [Install(way, 0x0303, 51, result) for way, result in installs]
    assert Seen(0, calls, keys).outcome() == outcome


def test_tracefs_gives_the_same_events_a_second_time(tmp_path: Path) -> None:
    (tmp_path / "tracefs").write_text(EVENTS)
    read = tracefs.read(tmp_path)
    assert read.call_ns == [(71, 12_000_200_000)]
    assert read.state_ns == {(40000, 5001, 2, 1): 12_000_301_000}


def test_ss_shows_ports_and_ulp() -> None:
    first, second = sockets(SHOWN)
    assert first == (5001, 40000, Shown("1.2", "AES_GCM_256", rx=True, tx=False))
    assert second == (40002, 5002, None)
