"""Fold the connections of one cause: counts and the worst connection, never all of them."""

from array import array
from collections.abc import Callable, Iterator

import msgspec

from ktrace.findings import Connection, Evidence, Severity
from ktrace.rules.calls import NO_ULP, Call
from ktrace.rules.evidence import mark_of
from ktrace.timelines import Judged

RANK: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
PLACES = 8  # connections whose wrong call is kept as evidence
NAMES = 32  # programs, peers or tags that are counted one by one; a trace is untrusted
OTHERS = "others"

Place = tuple[int, int, int | None, str]  # connection, source index, line, text


class Hit(msgspec.Struct, frozen=True):
    """A connection shows a rule's pattern.

    `cause` parts faults that need different fixes; it holds no pid, fd, time, line or port of a
    client.  `call` is the wrong call, `tags` are counted over all connections of the cause, and
    `about` is what the words say of this connection alone.
    """

    cause: tuple[str, ...]
    severity: Severity
    call: Call | None = None
    tags: tuple[str, ...] = ()
    about: str = ""


class Margins:
    """The range of margins, in microseconds; `observed` while every one of them was."""

    __slots__ = ("count", "high", "low", "observed")

    def __init__(self) -> None:
        self.count = 0
        self.low = self.high = 0.0
        self.observed = True

    def add(self, connection: Connection) -> None:
        margin = connection.margin_us
        if margin is None:
            return
        self.low = min(self.low, margin) if self.count else margin
        self.high = max(self.high, margin) if self.count else margin
        self.count += 1
        self.observed = self.observed and connection.margin_basis == "observed"


class Counts:
    """How often each name came; after `NAMES` different ones the rest are "others"."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, name: str) -> None:
        if name not in self._counts and len(self._counts) >= NAMES:
            name = OTHERS
        self._counts[name] = self._counts.get(name, 0) + 1

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)

    def __iter__(self) -> Iterator[str]:
        """Yield the names, the most frequent first, equal ones by name."""
        return iter(sorted(self._counts, key=lambda name: (-self._counts[name], name)))

    def __len__(self) -> int:
        return len(self._counts)


class Fold:
    """All connections of one cause; what it holds does not depend on the order they came in."""

    def __init__(self, cause: tuple[str, ...]) -> None:
        self.cause = cause
        self.severity: Severity = "note"
        self.ids = array("Q")
        self.outcomes = Counts()
        self.tags = Counts()
        self.peers = Counts()
        self.margins = Margins()
        self.recovered = 0
        self.retried = 0
        self.keys_without_ulp = 0
        self.fastopen = 0
        self._places: list[Place] = []
        self._shown: tuple[tuple[int, int, int], Judged, Hit] | None = None

    @property
    def count(self) -> int:
        return len(self.ids)

    @property
    def shown(self) -> Judged:
        """The connection to show: the worst, then the one with most to tell, then the first."""
        assert self._shown is not None
        return self._shown[1]

    @property
    def hit(self) -> Hit:
        """The hit of the connection to show."""
        assert self._shown is not None
        return self._shown[2]

    @property
    def result(self) -> str:
        """The result of the wrong call of the connection to show."""
        return (self.hit.call and self.hit.call.result) or ""

    def add(self, judged: Judged, hit: Hit, whole: Callable[[], Judged]) -> None:
        """Count a connection; few of all need their timeline, which `whole` makes."""
        connection = judged.connection
        number = int(connection.id[1:])
        self.ids.append(number)
        self.severity = min(self.severity, hit.severity, key=RANK.__getitem__)
        self._count(judged, hit)
        if len(self._places) < PLACES or number < self._places[-1][0]:
            self._keep_place(whole(), hit)
        merit = (RANK[hit.severity], -_tells(connection), number)
        if self._shown is None or merit < self._shown[0]:
            self._shown = (merit, whole(), hit)

    def _count(self, judged: Judged, hit: Hit) -> None:
        connection = judged.connection
        self.outcomes.add(connection.outcome)
        for tag in hit.tags:
            self.tags.add(tag)
        if connection.peer is not None and connection.role == "client":
            self.peers.add(connection.peer)
        self.margins.add(connection)
        self.recovered += connection.recovered
        self.retried += len(connection.ulp) > 1
        self.fastopen += judged.facts.fastopen
        keys = connection.tx + connection.rx
        self.keys_without_ulp += any(key.result in NO_ULP for key in keys)

    def _keep_place(self, judged: Judged, hit: Hit) -> None:
        """Keep the wrong calls of the connections with the lowest numbers."""
        self._places.append(_place(judged, hit))
        self._places.sort(key=lambda place: place[0])
        del self._places[PLACES:]

    def evidence(self, sources: tuple[str, ...]) -> tuple[Evidence, ...]:
        """Return the wrong call of up to eight connections, that of the shown one first."""
        first = _place(self.shown, self.hit)
        others = [place for place in self._places if place[0] != first[0]]
        return tuple(
            Evidence(source=source_name(sources, source), line=line, text=text)
            for _, source, line, text in (first, *others[: PLACES - 1])
        )


def _place(judged: Judged, hit: Hit) -> Place:
    return (int(judged.connection.id[1:]), *mark_of(judged, hit.call))


def source_name(sources: tuple[str, ...], index: int) -> str:
    return sources[index] if index < len(sources) else ""


def _tells(connection: Connection) -> int:
    """How much a connection can tell: where the program makes the call, and who the peer is."""
    stack = any(attempt.stack for attempt in connection.ulp)
    return 2 * stack + (connection.peer is not None)
