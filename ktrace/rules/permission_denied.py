"""A kTLS call was refused for want of permission.

## What it finds

A `setsockopt(TCP_ULP)` or `setsockopt(SOL_TLS, ...)` that failed with EPERM or EACCES.

## Why it is bad

Neither TCP nor the tls ULP gives these answers. Something between the program and the kernel
does: a seccomp filter (a container runtime, systemd's SystemCallFilter=), a security module
(SELinux, AppArmor, Landlock), or a BPF program on the cgroup's setsockopt hook. Kernel TLS is off
for everything that runs under it.

## Known limits

- SELinux that denies loading the module shows as ENOENT (KT201).
- A seccomp filter that answers with a signal shows no error: the call never returns. A filter that
  kills one thread of several ends the trace of that thread before the call; such a call is shown
  by `ktrace live` with libbpf alone, on x86-64 from Linux 6.2 on.
- The kernel asks a seccomp filter before the one with which `ktrace record -- COMMAND` lets strace
  pass over other calls. So where the program itself installs a filter, a log of `ktrace record --
  COMMAND` does not show what that refuses; a connection of it that shows no kTLS call is
  `unknown`, and a warning says so. `ktrace live`, `ktrace record --pid` and a plain strace see it.

## Example

A program under a seccomp filter that refuses setsockopt:

    setsockopt(4, SOL_TCP, TCP_ULP, "tls", 3) = -1 EPERM (Operation not permitted)

## How to fix

Find who refuses: `ausearch -m avc,seccomp -ts recent`, the runtime's seccomp profile, `bpftool
cgroup tree`. Allow setsockopt with the levels SOL_TCP (6) and SOL_TLS (282).
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import NO_PERMISSION, program, refused_attempts
from ktrace.rules.crypto_info import installs
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import became, consequence
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import sentences


class PermissionDenied(ConnectionRule):
    code = "KT206"
    name = "permission-denied"
    severity = "error"
    explains_missing_ulp = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        for attempt in refused_attempts(judged):
            if attempt.result in NO_PERMISSION:
                yield Hit(_cause("TCP_ULP", attempt.result, judged), self.severity, attempt)
        for install in installs(judged):
            if install.call.result in NO_PERMISSION:
                cause = _cause(install.option, install.call.result, judged)
                yield Hit(cause, self.severity, install.call)

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        option = fold.cause[0] if len(fold.cause) == 3 else "setsockopt"
        return Words(
            message=f"permission denied for {option} ({fold.result})",
            why="neither TCP nor the tls ULP gives this answer: a seccomp filter, a security module"
            " (SELinux, AppArmor) or a BPF program on the cgroup refused the call",
            outcome=sentences(became(fold)),
            help="find who refuses (ausearch -m avc,seccomp; the container's seccomp profile;"
            " bpftool cgroup tree) and allow setsockopt for SOL_TCP and SOL_TLS",
            notes=consequence(fold),
        )


def _cause(option: str, result: str | None, judged: Judged) -> tuple[str, ...]:
    return (option, result or "", program(judged))
