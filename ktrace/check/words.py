"""What every output of a check says in the same words."""

from collections.abc import Sequence

from ktrace.check.result import RuleResult
from ktrace.findings import Evidence, Rate
from ktrace.wording import interval, percent

RECORD = "record with: ktrace record -o LOG -- COMMAND"
NO_ULP_HELP = "load it before the run (`modprobe tls`); `ktrace doctor` says what this host lacks"


def place(evidence: Evidence) -> str:
    return evidence.source if evidence.line is None else f"{evidence.source}:{evidence.line}"


def scoped(rule: RuleResult) -> str:
    """Return a rule's title with the peer it was judged for."""
    return f"{rule.title} for {rule.scope}" if rule.scope else rule.title


def figure(rate: Rate, what: str = "") -> str:
    """Return "5 of 10 raced (50 %, 95 % interval 24 to 76 %)"."""
    words = f"{rate.k} of {rate.n}{' ' if what else ''}{what}"
    if rate.value is None:
        return words
    return f"{words} ({percent(rate.value)} %, 95 % interval {interval(rate)})"


def probability(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def show(connections: Sequence[str]) -> str:
    """Say how to look at the first of some connections."""
    if not connections:
        return ""
    return f"`ktrace parse LOG --connection {connections[0]}` shows what happened"
