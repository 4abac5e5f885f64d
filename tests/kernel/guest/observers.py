"""What watches the programs: ktrace in its three ways, and two recorders that are not ktrace."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

RESULTS = Path("/results")
HERE = Path(__file__).resolve().parent
CGROUP = Path("/sys/fs/cgroup/watched")
TRACING = Path("/sys/kernel/tracing/instances/second")
KPROBES = Path("/sys/kernel/tracing/kprobe_events")
# What lies at the start of a socket has lain there in every kernel of the last ten years.
SOCKET = "local=+14(%di):u16 peer=+12(%di):u16 state=+18(%di):u8"
PROBES = (
    f"p:account/kt_ulp tcp_set_ulp {SOCKET} name=+0(%si):string\n",
    f"p:account/kt_tls tls_setsockopt {SOCKET} way=%dx:s32 head=+u0(%cx):u32\n",
)
EVENTS = (
    "sock/inet_sock_set_state",
    "syscalls/sys_enter_setsockopt",
    "syscalls/sys_exit_setsockopt",
    "account/kt_ulp",
    "account/kt_tls",
)
START_S = 900  # bcc compiles for a minute in emulation, on a machine that does nothing else
LIMIT_S = 120  # any step of a program
BACKENDS = ("libbpf", "bcc")


def wait_until(holds: Callable[[], bool], what: str, limit_s: float = START_S) -> None:
    until = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(0.1)


def make_cgroup() -> None:
    CGROUP.mkdir()


class Live:
    """`ktrace live` on the cgroup in which every program runs."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.said = RESULTS / f"live-{backend}.said"
        report, capture = f"/results/live-{backend}.json", f"/results/live-{backend}.capture"
        line = f"ktrace live --cgroup {CGROUP} --backend {backend} --ring-size 16 --format json"
        with self.said.open("wb") as said:
            words = [*line.split(), "--json", report, "--output", capture]
            self.run = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said)

    def has_started(self) -> bool:
        if self.run.poll() is not None:
            raise RuntimeError(f"ktrace live with {self.backend}: {self.said.read_text()}")
        return "capturing with" in self.said.read_text()

    def stop(self) -> None:
        self.run.send_signal(signal.SIGINT)
        self.run.wait(START_S)


class Recorder:
    """bpftrace: what the kernel did, seen by a program that shares nothing with ktrace."""

    def __init__(self) -> None:
        self.file = RESULTS / "recorder"
        with self.file.open("wb") as out, (RESULTS / "recorder.said").open("wb") as said:
            words = ["bpftrace", "-B", "line", str(HERE / "recorder.bt")]
            self.run = subprocess.Popen(words, stdout=out, stderr=said)

    def has_started(self) -> bool:
        """Say whether it sees a connection: it tells before it is attached."""
        if self.run.poll() is not None:
            raise RuntimeError((RESULTS / "recorder.said").read_text())
        with socket.create_server(("127.0.0.1", 0)) as listener:
            socket.create_connection(listener.getsockname()).close()
        return b"\nstate " in self.file.read_bytes()

    def stop(self) -> None:
        self.run.send_signal(signal.SIGINT)
        self.run.wait(START_S)


class Tracefs:
    """The kernel's own ring of trace events: no probe of it is skipped for another's sake."""

    def __init__(self) -> None:
        for probe in PROBES:
            _write(KPROBES, probe, os.O_APPEND)
        TRACING.mkdir()
        _write(TRACING / "trace_clock", "mono")
        _write(TRACING / "buffer_size_kb", "8192")
        wanted = "(level == 6 && optname == 31) || level == 282"
        _write(TRACING / "events/syscalls/sys_enter_setsockopt/filter", wanted)
        self.on("1")

    def on(self, value: str) -> None:
        for event in EVENTS:
            _write(TRACING / "events" / event / "enable", value)

    def stop(self) -> None:
        """Stop, and let go of the tls module."""
        self.on("0")
        (RESULTS / "tracefs").write_text((TRACING / "trace").read_text())
        lost = [file.read_text() for file in TRACING.glob("per_cpu/cpu*/stats")]
        lost.append((KPROBES.parent / "kprobe_profile").read_text())
        (RESULTS / "tracefs.lost").write_text("".join(lost))
        for event in EVENTS[-2:]:
            _write(KPROBES, f"-:{event}\n", os.O_APPEND)


def _write(file: Path, text: str, flag: int = os.O_TRUNC) -> None:
    out = os.open(file, os.O_WRONLY | flag)
    try:
        os.write(out, text.encode())
    finally:
        os.close(out)


class Launcher:
    """`ktrace record` of a shell, in the cgroup, that starts programs when it is told to."""

    def __init__(self) -> None:
        self.made = Path("/tmp/programs")
        self.made.mkdir()
        fifo = self.made / "fifo"
        os.mkfifo(fifo)
        line = f"echo $$ >{CGROUP}/cgroup.procs; exec ktrace record -o /results/strace -- sh"
        shell = f"{line} {HERE}/launcher {self.made}"
        with (RESULTS / "record.said").open("wb") as said:
            self.run = subprocess.Popen(["sh", "-c", shell], stdout=said, stderr=said)
        self.fifo = os.open(fifo, os.O_RDWR)
        self.count = 0

    def start(self, line: str, folder: Path, side: str) -> "Program":
        """Start a program in a namespace, with a pipe of its own as standard input."""
        self.count += 1
        base = self.made / str(self.count)
        os.mkfifo(f"{base}.in")
        enter = f"exec nsenter --net=/run/netns/{side}" if side else "exec"
        streams = f"<{base}.in >{base}.out 2>{base}.err"
        script = f"cd {folder}\necho $$ >{base}.pid\n{enter} {line} {streams}\n"
        base.with_suffix(".sh").write_text(script)
        program = Program(base, line)
        os.write(self.fifo, f"{self.count}\n".encode())
        return program

    def stop(self) -> None:
        """Let the shell end, and all that it started, since strace waits for them."""
        os.write(self.fifo, b"end\n")
        try:
            self.run.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            (CGROUP / "cgroup.kill").write_text("1")
            raise


class Program:
    """A program under the launcher; its pipe stays open until it is told that it ends."""

    def __init__(self, base: Path, line: str) -> None:
        self.base, self.line = base, line
        self.pipe = os.open(f"{base}.in", os.O_RDWR)

    @property
    def pid(self) -> int:
        text = self.base.with_suffix(".pid").read_text() if self.has("pid") else ""
        return int(text or 0)

    def has(self, part: str) -> bool:
        return self.base.with_suffix(f".{part}").exists()

    def said(self, part: str = "out") -> str:
        file = self.base.with_suffix(f".{part}")
        return file.read_text(errors="replace") if file.exists() else ""

    def tell(self, text: str) -> None:
        os.write(self.pipe, text.encode())

    def wait_for(self, text: str, limit_s: float = LIMIT_S) -> None:
        """Wait until the program has said something."""
        wait_until(lambda: text in self.said() + self.said("err"), f"{text!r} from {self}", limit_s)

    def is_running(self) -> bool:
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text() if self.pid else ""
        except FileNotFoundError:
            return False
        return text.rpartition(")")[2].split()[:1] != ["Z"]  # the launcher reaps late

    def end_input(self) -> None:
        os.close(self.pipe)

    def wait(self, limit_s: float = LIMIT_S) -> None:
        wait_until(lambda: not self.is_running(), f"the end of {self}", limit_s)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.is_running() and self.pid:
            os.kill(self.pid, number)

    def __str__(self) -> str:
        return f"{self.line!r}, which said {self.said()[-300:]!r} {self.said('err')[-300:]!r}"
