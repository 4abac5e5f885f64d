"""Lines of the log were not understood.

## What it finds

Lines that are no strace record in any form that ktrace knows, or whose values could not be read.
Counted are all of them; the first are shown with the reason.

## Why it is bad

Such a line may have been the call that decides a verdict. ktrace repairs what mailers, web pages
and editors do to a log (quotes, wrapped lines, entities, colours); what is left is told rather
than skipped.

## Known limits

Output of the traced program between the lines of a log on stderr is counted too; it does no harm.

## Example

    note[KT903]: 2 lines were not understood
     --> strace.log:88

## How to fix

Record into a file (`-o`), not from the terminal. If a line is plain strace output, please report
it with the strace version (`strace -V`) and without addresses or payload (`ktrace scrub
--payload`).
"""

from ktrace.findings import Evidence, Finding
from ktrace.rules.base import TraceRule, Words
from ktrace.rules.fold import source_name
from ktrace.timelines import TraceFacts
from ktrace.wording import plural


class LinesNotUnderstood(TraceRule):
    code = "KT903"
    name = "lines-not-understood"
    severity = "note"

    def finding(self, trace: TraceFacts) -> Finding | None:
        count = trace.not_understood
        if count <= 0:
            return None
        words = Words(
            message=f"{plural(count, 'line')} {'was' if count == 1 else 'were'} not understood",
            why="such a line may have been the call that decides a verdict",
            outcome=_share(trace),
            help="record into a file (strace -o, or `ktrace record`), not from the terminal; report"
            " lines that are plain strace output, scrubbed with `ktrace scrub --payload`",
        )
        evidence = tuple(
            Evidence(source=source_name(trace.sources, source), line=line, text=reason)
            for source, line, reason in trace.bad_lines
        )
        return self.about_trace(words, count, evidence)


def _share(trace: TraceFacts) -> str:
    return f"of {plural(trace.lines, 'line')} read" if trace.lines is not None else ""
