"""Two namespaces, a veth between them whose delay can be set, and the kernel's own account."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.kernel.cases import LINKS, Case

SERVER, CLIENT = "server", "client"
SIDES = (SERVER, CLIENT)
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
LISTEN = "0A"
holders: dict[str, subprocess.Popen[bytes]] = {}  # a process in each namespace: its /proc shows it


def do(line: str) -> str:
    """Run a command that must succeed, and return what it prints."""
    return subprocess.run(line.split(), check=True, capture_output=True, text=True).stdout


def inside(side: str, line: str) -> str:
    return do(f"nsenter --net=/run/netns/{side} {line}")


def _address(side: str, delay_ms: int, family: int) -> str:
    host = SIDES.index(side) + 1
    return f"10.9.{delay_ms}.{host}" if family == 4 else f"fd09:{delay_ms}::{host}"


def make() -> None:
    """Make the namespaces, and a veth between them for each delay."""
    for side in SIDES:
        do(f"ip netns add {side}")
        inside(side, "ip link set lo up")
        # before any server listens: a listener takes its Fast Open setting from here
        inside(side, "sysctl -qw net.ipv4.tcp_fastopen=3")
        enter = ["nsenter", f"--net=/run/netns/{side}", "sleep", "infinity"]
        holders[side] = subprocess.Popen(enter)
    for delay_ms in LINKS.values():
        if delay_ms is not None:
            _add_link(delay_ms)


def _add_link(delay_ms: int) -> None:
    name = f"v{delay_ms}"
    do(f"ip link add {name} netns {SERVER} type veth peer name {name} netns {CLIENT}")
    for side in SIDES:
        inside(side, f"ip address add {_address(side, delay_ms, 4)}/24 dev {name}")
        inside(side, f"ip address add {_address(side, delay_ms, 6)}/64 dev {name} nodad")
        inside(side, f"ip link set {name} up")
        inside(side, f"tc qdisc add dev {name} root netem delay {delay_ms}ms")


def place(case: Case) -> tuple[str, str]:
    """Return the namespace of the client and the address it connects to."""
    delay_ms = LINKS[case.link]
    if delay_ms is None:
        return SERVER, LOOPBACK[case.family]
    return CLIENT, _address(SERVER, delay_ms, case.family)


def _shown(side: str, file: str) -> str:
    return Path(f"/proc/{holders[side].pid}/net/{file}").read_text()


def tls_stat() -> dict[str, dict[str, int]]:
    """Return the counters of each namespace."""
    return {
        side: {
            name: int(value)
            for name, value in map(str.split, _shown(side, "tls_stat").splitlines())
        }
        for side in SIDES
    }


def listens(port: int) -> bool:
    """Say whether somebody listens on a port of the server's namespace."""
    lines = [line.split() for f in ("tcp", "tcp6") for line in _shown(SERVER, f).splitlines()]
    return any(one[1].endswith(f":{port:04X}") and one[3] == LISTEN for one in lines)


def sockets(port: int, sides: Iterable[str]) -> dict[str, str]:
    """Return what ss says of a port's connections, in these namespaces."""
    chosen = f"( sport = :{port} or dport = :{port} )"
    line = ["ss", "-tieHnO", "state", "established", chosen]
    shown = {}
    for side in sides:
        enter = ["nsenter", f"--net=/run/netns/{side}", *line]
        done = subprocess.run(enter, check=True, capture_output=True, text=True)
        shown[side] = done.stdout
    return shown
