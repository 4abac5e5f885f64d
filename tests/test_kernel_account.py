"""The kernel suite's own readers: what they take for the kernel's account must be what it wrote."""

from pathlib import Path

import pytest

from tests.kernel import account, bpftrace, tracefs
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
STATE = """           <idle>-0       [000] ..s2.   {at}: inet_sock_set_state: family=AF_INET \
protocol=IPPROTO_TCP sport={local} dport={peer} saddr=10.9.0.1 daddr=10.9.0.2 \
saddrv6=::ffff:10.9.0.1 daddrv6=::ffff:10.9.0.2 oldstate=TCP_{old} newstate=TCP_{new}
"""
# Linux 7.3 and 6.1 print the numbers of a call in two ways.
EVENTS = (
    "# tracer: nop\n"
    + STATE.format(at="0.000100", local=0, peer=5001, old="CLOSE", new="SYN_SENT")
    + """\
          a - b-71      [001] .....   0.000200: sys_setsockopt(fd: 3, level: 6, optname: 1f)
          a - b-71      [001] .....   0.000210: kt_ulp: (tcp_set_ulp+0x4/0x180) local=40000 \
peer=35091 state=2 name="tls"
          a - b-71      [001] .....   0.000220: sys_setsockopt -> 0xffffffffffffff95
"""
    + STATE.format(at="0.000300", local=40000, peer=5001, old="SYN_SENT", new="ESTABLISHED")
    + STATE.format(at="0.000310", local=5001, peer=40000, old="SYN_RECV", new="ESTABLISHED")
    + """\
          a - b-71      [001] .....   0.000400: sys_setsockopt(fd: 3, level: 6, optname: 0x1f)
          a - b-71      [001] .....   0.000410: kt_ulp: (tcp_set_ulp+0x4/0x180) local=40000 \
peer=35091 state=1 name="tls"
          a - b-71      [001] .....   0.000420: sys_setsockopt -> 0x0
          a - b-71      [001] .....   0.000430: sys_setsockopt(fd: 3, level: 0x11a, optname: 1)
          a - b-71      [001] .....   0.000440: kt_tls: (tls_setsockopt+0x4/0xba0 [tls]) \
local=40000 peer=35091 state=1 way=1 head=3343107
          a - b-71      [001] .....   0.000450: sys_setsockopt -> 0x0
            c-72      [001] .....   0.000460: sys_setsockopt(fd: 4, level: 0x11a, optname: 2)
            c-72      [001] .....   0.000470: sys_setsockopt -> 0xffffffffffffffa4
            d-73      [001] .....   0.000480: kt_ulp: (tcp_set_ulp+0x4/0x180) local=0 peer=0 \
state=7 name="mptcp"
"""
)
SHOWN = """0      0      127.0.0.1:5001      127.0.0.1:40000 ino:7 sk:1 <-> \
tcp-ulp-tls version: 1.2 cipher: aes-gcm-256 rxconf: sw txconf: none cubic rto:204
0      0      [fd09:20::1]:40002  [fd09:20::2]:5002 ino:8 sk:2 <-> cubic rto:204
"""


def test_both_recorders_lines_become_the_same_account(tmp_path: Path) -> None:
    (tmp_path / "recorder").write_text(RECORDED)
    (tmp_path / "tracefs").write_text(EVENTS)
    for read, unit in ((bpftrace.read, 1), (tracefs.read, 1000)):
        told = account.of(read(tmp_path))
        ends = told.of_port(5001)
        attempts = [Ulp(200 * unit, 2, 107), Ulp(400 * unit, 1, 0)]
        assert ends["client"] == [Seen(300 * unit, attempts, [Install(TX, 0x0303, 51)])]
        assert ends["server"] == [Seen(310 * unit)]
        assert ends["client"][0].early() and not ends["server"][0].early()
        assert told.state_ns[40000, 5001, 2, 1] == 300 * unit
        calls = ((71, 200), (71, 400), (71, 430), (72, 460))
        assert told.lasted_ns == [20 * unit, 20 * unit, 20 * unit, 10 * unit]
        assert told.call_ns == [(tid, at * unit) for tid, at in calls]


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


def test_ss_shows_ports_and_ulp() -> None:
    first, second = sockets(SHOWN)
    assert first == (5001, 40000, Shown("1.2", "AES_GCM_256", rx=True, tx=False))
    assert second == (40002, 5002, None)
