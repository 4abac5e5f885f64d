"""Two namespaces, a veth between them whose delay can be set, and the kernel's own account."""

import subprocess
from pathlib import Path

from tests.kernel.cases import LINKS, Case

SERVER, CLIENT = "server", "client"
SIDES = (SERVER, CLIENT)
ADDRESS = {(SERVER, 4): "10.9.0.2", (SERVER, 6): "fd09::2"}
ADDRESS |= {(CLIENT, 4): "10.9.0.1", (CLIENT, 6): "fd09::1"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def do(line: str) -> str:
    """Run a command that must succeed, and return what it prints."""
    return subprocess.run(line.split(), check=True, capture_output=True, text=True).stdout


def inside(side: str, line: str) -> str:
    return do(f"nsenter --net=/run/netns/{side} {line}")


def make() -> None:
    for side in SIDES:
        do(f"ip netns add {side}")
        inside(side, "ip link set lo up")
        # before any server listens: a listener takes its Fast Open setting from here
        inside(side, "sysctl -qw net.ipv4.tcp_fastopen=3")
    do("ip link add v0 netns server type veth peer name v0 netns client")
    for side in SIDES:
        inside(side, f"ip address add {ADDRESS[side, 4]}/24 dev v0")
        inside(side, f"ip address add {ADDRESS[side, 6]}/64 dev v0 nodad")
        inside(side, "ip link set v0 up")
        inside(side, "tc qdisc add dev v0 root netem delay 0ms")


def set_delay(link: str) -> None:
    """Set the delay of each direction; loopback has none to set."""
    if LINKS[link] is not None:
        for side in SIDES:
            inside(side, f"tc qdisc replace dev v0 root netem delay {LINKS[link]}ms")


def place(case: Case) -> tuple[str, str]:
    """Return the namespace of the client and the address it connects to."""
    if LINKS[case.link] is None:
        return SERVER, LOOPBACK[case.family]
    return CLIENT, ADDRESS[SERVER, case.family]


def tls_stat() -> dict[str, dict[str, int]]:
    """Return the counters of each namespace."""
    told = {side: inside(side, "cat /proc/net/tls_stat") for side in SIDES}
    return {
        side: {name: int(value) for name, value in map(str.split, text.splitlines())}
        for side, text in told.items()
    }


def sockets(port: int) -> dict[str, str]:
    """Return what ss says of a port's connections, in each namespace."""
    chosen = f"( sport = :{port} or dport = :{port} )"
    line = ["ss", "-tieHnO", "state", "established", chosen]
    shown = {}
    for side in SIDES:
        enter = ["nsenter", f"--net=/run/netns/{side}", *line]
        done = subprocess.run(enter, check=True, capture_output=True, text=True)
        shown[side] = done.stdout
    return shown


def has_loaded(module: str) -> bool:
    return Path("/sys/module", module).is_dir()
