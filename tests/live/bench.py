"""What a live capture costs the traced program, beside strace and bpftrace: `make bench-live`.

Figures are medians of runs on this machine.  Every method sees the same program, and must have
worked: a tracer that did not start has no cost.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from ktrace import recording
from ktrace.analysis import few_collections
from ktrace.sources.live import backends, kernel
from ktrace.sources.live.attach import Loaded, attach
from ktrace.sources.live.decode import Decoder
from ktrace.sources.live.probe import CONFIG, Probe
from ktrace.sources.live.ring import STRIDE, Ring
from ktrace.sources.live.session import Session
from ktrace.sources.live.targets import Wanted, choose

HERE = Path(__file__).resolve().parent
KTRACE = [sys.executable, "-c", "import sys; from ktrace.cli import main; sys.exit(main())"]
RECORD = ["strace", *recording.CHEAP_OPTIONS, "-o", "/dev/null"]
YY = ["strace", "-f", "-yy"]
EMPTY = "tracepoint:syscalls:sys_enter_setsockopt { } tracepoint:syscalls:sys_exit_setsockopt { }"
SAME = " ".join(
    f"tracepoint:syscalls:sys_{half}_{call} {{ }}"
    for call in ("socket", "connect", "accept4", "setsockopt", "close")
    for half in ("enter", "exit")
)
Tracer = Callable[[], contextlib.AbstractContextManager[None]]


def build(folder: Path) -> Path:
    program = folder / "load"
    flags = ["-O2", "-D_GNU_SOURCE", "-pthread"]
    subprocess.run(["gcc", *flags, "-o", program, HERE / "load.c"], check=True)
    return program


def both(line: list[str], cpus: Collection[int] | None = None) -> tuple[int, int]:
    """Run a load, traced or not, and return the nanoseconds it took, by the clock and of CPU.

    `cpus`: where it may run, None for anywhere.
    """

    def prepare() -> None:
        if cpus is not None:
            os.sched_setaffinity(0, cpus)

    done = subprocess.run(line, capture_output=True, text=True, check=False, preexec_fn=prepare)
    told = [text for text in done.stdout.splitlines() if " ns " in text]
    if not told:
        raise SystemExit(f"{line[:3]} did not run the load: {done.stderr[-300:]}")
    words = told[0].split()
    return int(words[words.index("ns") + 1]), int(words[words.index("cpu") + 1])


@contextlib.contextmanager
def live(backend: str, *target: str) -> Iterator[None]:
    """Capture something while the context lasts."""
    words = [*KTRACE, "live", "--backend", backend, "--format", "json", *target]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=pipe, text=True) as run:
        assert run.stderr is not None
        if not run.stderr.readline().startswith("ktrace: capturing"):
            raise SystemExit("ktrace live did not start")
        try:
            yield
        finally:
            run.terminate()


@contextlib.contextmanager
def bpftrace(program: str) -> Iterator[None]:
    # In a mount namespace of its own: bpftrace wants tracefs mounted, which it is not everywhere.
    script = 'mount -t tracefs tracefs /sys/kernel/tracing; exec bpftrace -e "$0"'
    words = ["unshare", "-m", "sh", "-c", script, f'BEGIN {{ printf("ready\\n"); }} {program}']
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout is not None
        while b"ready" not in (line := run.stdout.readline()):
            if not line:
                raise SystemExit("bpftrace did not start")
        time.sleep(1)  # it says so before it has attached
        try:
            yield
        finally:
            run.terminate()


@contextlib.contextmanager
def floor() -> Iterator[None]:
    """Hang programs that do nothing where the probe hangs: what the kernel takes for that."""
    kind = kernel.PROG_TYPE_RAW_TRACEPOINT
    programs = [kernel.load_nothing(kind) for _ in range(2)]
    points = ("sys_exit", "sys_enter")
    held = [kernel.attach_raw_tracepoint(p, at) for p, at in zip(programs, points, strict=True)]
    try:
        yield
    finally:
        for fd in (*held, *programs):
            os.close(fd)


def slowdown(load: Path, runs: int) -> None:
    """1,000 connections with 20 round trips each: time against the same without tracing.

    Medians of ratios, by the clock and of the program's own CPU time, which other work on the
    machine does not change much.  A traced run stands between two untraced ones and is compared
    with their mean, since the clock of a shared machine wanders by more than what is measured.  All
    run on one CPU: with two, most of the time goes into waking the other one up, and any work
    beside the load, such as a tracer's, keeps it awake and makes the load several times faster.
    """
    one = {min(os.sched_getaffinity(0))}
    line = [str(load), "connect", "1000", "20"]
    print(
        "\nconnect load, 1000 x 20 round trips (medians)   clock   quartiles      CPU   quartiles"
    )

    def row(name: str, tracer: Tracer, traced: list[str], rounds: int) -> None:
        ratios: list[list[float]] = []
        before = both(line, one)
        for _ in range(rounds):
            with tracer():
                during = both(traced, one)
            after = both(line, one)
            ratios.append([2 * d / (b + a) for b, d, a in zip(before, during, after, strict=True)])
            before = after
        told = []
        for column in zip(*ratios, strict=True):
            low, middle, high = statistics.quantiles(column, n=4)
            told.append(f"{middle:7.2f}  {low:5.2f}-{high:5.2f}")
        print(f"  {name:<44}{'  '.join(told)}", flush=True)

    many = 3 * runs
    row("nothing (the noise of this machine)", contextlib.nullcontext, line, many)
    row("programs that do nothing (the floor)", floor, line, many)
    row("ktrace live (libbpf)", lambda: live("libbpf", "--comm", load.name), line, many)
    row("ktrace live (bcc)", lambda: live("bcc", "--comm", load.name), line, runs)
    row("ktrace live, of another process", lambda: live("libbpf", "--comm", "nobody"), line, many)
    if shutil.which("bpftrace"):
        row("bpftrace, empty probes", lambda: bpftrace(SAME), line, runs)
    row("strace as record runs it", contextlib.nullcontext, [*RECORD, *line], runs)
    row("strace -f -yy", contextlib.nullcontext, [*YY, "-o", "/dev/null", *line], runs)


def calls(load: Path, runs: int) -> None:
    """Nanoseconds that a setsockopt takes: one that is recorded, one that is let pass."""
    count = 200_000

    def per_call(kind: str, count: int = count, before: list[str] | None = None) -> float:
        line = [*(before or []), str(load), kind, str(count)]
        # CPU time: what else runs on the machine does not count
        return statistics.median(both(line)[1] for _ in range(runs)) / count

    print("\nsetsockopt, ns of CPU a call (medians), and more than untraced")
    print(f"  {'':<36}{'TCP_ULP':>16}{'TCP_NODELAY':>16}")

    def row(name: str, tracer: contextlib.AbstractContextManager[None]) -> None:
        before = {kind: per_call(kind) for kind in ("options", "nodelay")}
        with tracer:
            during = {kind: per_call(kind) for kind in ("options", "nodelay")}
        told = [f"{during[kind]:7.0f} {during[kind] - before[kind]:+8.0f}" for kind in during]
        print(f"  {name:<36}" + "".join(told), flush=True)

    row("untraced (the noise)", contextlib.nullcontext())
    row("programs that do nothing (the floor)", floor())
    for backend in backends.LOADERS:
        row(f"recorded ({backend})", live(backend, "--comm", load.name, "--ring-size", "64"))
        row(f"of another process ({backend})", live(backend, "--comm", "nobody"))
    if shutil.which("bpftrace"):
        row("bpftrace, empty probe", bpftrace(EMPTY))
    slow = per_call("nodelay", 5000, RECORD)
    print(f"  {'strace as record runs it':<36}{'':16}{slow:7.0f}", flush=True)


def starts(runs: int) -> None:
    """Milliseconds until the probe is attached, with and without those of the interpreter."""
    print("\nstart                        to capturing   without the interpreter   peak memory")
    words = [sys.executable, "-c", "pass"]
    bare = statistics.median(_lasts(lambda: subprocess.run(words, check=True)) for _ in range(runs))
    print(f"  a bare interpreter     {bare * 1e3:10.0f} ms")
    for backend in backends.LOADERS:
        found = [start(backend) for _ in range(runs)]
        took, peak = (statistics.median(column) for column in zip(*found, strict=True))
        print(
            f"  {backend:<22} {took * 1e3:10.0f} ms {(took - bare) * 1e3:16.0f} ms"
            f" {peak / 1024:17.0f} MB",
            flush=True,
        )


def start(backend: str) -> tuple[float, int]:
    """Return the seconds that one start takes, and the KiB it has used by then."""
    words = [*KTRACE, "live", "--backend", backend, "--pid", str(os.getpid())]
    began = time.monotonic()
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=pipe, text=True) as run:
        assert run.stderr is not None
        line = run.stderr.readline()
        took = time.monotonic() - began
        if not line.startswith("ktrace: capturing"):
            raise SystemExit("ktrace live did not start")
        status = Path(f"/proc/{run.pid}/status").read_text()
        run.terminate()
    return took, int(status.partition("VmHWM:")[2].split()[0])


def _lasts(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def drained(load: Path) -> None:
    """Events that leave the ring and get decoded in a second, and what the ring loses meanwhile."""
    line = (str(load), "sockets", "400000")
    print("\nevents, 8 MB ring")
    for backend in backends.LOADERS:
        wanted = Wanted(command=line)
        probe = Probe(_loaded(backend, 8), wanted, choose(wanted))
        session = Session(probe, 8 << 20)
        began = time.monotonic()
        events = sum(1 for _ in session.events())
        took = time.monotonic() - began
        session.close()
        probe.close()
        lost = session.losses.total
        rate = f"{events / took:,.0f} a second"
        print(f"  {backend:<8} {events:,} events, {lost:,} lost; decoded {rate}")
    for kind, count in (("sockets", 250_000), ("connect", 20_000)):
        emptied, decoded = rates(load, kind, count)
        print(f"  {kind}: taken out of a full ring {emptied:,.0f}, decoded {decoded:,.0f} a second")


def rates(load: Path, kind: str, events: int) -> tuple[float, float]:
    """Fill a ring while nobody looks; return how fast it is emptied and how fast decoded.

    The first by the clock, the second of CPU time.
    """
    size = 64
    loaded = _loaded("libbpf", size)
    config = CONFIG.pack(load.name.encode(), 0, 0, 1)
    kernel.map_update(loaded.map("config"), kernel.FIRST, config)
    attached = attach(loaded)
    line = [str(load), kind, str(events), "1"]
    subprocess.run(line, stdout=subprocess.DEVNULL, check=True)
    attached.close()
    ring = Ring(loaded.map("events"), size << 20)
    began = time.monotonic()
    records = ring.drain()
    emptied = len(records) // STRIDE / (time.monotonic() - began)
    ring.close()
    loaded.close()
    decoder, step, decoded = Decoder(0), 4096 * STRIDE, 0
    cpu = time.process_time()
    with few_collections():  # as a live run decodes
        for start in range(0, len(records), step):
            decoded += len(decoder.decode(records[start : start + step]))
    return emptied, decoded / (time.process_time() - cpu)


def _loaded(backend: str, megabytes: int) -> Loaded:
    return backends.LOADERS[backend](megabytes << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["starts", "drained", "calls", "slowdown"])
    options = parser.parse_args()
    kernel.architecture()
    with tempfile.TemporaryDirectory() as folder:
        load = build(Path(folder))
        parts: dict[str, Callable[[], None]] = {
            "starts": lambda: starts(options.runs),
            "drained": lambda: drained(load),
            "calls": lambda: calls(load, options.runs),
            "slowdown": lambda: slowdown(load, options.runs),
        }
        for name, part in parts.items():
            if options.only in (None, name):
                part()


if __name__ == "__main__":
    main()
