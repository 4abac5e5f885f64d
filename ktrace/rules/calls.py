"""What the results of kTLS calls mean, and which call of a connection a finding is about."""

import re
from collections.abc import Iterator

from ktrace.findings import KeyInstall, Severity, UlpAttempt
from ktrace.timelines import Judged

Call = UlpAttempt | KeyInstall

OK = "ok"
CUT = "EUNKNOWN"  # the call failed, and the log does not show how
NOT_ESTABLISHED = frozenset(("ENOTCONN", "ENOTSUPP"))  # ENOTSUPP (524) on old kernels
NO_PERMISSION = frozenset(("EPERM", "EACCES"))
NO_ULP = frozenset(("ENOPROTOOPT", "EOPNOTSUPP"))  # what SOL_TLS answers without the ULP


def refused(call: Call) -> bool:
    """Return whether a call failed in a known way; one that never returned in the trace did not."""
    return call.result is not None and call.result not in (OK, CUT)


def setup_is_shown(judged: Judged) -> bool:
    """Tell whether a direction that was not keyed in the trace was not keyed before it either."""
    connection = judged.connection
    return connection.role != "unknown" or any(a.result == OK for a in connection.ulp)


def refused_attempts(judged: Judged) -> Iterator[UlpAttempt]:
    """Yield the ULP attempts that failed before any success, other than for the TCP state.

    EEXIST means that the socket has a ULP: a failure only where it kept the connection from kTLS.
    """
    connection = judged.connection
    for attempt in connection.ulp:
        if attempt.result == OK:
            return
        if not refused(attempt) or attempt.result in NOT_ESTABLISHED:
            continue
        if attempt.result != "EEXIST" or connection.outcome == "fallback":
            yield attempt


def deciding_attempt(judged: Judged, *, not_established: bool) -> UlpAttempt:
    """Return the first ULP attempt that failed for the TCP state (or that did not), else the first.

    The connection has made at least one.
    """
    attempts = judged.connection.ulp
    for attempt in attempts:
        if (attempt.result in NOT_ESTABLISHED) == not_established:
            return attempt
    return attempts[0]


def unless_recovered(judged: Judged, severity: Severity) -> Severity:
    """A later success cancels a failed ULP attempt: nothing was lost."""
    return "note" if judged.connection.recovered else severity


def program(judged: Judged) -> str:
    """Return the program's name without a thread's or worker's number, "" where it is not known."""
    comm = judged.connection.comm or ""
    return re.sub(r"[\W_]*\d+$", "", comm) or comm
