"""The sequencer: applies events, in the order of the trace, to the sockets they concern.

A call that came in two halves acts at both: a connect() is started when it begins, close() frees
the number when it begins, a proof counts from its end.  So a proof that overlaps an attempt never
excuses it.
"""

from collections.abc import Collection, Iterable

from ktrace.events import END, Event, Kind
from ktrace.sequencer import connecting, descriptors, ktls, waiting
from ktrace.sequencer.tables import Other
from ktrace.sequencer.tracked import TAIL, Tracked
from ktrace.sequencer.world import Finished, Handler, World

HANDLERS: dict[Kind, Handler] = {
    **descriptors.HANDLERS,
    **connecting.HANDLERS,
    **ktls.HANDLERS,
    **waiting.HANDLERS,
}
MAX_ASKED = 16  # sockets that are looked for by name in what the scanner passed over


class Sequencer:
    """Feeds on events, gives each socket to `finished` when it has ended.

    Ids count connections in the order of opening, from `first_id` on.
    `detailed`: timelines will be shown, so the data calls of a connection's setup matter.
    """

    def __init__(self, finished: Finished, first_id: int = 1, *, detailed: bool = True) -> None:
        self._world = World(finished, first_id)
        self.detailed = detailed
        self._asked_at = -1
        self._asked: frozenset[int] | None = None

    def feed(self, event: Event) -> None:
        """Apply one event."""
        world = self._world
        if event.tgid is not None:
            world.processes.set_tgid(event.tid, event.tgid)
        if world.cloning and not world.processes.knows(event.tid):
            # a child's first call can be printed before its parent's clone() comes back
            descriptors.born(world, world.cloning.pop(next(iter(world.cloning))), event.tid)
        if event.tid in world.inside and event.phase is not END:
            world.leave(event.tid)  # the call it was in came back unseen
        handler = HANDLERS.get(event.kind)
        if handler is not None:
            handler(world, event)

    @property
    def generation(self) -> int:
        """Changes when an earlier answer of `settled` may be wrong."""
        return self._world.processes.generation

    def settled(self, tid: int, fd: int) -> Tracked | Other | None:
        """Return what `fd` stands for if its data calls can change nothing, else None."""
        found = self._world.processes.get(tid, fd)
        if isinstance(found, Tracked):
            setup_is_over = not self.detailed or found.data_calls >= TAIL
            return found if found.settled and setup_is_over else None
        return found if isinstance(found, Other) else None

    def unknown(self, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return those of (thread, descriptor) of which the trace has not shown what they are."""
        return self._world.processes.not_shown(pairs)

    @property
    def asked(self) -> frozenset[int] | None:
        """The fd of each socket that a data call could prove something of; None: ask for all.

        Only without timelines: with them every data call is counted for its connection.
        """
        world = self._world
        if self._asked_at != world.changes:
            self._asked_at = world.changes
            self._asked = None if self.detailed else _numbers(world.unsettled.values())
        return self._asked

    def close_all(self) -> int:
        """End the trace: every socket still open is finished as it is; return the next free id."""
        self._world.finish_all()
        return self._world.next_id

    def lost_events(self) -> None:
        """Events are missing from here on: no absence before this point proves anything."""
        for tracked in self._world.in_flight.values():
            tracked.limits.add("lost-events")


def _numbers(sockets: Collection[Tracked]) -> frozenset[int] | None:
    """Return the descriptors of a few sockets; None for many, or with several numbers."""
    if len(sockets) > MAX_ASKED or any(tracked.refs != 1 for tracked in sockets):
        return None
    return frozenset([tracked.fd for tracked in sockets])
