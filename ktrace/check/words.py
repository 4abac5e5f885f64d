"""What every output of a check says in the same words."""

from collections.abc import Iterator, Sequence

from ktrace.check.result import RuleResult
from ktrace.findings import Evidence, Rate
from ktrace.wording import interval, percent

RECORD = "record with: ktrace record -o LOG -- COMMAND"
NO_ULP_HELP = "load it before the run (`modprobe tls`); `ktrace doctor` says what this host lacks"


def place(evidence: Evidence) -> str:
    return evidence.source if evidence.line is None else f"{evidence.source}:{evidence.line}"


class EvidenceOnce:
    """Shows the same evidence lines once; further rules that rest on them show the first."""

    def __init__(self) -> None:
        self._shown: dict[tuple[Evidence, ...], str] = {}

    def lines(self, rule: RuleResult) -> Iterator[str]:
        above = self._shown.setdefault(rule.evidence, scoped(rule))
        again = above != scoped(rule)
        for line in rule.evidence[:1] if again else rule.evidence:
            yield f"{place(line)}  {line.text}"
        if again and len(rule.evidence) > 1:
            yield f"and {len(rule.evidence) - 1} more, as under {above}"


def scoped(rule: RuleResult) -> str:
    """Return a rule's title with the peer it was judged for."""
    return f"{rule.title} for {rule.scope}" if rule.scope else rule.title


def figure(rate: Rate, what: str = "") -> str:
    """Return "5 of 10 raced (50 %, 95 % interval 24 to 76 %)"."""
    words = f"{rate.k:,} of {rate.n:,}{' ' if what else ''}{what}"
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
