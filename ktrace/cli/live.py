"""`ktrace live`: capture with eBPF and analyse while it runs."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, cast

import click

from ktrace.cli import DEFAULT_RING_BYTES
from ktrace.cli.output import Output, output_options
from ktrace.sources.live import backends, privileges, targets
from ktrace.sources.live.probe import Probe
from ktrace.sources.live.targets import Wanted
from ktrace.wording import plural

# What decodes and analyses is imported when the probe is in place: events wait for it in the ring.
if TYPE_CHECKING:
    from ktrace.cli.livetable import LiveTable
    from ktrace.findings import Report
    from ktrace.metrics import Metrics
    from ktrace.sources.capture import Header, Writer
    from ktrace.sources.live.losses import Losses
    from ktrace.sources.live.session import Session
    from ktrace.sources.recorded import RecordedTrace
    from ktrace.timelines import Judged


def _address(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, int] | None:
    """Read HOST:PORT or PORT; without a host only this machine is served."""
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise click.BadParameter("an address is HOST:PORT, such as 127.0.0.1:9464")
    return host.strip("[]") or "127.0.0.1", int(port)


@click.command(name="live")
@click.argument("command_line", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND ...]")
@click.option(
    "-p", "--pid", "pids", type=int, multiple=True, metavar="N", help="Capture process N."
)
@click.option("--comm", metavar="NAME", help="Capture programs of this name (its first 15 bytes).")
@click.option("--cgroup", "group", metavar="PATH", help="Capture a cgroup (v2) and those below.")
@click.option("--no-follow", is_flag=True, help="Leave out children that traced processes make.")
@click.option("--duration", type=float, metavar="SECONDS", help="Stop after this time.")
@click.option(
    "--backend",
    type=click.Choice(["auto", "libbpf", "bcc"]),
    default="auto",
    show_default=True,
    help="What loads the probe.",
)
@click.option("-o", "--output", "capture", metavar="FILE", help="Save the capture, for `parse`.")
@click.option("--force", is_flag=True, help="Overwrite FILE where it exists.")
@click.option("--metrics", callback=_address, metavar="HOST:PORT", help="Serve OpenMetrics there.")
@click.option(
    "--ring-size",
    type=click.FloatRange(0.0039, 1024),
    default=DEFAULT_RING_BYTES >> 20,
    show_default=True,
    metavar="MB",
    help="Room for events on their way; rounded up to a power of two.",
)
@output_options
def command(
    command_line: tuple[str, ...],
    pids: tuple[int, ...],
    comm: str | None,
    group: str | None,
    no_follow: bool,
    duration: float | None,
    backend: str,
    capture: str | None,
    force: bool,
    metrics: tuple[str, int] | None,
    ring_size: float,
    output: Output,
) -> int:
    """Capture running programs with eBPF, and say what became of kTLS on each connection.

    Needs root. Ends when the programs do, after --duration, or at Ctrl-C. With a COMMAND, that is
    traced from its first call, and its exit status is that of ktrace.

    \b
      sudo ktrace live --pid 4711
      sudo ktrace live --output run.ktrace --duration 60 --comm haproxy
      sudo ktrace live -- curl https://localhost/
    """
    chosen = [bool(pids), comm is not None, group is not None, bool(command_line)]
    if not any(chosen):
        raise click.UsageError("say whom to capture: --pid, --comm, --cgroup or -- COMMAND")
    if command_line and sum(chosen) > 1:
        raise click.UsageError("a COMMAND cannot be combined with --pid, --comm or --cgroup")
    output.refuse_to_overwrite([capture] if capture else [])
    privileges.require()
    wanted = Wanted(
        pids=pids,
        comm=comm,
        cgroup=None if group is None else _cgroup(group),
        command=command_line,
        follow=not no_follow,
    )
    return Run(wanted, output, cast(backends.Backend, backend), ring_bytes(ring_size)).go(
        capture, force, metrics, duration
    )


def _cgroup(path: str) -> tuple[int, int]:
    from ktrace.sources.live import cgroup

    return cgroup.find(path)


def ring_bytes(megabytes: float) -> int:
    """Return a size that a ring can have: a power of two, and whole pages."""
    return 1 << max(12, (int(megabytes * (1 << 20)) - 1).bit_length())


class Run:
    """One capture from attach to report."""

    def __init__(
        self, wanted: Wanted, output: Output, backend: backends.Backend, ring: int
    ) -> None:
        self._wanted = wanted
        self._output = output
        self._backend = backend
        self._ring = ring
        self._metrics: Metrics | None = None
        self._table: LiveTable | None = None
        self._signals = 0

    def go(
        self,
        capture: str | None,
        force: bool,
        metrics: tuple[str, int] | None,
        duration: float | None,
    ) -> int:
        """Capture, report, and return the exit status."""
        if metrics is not None:
            from ktrace.metrics import Metrics

            self._metrics = Metrics(*metrics)
        chosen = targets.choose(self._wanted)  # the kernel may still be loading meanwhile
        loaded, passed_over = backends.load(self._backend, self._ring)
        probe = Probe(loaded, self._wanted, chosen)
        try:
            writer = None if capture is None else _writer(probe, capture, force)
            privileges.drop()
            with _Signals(lambda number: self._interrupted(probe, number)):
                _say(loaded.name, passed_over, self._wanted)
                deadline = None if duration is None else time.monotonic() + duration
                report = self._capture(probe, writer, deadline)
        finally:
            probe.close()
            if self._metrics is not None:
                self._metrics.close()
        self._output.write(report)
        return 0 if probe.child is None else probe.child.wait()

    def _capture(self, probe: Probe, writer: "Writer | None", deadline: float | None) -> "Report":
        from ktrace.sources.live.session import Session

        session = Session(probe, self._ring)
        session.deadline = deadline
        try:
            return self._analyse(session, _header(probe), writer)
        finally:
            session.close()

    def _analyse(self, session: "Session", header: "Header", writer: "Writer | None") -> "Report":
        from ktrace.analysis import Analysis, Options
        from ktrace.sources.recorded import RecordedTrace

        trace = RecordedTrace(session, header)
        trace.writer = writer
        analysis = Analysis(Options(keep=self._output.keep, on_connection=self._connection))
        if sys.stderr.isatty() and not self._output.streams:
            from ktrace.cli.livetable import LiveTable

            self._table = LiveTable(sys.stderr)
        session.on_turn = lambda: self._turn(trace)
        analysis.run(trace.events(), trace, trace.consumed_by)
        if self._table is not None:
            self._table.close()
        trace.warnings.extend(_of_losses(session.losses))
        if writer is not None:
            writer.close(tuple(trace.warnings))
        return analysis.report(trace.facts())

    def _connection(self, judged: "Judged") -> None:
        self._output.on_connection(judged)
        if self._metrics is not None:
            self._metrics.connection(judged.connection)
        if self._table is not None:
            self._table.connection(judged.connection)
        elif self._output.form == "text" and not self._output.wanted:
            from ktrace.cli.livetable import print_line

            print_line(judged.connection)

    def _turn(self, trace: "RecordedTrace") -> None:
        if trace.writer is not None:
            trace.writer.tick()
        if self._metrics is not None:
            self._metrics.totals(trace.count, trace.lost)
        if self._table is not None:
            self._table.turn(trace.count, trace.lost)

    def _interrupted(self, probe: Probe, number: int) -> None:
        """Stop; a command is told first, and gets the chance to end by itself."""
        self._signals += 1
        if probe.child is None or self._signals > 1:
            probe.stop()
        elif number != signal.SIGINT:  # Ctrl-C reaches the command by itself
            probe.child.send(number)


class _Signals:
    """Hands SIGINT and SIGTERM to a function while the context lasts."""

    def __init__(self, take: Callable[[int], None]) -> None:
        self._take = take
        self._before = [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]

    def __enter__(self) -> None:
        for number, _ in self._before:
            signal.signal(number, self._handle)

    def __exit__(self, *ignored: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._take(number)


def _of_losses(losses: "Losses") -> Iterator[str]:
    """Yield what a reader must know of the lost events beside their number."""
    if losses.skipped or losses.untracked:
        yield (
            f"of the lost events, {losses.skipped} are runs of the probe that the kernel skipped,"
            f" and {losses.untracked} calls that it could not follow"
        )
    if losses.foreign:
        yield (
            f"{plural(losses.foreign, 'call')} of 32-bit programs concerned connections and were"
            " not followed; they count as lost events"
        )


def _header(probe: Probe) -> "Header":
    """Return what a capture's file says of it."""
    from ktrace import __version__
    from ktrace.events import FAMILIES
    from ktrace.sources.capture import FORMAT_VERSION, Header

    return Header(
        version=FORMAT_VERSION,
        tool=__version__,
        source=_label(probe.wanted),
        backend=probe.loaded.name,
        covered=FAMILIES,  # data calls are seen through what the socket has moved
        warnings=backends.limits(probe.loaded, probe.method),
        inside=probe.sees_rings,
    )


def _writer(probe: Probe, capture: str, force: bool) -> "Writer":
    from ktrace.sources.capture import Writer

    return Writer(capture, _header(probe), force)


def _label(wanted: Wanted) -> str:
    """Return what reports call this capture."""
    if wanted.command:
        return f"live: {wanted.command[0]}"
    parts = [f"pid {pid}" for pid in wanted.pids]
    if wanted.comm is not None:
        parts.append(f"comm {wanted.comm}")
    if wanted.cgroup is not None:
        parts.append(f"cgroup {wanted.cgroup[0]}")
    return "live: " + ", ".join(parts)


def _say(backend: str, passed_over: str | None, wanted: Wanted) -> None:
    """Say on stderr which loader was taken, and why."""
    reason = f" ({passed_over})" if passed_over else ""
    end = "" if wanted.command else "; Ctrl-C ends it"
    click.echo(f"ktrace: capturing with {backend}{reason}{end}", err=True)
