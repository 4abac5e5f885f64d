"""The two steps of kTLS: setting the ULP, installing keys."""

from ktrace.events import BEGIN, END, Event, KeyDetail, Kind
from ktrace.sequencer.knowledge import apply, result_of
from ktrace.sequencer.tracked import Attempt, Install, Row, Tracked
from ktrace.sequencer.world import Handler, World
from ktrace.tcp_state import NOT_CONNECTED
from ktrace.timelines import Limit


def _ulp(world: World, event: Event) -> None:
    tracked = world.subject(event)
    if tracked is None:
        return
    begun = _begun_attempt(tracked, event) if event.phase is END else None
    if begun is not None:
        tracked.drop(begun.event)
        _ulp_settles(world, tracked, begun, event)
        world.end_if_closed(tracked)
        return
    if not tracked.proved and world.processes.table(event.tid).ring > tracked.number:
        tracked.limits.add("io_uring")
    attempt = _attempt(tracked, event)
    tracked.attempts.append(attempt)
    if event.phase is not BEGIN:
        _ulp_settles(world, tracked, attempt, event)
    else:
        tracked.keep_setup(Row(event, attempt.state, attempt.state, attempt.observed))


def _begun_attempt(tracked: Tracked, event: Event) -> Attempt | None:
    """Return the attempt that this thread has begun and not finished."""
    for attempt in reversed(tracked.attempts):
        if attempt.event.phase is BEGIN and attempt.event.tid == event.tid:
            return attempt
    return None


def _attempt(tracked: Tracked, event: Event) -> Attempt:
    """Note what was known when the attempt began: nothing that ends later can excuse it."""
    if tracked.proved:
        order = "proved"
    elif tracked.listening or tracked.failure is not None:
        order = "unconnected"
    elif event.told:
        order = "proved"  # live: the socket had moved data, by calls that are not recorded
    elif tracked.connect_begun:
        order = "in-flight"
    else:
        order = "unknown" if tracked.before_trace or tracked.accepted else "unconnected"
    state = event.state or tracked.state
    limits: frozenset[Limit] = frozenset(tracked.limits)
    attempt = Attempt(event, order, state, event.state is not None or tracked.observed, limits)
    attempt.proof_ns = tracked.proof_ns if tracked.proved else None
    return attempt


def _ulp_settles(world: World, tracked: Tracked, attempt: Attempt, event: Event) -> None:
    if event.phase is END and event.state is not None and attempt.observed:
        attempt.state = event.state  # live: of the very call, where the entry's was another
    attempt.event = event
    attempt.returned = event.result is not None
    attempt.result = result_of(event)
    if event.result == 0:
        tracked.ulp_ok = True
        if not attempt.observed:
            attempt.state = "ESTABLISHED" if attempt.order != "proved" else attempt.state
    elif attempt.order == "proved" and attempt.result in NOT_CONNECTED and not attempt.observed:
        attempt.state = "UNKNOWN" if attempt.state == "ESTABLISHED" else attempt.state
    before = attempt.state
    apply(world, tracked, event)
    tracked.keep_setup(Row(event, before, tracked.state, attempt.observed))


def _key(world: World, event: Event) -> None:
    tracked = world.subject(event)
    if tracked is None or not isinstance(event.detail, KeyDetail):
        return
    install = Install(event, event.detail, result_of(event))
    index = _begun_install(tracked, event) if event.phase is END else None
    if index is not None:
        tracked.drop(tracked.keys[index].event)
        tracked.keys[index] = install
        _key_settles(world, tracked, event)
        world.end_if_closed(tracked)
        return
    tracked.keys.append(install)
    if event.phase is not BEGIN:
        _key_settles(world, tracked, event)
    else:
        tracked.keep_setup(Row(event, tracked.state, tracked.state, tracked.observed))


def _begun_install(tracked: Tracked, event: Event) -> int | None:
    for index in range(len(tracked.keys) - 1, -1, -1):
        begun = tracked.keys[index].event
        if begun.phase is BEGIN and begun.tid == event.tid:
            return index
    return None


def _key_settles(world: World, tracked: Tracked, event: Event) -> None:
    before = tracked.state
    apply(world, tracked, event)
    tracked.keep_setup(Row(event, before, tracked.state, tracked.observed))


HANDLERS: dict[Kind, Handler] = {Kind.ULP: _ulp, Kind.KEY: _key}
