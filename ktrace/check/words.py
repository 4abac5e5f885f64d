"""Figures and lists in words, the same in every output of a check."""

import re
from collections.abc import Iterable, Sequence

from ktrace.check.result import RuleResult
from ktrace.findings import Evidence, Rate

RECORD = "record with: ktrace record -o LOG -- COMMAND"
NO_ULP_HELP = "load it before the run (`modprobe tls`); `ktrace doctor` says what this host lacks"

_ID = re.compile(r"([a-z]+)(\d+)")


def clean(text: str) -> str:
    """Escape control characters: whatever comes from a trace is untrusted."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def place(evidence: Evidence) -> str:
    return evidence.source if evidence.line is None else f"{evidence.source}:{evidence.line}"


def scoped(rule: RuleResult) -> str:
    """Return a rule's title with the peer it was judged for."""
    return f"{rule.title} for {rule.scope}" if rule.scope else rule.title


def percent(share: float) -> str:
    """Return a share as a percentage with three digits and no unit."""
    return f"{100 * share:.3g}"


def figure(rate: Rate, what: str = "") -> str:
    """Return "5 of 10 raced (50 %, 95 % interval 23.7 to 76.3 %)"."""
    words = f"{rate.k} of {rate.n}{' ' if what else ''}{what}"
    if rate.value is None or rate.low is None or rate.high is None:
        return words
    ends = f"{percent(rate.low)} to {percent(rate.high)} %"
    return f"{words} ({percent(rate.value)} %, 95 % interval {ends})"


def probability(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def number(n: int, noun: str, plural: str | None = None) -> str:
    """Return "1 connection", "1,200 connections"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def show(connections: Sequence[str]) -> str:
    """Say how to look at the first of some connections."""
    if not connections:
        return ""
    return f"`ktrace parse LOG --connection {connections[0]}` shows what happened"


def ids(names: Sequence[str], most: int = 6) -> str:
    """Return connection ids with runs folded: "c1 to c5, c9 and 12 more"."""
    runs = list(_runs(names))
    shown = runs[:most]
    left = len(names) - sum(size for _, size in shown)
    text = ", ".join(words for words, _ in shown)
    return f"{text} and {left:,} more" if left else text


def _runs(names: Iterable[str]) -> Iterable[tuple[str, int]]:
    run: list[str] = []
    for name in names:
        if run and not _follows(run[-1], name):
            yield _run_words(run), len(run)
            run = []
        run.append(name)
    if run:
        yield _run_words(run), len(run)


def _follows(one: str, other: str) -> bool:
    a, b = _ID.fullmatch(one), _ID.fullmatch(other)
    return bool(a and b and a[1] == b[1] and int(a[2]) + 1 == int(b[2]))


def _run_words(run: list[str]) -> str:
    if len(run) == 1:
        return run[0]
    return f"{run[0]}, {run[1]}" if len(run) == 2 else f"{run[0]} to {run[-1]}"
