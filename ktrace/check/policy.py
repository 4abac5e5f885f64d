"""The policy of a check: what `ktrace.toml` may say, read strictly, and what the options add.

A key that is not known is refused: a misspelt limit would otherwise never be applied.
"""

import datetime
import difflib
import ipaddress
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from ktrace.errors import KtraceError

DEFAULT_FILE = "ktrace.toml"
NEVER_WAIVED = ("KT901", "KT902")

Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Alpha = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Direction = Literal["tx", "rx"]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys that `[check]` and a peer's table share; None is not said."""

    max_raced: Count | None = None
    max_unordered: Count | None = None
    max_fallback_rate: Share | None = None
    min_attempted: Count | None = None
    require: tuple[Direction, ...] | None = None
    min_attempt_rate: Share | None = None
    alpha: Alpha | None = None
    forbid: tuple[str, ...] | None = None


class Waiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An excuse for a finding, of one peer or of all, up to and including a day."""

    code: str
    until: datetime.date
    reason: Annotated[str, msgspec.Meta(min_length=1)]
    peer: str | None = None


class CheckTable(Limits, frozen=True, forbid_unknown_fields=True):
    peer: dict[str, Limits] = {}
    waive: tuple[Waiver, ...] = ()


class PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    check: CheckTable = CheckTable()


DEFAULTS = Limits(max_raced=0, max_unordered=0, alpha=0.01)


class Policy(msgspec.Struct, frozen=True):
    """What a check applies: `limits` with the defaults filled in, and where it was said."""

    limits: Limits = DEFAULTS
    peers: dict[str, Limits] = {}
    waivers: tuple[Waiver, ...] = ()
    origin: str = "default policy"

    def scopes(self, key: str) -> list[tuple[str | None, Any]]:
        """Return each scope that a key is judged for, with its value there.

        A peer whose table says the key is a scope of its own and leaves the general one (None).
        """
        own = [(peer, getattr(limits, key)) for peer, limits in self.peers.items()]
        scopes = [(None, getattr(self.limits, key)), *own]
        return [(scope, value) for scope, value in scopes if value is not None]

    def named(self, key: str) -> tuple[str, ...]:
        """Return the peers that have a value of their own for a key."""
        return tuple(p for p, limits in self.peers.items() if getattr(limits, key) is not None)


def load(path: str | None, options: Limits, codes: tuple[str, ...]) -> Policy:
    """Read the policy file and lay the options over it.

    Without a path, `ktrace.toml` of this folder is read if there is one.  `codes` are the finding
    codes there are.
    """
    if path is None and Path(DEFAULT_FILE).is_file():
        path = DEFAULT_FILE
    table = CheckTable() if path is None else _decode(_read(path), path)
    said = {k: v for k, v in msgspec.structs.asdict(options).items() if v is not None}
    origins = [*([path] if path else []), *(["options"] if said else [])]
    limits = _merge(_merge(DEFAULTS, table), options)
    where = path or "options"
    peers = {_peer(name, where): peer for name, peer in table.peer.items()}
    policy = Policy(
        limits=limits,
        peers=peers,
        waivers=tuple(_waiver(waiver, where) for waiver in table.waive),
        origin=" and ".join(origins) or "default policy",
    )
    _check_codes(policy, codes, where)
    return policy


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KtraceError(
            "policy-syntax", f"{path}: not a TOML file: {error}", "see docs/ci.md for a policy"
        ) from None


def _decode(tables: dict[str, Any], path: str) -> CheckTable:
    _refuse_unknown_keys(tables, path)
    try:
        table = msgspec.convert(tables, PolicyFile).check
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        key = where.rstrip("`") or "the file"
        raise _refused(path, f"{key}: {what[:1].lower()}{what[1:]}") from None
    for limits in (table, *table.peer.values()):
        for key in ("max_fallback_rate", "min_attempt_rate", "alpha"):
            value = getattr(limits, key)
            if value is not None and math.isnan(value):
                raise _refused(path, f"{key}: nan is no number to compare with")
    return table


def _refuse_unknown_keys(tables: dict[str, Any], path: str) -> None:
    """Refuse a key that no table has, naming it and the nearest known one."""
    _refuse_unknown(tables, PolicyFile, "", path)
    check = tables.get("check")
    if not isinstance(check, dict):
        return
    _refuse_unknown(check, CheckTable, "check.", path)
    peers, waivers = check.get("peer"), check.get("waive")
    for name, limits in peers.items() if isinstance(peers, dict) else ():
        _refuse_unknown(limits, Limits, f'check.peer."{name}".', path)
    for waiver in waivers if isinstance(waivers, list) else ():
        _refuse_unknown(waiver, Waiver, "check.waive.", path)


def _refuse_unknown(table: Any, kind: type[msgspec.Struct], prefix: str, path: str) -> None:
    known = kind.__struct_fields__
    for key in table if isinstance(table, Mapping) else ():
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise KtraceError(
                "policy-unknown-key",
                f"{path}: unknown key {prefix}{key}; the nearest known key is {nearest}",
                f"known here: {', '.join(sorted(known))}",
            )


def _merge(base: Limits, over: Limits) -> Limits:
    said = {k: getattr(over, k) for k in Limits.__struct_fields__ if getattr(over, k) is not None}
    return msgspec.structs.replace(base, **said)


def _waiver(waiver: Waiver, path: str) -> Waiver:
    if waiver.peer is None:
        return waiver
    return msgspec.structs.replace(waiver, peer=_peer(waiver.peer, path))


def _peer(name: str, path: str) -> str:
    """Return a peer's name as a trace writes it: `ip:port`, `[ip6]:port` or an address."""
    try:
        if name.startswith("[") and not name.endswith("]"):
            host, _, port = name[1:].rpartition("]:")
            return f"[{ipaddress.IPv6Address(host)}]:{_port(port)}"
        if name.count(":") == 1:
            host, _, port = name.partition(":")
            return f"{ipaddress.IPv4Address(host)}:{_port(port)}"
        return str(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        raise _refused(path, f'peer "{name}": expected ip:port, [ip6]:port or an address') from None


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _check_codes(policy: Policy, codes: tuple[str, ...], path: str) -> None:
    """Refuse a finding code that there is none of, and a waiver of missing evidence."""
    forbidden = (limits.forbid or () for limits in (policy.limits, *policy.peers.values()))
    for code in [c for group in forbidden for c in group] + [w.code for w in policy.waivers]:
        if code not in codes:
            nearest = difflib.get_close_matches(code, codes, n=1, cutoff=0)[0]
            raise _refused(path, f"unknown finding code {code}; the nearest known one is {nearest}")
    for waiver in policy.waivers:
        if waiver.code in NEVER_WAIVED:
            raise _refused(path, f"{waiver.code} cannot be waived: it says what the trace lacks")


def _refused(path: str, message: str) -> KtraceError:
    return KtraceError("policy", f"{path}: {message}", "docs/ci.md lists the keys and their values")
