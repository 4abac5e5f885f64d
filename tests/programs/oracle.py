"""What the public contract says of a connection, from a plain account of the calls made on it.

Written from the definitions of the verdicts, not from the implementation: no fd tables, no text, no
order of lines.  A `View` says what of the account a trace shows, so the weaker verdicts follow too.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

OUT, ERR, HUP = 0x4, 0x8, 0x10
# TCP states that a socket reaches only through ESTABLISHED.
CAME_UP = (1, 4, 5, 6, 8, 9, 11)
PENDING = ("EINPROGRESS", "EALREADY", "EINTR", "EAGAIN")
NOT_CONNECTED = ("ENOTCONN", "ENOTSUPP")
WAITS = ("epoll", "poll", "select")
ARRAYS = ("epoll", "poll")  # cut by -s; select's sets are not
OTHER_ULPS = ("other_ulp", "other_ulp_int")  # printed as a string, as an int (optlen 4)
FAMILY = {
    "connect": "connect",
    "disconnect": "connect",
    "epoll": "wait",
    "poll": "wait",
    "select": "wait",
    "getpeername": "getsockopt",
    "so_error": "getsockopt",
    "tcp_info": "getsockopt",
    "read": "io",
    "write": "io",
    "accept": "accept",
    "listen": "listen",
    "close": "close",
    "ulp": "setsockopt",
    "tx": "setsockopt",
    "rx": "setsockopt",
    "fastopen": "setsockopt",
    "fastopen_child": "setsockopt",
    "fastopen_listener": "setsockopt",
}
PROVING = frozenset({"connect", "wait", "getsockopt", "io"})
# "safe" is said of connections whose every attempt is known to be: one unknown attempt weakens it.
WORST_FIRST = ("raced", "unconnected", "unordered", "late", "unknown", "safe")


@dataclass(frozen=True)
class Fact:
    """One call on the socket: [begin, end] is its place in the order of the run.

    `value` is a byte count, event mask, TCP state, errno of SO_ERROR, optlen, or
    version << 16 | cipher; `index` the place of this socket in the array that a wait returned, -1
    where the wait reported nothing.  `result` None: never returned.
    """

    call: str
    result: str | None = "ok"
    value: int = 0
    index: int = 0
    begin: int = 0
    end: int = 0


@dataclass(frozen=True)
class View:
    """What a trace shows: `hidden` calls show no result, arrays are cut after `array` entries."""

    hidden: frozenset[str] = frozenset()
    array: int | None = None
    uncovered: frozenset[str] = frozenset()
    addresses: bool = True

    def shows(self, fact: Fact) -> bool:
        return FAMILY[fact.call] not in self.uncovered

    def reads(self, fact: Fact) -> bool:
        """The fact's result can be read: not only that the call was made."""
        if fact.call in WAITS and fact.index < 0:
            return self.shows(fact)
        cut = fact.call in ARRAYS and self.array is not None and fact.index >= self.array
        return self.shows(fact) and fact.call not in self.hidden and not cut


@dataclass(frozen=True)
class Verdict:
    role: str
    ordering: str | None
    outcome: str
    recovered: bool
    ulp: tuple[str | None, ...] = ()
    tx: tuple[str | None, ...] = ()
    rx: tuple[str | None, ...] = ()
    limited: bool = False
    orderings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def has_ktls(self) -> bool:
        return bool(self.ulp or self.tx or self.rx)


def judge(facts: Iterable[Fact], view: View = View(), *, opened_before: bool = False) -> Verdict:
    """Return the verdict that the contract gives for these calls, seen through `view`."""
    shown = _as_seen(facts, view)
    attempts = [f for f in shown if f.call == "ulp"]
    judged = [a for a in attempts if not _benign(a, attempts)]
    orderings = tuple(_ordering(a, shown, view, opened_before) for a in judged)
    tx, rx = ([f for f in shown if f.call == way] for way in ("tx", "rx"))
    outcome, by_limit = _outcome(shown, view, opened_before)
    return Verdict(
        role=_role(shown),
        ordering=min(orderings, key=WORST_FIRST.index) if orderings else None,
        outcome=outcome,
        recovered=_recovered(attempts),
        ulp=tuple(f.result for f in attempts),
        tx=tuple(f.result for f in tx),
        rx=tuple(f.result for f in rx),
        # what lies before the trace is no call that was left out of it
        limited=by_limit or ("unknown" in orderings and not opened_before),
        orderings=orderings,
    )


def _as_seen(facts: Iterable[Fact], view: View) -> list[Fact]:
    """Drop what the view does not show; a name that is not shown counts as "tls"."""
    seen = []
    for fact in facts:
        if fact.call == "begins":
            continue
        if fact.call in OTHER_ULPS:
            if fact.call not in view.hidden:
                continue
            fact = replace(fact, call="ulp")
        if view.shows(fact):
            seen.append(fact)
    return sorted(seen, key=lambda f: f.begin)


def _role(shown: list[Fact]) -> str:
    calls = {f.call for f in shown}
    for call, role in (("listen", "listener"), ("connect", "client"), ("accept", "server")):
        if call in calls:
            return role
    return "unknown"


def _proves(fact: Fact, view: View, fast: bool) -> bool:
    """Say whether the kernel must have had the socket in ESTABLISHED when this call returned."""
    if not view.reads(fact) or fact.result is None:
        return False
    by_value = {
        "read": fact.value >= 0,
        "getpeername": True,
        "tcp_info": fact.value in CAME_UP,
        "ulp": True,
        "accept": not fast,
    }
    if fact.call in by_value:
        return fact.result == "ok" and by_value[fact.call]
    if fast:
        return False
    if fact.call == "connect":
        return fact.result in ("ok", "EISCONN")
    if fact.call in WAITS:
        return bool(fact.value & OUT) and not fact.value & (ERR | HUP)
    return fact.call == "write" and fact.result == "ok" and fact.value > 0


def _fails(fact: Fact, view: View) -> bool:
    """Say whether this call tells that the connect had failed."""
    if not view.reads(fact) or fact.result is None:
        return False
    if fact.call == "connect":
        return fact.result not in ("ok", "EISCONN", *PENDING)
    if fact.call in WAITS:
        return bool(fact.value & (ERR | HUP))
    return fact.call == "so_error" and fact.value != 0


def _could_prove(fact: Fact, view: View) -> bool:
    return fact.call in (*WAITS, "tcp_info") and not view.reads(fact)


def _since_disconnect(shown: list[Fact], before: int) -> list[Fact]:
    cut = max((f.end for f in shown if f.call == "disconnect" and f.end < before), default=-1)
    return [f for f in shown if f.end > cut and f.call != "disconnect"]


def _starts(shown: list[Fact]) -> list[Fact]:
    return [f for f in shown if f.call in ("connect", "accept")]


def _ordering(attempt: Fact, shown: list[Fact], view: View, opened_before: bool) -> str:
    at = attempt.begin
    life = _since_disconnect(shown, at)
    refused = attempt.result in NOT_CONNECTED
    if any(f.call == "listen" and f.end < at for f in life):
        return "unconnected"
    starts = [f for f in _starts(life) if f.begin < at]
    fast = any(
        f.call in ("fastopen", "fastopen_child") and f.result == "ok" and f.end < at for f in life
    )
    since = starts[0].begin if starts else (-1 if opened_before else at)
    between = [f for f in life if f.end < at and f.end >= since]
    if any(_proves(f, view, fast) for f in between):
        return "late" if refused else "safe"
    if not starts:
        return "unknown" if opened_before else "unconnected"
    again = [f.begin for f in starts if f.call == "connect"]
    failed = [f.end for f in between if _fails(f, view)]
    if failed and max(failed) >= max(again, default=-1):
        return "unconnected"
    if refused:
        return "raced"
    hidden = any(_could_prove(f, view) for f in between)
    return "unknown" if hidden or view.uncovered & PROVING or opened_before else "unordered"


def _recovered(attempts: list[Fact]) -> bool:
    """Return whether a failed attempt was followed by one that succeeded."""
    failed = False
    for attempt in attempts:
        if attempt.result == "ok" and failed:
            return True
        failed = failed or not (attempt.result in ("ok", None) or _benign(attempt, attempts))
    return False


def _benign(attempt: Fact, attempts: list[Fact]) -> bool:
    """Return whether the attempt only found what another one had set."""
    return attempt.result == "EEXIST" and _any_ok(attempts)


def _any_ok(facts: list[Fact]) -> bool:
    return any(f.result == "ok" for f in facts)


def _any_failed(facts: list[Fact]) -> bool:
    return any(f.result not in ("ok", None) for f in facts)


def _outcome(shown: list[Fact], view: View, opened_before: bool) -> tuple[str, bool]:
    """Return the outcome, and whether a call that is not shown decided against `not-connected`."""
    ways = {way for way in ("tx", "rx") if _any_ok([f for f in shown if f.call == way])}
    if ways:
        return ("offloaded" if len(ways) == 2 else f"{ways.pop()}-only"), False
    if any(f.call == "listen" for f in shown):
        return "none", False
    proved, failed = _came_up(shown, view)
    closed = any(f.call == "close" for f in shown)
    blind = _blind(shown, view)
    if not proved and not opened_before and (failed or (closed and not blind)):
        return "not-connected", False
    return _by_calls(shown, view, opened_before), not proved and closed and blind


def _blind(shown: list[Fact], view: View) -> bool:
    """Return whether a call since the connect could have told that it came up, were it shown."""
    starts = _starts(shown)
    if not starts:
        return False
    since = [f for f in shown if f.end >= starts[0].begin]
    return bool(view.uncovered & PROVING) or any(_could_prove(f, view) for f in since)


def _came_up(shown: list[Fact], view: View) -> tuple[bool, bool]:
    """Return (proved at any time, known to have failed)."""
    starts = _starts(shown)
    first = starts[0].begin if starts else None
    fast = any(f.call in ("fastopen", "fastopen_child") and f.result == "ok" for f in shown)
    live = [f for f in shown if first is None or f.end >= first]
    return (
        any(_proves(f, view, fast) for f in live),
        first is not None and any(_fails(f, view) for f in live),
    )


def _by_calls(shown: list[Fact], view: View, opened_before: bool) -> str:
    attempts = [f for f in shown if f.call == "ulp"]
    keys = [f for f in shown if f.call in ("tx", "rx")]
    if _any_failed(keys) or (_any_failed(attempts) and not _any_ok(attempts)):
        return "fallback"
    if _any_ok(attempts):
        return "ulp-only"
    if "setsockopt" in view.uncovered or opened_before:
        return "unknown"
    return "none"
