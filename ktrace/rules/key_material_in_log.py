"""The log shows bytes of TLS keys.

## What it finds

`setsockopt(fd, SOL_TLS, TLS_TX or TLS_RX, "...")` lines whose printed value goes past the first
four bytes (version and cipher).

## Why it is bad

For AES_GCM_128 the 32 bytes that strace prints by default hold the IV, the whole key and the
salt. Who has the log and the packets can read the traffic; a log in a bug report or a CI artefact
is public.

ktrace itself reads the first four bytes and keeps nothing of the rest: no report, page or capture
of it has key bytes.

## Known limits

Key bytes that a program reads or writes by other calls (a key log, a key file) are not looked
for.

## Example

    setsockopt(7, SOL_TLS, TLS_TX, "\\3\\0033\\0<32 bytes of IV, key and salt>"..., 40) = 0

## How to fix

Before the log leaves the machine: `ktrace scrub strace.log -o clean.log`. Next time record with
`ktrace record`, or give strace `-v -s 4`. Where the log is out already, treat the sessions as
read.
"""

from ktrace.findings import Evidence, Finding
from ktrace.rules.base import TraceRule, Words
from ktrace.rules.fold import source_name
from ktrace.timelines import TraceFacts
from ktrace.wording import plural


class KeyMaterialInLog(TraceRule):
    code = "KT904"
    name = "key-material-in-log"
    severity = "warning"

    def finding(self, trace: TraceFacts) -> Finding | None:
        count = trace.key_line_count
        if count <= 0:
            return None
        source = source_name(trace.sources, trace.key_lines[0][0]) if trace.key_lines else "LOG"
        words = Words(
            message=f"the log shows bytes of TLS keys on {plural(count, 'line')}",
            why="who has the log and the packets can read the traffic",
            outcome="ktrace keeps nothing after version and cipher; its reports hold no key bytes",
            help=f"run `ktrace scrub {source} -o clean.log` before sharing it; record with"
            " `ktrace record`, or strace -v -s 4",
        )
        evidence = tuple(
            Evidence(
                source=source_name(trace.sources, at),
                line=line,
                text="key bytes after the first four of crypto_info",
            )
            for at, line in trace.key_lines
        )
        return self.about_trace(words, count, evidence)
