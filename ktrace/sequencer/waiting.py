"""epoll, poll, select: who was told what, and what may have been told unseen."""

from collections.abc import Collection

import msgspec

from ktrace.events import (
    BEGIN,
    CloexecDetail,
    EpollCtlDetail,
    Event,
    IntDetail,
    Kind,
    Ready,
    RingDetail,
    WaitDetail,
)
from ktrace.sequencer.knowledge import fail, prove
from ktrace.sequencer.tables import Epoll
from ktrace.sequencer.texts import ready as ready_text
from ktrace.sequencer.tracked import Row, Tracked
from ktrace.sequencer.world import Handler, World, returned_fd
from ktrace.tcp_state import of_readiness
from ktrace.uapi import EPOLLERR, EPOLLHUP, EPOLLOUT, EPOLLRDHUP

EVERY = 1 << 62
MAX_FD = 1 << 20  # no process has more, unless somebody raised fs.nr_open
_TELLING = EPOLLERR | EPOLLHUP | EPOLLRDHUP


def _epoll_create(world: World, event: Event) -> None:
    if returned_fd(event):
        assert event.result is not None
        cloexec = isinstance(event.detail, CloexecDetail) and event.detail.cloexec
        world.processes.open(event.tid, event.result, Epoll(True), cloexec)


def _epoll_ctl(world: World, event: Event) -> None:
    detail = event.detail
    if event.phase is BEGIN or not isinstance(detail, EpollCtlDetail) or event.errno:
        return
    epoll = _epoll(world, event)
    tracked = world.processes.get(event.tid, detail.fd)
    if epoll is None or not isinstance(tracked, Tracked):
        return
    if detail.op == "DEL":
        epoll.remove(tracked)
    else:
        epoll.add(tracked, detail.data, detail.events)
    tracked.keep_maybe(Row(event, tracked.state, tracked.state, tracked.observed))


def _wait(world: World, event: Event) -> None:
    detail = event.detail
    if event.phase is BEGIN or not isinstance(detail, WaitDetail):
        return
    epoll = _epoll(world, event) if event.fd is not None else None
    may_tell = world.unsettled or detail.hidden or (epoll is not None and not epoll.complete)
    if not may_tell and not any(ready.events & _TELLING for ready in detail.ready):
        return
    shown: set[Tracked] = set()
    for ready in detail.ready:
        for tracked, certain in _reported(world, event, epoll, ready):
            _readiness(world, tracked, event, ready, certain)
            if certain:
                shown.add(tracked)
    if detail.hidden:
        _hidden(world, event, epoll, detail, shown)


def _epoll(world: World, event: Event) -> Epoll | None:
    if event.fd is None:
        return None
    found = world.processes.get(event.tid, event.fd)
    if isinstance(found, Epoll):
        return found
    epoll = Epoll(False)
    world.processes.open(event.tid, event.fd, epoll, False)
    return epoll


def _reported(
    world: World, event: Event, epoll: Epoll | None, ready: Ready
) -> list[tuple[Tracked, bool]]:
    """Return the sockets that an entry can mean, and whether it is certain."""
    if ready.fd is not None:
        found = world.processes.get(event.tid, ready.fd)
        if found is None:
            found = world.adopt(msgspec.structs.replace(event, fd=ready.fd, note=None))
        return [(found, True)] if isinstance(found, Tracked) else []
    if epoll is None or ready.data is None:
        return []
    meant = [t for t in epoll.by_data.get(ready.data, ()) if not t.ended]
    if meant:
        return [(tracked, len(meant) == 1) for tracked in meant]
    # no registration in the trace: data is often the descriptor itself
    number = ready.data & 0xFFFFFFFF
    found = world.processes.get(event.tid, number)
    if found is None and not epoll.complete and number < MAX_FD:
        found = world.adopt(msgspec.structs.replace(event, fd=number, note=None))
    return [(found, True)] if isinstance(found, Tracked) and not found.listening else []


def _readiness(world: World, tracked: Tracked, event: Event, ready: Ready, certain: bool) -> None:
    if tracked.listening:
        return
    if not certain:
        if tracked.in_flight and ready.events & EPOLLOUT:
            tracked.limits.add("ambiguous-epoll")
        return
    before, told = tracked.state, tracked.told
    _apply_readiness(world, tracked, event, ready.events)
    if before != tracked.state or told != tracked.told:
        text = ready_text(event, tracked.fd, ready.events)
        tracked.keep_if_room(Row(event, before, tracked.state, tracked.observed, text))


def _apply_readiness(world: World, tracked: Tracked, event: Event, events: int) -> None:
    effect = of_readiness(events, fastopen=tracked.fastopen, in_flight=tracked.in_flight)
    told = tracked.told
    if effect == "failure":
        fail(world, tracked, "EPOLLERR" if events & EPOLLERR else "EPOLLHUP")
    elif effect in ("proof", "fin") and (
        tracked.connect_begun or tracked.accepted or tracked.before_trace
    ):
        prove(world, tracked, event)
        tracked.proved_by_select = not told and "select" in event.call
    elif effect == "reset" and tracked.proved and not tracked.observed:
        tracked.state = "CLOSE"
    if events & EPOLLRDHUP and tracked.state == "ESTABLISHED" and not tracked.observed:
        tracked.state = "CLOSE_WAIT"


def _hidden(
    world: World, event: Event, epoll: Epoll | None, detail: WaitDetail, shown: Collection[Tracked]
) -> None:
    """A result that was cut or not shown could have held the proof of any socket in flight.

    A descriptor has one entry, and a second one of the same socket tells the same: what was `shown`
    is not among the others.
    """
    for tracked in world.in_flight.values():
        if tracked in shown:
            continue
        if epoll is not None and not epoll.could_report(tracked):
            continue
        if epoll is None and _opened_later(tracked, event):
            continue
        if detail.watched is not None and not _watches(world, event, detail, tracked):
            continue
        tracked.limits.add("hidden-wait")


def _opened_later(tracked: Tracked, event: Event) -> bool:
    """Tell a socket that was opened while the call waited: it cannot have been asked about."""
    opened = tracked.opened
    if opened.source != event.source or opened.line is None or event.line is None:
        return False
    return opened.line > event.line


def _watches(world: World, event: Event, detail: WaitDetail, tracked: Tracked) -> bool:
    assert detail.watched is not None
    return any(world.processes.get(event.tid, fd) is tracked for fd in detail.watched)


def _io_uring(world: World, event: Event) -> None:
    if event.phase is not BEGIN and not event.errno:
        table = world.processes.table(event.tid)
        if isinstance(event.detail, RingDetail):
            table.ring = EVERY
            _has_ring(world, event, event.detail.seen)
        elif not isinstance(event.detail, IntDetail):
            table.ring = max(table.ring, world.numbered)
        elif event.detail.value:
            table.ring = EVERY
        for tracked in world.in_flight.values():
            if any(opened is tracked for opened in table.fds.values()):
                tracked.limits.add("io_uring")


def _has_ring(world: World, event: Event, seen: bool) -> None:
    """Live: from here on calls may be made where no probe looks, unless it looks inside."""
    world.rings[world.processes.tgid(event.tid)] = seen
    for opened in world.processes.table(event.tid).fds.values():
        if isinstance(opened, Tracked):
            opened.blind = opened.blind or not seen


HANDLERS: dict[Kind, Handler] = {
    Kind.EPOLL_CREATE: _epoll_create,
    Kind.EPOLL_CTL: _epoll_ctl,
    Kind.WAIT: _wait,
    Kind.IO_URING: _io_uring,
}
