"""Calls on a socket: connecting, listening, options, data, and what else shows its state."""

import msgspec

from ktrace.events import (
    BEGIN,
    END,
    Endpoint,
    Event,
    IntDetail,
    IoDetail,
    Kind,
    OptionDetail,
    StateDetail,
)
from ktrace.sequencer.knowledge import apply, begin_connect
from ktrace.sequencer.tracked import Row, Tracked
from ktrace.sequencer.world import Handler, World
from ktrace.tcp_state import AFTER_ESTABLISHED, AFTER_SHUTDOWN, BROKEN, IN_PROGRESS


def _connect(world: World, event: Event) -> None:
    tracked = world.subject(event)
    if tracked is None:
        return
    endpoint = event.detail if isinstance(event.detail, Endpoint) else None
    if endpoint is not None and endpoint.family == "AF_UNSPEC":
        if event.phase is not BEGIN and not event.errno:
            _disconnect(world, tracked, event)
        return
    before = tracked.state
    if event.phase is not END:
        begin_connect(world, tracked, event, endpoint)
    if event.phase is BEGIN:
        tracked.before_connect = before
    else:
        if event.phase is END and tracked.before_connect is not None:
            before, tracked.before_connect = tracked.before_connect, None
        if event.errno in IN_PROGRESS or event.errno in BROKEN:
            tracked.is_tcp = True
        apply(world, tracked, event)
        tracked.keep(Row(event, before, tracked.state, tracked.observed))
        world.end_if_closed(tracked)


def _disconnect(world: World, tracked: Tracked, event: Event) -> None:
    tracked.keep(Row(event, tracked.state, "CLOSE"))
    tracked.state = "CLOSE"
    tracked.connect_begun = tracked.proved = False
    world.in_flight.pop(tracked.number, None)


def _listen(world: World, event: Event) -> None:
    tracked = world.subject(event)
    if tracked is not None and event.phase is not BEGIN and not event.errno:
        tracked.listening = True
        tracked.before_trace = False
        tracked.keep(Row(event, tracked.state, "LISTEN"))
        tracked.state = "LISTEN"


def _bind(world: World, event: Event) -> None:
    tracked = world.subject(event)
    if tracked is None or event.phase is BEGIN or event.errno:
        return
    if isinstance(event.detail, Endpoint) and event.detail.address and event.detail.port:
        tracked.local = str(event.detail)
    tracked.keep_maybe(Row(event, tracked.state, tracked.state))


def _shutdown(world: World, event: Event) -> None:
    tracked = world.subject(event)
    if tracked is None or event.phase is BEGIN:
        return
    before = tracked.state
    how = event.detail.value if isinstance(event.detail, IntDetail) else 2
    if not event.errno and how != 0 and not tracked.observed:
        tracked.state = AFTER_SHUTDOWN.get(before, before)
    tracked.keep_if_room(Row(event, before, tracked.state, tracked.observed))


def _option(world: World, event: Event) -> None:
    tracked = world.subject(event)
    detail = event.detail
    if tracked is None or event.phase is BEGIN or not isinstance(detail, OptionDetail):
        return
    if detail.level == "SOL_TCP" and not event.errno:
        tracked.is_tcp = True
        if detail.name == "TCP_FASTOPEN_CONNECT":
            tracked.fastopen = detail.value != 0
        elif detail.name == "TCP_FASTOPEN":
            tracked.fastopen_listener = detail.value != 0
    tracked.keep_maybe(Row(event, tracked.state, tracked.state, tracked.observed))


def _write(world: World, event: Event) -> None:
    """A splice() out of a socket is a read."""
    source = event.detail.source if isinstance(event.detail, IoDetail) else None
    if source is not None and isinstance(world.processes.get(event.tid, source), Tracked):
        event = msgspec.structs.replace(event, kind=Kind.READ, fd=source, note=None)
    _on_socket(world, event)


def _on_socket(world: World, event: Event) -> None:
    tracked = world.subject(event)
    if tracked is None:
        return
    opens_fast = isinstance(event.detail, IoDetail) and event.detail.fastopen
    if opens_fast and event.phase is not END:
        begin_connect(world, tracked, event, None)
        tracked.fastopen = True
    if event.phase is BEGIN:
        return
    _learn_addresses(tracked, event)
    if tracked.in_flight and event.kind is Kind.TCP_INFO and _hides_its_result(event):
        tracked.limits.add("hidden-wait")
    before, known = tracked.state, tracked.told
    apply(world, tracked, event)
    row = Row(event, before, tracked.state, tracked.observed)
    if before != tracked.state or tracked.told != known or event.kind is Kind.SO_ERROR:
        tracked.keep_if_room(row)
    else:
        tracked.keep_maybe(row)
    world.end_if_closed(tracked)


def _hides_its_result(event: Event) -> bool:
    return event.result == 0 and event.detail is None


def _learn_addresses(tracked: Tracked, event: Event) -> None:
    if event.result != 0 or not isinstance(event.detail, Endpoint):
        return
    if event.kind is Kind.GETPEERNAME:
        tracked.learn_peer(event.detail)
    elif event.kind is Kind.GETSOCKNAME and event.detail.address and event.detail.port:
        tracked.local = str(event.detail)


def _state(world: World, event: Event) -> None:
    detail = event.detail
    tracked = world.by_sock.get(event.sock) if event.sock is not None else None
    if tracked is None and event.fd is not None and event.sock is not None:
        # it began inside a call on this descriptor, and that is how the socket shows itself
        inside = world.processes.get(event.tid, event.fd)
        if isinstance(inside, Tracked):
            world.recognise(inside, event.sock)
            tracked = inside
    if tracked is None or not isinstance(detail, StateDetail):
        return
    if detail.new == "SYN_SENT" and not tracked.connect_begun:
        # no connect() that the trace shows: one of io_uring, or of data sent with Fast Open
        begin_connect(world, tracked, event, None)
        tracked.limits.add("io_uring")
        tracked.learn(event.note)
    before = tracked.state if tracked.observed else detail.old
    tracked.observed = True
    tracked.state = detail.new
    if detail.new == "ESTABLISHED" or (
        detail.new in AFTER_ESTABLISHED and tracked.established_ns is None
    ):
        tracked.established_ns = event.start_ns
    tracked.keep_if_room(Row(event, before, detail.new, True))
    if detail.new == "CLOSE" and world.held.pop(tracked.number, None) is not None:
        tracked.refs -= 1
        if tracked.refs <= 0:
            world.released(tracked)


HANDLERS: dict[Kind, Handler] = {
    Kind.CONNECT: _connect,
    Kind.LISTEN: _listen,
    Kind.BIND: _bind,
    Kind.SHUTDOWN: _shutdown,
    Kind.SOCKOPT: _option,
    Kind.STATE: _state,
    Kind.WRITE: _write,
    **dict.fromkeys(
        (
            Kind.READ,
            Kind.SO_ERROR,
            Kind.TCP_INFO,
            Kind.GETSOCKOPT,
            Kind.GETPEERNAME,
            Kind.GETSOCKNAME,
        ),
        _on_socket,
    ),
}
