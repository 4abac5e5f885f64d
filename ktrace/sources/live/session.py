"""A live capture: attach, yield Events in order, count what was lost, detach."""

import struct
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

from ktrace.events import (
    FAMILIES,
    CloneDetail,
    Event,
    Family,
    FdNote,
    IntDetail,
    Kind,
    Phase,
    RingDetail,
)
from ktrace.sources.live import kernel, targets
from ktrace.sources.live.attach import Attached, Loaded, Method, attach
from ktrace.sources.live.child import Child
from ktrace.sources.live.decode import Decoder
from ktrace.sources.live.drain import Drainer
from ktrace.sources.live.layout import CONFIG
from ktrace.sources.live.losses import FIRST, Counters, Losses
from ktrace.sources.live.ring import Ring
from ktrace.sources.live.stacks import Stacks
from ktrace.sources.live.targets import has_ring
from ktrace.uapi import TCP_STATES

IDLE_S = 0.1
LOOK_EVERY_S = 0.5


class Wanted(msgspec.Struct, frozen=True):
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


class Session:
    """One capture.  `events()` is read once; it ends when nobody is left, or after `stop()`.

    `on_loss(lost)` is called with the total where events are known to be missing, before the events
    that came after the gap.
    """

    def __init__(self, loaded: Loaded, wanted: Wanted, ring_bytes: int) -> None:
        self._loaded = loaded
        self._wanted = wanted
        self._stopped = False
        self._alive: set[int] = set()
        self._looked = 0.0
        self.on_loss: Callable[[int], None] = lambda lost: None
        self.on_turn: Callable[[], None] = lambda: None  # now and then, also when nothing happens
        self.deadline: float | None = None  # of time.monotonic()
        self.losses = Losses()
        self.child: Child | None = Child(wanted.command) if wanted.command else None
        self._attached: Attached | None = None
        try:
            self._before = self._choose()
            self._attached = attach(loaded)
            self._before += self._take_missed()
        except BaseException:
            self._give_up()
            raise
        self._counters = Counters(loaded.map("counters"), self._attached)
        self._ring = Ring(loaded.map("events"), ring_bytes)
        self._stacks = Stacks(loaded)
        offset = time.time_ns() - time.monotonic_ns()
        inside = self.sees_rings
        self._decoder = Decoder(offset, self._stacks.frames, inside=inside)
        rings = [_ring(tgid, inside) for tgid in sorted(self._alive) if has_ring(tgid)]
        self._decoder.rings = bool(rings)
        self._before += rings
        self._drainer = Drainer(self._ring, lambda: self._stacks.keep_up(self._counters.stacks()))

    @property
    def method(self) -> Method | None:
        """How the probe looks into the kernel's functions, None where it cannot."""
        return None if self._attached is None else self._attached.method

    @property
    def sees_rings(self) -> bool:
        """Connects and kTLS calls made through io_uring are seen too: what looks into the ULP alone
        (bcc) sees neither connects nor keys.
        """
        return self.method is not None and len(self._loaded.inside) > 1

    @property
    def covered(self) -> tuple[Family, ...]:
        """Every family: data calls are seen through what the socket has moved."""
        return FAMILIES

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

    def stop(self) -> None:
        """End the capture; what happened until now is still told."""
        self._stopped = True

    def close(self) -> None:
        """Detach, and let go of everything."""
        self._detach()
        self._ring.close()
        self._loaded.close()

    def status(self) -> int:
        """Return the command's exit status, 0 where there is none."""
        if self.child is None:
            return 0
        while (status := self.child.poll()) is None:
            time.sleep(0.01)
        return status

    # whom

    def _choose(self) -> list[Event]:
        """Tell the probe whom to trace and return what they have open."""
        wanted = self._wanted
        comm = (wanted.comm or "").encode()[:15]
        cgroup, level = wanted.cgroup or (0, 0)
        config = CONFIG.pack(comm, cgroup, level, int(wanted.follow))
        kernel.map_update(self._loaded.map("config"), FIRST, config)
        chosen = {targets.process_of(pid) for pid in wanted.pids}
        if wanted.comm is not None:
            chosen |= set(targets.processes_named(wanted.comm))
        if self.child is not None:
            chosen.add(self.child.pid)
        if wanted.follow and self.child is None:
            chosen = targets.with_children(chosen)
        return self._take(chosen)

    def _take(self, tgids: Collection[int]) -> list[Event]:
        """Have processes traced, and return what they have open: nothing yet for a command."""
        for tgid in tgids:
            kernel.map_update(self._loaded.map("traced"), struct.pack("=I", tgid), FIRST)
        self._alive.update(tgids)
        if self.child is not None:
            return []
        found = [one for tgid in sorted(tgids) for one in targets.existing_sockets(tgid)]
        self._watch_ports(found)
        if not self._loaded.walks:
            self._teach(found)
        return [_existing(one) for one in found]

    def _take_missed(self) -> list[Event]:
        """Take children that were made between the choice and the attach: no fork showed them."""
        if self.child is not None or not self._wanted.follow:
            return []
        traced, found = self._loaded.map("traced"), list[Event]()
        while born := self._unseen(traced):
            found += self._take(born)
        return found

    def _unseen(self, traced: int) -> list[int]:
        """Return the children of those that are traced which the probe does not know."""
        born = targets.with_children(self._alive) - self._alive
        return [tgid for tgid in born if not kernel.map_has(traced, tgid)]

    def _watch_ports(self, found: Sequence[targets.Existing]) -> None:
        for one in found:
            if one.state == targets.LISTEN:
                port = int(one.local.rpartition(":")[2])
                kernel.map_update(
                    self._loaded.map("ports"), struct.pack("=H", port), struct.pack("=I", 1)
                )

    def _teach(self, found: Sequence[targets.Existing]) -> None:
        """Tell a probe that cannot look which descriptors are TCP sockets."""
        for one in found:
            key = struct.pack("=Ii", one.tgid, one.fd)
            kernel.map_update(self._loaded.map("fds"), key, struct.pack("=QII", 0, 0, 0))

    # the loop

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
        if self._attached is None:
            return
        losses = self._counters.losses()
        if losses.total > self.losses.total:
            self.losses = losses
            self.on_loss(losses.total)

    def _over(self) -> bool:
        if self._stopped:
            return True
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            return True
        if self._wanted.open_ended:
            return False
        if self._alive and now - self._looked > LOOK_EVERY_S:
            # an exit whose record was lost
            self._looked = now
            self._alive = {tgid for tgid in self._alive if targets.is_there(tgid)}
        if self.child is not None:
            self.child.poll()  # else it stays there as a zombie
        return not self._alive

    def _detach(self) -> None:
        if self._attached is None:
            return
        self._drainer.stop()
        self._tell_losses()
        self._attached.close()
        self._attached = None

    def _give_up(self) -> None:
        if self._attached is not None:
            self._attached.close()
        if self.child is not None:
            self.child.abandon()
        self._loaded.close()


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
