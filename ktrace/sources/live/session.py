"""A live capture: yield what the probe records as Events in order, count what was lost, detach."""

import time
from collections.abc import Callable, Iterator

from ktrace.events import (
    CloneDetail,
    Event,
    FdNote,
    IntDetail,
    Kind,
    Phase,
    RingDetail,
)
from ktrace.sources.live import targets
from ktrace.sources.live.decode import Decoder
from ktrace.sources.live.drain import Drainer
from ktrace.sources.live.losses import Counters, Losses
from ktrace.sources.live.probe import Probe
from ktrace.sources.live.ring import Ring
from ktrace.sources.live.stacks import Stacks
from ktrace.sources.live.targets import has_ring
from ktrace.uapi import TCP_STATES

IDLE_S = 0.1
LOOK_EVERY_S = 0.5


class Session:
    """One capture.  `events()` is read once; it ends when nobody is left, at `deadline`, or when
    the probe is stopped.

    `on_loss(lost)` is called with the total where events are known to be missing, before the events
    that came after the gap.
    """

    def __init__(self, probe: Probe, ring_bytes: int) -> None:
        self._probe = probe
        self._alive = set(probe.alive)
        self._looked = 0.0
        self.on_loss: Callable[[int], None] = lambda lost: None
        self.on_turn: Callable[[], None] = lambda: None  # now and then, also when nothing happens
        self.deadline: float | None = None  # of time.monotonic()
        self.losses = Losses()
        self.child = probe.child
        assert probe.attached is not None
        self._counters = Counters(probe.loaded.map("counters"), probe.attached)
        self._ring = Ring(probe.loaded.map("events"), ring_bytes)
        self._stacks = Stacks(probe.loaded)
        offset = time.time_ns() - time.monotonic_ns()
        inside = probe.sees_rings
        self._decoder = Decoder(offset, self._stacks.frames, inside=inside)
        rings = [_ring(tgid, inside) for tgid in sorted(self._alive) if has_ring(tgid)]
        self._decoder.rings = bool(rings)
        self._before = [*map(_existing, probe.existing), *rings]
        self._drainer = Drainer(self._ring, lambda: self._stacks.keep_up(self._counters.stacks()))

    def events(self) -> Iterator[Event]:
        """Yield what was open before, then what happens, until the end."""
        if self.child is not None:
            self.child.release()
        self._drainer.start()
        yield from self._before
        self._before = []
        while not self._over():
            yield from self._some(self._drainer.take(IDLE_S))
            self.on_turn()
        self._detach()
        while chunk := self._drainer.take(0):
            yield from self._some(chunk)
        self._tell_losses()

    def close(self) -> None:
        """Detach, and let go of the ring; the probe is its owner's to close."""
        self._detach()
        self._ring.close()

    def _some(self, chunk: bytes) -> Iterator[Event]:
        self._tell_losses()
        yield from self._decoder.decode(chunk)
        for event in self._decoder.processes:
            if event.kind is Kind.CLONE:
                self._born(event)
            elif event.detail == IntDetail(1):
                self._alive.discard(event.tgid or event.tid)

    def _born(self, event: Event) -> None:
        if isinstance(event.detail, CloneDetail) and not event.detail.thread and event.result:
            self._alive.add(event.result)

    def _tell_losses(self) -> None:
        if self._probe.attached is None:
            return
        losses = self._counters.losses()
        if losses.total > self.losses.total:
            self.losses = losses
            self.on_loss(losses.total)

    def _over(self) -> bool:
        if self._probe.stopped:
            return True
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            return True
        if self._probe.wanted.open_ended:
            return False
        if self._alive and now - self._looked > LOOK_EVERY_S:
            # an exit whose record was lost
            self._looked = now
            self._alive = {tgid for tgid in self._alive if targets.is_there(tgid)}
        if self.child is not None:
            self.child.poll()  # else it stays there as a zombie
        return not self._alive

    def _detach(self) -> None:
        if self._probe.attached is None:
            return
        self._drainer.stop()
        self._tell_losses()
        self._probe.detach()


def _ring(tgid: int, inside: bool) -> Event:
    """What /proc says of a process that has an io_uring already."""
    return Event(
        kind=Kind.IO_URING,
        phase=Phase.WHOLE,
        tid=tgid,
        call="io_uring_enter",
        result=0,
        detail=RingDetail(inside),
        tgid=tgid,
        comm=targets.comm_of(tgid),
    )


def _existing(one: targets.Existing) -> Event:
    """What /proc says of a socket that was open before the capture."""
    return Event(
        kind=Kind.GETSOCKOPT,
        phase=Phase.WHOLE,
        tid=one.tgid,
        call="open",
        fd=one.fd,
        result=0,
        tgid=one.tgid,
        comm=targets.comm_of(one.tgid),
        note=FdNote(
            protocol="TCPv6" if one.family == "AF_INET6" else "TCP",
            inode=one.inode,
            local=one.local,
            peer=one.peer,
        ),
        state=TCP_STATES.get(one.state, "UNKNOWN"),
    )
