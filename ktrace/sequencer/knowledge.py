"""What a call changes in what is known of a socket: proofs, failures, the TCP state they imply."""

from ktrace.events import Endpoint, Event, IntDetail, Kind
from ktrace.sequencer.tracked import Tracked
from ktrace.sequencer.world import World, is_tcp_note
from ktrace.tcp_state import of_call
from ktrace.uapi import ERRNO_NAMES

_KTLS = frozenset((Kind.ULP, Kind.KEY))


def result_of(event: Event) -> str | None:
    """Return "ok", the errno, or None for a call that never returned."""
    if event.errno is not None:
        return event.errno
    return None if event.result is None else "ok"


def begin_connect(world: World, tracked: Tracked, event: Event, endpoint: Endpoint | None) -> None:
    if (
        not tracked.connect_called
        and tracked.before_trace
        and not tracked.rows
        and not tracked.has_ktls
    ):
        tracked.before_trace = False  # its way to ESTABLISHED begins here, in the trace
        tracked.limits.discard("before-trace")
        # a datagram socket connects too: only what follows tells, unless strace said so
        tracked.is_tcp = event.note is not None and is_tcp_note(event.note)
    tracked.connect_called = True
    if tracked.proved and tracked.failure is None:
        if tracked.peer is None:
            tracked.learn_peer(endpoint)
        return
    tracked.connect_begun = True
    tracked.failure = None
    tracked.proved = False
    if not tracked.observed:
        tracked.state = "SYN_SENT"
    if event.fd is None or tracked.pid in world.rings:
        tracked.limits.add("io_uring")  # live: how it went may be told in memory, by no call
    tracked.learn_peer(endpoint)
    world.in_flight[tracked.number] = tracked
    world.unsettle(tracked)


def apply(world: World, tracked: Tracked, event: Event) -> None:
    """Let a finished call change what is known of the socket."""
    effect = of_call(event, fastopen=tracked.fastopen, fastopen_child=tracked.fastopen_child)
    if effect == "nothing":
        return
    if effect == "failure" or (effect == "reset" and tracked.in_flight):
        fail(world, tracked, _reason(event))
    elif effect == "reset":
        if not tracked.observed:
            tracked.state = "CLOSE"
    elif tracked.connect_begun or tracked.accepted or tracked.before_trace or effect == "proof":
        prove(world, tracked, event)
        if effect == "fin" and tracked.state == "ESTABLISHED" and not tracked.observed:
            tracked.state = "CLOSE_WAIT"
        elif (
            effect == "fin" and tracked.state in ("FIN_WAIT1", "FIN_WAIT2") and not tracked.observed
        ):
            tracked.state = "TIME_WAIT"


def prove(world: World, tracked: Tracked, event: Event) -> None:
    if tracked.listening:
        return
    if event.kind not in _KTLS:
        tracked.told = True
    if tracked.proved:
        return
    tracked.proved = True
    tracked.failure = None
    tracked.proof_ns = event.end_ns if event.end_ns is not None else event.start_ns
    world.in_flight.pop(tracked.number, None)
    if not tracked.fastopen_child:
        world.settle(tracked)
    if tracked.state in ("SYN_SENT", "SYN_RECV", "UNKNOWN", "CLOSE") and not tracked.observed:
        tracked.state = "ESTABLISHED"


def fail(world: World, tracked: Tracked, reason: str) -> None:
    if tracked.proved and not tracked.proved_by_select:
        if not tracked.observed:
            tracked.state = "CLOSE"
        return
    # select() calls a failed socket writable too: what follows tells
    tracked.proved = tracked.proved_by_select = False
    if tracked.connect_begun or tracked.before_trace:
        tracked.failure = tracked.failure or reason
    if not tracked.observed:
        tracked.state = "CLOSE"
    world.in_flight.pop(tracked.number, None)


def _reason(event: Event) -> str:
    if event.kind is Kind.SO_ERROR and isinstance(event.detail, IntDetail):
        return f"SO_ERROR {ERRNO_NAMES.get(event.detail.value, event.detail.value)}"
    return event.errno or event.call
