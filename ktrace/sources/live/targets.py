"""Which processes to trace, and which sockets they had before: from /proc."""

import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

from ktrace.errors import KtraceError
from ktrace.sources.live.kernel import text_of

LISTEN = 0x0A
PROC = "/proc"


class Existing(NamedTuple):
    """A TCP socket that was open before the attach; state is the kernel's number."""

    tgid: int
    fd: int
    inode: int
    family: str
    local: str
    peer: str | None
    state: int


class Wanted(NamedTuple):
    """Whom to trace: processes, a name, a cgroup (id and depth), or a command to start."""

    pids: tuple[int, ...] = ()
    comm: str | None = None
    cgroup: tuple[int, int] | None = None
    command: tuple[str, ...] = ()
    follow: bool = True

    @property
    def open_ended(self) -> bool:
        """Processes may join at any time, so that none left is no end."""
        return self.comm is not None or self.cgroup is not None


class Chosen(NamedTuple):
    """The processes to trace from the start (a command is not there yet), and the newest thread of
    the host when they were looked for.
    """

    tgids: set[int]
    newest: int


def choose(wanted: Wanted) -> Chosen:
    """Look for the processes to trace."""
    before = newest()
    found = {process_of(pid) for pid in wanted.pids}
    if wanted.comm is not None:
        found |= set(processes_named(wanted.comm))
    return Chosen(with_children(found) if found and wanted.follow else found, before)


def process_of(pid: int) -> int:
    """Return the process of a process or thread id."""
    try:
        status = text_of(f"{PROC}/{pid}/status")
    except OSError:
        raise KtraceError(
            "no-process", f"no process {pid}", "look the process up with ps or pgrep"
        ) from None
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Tgid:")))


def processes_named(comm: str) -> list[int]:
    """Return the processes whose name (first 15 bytes) is `comm`."""
    wanted = os.fsencode(comm)[:15]
    return [tgid for tgid, comm in _of_all("comm") if comm.rstrip(b"\n") == wanted]


def with_children(pids: set[int]) -> set[int]:
    """Return the processes and all that descend from them."""
    parents = {tgid: int(stat.rpartition(b")")[2].split()[1]) for tgid, stat in _of_all("stat")}
    found = set(pids)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def newest() -> int:
    """Return the id of the thread that was made last, on the whole host."""
    return int(text_of(f"{PROC}/loadavg").split()[-1])


def _of_all(name: str) -> Iterator[tuple[int, bytes]]:
    """Yield what a file in /proc says of each process; a large host has thousands."""
    for entry in os.listdir(PROC):
        if not entry.isdigit():
            continue
        try:
            with open(f"{PROC}/{entry}/{name}", "rb", buffering=0) as file:
                yield int(entry), file.read(4096)
        except OSError:
            continue


def existing_sockets(tgid: int) -> list[Existing]:
    """Return the TCP sockets that a process has now, in its own network namespace."""
    inodes = _socket_inodes(tgid)
    if not inodes:
        return []
    found = []
    for name, family in (("tcp", "AF_INET"), ("tcp6", "AF_INET6")):
        for line in _lines(f"{PROC}/{tgid}/net/{name}")[1:]:
            fields = line.split()
            for fd in inodes.get(int(fields[9]), ()):
                found.append(_existing(tgid, fd, family, fields))
    return sorted(found, key=lambda one: one.fd)


def _existing(tgid: int, fd: int, family: str, fields: list[str]) -> Existing:
    state = int(fields[3], 16)
    peer = None if state == LISTEN else _address(fields[2])
    return Existing(tgid, fd, int(fields[9]), family, _address(fields[1]), peer, state)


def _address(text: str) -> str:
    """Decode an address of /proc/net/tcp: 32-bit words in the host's order, then the port."""
    import socket  # a start need not wait for it where nothing is open yet

    words, port = text.split(":")
    raw = bytes.fromhex(words)
    if sys.byteorder == "little":
        raw = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    number = int(port, 16)
    if len(raw) == 4:
        return f"{socket.inet_ntop(socket.AF_INET, raw)}:{number}"
    return f"[{socket.inet_ntop(socket.AF_INET6, raw)}]:{number}"


def has_ring(tgid: int) -> bool:
    """Tell whether a process has an io_uring."""
    return any(target == "anon_inode:[io_uring]" for _, target in _descriptors(tgid))


def _socket_inodes(tgid: int) -> dict[int, list[int]]:
    inodes: dict[int, list[int]] = {}
    for fd, target in _descriptors(tgid):
        if target.startswith("socket:["):
            inodes.setdefault(int(target[8:-1]), []).append(fd)
    return inodes


def _descriptors(tgid: int) -> Iterator[tuple[int, str]]:
    """Yield each open descriptor with what it stands for."""
    try:
        entries = os.listdir(f"{PROC}/{tgid}/fd")
    except OSError:
        return
    for entry in entries:
        try:
            yield int(entry), os.readlink(f"{PROC}/{tgid}/fd/{entry}")
        except OSError:
            continue


def _lines(path: str) -> list[str]:
    try:
        return text_of(path).splitlines()
    except OSError:
        return []


def is_there(tgid: int) -> bool:
    """Tell whether a process runs (a zombie makes no more calls)."""
    try:
        stat = text_of(f"{PROC}/{tgid}/stat")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def comm_of(tgid: int) -> str | None:
    """Return the name of a process, None where it is gone."""
    try:
        with open(f"{PROC}/{tgid}/comm", "rb") as file:
            raw = file.read()
    except OSError:
        return None
    return raw.rstrip(b"\n").decode(errors="backslashreplace")
