"""The kernel's own account of a run, from the files that the guest brought back.

Nothing here knows how ktrace comes to its verdicts: what a connection got follows from the calls
that the recorder saw inside the kernel, with the socket's state at each.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from tests.kernel import tracefs

ESTABLISHED = 1
BEFORE = (2, 3, 7, 10)  # SYN_SENT, SYN_RECV, CLOSE, LISTEN
SOL_TLS, TX, RX = 282, 1, 2
Ports = tuple[int, int]  # local, peer


@dataclass
class Ulp:
    at_ns: int  # when setsockopt() began
    state: int
    result: int = 0


@dataclass
class Install:
    way: int
    version: int
    cipher: int
    result: int = 0


@dataclass
class Seen:
    """One end of a connection, as the kernel had it."""

    established_ns: int | None = None
    ulp: list[Ulp] = field(default_factory=list)
    installs: list[Install] = field(default_factory=list)

    def installed(self) -> set[int]:
        return {one.way for one in self.installs if one.result == 0}

    def outcome(self) -> str:
        """What became of a connection that came up."""
        if ways := self.installed():
            return "offloaded" if len(ways) == 2 else {TX: "tx-only", RX: "rx-only"}[ways.pop()]
        if self.installs or (self.ulp and all(one.result for one in self.ulp)):
            return "fallback"
        return "ulp-only" if self.ulp else "none"

    def early(self) -> bool:
        """Say whether an attempt found the socket before ESTABLISHED."""
        return any(one.state in BEFORE for one in self.ulp)


@dataclass
class Account:
    seen: dict[Ports, Seen] = field(default_factory=dict)
    state_ns: dict[tuple[int, int, int, int], int] = field(default_factory=dict)
    call_ns: list[tuple[int, int]] = field(default_factory=list)  # tid, time
    lost: int = 0

    def of_port(self, port: int) -> dict[str, list[Seen]]:
        """Return the two ends of each connection to a server's port, in the order of coming up."""
        ends: dict[str, list[Seen]] = {"client": [], "server": []}
        for (local, peer), seen in self.seen.items():
            if seen.established_ns is not None and port in (local, peer):
                ends["server" if local == port else "client"].append(seen)
        for one in ends.values():
            one.sort(key=lambda seen: seen.established_ns or 0)
        return ends


def read(folder: Path) -> Account:
    """Read what bpftrace wrote."""
    account = Account()
    reader = _Reader(account)
    for line in (folder / "recorder").read_text().splitlines():
        kind, *values = line.split() or [""]  # its maps, at the end, begin with an empty line
        if kind in ("state", "call", "ulp", "tls", "done"):
            getattr(reader, kind)(*values)
    _fill_in(account, tracefs.read(folder))
    said = (folder / "recorder.said").read_text()
    account.lost = sum(int(count) for count in re.findall(r"Lost (\d+) events", said))
    return account


def _fill_in(account: Account, second: tracefs.Times) -> None:
    """Take from tracefs what bpftrace missed: the kernel skips a nested program without a word."""
    for (local, peer, _, new), at in second.state_ns.items():
        seen = account.seen.setdefault((local, peer), Seen())
        if new == ESTABLISHED and seen.established_ns is None:
            seen.established_ns = at


def _swapped(port: str) -> int:
    return int.from_bytes(int(port).to_bytes(2, "little"), "big")


class _Reader:
    """Joins the lines of one call by its thread."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.calls: dict[str, tuple[int, int, int, int]] = {}
        self.open: dict[str, Ulp | Install] = {}

    def _seen(self, local: int, peer: int) -> Seen:
        return self.account.seen.setdefault((local, peer), Seen())

    def state(self, at: str, _sk: str, local: str, peer: str, old: str, new: str) -> None:
        ports = int(local), int(peer)
        self.account.state_ns[(*ports, int(old), int(new))] = int(at)
        if int(new) == ESTABLISHED:
            self._seen(*ports).established_ns = int(at)

    def call(
        self, at: str, tid: str, _pid: str, _fd: str, level: str, name: str, head: str
    ) -> None:
        self.calls[tid] = int(at), int(level), int(name), int(head) & 0xFFFFFFFF
        self.account.call_ns.append((int(tid), int(at)))

    def ulp(
        self, at: str, tid: str, _sk: str, local: str, peer: str, state: str, name: str
    ) -> None:
        if name != "tls":
            return
        one = Ulp(self.calls[tid][0] if tid in self.calls else int(at), int(state))
        self._seen(int(local), _swapped(peer)).ulp.append(one)
        self.open[tid] = one

    def tls(self, _at: str, tid: str, _sk: str, local: str, peer: str, _state: str) -> None:
        _, level, way, head = self.calls.get(tid, (0, 0, 0, 0))
        if level == SOL_TLS and way in (TX, RX):
            one = Install(way, head & 0xFFFF, head >> 16)
            self._seen(int(local), _swapped(peer)).installs.append(one)
            self.open[tid] = one

    def done(self, _at: str, tid: str, result: str) -> None:
        if one := self.open.pop(tid, None):
            one.result = -int(result)
        self.calls.pop(tid, None)
