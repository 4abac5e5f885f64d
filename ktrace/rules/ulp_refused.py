"""The kernel refused the TLS ULP for the kind of socket or for its arguments.

## What it finds

A `setsockopt(fd, SOL_TCP, TCP_ULP, ...)` that failed with ENOPROTOOPT, EOPNOTSUPP, EINVAL or
another error that is neither about the TCP state (KT101, KT103, KT104), nor about a missing
module (KT201), nor about permission (KT206).

## Why it is bad

The connection goes on with TLS in user space, and always will: the answer does not depend on
time.

- ENOPROTOOPT on a TCP socket: it is an MPTCP socket (`socket(..., IPPROTO_MPTCP)`), which has no
  ULP.
- EOPNOTSUPP: the ULP is not for users.
- EINVAL: the name is empty.
- EEXIST with no success before: another ULP holds the socket.

## Known limits

- strace prints an MPTCP socket as `<socket:[n]>` even with -yy; where its `socket()` or the
  listener is not in the trace, ENOPROTOOPT is the only sign of it.

## Example

    setsockopt(4, SOL_TCP, TCP_ULP, "tls", 3) = -1 ENOPROTOOPT (Protocol not available)
    setsockopt(4, SOL_TLS, TLS_TX, "\\3\\0033\\0"..., 40) = -1 ENOPROTOOPT (Protocol not available)

where fd 4 came from `socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)`.

## How to fix

Use plain TCP where kernel TLS is wanted. Go 1.24 and later listen with MPTCP: set
`GODEBUG=multipathtcp=0` or call `ListenConfig.SetMultipathTCP(false)`. HAProxy: no `mptcp` prefix
in `bind` and `server` addresses. systemd socket units: `SocketProtocol=` unset.
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import NO_PERMISSION, program, refused_attempts
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import became, consequence
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import sentences

_MPTCP = "mptcp"
_WHY = {
    "ENOPROTOOPT": "the socket's protocol knows no TCP_ULP; among stream sockets that is MPTCP",
    "EOPNOTSUPP": "the kernel keeps this ULP for itself, or the socket is not TCP",
    "EINVAL": "the name of the ULP was empty or cut",
    "EEXIST": "another ULP was attached to this socket, and a socket takes only one",
}
_OTHER_WHY = "neither TCP nor the tls ULP gives this answer for the state of a connection"
_MPTCP_WHY = "an MPTCP socket has no ULP; the TCP subflows under it belong to the kernel"
_MPTCP_HELP = (
    "use plain TCP where kernel TLS is wanted; Go 1.24 and later listen with MPTCP:"
    " GODEBUG=multipathtcp=0 or ListenConfig.SetMultipathTCP(false)"
)
_HELP = {
    "ENOPROTOOPT": _MPTCP_HELP,
    "EOPNOTSUPP": 'pass "tls" as the name of the ULP, on a TCP socket',
    "EINVAL": 'pass "tls" and its length (3, or 4 with the final zero)',
    "EEXIST": "find out who attaches the other ULP (espintcp, smc, a BPF program) before TLS does",
}
_OTHER_HELP = "look the error up in setsockopt(2); a BPF program on the cgroup may have set it"


class UlpRefused(ConnectionRule):
    code = "KT202"
    name = "ulp-refused"
    severity = "error"
    explains_missing_ulp = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        for attempt in refused_attempts(judged):
            result = attempt.result or ""
            if result == "ENOENT" or result in NO_PERMISSION or _is_old_listener(judged, result):
                continue
            kind = _MPTCP if judged.facts.mptcp else ""
            yield Hit((result, kind, program(judged)), self.severity, attempt)

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        mptcp = fold.shown.facts.mptcp
        where = " on an MPTCP socket" if mptcp else ""
        return Words(
            message=f"TLS ULP refused{where} ({fold.result})",
            why=_MPTCP_WHY if mptcp else _WHY.get(fold.result, _OTHER_WHY),
            outcome=sentences(became(fold)),
            help=_MPTCP_HELP if mptcp else _HELP.get(fold.result, _OTHER_HELP),
            notes=consequence(fold),
        )


def _is_old_listener(judged: Judged, result: str) -> bool:
    """A few stable kernels of January 2023 answer EINVAL on a listener: that is KT103."""
    return result == "EINVAL" and judged.connection.role == "listener"
