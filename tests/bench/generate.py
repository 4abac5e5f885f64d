"""Writes the log of a proxy as `strace -f -ttt -T -yy` would: deterministic, with its truth.

Many threads take clients, connect to backends and set kTLS up on them; one line in ten opens,
connects, configures, watches or closes a socket, the rest moves data.  Some calls are split by
calls of other threads.
"""

import argparse
import heapq
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple, TextIO

THREADS = 16
OPEN_A_THREAD = 12  # sessions that a thread serves at once
ROUNDS = (12, 44)  # data rounds of a session, two or three lines each
RACED, UNORDERED, SPLIT, WAIT_SPLIT = 0.08, 0.02, 0.04, 0.35
LEFT_OPEN = 16_500  # lines that the sessions open at the end still need
BACKENDS = [f"10.1.{i // 8}.{i % 8 + 3}" for i in range(40)]
EPOCH_US = 1_795_299_745_000_000
NONE = "NULL"


class Step(NamedTuple):
    """A call cut where strace writes its arguments: `entry` at once, `exit` when it returns."""

    name: str
    entry: str
    exit: str
    result: str


@dataclass
class Truth:
    """What the generated log holds; names as in the JSON summary."""

    lines: int = 0
    connections: int = 0
    listeners: int = 1
    attempted: int = 0
    offloaded: int = 0
    fallback: int = 0
    none: int = 0
    raced: int = 0
    unordered: int = 0


@dataclass
class World:
    """What all threads share: descriptors, inodes, ports, the texts of payloads."""

    rng: random.Random
    truth: Truth
    free: list[int] = field(default_factory=lambda: list(range(40, 4000)))
    inode: int = 46_999
    port: int = 20_000

    def take_fd(self) -> int:
        return heapq.heappop(self.free)

    def give_fd(self, fd: int) -> None:
        heapq.heappush(self.free, fd)

    def next_port(self) -> int:
        self.port = 20_000 + (self.port - 19_999) % 40_000
        return self.port

    def next_inode(self) -> int:
        self.inode += 1
        return self.inode


def payloads(rng: random.Random, count: int = 997) -> list[str]:
    """Return strings as strace prints 32 bytes of TLS records: octal escapes and letters."""

    def one() -> str:
        octets = (rng.randrange(256) for _ in range(rng.randrange(6, 12)))
        return "\\27\\3\\3" + "".join(
            chr(o) if 47 < o < 123 and o != 92 else f"\\{o:o}" for o in octets
        )

    return [one() for _ in range(count)]


def _whole(name: str, args: str, result: str) -> Step:
    return Step(name, args, "", result)


def _epoll(thread: int) -> str:
    return f"{8 + thread}<anon_inode:[eventpoll]>"


def _wait(thread: int, fd: int, events: str) -> Step:
    got = f"[{{events={events}, data={{u32={fd}, u64={fd}}}}}], 200, 1000"
    return Step("epoll_wait", f"{_epoll(thread)}, ", got, "1")


def _ctl(thread: int, op: str, sock: str, fd: int, events: str) -> Step:
    data = f"{{events={events}, data={{u32={fd}, u64={fd}}}}}"
    return _whole("epoll_ctl", f"{_epoll(thread)}, EPOLL_CTL_{op}, {sock}, {data}", "0")


def _receive(sock: str, text: str, size: int) -> Step:
    if size == 0:
        return Step(
            "recvmsg",
            f"{sock}, ",
            "{msg_namelen=0}, 0",
            "-1 EAGAIN (Resource temporarily unavailable)",
        )
    body = f'{{msg_name=NULL, msg_namelen=0, msg_iov=[{{iov_base="{text}"..., iov_len={size}}}], '
    return Step(
        "recvmsg", f"{sock}, ", body + "msg_iovlen=1, msg_controllen=0, msg_flags=0}, 0", str(size)
    )


def _send(sock: str, text: str, size: int) -> Step:
    return _whole(
        "sendto", f'{sock}, "{text}"..., {size}, MSG_DONTWAIT|MSG_NOSIGNAL, NULL, 0', str(size)
    )


def _ulp(sock: str, result: str) -> Step:
    return _whole("setsockopt", f"{sock}, SOL_TCP, TCP_ULP, [7564404], 4", result)


def _key(sock: str, way: str) -> Step:
    return _whole("setsockopt", f'{sock}, SOL_TLS, TLS_{way}, "\\3\\0033\\0{"k" * 28}"..., 40', "0")


def _session(world: World, thread: int, texts: list[str]) -> Iterator[Step]:
    """Yield the calls of one client and its backend, from accept to both closes."""
    rng, truth = world.rng, world.truth
    front, client = world.take_fd(), f"10.9.0.{rng.randrange(2, 250)}:{world.next_port()}"
    a = f"{front}<TCP:[10.9.0.1:4042->{client}]>"
    host, port = client.split(":")
    address = f'{{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr("{host}")}}'
    tail = f"{address}, [128 => 16], SOCK_NONBLOCK|SOCK_CLOEXEC"
    truth.connections += 1
    truth.none += 1
    yield Step("accept4", "6<TCP:[10.9.0.1:4042]>, ", tail, a)
    yield _whole("setsockopt", f"{a}, SOL_TCP, TCP_NODELAY, [1], 4", "0")
    yield _ctl(thread, "ADD", a, front, "EPOLLIN|EPOLLRDHUP")
    back = world.take_fd()
    yield from _backend(world, thread, back, texts, a)
    yield _whole("close", a, "0")
    world.give_fd(front)


def _backend(world: World, thread: int, fd: int, texts: list[str], a: str) -> Iterator[Step]:
    rng, truth = world.rng, world.truth
    host, fresh = rng.choice(BACKENDS), f"{fd}<TCP:[{world.next_inode()}]>"
    b = f"{fd}<TCP:[10.1.9.1:{world.next_port()}->{host}:4043]>"
    luck = rng.random()
    early = luck < RACED + UNORDERED
    truth.connections += 1
    truth.attempted += 1
    truth.raced += luck < RACED
    truth.fallback += luck < RACED
    truth.unordered += RACED <= luck < RACED + UNORDERED
    truth.offloaded += luck >= RACED
    yield _whole("socket", "AF_INET, SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP", fresh)
    yield _whole("setsockopt", f"{fresh}, SOL_TCP, TCP_NODELAY, [1], 4", "0")
    address = f'{{sa_family=AF_INET, sin_port=htons(4043), sin_addr=inet_addr("{host}")}}, 16'
    yield _whole("connect", f"{fresh}, {address}", "-1 EINPROGRESS (Operation now in progress)")
    if early:
        lost = "-1 ENOTCONN (Transport endpoint is not connected)"
        yield _ulp(b, lost if luck < RACED else "0")
    yield _ctl(thread, "ADD", b, fd, "EPOLLOUT")
    yield _wait(thread, fd, "EPOLLOUT")
    yield _ctl(thread, "MOD", b, fd, "EPOLLIN|EPOLLRDHUP")
    yield from _data(world, thread, fd, texts, a, b, 4)
    if luck >= RACED:
        if not early:
            yield _ulp(b, "0")
        yield _key(b, "TX")
        yield _ulp(b, "-1 EEXIST (File exists)")
        yield _key(b, "RX")
    yield from _data(world, thread, fd, texts, a, b, rng.randrange(*ROUNDS))
    yield _whole("shutdown", f"{b}, SHUT_RDWR", "0")
    yield _whole("close", b, "0")
    world.give_fd(fd)


def _data(
    world: World, thread: int, fd: int, texts: list[str], a: str, b: str, rounds: int
) -> Iterator[Step]:
    rng = world.rng
    for _ in range(rounds):
        text, size = texts[rng.randrange(len(texts))], rng.randrange(5, 16384)
        yield _wait(thread, fd, "EPOLLIN")
        yield _receive(b, text, size)
        if size & 1:
            yield _receive(b, text, 0)
        yield _send(a, text, size)
        if size & 6 == 6:
            yield _whole("futex", f"0x7f98{size:08x}, FUTEX_WAKE_PRIVATE, 1", "1")


@dataclass
class Thread:
    tid: int
    index: int
    sessions: list[Iterator[Step]] = field(default_factory=list)
    pending: Step | None = None
    closing: bool = False


def _opening(pid: int) -> list[str]:
    """Return the first lines: the program starts, listens, and makes its threads."""
    flags = "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS"
    calls = [
        'execve("/usr/sbin/haproxy", ["haproxy", "-f", "proxy.cfg"], 0x7ffc /* 11 vars */) = 0',
        "brk(NULL) = 0x55e21d5cf000",
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f52ae15c000",
        "socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 6<TCP:[46000]>",
        "bind(6<TCP:[46000]>, {sa_family=AF_INET, sin_port=htons(4042), "
        'sin_addr=inet_addr("10.9.0.1")}, 16) = 0',
        "listen(6<TCP:[10.9.0.1:4042]>, 4096) = 0",
    ]
    for i in range(THREADS):
        calls.append(f"epoll_create1(EPOLL_CLOEXEC) = {_epoll(i)}")
    for i in range(1, THREADS):
        calls.append(f"clone3({{flags={flags}, exit_signal=0}}, 88) = {pid + i}")
    return calls


def write(out: TextIO, lines: int, seed: int = 20_260_715) -> Truth:
    """Write `lines` lines (more when that is too few for one round of sessions).

    Towards the end no session begins, the open ones run to their end, and futex calls fill up.
    """
    rng, truth = random.Random(seed), Truth()
    world, texts = World(rng, truth), payloads(rng)
    threads = [Thread(674 + i, i) for i in range(THREADS)]
    clock = EPOCH_US
    for text in _opening(674):
        clock += 211
        out.write(f"674   {clock / 1e6:.6f} {text} <0.000021>\n")
        truth.lines += 1
    busy, last_session = threads[:], lines - LEFT_OPEN
    while busy or truth.lines < lines:
        thread = (busy or threads)[rng.randrange(len(busy or threads))]
        clock += rng.randrange(4, 90)
        line = _next_line(world, thread, texts, truth.lines >= last_session)
        if line is None and busy:
            busy.remove(thread)
            continue
        line = line or f"futex(0x7f98{truth.lines:08x}, FUTEX_WAKE_PRIVATE, 1) = 0 <0.000011>"
        out.write(f"{thread.tid}   {clock / 1e6:.6f} {line}\n")
        truth.lines += 1
    return truth


def _next_line(world: World, thread: Thread, texts: list[str], ending: bool) -> str | None:
    """Return the thread's next line without pid and time, None when it has nothing left to do."""
    rng = world.rng
    lasted = f"<0.{rng.randrange(9, 400):06d}>"
    if thread.pending is not None:
        done, thread.pending = thread.pending, None
        return f"<... {done.name} resumed>{done.exit}) = {done.result} {lasted}"
    step = _next_step(world, thread, texts, ending)
    if step is None:
        return None
    if rng.random() < (WAIT_SPLIT if step.name == "epoll_wait" else SPLIT):
        thread.pending = step
        return f"{step.name}({step.entry} <unfinished ...>"
    return f"{step.name}({step.entry}{step.exit}) = {step.result} {lasted}"


def _next_step(world: World, thread: Thread, texts: list[str], ending: bool) -> Step | None:
    rng, open_now = world.rng, thread.sessions
    while open_now or not ending:
        if (not ending and len(open_now) < OPEN_A_THREAD and rng.random() < 0.2) or not open_now:
            open_now.append(_session(world, thread.index, texts))
        at = rng.randrange(len(open_now))
        step = next(open_now[at], None)
        if step is not None:
            return step
        open_now.pop(at)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=20_260_715)
    chosen = parser.parse_args()
    with chosen.out.open("w") as out:
        truth = write(out, chosen.lines, chosen.seed)
    print(json.dumps(asdict(truth)))


if __name__ == "__main__":
    main()
