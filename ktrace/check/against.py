"""Rules against a baseline: no rate may be worse, by Fisher's exact test at the policy's alpha."""

from collections.abc import Callable, Iterator

import msgspec

from ktrace.check.case import Case
from ktrace.check.counts import Counts, Group
from ktrace.check.result import RateChange, RuleResult, Verdict
from ktrace.check.statistics import MOST, Worse, fisher, shown_with
from ktrace.check.words import NO_ULP_HELP, RECORD, figure, probability, show
from ktrace.findings import Rate
from ktrace.statistics import wilson

Pair = tuple[int, int]


class Kind(msgspec.Struct, frozen=True):
    """A rate that must not get worse.

    `of` takes k and n from counts, `bad` tells the groups that make it worse, and `waived` the
    finding whose waivers excuse them ("" any cause, None nothing).
    """

    rule: str
    name: str
    words: str
    title: str
    worse: Worse
    of: Callable[[Counts], Pair]
    bad: Callable[[Group], bool]
    waived: str | None


KINDS = (
    Kind(
        "race_rate",
        "raced",
        "raced",
        "race rate not worse",
        "higher",
        lambda c: (c.raced, c.client_tried),
        lambda c: c.ordering == "raced",
        "KT101",
    ),
    Kind(
        "unordered_rate",
        "latent race",
        "with a latent race",
        "latent race rate not worse",
        "higher",
        lambda c: (c.unordered, c.client_tried),
        lambda c: c.ordering == "unordered",
        "KT102",
    ),
    Kind(
        "fallback_rate",
        "fallback",
        "fell back",
        "fallback rate not worse",
        "higher",
        lambda c: (c.fallback, c.decided),
        lambda c: c.outcome == "fallback",
        "",
    ),
    Kind(
        "attempt_rate",
        "kTLS tried",
        "tried kTLS",
        "kTLS still tried",
        "lower",
        lambda c: (c.client_tried, c.client_up),
        lambda c: c.role == "client" and not c.tried,
        None,
    ),
    Kind(
        "server_attempt_rate",
        "kTLS tried, accepted",
        "accepted connections tried kTLS",
        "kTLS still tried on accepted connections",
        "lower",
        lambda c: (c.server_tried, c.server_up),
        lambda c: c.role == "server" and not c.tried,
        None,
    ),
    Kind(
        "tx_rate",
        "TX installed",
        "with TX keys",
        "TX keys still installed",
        "lower",
        lambda c: (c.offloaded + c.tx_only, c.came_up),
        lambda c: c.outcome in ("rx-only", "fallback", "ulp-only"),
        "",
    ),
    Kind(
        "rx_rate",
        "RX installed",
        "with RX keys",
        "RX keys still installed",
        "lower",
        lambda c: (c.offloaded + c.rx_only, c.came_up),
        lambda c: c.outcome in ("tx-only", "fallback", "ulp-only"),
        "",
    ),
)
NOTHING = wilson(0, 0)
_OPEN = {
    "no-candidate": ("the candidate has no connection to count", RECORD),
    "no-baseline": ("the baseline has no connection to count", "record the baseline again"),
    "no-peers": ("the baseline has no counts by peer", "write it with --baseline-addresses"),
    "host": ("the host had no tls ULP", NO_ULP_HELP),
}
# These follow from the host where it has no tls ULP.
_HOST_KINDS = frozenset({"fallback_rate", "tx_rate", "rx_rate"})


class Sides(msgspec.Struct, frozen=True):
    """A rate of both runs in one scope; `seen` is whether the candidate has any, excused or not."""

    kind: Kind
    scope: str | None
    alpha: float
    candidate: Rate
    baseline: Rate
    seen: bool = True


def compare(case: Case) -> Iterator[tuple[RuleResult, RateChange]]:
    """Compare every rate that either run has connections for, in every scope of `alpha`."""
    for kind in KINDS:
        for scoped in case.scopes("alpha", _excused(case, kind), "connections"):
            base = case.baseline_counts("alpha", scoped.scope)
            sides = Sides(
                kind,
                scoped.scope,
                scoped.value,
                wilson(*kind.of(scoped.counts)),
                NOTHING if base is None else wilson(*kind.of(base)),
                bool(kind.of(scoped.raw)[1]),
            )
            if base is None:
                yield _result(case, sides, "inconclusive", "no-peers", None)
            elif _concerns(sides):
                yield _compare(case, sides)


def _excused(case: Case, kind: Kind) -> frozenset[int]:
    if kind.waived is None:
        return frozenset()
    return case.excuses.of(kind.waived) if kind.waived else case.excuses.causes()


def _concerns(sides: Sides) -> bool:
    if sides.kind.rule == "server_attempt_rate":
        return bool(sides.baseline.k)  # servers that never tried kTLS have nothing to lose
    return sides.seen or bool(sides.baseline.n)


def _compare(case: Case, sides: Sides) -> tuple[RuleResult, RateChange]:
    p = fisher(sides.candidate, sides.baseline, sides.kind.worse)
    verdict, reason = _verdict(sides, p)
    if case.no_ulp and sides.kind.rule in _HOST_KINDS and verdict != "passed":
        verdict, reason = "inconclusive", "host"
    return _result(case, sides, verdict, reason, p)


def _verdict(sides: Sides, p: float | None) -> tuple[Verdict, str]:
    """A rate at its best cannot be worse than any baseline; else both sides need connections."""
    rate, before = sides.candidate, sides.baseline
    higher = sides.kind.worse == "higher"
    if not rate.n:
        return ("passed", "") if sides.seen else ("inconclusive", "no-candidate")
    if rate.k == (0 if higher else rate.n):
        return "passed", ""
    if p is None or rate.value is None or before.value is None:
        return "inconclusive", "no-baseline"
    if (rate.value <= before.value) if higher else (rate.value >= before.value):
        return "passed", ""
    return ("failed", "worse") if p <= sides.alpha else ("not shown", "unshown")


def _result(
    case: Case, sides: Sides, verdict: Verdict, reason: str, p: float | None
) -> tuple[RuleResult, RateChange]:
    kind = sides.kind
    worse = verdict in ("failed", "not shown")
    found = case.connections("alpha", sides.scope, _excused(case, kind), kind.bad) if worse else ()
    message, help_text, needed = _explain(sides, reason, p)
    failed = found if verdict == "failed" else ()
    result = RuleResult(
        rule=kind.rule,
        title=kind.title,
        verdict=verdict,
        candidate=figure(sides.candidate, kind.words),
        message=message,
        help=help_text or show(failed),
        scope=sides.scope,
        baseline=figure(sides.baseline, kind.words),
        rate=sides.candidate,
        baseline_rate=sides.baseline,
        p=p,
        more=needed,
        codes=case.codes(failed),
        connections=found,
        evidence=case.evidence(failed),
    )
    return result, _change(sides, verdict, p)


def _explain(sides: Sides, reason: str, p: float | None) -> tuple[str, str, int | None]:
    """Return why it came out so, what would change that, and the connections a side for it."""
    if p is not None and reason == "worse":
        message = f"worse than the baseline: {probability(p)}, alpha is {sides.alpha:g}"
        return message, "", None
    if p is not None and reason == "unshown":
        needed = shown_with(sides.candidate, sides.baseline, sides.kind.worse, sides.alpha)
        message = f"worse than the baseline, but {probability(p)} is above alpha {sides.alpha:g}"
        enough = f"more than {MOST:,}" if needed is None else f"{needed:,}"
        return message, f"{enough} connections a side at these rates would show it", needed
    return *_OPEN.get(reason, ("", "")), None


def _change(sides: Sides, verdict: Verdict, p: float | None) -> RateChange:
    return RateChange(
        name=sides.kind.name,
        rule=sides.kind.rule,
        worse=sides.kind.worse,
        baseline=sides.baseline,
        candidate=sides.candidate,
        p=p,
        alpha=sides.alpha,
        verdict=verdict,
        scope=sides.scope,
    )
