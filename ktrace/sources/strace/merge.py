"""Merges the files of a `strace -ff` family by time, and shows where their calls overlap."""

import heapq
from collections.abc import Iterator, Sequence

from ktrace.events import Event, Kind, Phase

# Calls that may wait: without -T they can have returned as late as the thread's next call.
_MAY_WAIT = frozenset((Kind.WAIT, Kind.CONNECT, Kind.READ, Kind.ACCEPT, Kind.WRITE, Kind.RECV_FDS))


def merge(streams: Sequence[Iterator[Event]]) -> Iterator[Event]:
    """Yield the events of all streams in the order of their starts; overlapping calls come in two
    halves.

    Every event must have a start time.
    """
    ends: list[tuple[int, int, Event]] = []
    merged = heapq.merge(*map(_with_end, streams), key=_start)
    current = next(merged, None)
    serial = 0
    while current is not None:
        following = next(merged, None)
        event, end = current
        start = event.start_ns or 0
        while ends and ends[0][0] <= start:
            yield heapq.heappop(ends)[2]
        if following is None or end <= _start(following) or event.phase is not Phase.WHOLE:
            yield event
        else:
            serial += 1
            yield _begin_of(event)
            heapq.heappush(ends, (end, serial, _end_of(event)))
        current = following
    while ends:
        yield heapq.heappop(ends)[2]


def _start(pair: tuple[Event, int]) -> int:
    return pair[0].start_ns or 0


def _with_end(stream: Iterator[Event]) -> Iterator[tuple[Event, int]]:
    previous: Event | None = None
    for event in stream:
        if previous is not None:
            yield previous, _end(previous, event)
        previous = event
    if previous is not None:
        yield previous, _end(previous, None)


def _end(event: Event, following: Event | None) -> int:
    start = event.start_ns or 0
    if event.kind is Kind.CLONE:
        return start  # the child's first call may be stamped before its parent's clone() came back
    if event.end_ns is not None:
        return event.end_ns
    if event.kind in _MAY_WAIT and following is not None:
        return following.start_ns or start
    return start


def _begin_of(event: Event) -> Event:
    import msgspec

    return msgspec.structs.replace(
        event, phase=Phase.BEGIN, result=None, errno=None, end_ns=None, result_note=None
    )


def _end_of(event: Event) -> Event:
    import msgspec

    return msgspec.structs.replace(event, phase=Phase.END)
