"""The kernel's account of a run, from what a recorder in it wrote down.

Nothing here knows how ktrace comes to its verdicts: what a connection got follows from the calls
that it saw inside the kernel, with the socket's state at each.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.kernel.lines import Call, Done, Line, State, Tls, TlsUlp

ESTABLISHED = 1
BEFORE = (2, 3, 7, 10)  # SYN_SENT, SYN_RECV, CLOSE, LISTEN
TX, RX = 1, 2
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
    lasted_ns: list[int] = field(default_factory=list)  # of each of these calls that returned

    def of_port(self, port: int) -> dict[str, list[Seen]]:
        """Return the two ends of each connection to a server's port, in the order of coming up."""
        ends: dict[str, list[Seen]] = {"client": [], "server": []}
        for (local, peer), seen in self.seen.items():
            if seen.established_ns is not None and port in (local, peer):
                ends["server" if local == port else "client"].append(seen)
        for one in ends.values():
            one.sort(key=lambda seen: seen.established_ns or 0)
        return ends


def of(lines: Iterable[Line]) -> Account:
    """Return the account that follows from a recorder's lines."""
    reader = _Reader()
    for line in lines:
        reader.add(line)
    return reader.account


class _Reader:
    """Joins the lines of one call by its thread."""

    def __init__(self) -> None:
        self.account = Account()
        self.began: dict[int, int] = {}
        self.open: dict[int, Ulp | Install] = {}

    def add(self, line: Line) -> None:
        match line:
            case State(at, local, peer, old, new):
                self.account.state_ns[local, peer, old, new] = at
                if new == ESTABLISHED:
                    self._seen(local, peer).established_ns = at
            case Call(at, tid):
                self.began[tid] = at
                self.account.call_ns.append((tid, at))
            case TlsUlp(at, tid, local, peer, state):
                ulp = Ulp(self.began.get(tid, at), state)
                self._seen(local, peer).ulp.append(ulp)
                self.open[tid] = ulp
            case Tls(_, tid, local, peer, _, way, key) if way in (TX, RX):
                install = Install(way, key & 0xFFFF, key >> 16)
                self._seen(local, peer).installs.append(install)
                self.open[tid] = install
            case Done(at, tid, result):
                if one := self.open.pop(tid, None):
                    one.result = -result
                if tid in self.began:
                    self.account.lasted_ns.append(at - self.began.pop(tid))

    def _seen(self, local: int, peer: int) -> Seen:
        return self.account.seen.setdefault((local, peer), Seen())
