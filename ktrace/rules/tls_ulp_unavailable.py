"""The kernel has no tls ULP.

## What it finds

A `setsockopt(fd, SOL_TCP, TCP_ULP, "tls")` that failed with ENOENT.

## Why it is bad

No connection of the program can use kernel TLS. The kernel looks for the ULP before anything
else, in any TCP state, so ENOENT says nothing about the order of the calls: that is judged apart
(KT102).

## Known limits

The trace shows only ENOENT, not which of the causes it was. `ktrace doctor` on the host tells.

## Example

    257 connect(3<TCP:[11829]>, {sa_family=AF_INET, sin_port=htons(4000), ...}, 16) = -1 EINPROGRESS
    257 setsockopt(3<TCP:[...]>, SOL_TCP, TCP_ULP, [7564404], 4) = -1 ENOENT <0.053880>

The 54 ms are modprobe, which the kernel starts for each attempt.

## How to fix

- The kernel was built without CONFIG_TLS: use one that has it.
- The tls module is not loaded, and the program lacks CAP_NET_ADMIN, without which the kernel does
  not load it by itself. This is the usual case in a container: load it on the host with `modprobe
  tls`, and at boot with a line `tls` in /etc/modules-load.d/tls.conf.
- SELinux denied `module_request` (ENOENT too, not EACCES): load the module on the host likewise.
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import refused_attempts
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import became, consequence
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import sentences


class TlsUlpUnavailable(ConnectionRule):
    code = "KT201"
    name = "tls-ulp-unavailable"
    severity = "error"
    explains_missing_ulp = True

    def hits(self, judged: Judged) -> Iterator[Hit]:
        for attempt in refused_attempts(judged):
            if attempt.result == "ENOENT":
                # The kernel is one for all programs, so there is one cause.
                yield Hit((), self.severity, attempt)

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        return Words(
            message="the kernel has no tls ULP (TCP_ULP = ENOENT)",
            why="no ULP named tls is registered and none could be loaded; the kernel looks for it"
            " first, in any TCP state, so ENOENT says nothing about the order of the calls",
            outcome=sentences(became(fold)),
            help="one of: CONFIG_TLS is off in this kernel; the tls module is not loaded and the"
            " program lacks CAP_NET_ADMIN to have it loaded (a container: `modprobe tls` on the"
            " host); SELinux denied module_request (load it on the host too). `ktrace doctor` tells"
            " which",
            notes=consequence(fold),
        )
