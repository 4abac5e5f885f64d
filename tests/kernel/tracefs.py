"""The kernel's own ring of trace events: the account that leaves nothing out.

A probe of ftrace is not skipped when another tool's program runs on the same CPU, as a BPF program
can be.  Times are to the microsecond that tracefs prints.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.lines import Call, Done, Line, State, Tls, TlsUlp

STATES = {
    "ESTABLISHED": 1,
    "SYN_SENT": 2,
    "SYN_RECV": 3,
    "FIN_WAIT1": 4,
    "FIN_WAIT2": 5,
    "TIME_WAIT": 6,
    "CLOSE": 7,
    "CLOSE_WAIT": 8,
    "LAST_ACK": 9,
    "LISTEN": 10,
    "CLOSING": 11,
    "NEW_SYN_RECV": 12,
}
LINE = re.compile(r"^ *.*-(\d+) +\[\d+\] \S+ +(\d+)\.(\d+): (\w+)(.*)$")
STATE = re.compile(r"sport=(\d+) dport=(\d+).* oldstate=TCP_(\w+) newstate=TCP_(\w+)")
CALL = re.compile(r"level: (\w+), optname: (\w+)")
RETURNED = re.compile(r"-> (0x\w+)")
FIELD = re.compile(r"(\w+)=(\S+)")
SIGN = 1 << 63


def read(folder: Path) -> Iterator[Line]:
    """Yield what happened, in order."""
    for line in (folder / "tracefs").read_text().splitlines():
        told = LINE.match(line)
        if told is None:
            continue
        tid, at = int(told[1]), int(told[2]) * 1_000_000_000 + int(told[3].ljust(9, "0"))
        if found := _line(tid, at, told[4], told[5]):
            yield found


def _line(tid: int, at: int, event: str, text: str) -> Line | None:
    if event == "inet_sock_set_state":
        state = STATE.search(text)
        return state and State(at, int(state[1]), int(state[2]), STATES[state[3]], STATES[state[4]])
    if event == "sys_setsockopt":
        if call := CALL.search(text):
            return Call(at, tid, int(call[1], 16), int(call[2], 16))
        result = RETURNED.search(text)
        return result and Done(at, tid, (int(result[1], 16) ^ SIGN) - SIGN)
    if event not in ("kt_ulp", "kt_tls"):
        return None
    values = dict(FIELD.findall(text))
    place = int(values["local"]), _swapped(int(values["peer"])), int(values["state"])
    if event == "kt_ulp":
        return TlsUlp(at, tid, *place) if values["name"] == '"tls"' else None
    return Tls(at, tid, *place, int(values["way"]), int(values["head"]))


def _swapped(port: int) -> int:
    return int.from_bytes(port.to_bytes(2, "little"), "big")
