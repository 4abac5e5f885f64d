"""Events were lost on the way from the kernel.

## What it finds

A capture that lacks events: the probe's ring buffer was full, since the program that drained it
was too slow, or the kernel skipped runs of the probe (a warning of the report says how many).

## Why it is bad

A missing call can be the proof that makes an order safe, the attempt that raced, or a key
install, without which an offloaded connection looks one-way. Verdicts of the connections that
lived in that time are weaker than they look, and `ktrace check` is inconclusive.

## Known limits

The number is what the kernel's counters say; which connections lost events is not always known.

## Example

    warning[KT901]: 1,204 events were lost

## How to fix

Capture less at a time (`--pid` or `--comm` for the one program), on a machine with a core to
spare, or for a shorter time.
"""

from ktrace.findings import Finding
from ktrace.rules.base import TraceRule, Words
from ktrace.timelines import TraceFacts
from ktrace.wording import plural


class EventsLost(TraceRule):
    code = "KT901"
    name = "events-lost"
    severity = "warning"

    def finding(self, trace: TraceFacts) -> Finding | None:
        if trace.lost_events <= 0:
            return None
        words = Words(
            message=f"{plural(trace.lost_events, 'event')} "
            f"{'was' if trace.lost_events == 1 else 'were'} lost",
            why="a missing call can be the proof that makes an order safe, the attempt that raced,"
            " or a key install",
            outcome=f"{plural(trace.events, 'event')} arrived",
            help="capture fewer programs at a time (--pid, --comm) or for a shorter time",
        )
        return self.about_trace(words, trace.lost_events)
