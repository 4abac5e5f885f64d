"""What must come out: of each case of traffic, and of each cause of a failing call."""

from dataclasses import dataclass

from tests.kernel.cases import Case
from tests.kernel.guests import Guest

# OpenSSL 3.0 never installs TLS_RX for TLS 1.3.
OPENSSL = {
    ("3.0", "1.2"): "offloaded",
    ("3.0", "1.3"): "tx-only",
    ("3.5", "1.2"): "offloaded",
    ("3.5", "1.3"): "offloaded",
}
EARLY = ("early", "fastopen")  # the orders that do not wait for the connection


@dataclass(frozen=True)
class Want:
    """One end: `ordering` null where there is no attempt, "early" where the link decides."""

    outcome: str
    ordering: str | None
    tls: str | None
    cipher: str | None


NOTHING = Want("none", None, None, None)


def wanted(case: Case, side: str, guest: Guest) -> Want:
    """Return what one end of a case must get; "early" orders get it or not, as the kernel says."""
    program = case.client if side == "client" else case.server
    keys = (f"TLS {case.tls}", case.cipher)
    if program in ("curl", "unasked"):  # curl moves the data of OpenSSL itself
        return NOTHING
    if case.server == "ktls":
        ordering = "early" if side == "client" and case.client in EARLY else "safe"
        return Want("offloaded", ordering, *keys)
    return Want(OPENSSL[guest.openssl, case.tls], "safe", *keys)


def refuses_a_rekey(case: Case, guest: Guest) -> bool:
    """Say whether the kernel must refuse the second key that the client installs."""
    if case.client == "key-update" and guest.openssl == "3.0":
        return False  # it does not try
    return case.client in ("rekey", "key-update") and (case.tls == "1.2" or not guest.rekeys)


@dataclass(frozen=True)
class Cause:
    """A failing call: what it returns, and what ktrace must make of its connection.

    `codes` leaves KT9xx out, `shown` is what ktrace shows where that is not what was done.
    """

    did: tuple[tuple[str, str], ...]
    outcome: str
    ordering: str | None
    codes: tuple[str, ...] = ()
    shown: tuple[tuple[str, str | None], ...] | None = None


def ulp(result: str) -> tuple[tuple[str, str], ...]:
    return (("ulp", result),)


def keys(*results: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("ulp", "ok"), *results)


REJECTED = Cause(keys(("tx", "EINVAL")), "fallback", "safe", ("KT204",))
CAUSES = {
    "on-listener": Cause(ulp("ENOTCONN"), "none", "unconnected", ("KT103",)),
    "unconnected": Cause(ulp("ENOTCONN"), "not-connected", "unconnected", ("KT103",)),
    "close-wait": Cause(ulp("ENOTCONN"), "fallback", "late", ("KT104",)),
    "reset": Cause(ulp("ENOTCONN"), "fallback", "late", ("KT104",)),
    "own-shutdown": Cause(ulp("ENOTCONN"), "fallback", "late", ("KT104",)),
    "refused": Cause(ulp("ENOTCONN"), "not-connected", "unconnected", ("KT103",)),
    "twice": Cause((*ulp("ok"), *ulp("EEXIST")), "ulp-only", "safe", ("KT303",)),
    "keys-without-ulp": Cause(
        (("tx", "ENOPROTOOPT"), ("rx", "ENOPROTOOPT")), "fallback", None, ("KT203",)
    ),
    "wrong-size": REJECTED,
    "wrong-version": REJECTED,
    "unknown-cipher": REJECTED,
    "aria-with-1.3": REJECTED,
    "other-version": Cause(keys(("tx", "ok"), ("rx", "EINVAL")), "tx-only", "safe", ("KT204",)),
    "other-cipher": Cause(keys(("tx", "ok"), ("rx", "EINVAL")), "tx-only", "safe", ("KT204",)),
    "second-install-1.2": Cause(
        keys(("tx", "ok"), ("tx", "EBUSY")), "tx-only", "safe", ("KT205", "KT301")
    ),
    "second-install-1.3": Cause(
        keys(("tx", "ok"), ("tx", "EBUSY")), "tx-only", "safe", ("KT205", "KT301")
    ),
    "second-cipher-1.3": Cause(
        keys(("tx", "ok"), ("tx", "EBUSY")), "tx-only", "safe", ("KT205", "KT301")
    ),
    "mptcp": Cause(ulp("ENOPROTOOPT"), "fallback", "safe", ("KT202",)),
    "seccomp-errno": Cause(ulp("EPERM"), "fallback", "safe", ("KT206",)),
    "seccomp-kill": Cause((), "unknown", "safe", shown=(("ulp", None),)),
    "attached": Cause(ulp("ok"), "ulp-only", "safe", ("KT303",)),
    "no-aead": Cause(keys(("tx", "ENOENT")), "fallback", "safe", ("KT204",)),
    "without-privilege": Cause(ulp("ENOENT"), "fallback", "safe", ("KT201",)),
    "no-module": Cause(ulp("ENOENT"), "fallback", "safe", ("KT201",)),
}
# Kernels that can rekey take the same cipher again, and refuse another.
REKEYS = {
    "second-install-1.3": Cause(keys(("tx", "ok"), ("tx", "ok")), "tx-only", "safe", ("KT301",)),
    "second-cipher-1.3": Cause(
        keys(("tx", "ok"), ("tx", "EINVAL")), "tx-only", "safe", ("KT204", "KT301")
    ),
}
# The kernel asks the filter before that of `strace --seccomp-bpf`: see the limits of KT206.
RECORDED = {
    "seccomp-errno": Cause(ulp("EPERM"), "unknown", None, shown=()),
    "seccomp-kill": Cause((), "unknown", None),
}


def cause(name: str, guest: Guest, way: str | None = None) -> Cause:
    if way == "record" and name in RECORDED:
        return RECORDED[name]
    return REKEYS.get(name, CAUSES[name]) if guest.rekeys else CAUSES[name]
