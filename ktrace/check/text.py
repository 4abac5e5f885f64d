"""The conclusion as text for a CI log: what decided first, what passed as a list, one last line."""

import textwrap
from collections.abc import Iterator

from ktrace.check.result import CheckResult, RuleResult, Side, Verdict
from ktrace.check.words import EvidenceOnce, scoped
from ktrace.findings import Rate
from ktrace.wording import clean, id_runs, interval, plural

WIDEST = 100
_COLOURS = {"failed": "31;1", "inconclusive": "33;1", "not shown": "33", "passed": "32"}
_LABEL = 11
_KINDS: tuple[Verdict, ...] = ("failed", "inconclusive", "not shown", "passed")


def render(result: CheckResult, width: int = 80, colour: bool = False) -> str:
    """Return the whole text; lines fit `width` and 100, except for long words."""
    return "\n".join(_Text(min(width, WIDEST), colour).lines(result)) + "\n"


def last_line(result: CheckResult) -> str:
    """Return the line to look for: "ktrace: check failed (exit status 1): 2 failed, 7 passed"."""
    counts = [(kind, sum(rule.verdict == kind for rule in result.rules)) for kind in _KINDS]
    words = ", ".join(f"{count} {kind}" for kind, count in counts if count)
    return f"ktrace: check {result.status} (exit status {result.exit_status}): rules: {words}"


class _Text:
    def __init__(self, width: int, colour: bool) -> None:
        self._width = width
        self._colour = colour
        self._evidence = EvidenceOnce()

    def lines(self, result: CheckResult) -> Iterator[str]:
        yield from self._head(result)
        for rule in result.rules:
            if rule.verdict != "passed":
                yield ""
                yield from self._open_rule(rule)
        yield from self._passed([rule for rule in result.rules if rule.verdict == "passed"])
        yield from self._findings(result)
        yield from self._waivers(result)
        for note in result.notes:
            yield from self._row("note", note)
        yield ""
        yield from self._row("", last_line(result), 0)

    def _head(self, result: CheckResult) -> Iterator[str]:
        words = f"check {result.status}:"
        yield from self._row(words, result.headline, len(words) + 1, result.status)
        if result.detail:
            yield from self._row("", result.detail, 0)
        yield ""
        yield from self._row("candidate", _side(result.candidate))
        if result.baseline is not None:
            yield from self._row("baseline", _side(result.baseline))
        yield from self._row("policy", result.policy)

    def _open_rule(self, rule: RuleResult) -> Iterator[str]:
        """Print a rule that did not simply pass: figures, who, where, and what to do."""
        words = f"{rule.verdict}:"
        yield from self._row(words, scoped(rule), len(words) + 1, rule.verdict)
        rows = (
            ("candidate", rule.candidate),
            ("baseline", rule.baseline),
            ("why", rule.message),
            ("who" if rule.connections else "finding", _who(rule)),
            *(("evidence", line) for line in self._evidence.lines(rule)),
            ("help", rule.help),
        )
        before = ""
        for label, text in rows:
            if text:
                yield from self._row("" if label == before else f"  {label}", text, _LABEL + 2)
            before = label

    def _passed(self, rules: list[RuleResult]) -> Iterator[str]:
        if rules:
            yield ""
        titles = [clean(scoped(rule)) for rule in rules]
        column = min(max(map(len, titles), default=0), self._width // 2 - 10)
        for rule, title in zip(rules, titles, strict=True):
            text = _short(rule.rate) or rule.candidate
            if baseline := _short(rule.baseline_rate) or rule.baseline:
                text = "; ".join(filter(None, (text, f"baseline {baseline}")))
            yield from self._row(f"passed  {title:{column}}", text, column + 10, "passed")

    def _findings(self, result: CheckResult) -> Iterator[str]:
        if result.findings:
            yield ""
        for change in result.findings:
            compared = result.baseline is not None
            counts = f"{change.baseline:,} -> " if compared else ""
            waived = ", waived" if change.waived else ""
            counts += f"{change.candidate:,}{waived}"
            words = change.message or change.name
            text = f"{change.severity}[{change.code}] {words} ({counts})"
            yield from self._row(change.change if compared else "finding", text)

    def _waivers(self, result: CheckResult) -> Iterator[str]:
        for use in result.waivers:
            who = f" of {use.peer}" if use.peer else ""
            covers = f": {id_runs(use.connections)}" if use.connections else ""
            text = f"{use.code}{who} until {use.until}, {use.state}{covers} ({use.reason})"
            yield from self._row("waiver", text)

    def _row(
        self, label: str, text: str, column: int = _LABEL, kind: str | None = None
    ) -> Iterator[str]:
        """Print a label and beside it, from a column on, wrapped text."""
        first, *others = textwrap.wrap(
            clean(text),
            max(20, self._width - column),
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
        gap = " " * max(1 if label and first else 0, column - len(label))
        yield f"{self._paint(clean(label), kind)}{gap}{first}".rstrip()
        for line in others:
            yield f"{'':{column}}{line}"

    def _paint(self, text: str, kind: str | None) -> str:
        """Colour the first word, or all of it where it is a verdict."""
        if not self._colour or kind is None:
            return text
        word, blank, rest = text.partition("  ")
        return f"\033[{_COLOURS[kind]}m{word}\033[0m{blank}{rest}"


def _side(side: Side) -> str:
    connections = plural(side.connections, "connection")
    return f"{side.name}: {connections}, {side.attempted:,} tried kTLS"


def _short(rate: Rate | None) -> str:
    """Return "0 of 5 (0 to 43.4 %)"; nothing where there is nothing to count."""
    if rate is None or rate.value is None:
        return ""
    return f"{rate.k:,} of {rate.n:,} ({interval(rate)})"


def _who(rule: RuleResult) -> str:
    if rule.verdict == "not shown":
        return ""
    if not rule.connections:
        return ", ".join(rule.codes)
    codes = f" ({', '.join(rule.codes)})" if rule.codes else ""
    return f"{id_runs(rule.connections)}{codes}"
