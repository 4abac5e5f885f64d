"""What a guest brought back from the traffic and the causes, and the job that makes it."""

import functools
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ktrace.findings import Connection, Report
from tests.kernel import boot, bpftrace, tracefs
from tests.kernel.account import Account
from tests.kernel.account import of as account_of
from tests.kernel.guests import Guest

BUILD = boot.ROOT / "build" / "kernel"
# The guest gives up first, since only then its logs come back.
LIMIT_S, TIDY_S = 1500, 120
JOB = f"exec timeout -k 10 {LIMIT_S} python3 -m tests.kernel.guest.main\n"
WAYS = ("record", "live-libbpf", "live-bcc")
STATES = ("CLOSE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")


@dataclass(frozen=True)
class Results:
    guest: Guest
    folder: Path

    @functools.cached_property
    def account(self) -> Account:
        return account_of(tracefs.read(self.folder))

    @functools.cached_property
    def second(self) -> Account:
        """What another recorder has of the same events, but for those it missed."""
        return account_of(bpftrace.read(self.folder))

    def report(self, way: str) -> Report:
        """Return what ktrace made of the run, in one of its ways."""
        return _report(self.folder / f"{way}.json")

    @functools.cached_property
    def traffic(self) -> dict[str, dict[str, Any]]:
        told = json.loads((self.folder / "traffic.json").read_text())
        return {one["case"]: one for one in told}

    @functools.cached_property
    def causes(self) -> dict[str, dict[str, Any]]:
        told = map(json.loads, (self.folder / "causes").read_text().splitlines())
        return {one["cause"]: one for one in told}

    def within(self, way: str, name: str) -> list[Connection]:
        """Return the connections that a report has from the time of a case, without listeners."""
        told = self.traffic[name]
        return [
            c
            for c in self.report(way).connections
            if c.role != "listener" and c.timeline and c.timeline[0].time is not None
            if told["began"] <= c.timeline[0].time <= told["ended"]
        ]

    def of_process(self, way: str, pid: int) -> list[Connection]:
        return [c for c in self.report(way).connections if c.pid == pid]

    def codes(self, way: str, connections: list[Connection]) -> set[str]:
        """Return the findings of these connections, but for those about the trace itself."""
        ids = {c.id for c in connections}
        findings = self.report(way).findings
        return {f.code for f in findings if ids & set(f.connections) and f.code < "KT9"}


@functools.cache
def _report(file: Path) -> Report:
    return msgspec.json.decode(file.read_bytes(), type=Report)


def run(guest: Guest) -> Results:
    """Boot the guest and run the job; what it leaves stays in build/kernel/GUEST."""
    programs = BUILD / "programs"
    programs.mkdir(parents=True, exist_ok=True)
    ktls = build_ktls(programs)
    ran = boot.run_or_again(guest, JOB, {"ktls": ktls}, BUILD / guest.name, LIMIT_S + TIDY_S)
    return Results(guest, ran.folder)


def build_ktls(folder: Path) -> Path:
    """Compile the C client and server, whole, since the guests have other libraries."""
    program = folder / "ktls"
    source = Path(__file__).with_name("guest") / "ktls.c"
    flags = ["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
    subprocess.run(["gcc", *flags, "-o", str(program), str(source)], check=True)
    return program


@dataclass(frozen=True)
class Ulp:
    """What ss says of the tls ULP of a socket."""

    version: str | None
    cipher: str | None
    rx: bool
    tx: bool


def sockets(text: str) -> list[tuple[int, int, Ulp | None]]:
    """Return local port, peer port and ULP of each socket that ss printed (-tieHnO)."""
    found = []
    for line in text.splitlines():
        local, peer = (int(end.rpartition(":")[2]) for end in line.split()[2:4])
        found.append((local, peer, _ulp(line)))
    return found


def _ulp(line: str) -> Ulp | None:
    told = re.search(r"tcp-ulp-tls(?: version: (\S+))?(?: cipher: (\S+))?", line)
    if told is None:
        return None
    cipher = told[2].upper().replace("-", "_") if told[2] else None
    return Ulp(told[1], cipher, "rxconf: sw" in line, "txconf: sw" in line)
