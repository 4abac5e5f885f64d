"""Which connections stand together in the strip, in which order, and which are shown in full."""

from collections.abc import Sequence

import msgspec

from ktrace.findings import Connection, Report
from ktrace.reporters.htmlreport.words import number_of

FULL = 2000  # connections that the page holds with their timeline


class Group(msgspec.Struct, frozen=True):
    """A group of strip rows; `most` rows are drawn each for itself, the rest folded by peer."""

    key: str
    title: str
    note: str
    glyph: str
    most: int


GROUPS = (
    Group("raced", "Raced", "ULP set in SYN_SENT and refused with ENOTCONN", "x", 200),
    Group(
        "latent",
        "Latent race",
        "Same order, accepted by luck: the handshake was over, the program had not been told",
        "luck",
        100,
    ),
    Group("late", "Late", "ULP set after the peer had closed or reset; not a race", "late", 25),
    Group("unconnected", "Unconnected", "ULP set on a socket with no connection", "square", 25),
    Group("unknown", "Unknown", "The trace does not show what came first", "unknown", 50),
    Group("keys", "No ULP attempt", "Keys were installed without setting the ULP", "norx", 50),
    Group("safe", "Safe", "ULP set after a proof of ESTABLISHED", "ok", 25),
)
_BY_ORDERING = {
    "raced": "raced",
    "unordered": "latent",
    "late": "late",
    "unconnected": "unconnected",
    "unknown": "unknown",
    "safe": "safe",
}
_LATENT_FAILED = "Same order; the ULP was refused for another reason"


def group_of(connection: Connection) -> str | None:
    """Return the key of a connection's group; None without kTLS calls."""
    if not connection.has_ktls:
        return None
    return _BY_ORDERING[connection.ordering] if connection.ordering else "keys"


def grouped(connections: Sequence[Connection]) -> list[tuple[Group, list[Connection]]]:
    """Sort connections into the groups that are not empty, smallest margin first."""
    members: dict[str, list[Connection]] = {group.key: [] for group in GROUPS}
    for connection in connections:
        key = group_of(connection)
        if key is not None:
            members[key].append(connection)
    found = []
    for group in GROUPS:
        inside = members[group.key]
        inside.sort(key=_by_margin)
        if inside:
            found.append((_worded(group, inside), inside))
    return found


def _worded(group: Group, members: Sequence[Connection]) -> Group:
    if group.key == "raced" and any(
        a.result == "ENOTSUPP" for connection in members for a in connection.ulp
    ):
        return msgspec.structs.replace(
            group, note="ULP set in SYN_SENT and refused with ENOTCONN or ENOTSUPP"
        )
    if group.key == "latent" and not any(
        a.result == "ok" for connection in members for a in connection.ulp
    ):
        return msgspec.structs.replace(group, note=_LATENT_FAILED)
    return group


def _by_margin(connection: Connection) -> tuple[bool, float, int]:
    """Never established comes last."""
    margin = connection.margin_us
    return (margin is None, margin or 0.0, number_of(connection.id))


def in_full(
    report: Report, drawn: Sequence[Connection], most: int = FULL
) -> tuple[Connection, ...]:
    """Choose the connections held in full: strip rows, findings' connections, then the rest.

    Each finding gets a fair part first, so that one with 90,000 connections leaves room for others.
    """
    if len(report.connections) <= most:
        return report.connections
    chosen = dict.fromkeys(connection.id for connection in drawn[:most])
    quota = max(1, most // (2 * max(1, len(report.findings))))
    for part in (quota, most):
        for finding in report.findings:
            _take(chosen, finding.connections[:part], most)
    _take(chosen, [c.id for c in report.connections if c.has_ktls], most)
    _take(chosen, [c.id for c in report.connections[:most]], most)
    return tuple(c for c in report.connections if c.id in chosen)


def _take(chosen: dict[str, None], ids: Sequence[str], most: int) -> None:
    for name in ids:
        if len(chosen) >= most:
            return
        chosen[name] = None
