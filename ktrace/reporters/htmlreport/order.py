"""The order of setup calls, folded where it is equal: what a change of code changes."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from ktrace.findings import Connection
from ktrace.reporters.htmlreport.moments import WAITS, tells

SHOWN = 3


class Step(msgspec.Struct, frozen=True):
    """One step of the setup; `tone` is race, luck, none or empty."""

    text: str
    glyphs: tuple[str, ...]
    tone: str


class Order(msgspec.Struct, frozen=True):
    """The steps that `many` of `total` connections took."""

    steps: tuple[Step, ...]
    many: int
    total: int


def orders(connections: Sequence[Connection]) -> tuple[tuple[Order, ...], int]:
    """Return the commonest orders, and how many connections took another one."""
    counts = Counter(steps(connection) for connection in connections)
    found = tuple(Order(found, many, len(connections)) for found, many in counts.most_common(SHOWN))
    return found, len(connections) - sum(order.many for order in found)


def steps(connection: Connection) -> tuple[Step, ...]:
    """Return the setup of one connection: how it was opened, told, given the ULP and keyed."""
    found: list[Step] = []
    proved = keyed = False
    for row in connection.timeline:
        if row.call in ("connect", "accept", "accept4"):
            found.append(Step(f"{row.call}()", (), ""))
            proved = proved or row.call != "connect"
        elif "TCP_ULP" in row.text:
            found.append(_ulp(connection, row.result, proved))
        elif "SOL_TLS" in row.text:
            found.append(_key("rx" if "TLS_RX" in row.text else "tx", row.result))
            keyed = True
        elif not proved and tells(row):
            found.append(Step(_told_by(row.call), ("up",), ""))
            proved = True
    if not keyed:
        found.append(Step("no keys", (), "none"))
    return _joined(found)


def _told_by(call: str) -> str:
    if call in WAITS:
        return "EPOLLOUT" if call.startswith("epoll") else "POLLOUT"
    return f"{call}()"


def _ulp(connection: Connection, result: str | None, proved: bool) -> Step:
    words = "0" if result == "ok" else result or "?"
    if connection.ordering == "raced" and result in ("ENOTCONN", "ENOTSUPP") and not proved:
        return Step(f"TCP_ULP = {words}", ("x",), "race")
    if connection.ordering == "unordered" and not proved:
        return Step(f"TCP_ULP = {words}", ("luck" if result == "ok" else "noluck",), "luck")
    if result == "ok":
        return Step("TCP_ULP", ("ok",), "")
    return Step(f"TCP_ULP = {words}", ("x",), "" if result == "EEXIST" else "race")


def _key(direction: str, result: str | None) -> Step:
    if result == "ok":
        return Step("keys", (direction,), "")
    return Step(f"{direction.upper()} = {result or '?'}", (f"no{direction}",), "race")


def _joined(found: Sequence[Step]) -> tuple[Step, ...]:
    """Join key installs that follow each other, skipping EEXIST, and fold repeats."""
    joined: list[Step] = []
    for step in found:
        if step.text == "TCP_ULP = EEXIST":
            continue
        last = joined[-1] if joined else None
        if last is not None and last.text == step.text == "keys":
            glyphs = tuple(sorted({*last.glyphs, *step.glyphs}, reverse=True))
            joined[-1] = Step("keys", glyphs, "")
        elif step != last:
            joined.append(step)
    return tuple(joined)
