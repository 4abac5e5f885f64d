"""The times that tracefs has of the same events: what one recorder says against the other."""

import re
from dataclasses import dataclass
from pathlib import Path

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


@dataclass
class Times:
    """Nanoseconds, to the microsecond that tracefs prints."""

    state_ns: dict[tuple[int, int, int, int], int]
    call_ns: list[tuple[int, int]]  # tid, time


def read(folder: Path) -> Times:
    times = Times({}, [])
    for line in (folder / "tracefs").read_text().splitlines():
        told = LINE.match(line)
        if told is None:
            continue
        at = int(told[2]) * 1_000_000_000 + int(told[3].ljust(9, "0"))
        if told[4] == "sys_setsockopt":
            times.call_ns.append((int(told[1]), at))
        elif state := STATE.search(told[5]):
            key = (int(state[1]), int(state[2]), STATES[state[3]], STATES[state[4]])
            times.state_ns[key] = at
    return times
