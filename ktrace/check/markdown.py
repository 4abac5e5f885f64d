"""The conclusion as Markdown, for a pull request or a job's summary."""

import re

from ktrace.check.result import CheckResult, FindingChange, RuleResult
from ktrace.check.text import last_line
from ktrace.check.words import EvidenceOnce, scoped
from ktrace.wording import clean, id_runs, plural

# An underscore inside a word is none of Markdown's business, and rules have many.
_SPECIAL = re.compile(r"[&<>|`*\[\]\\~@]|(?<!\w)_|_(?!\w)")


def render(result: CheckResult) -> str:
    """Return the document; text of a trace is escaped, so that it cannot make markup."""
    evidence = EvidenceOnce()
    decisive = [rule for rule in result.rules if rule.verdict in ("failed", "inconclusive")]
    parts = [
        f"### ktrace check: {result.status}",
        _escape(f"{result.headline}. {result.detail}".strip()),
        "\n".join(_sides(result)),
        "\n".join(_rules(result)),
        *(_details(rule, evidence) for rule in decisive),
    ]
    if result.findings:
        parts.append("\n".join(_findings(result)))
    parts += [
        f"- waiver {_escape(use.code)} until {use.until} ({use.state}): {_escape(use.reason)}"
        for use in result.waivers
    ]
    parts += [_escape(note) for note in result.notes]
    parts.append(f"`{last_line(result)}`")
    return "\n\n".join(parts) + "\n"


def _sides(result: CheckResult) -> list[str]:
    sides = [("candidate", result.candidate)]
    if result.baseline is not None:
        sides.append(("baseline", result.baseline))
    rows = [
        f"- {label}: {_escape(side.name)}, {plural(side.connections, 'connection')},"
        f" {side.attempted:,} tried kTLS"
        for label, side in sides
    ]
    return [*rows, f"- policy: {_escape(result.policy)}"]


def _rules(result: CheckResult) -> list[str]:
    head = ["rule", "result", "candidate", "baseline", "why"]
    rows = [
        [scoped(rule), rule.verdict, rule.candidate, rule.baseline or "", rule.message]
        for rule in result.rules
    ]
    return _table(head, rows)


def _findings(result: CheckResult) -> list[str]:
    def row(change: FindingChange) -> list[str]:
        state = f"{change.change}, waived" if change.waived else change.change
        what = f"{change.severity} {change.code} {change.message or change.name}"
        return [state, what, str(change.baseline), str(change.candidate)]

    rows = [row(change) for change in result.findings]
    if result.baseline is None:
        return _table(["finding", "connections"], [[r[1], r[3]] for r in rows])
    return _table(["", "finding", "baseline", "candidate"], rows)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *([_escape(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _details(rule: RuleResult, evidence: EvidenceOnce) -> str:
    """Return who, where and what to do, folded below the table."""
    rows = [
        ("connections", id_runs(rule.connections)),
        ("findings", ", ".join(rule.codes)),
        *(("evidence", line) for line in evidence.lines(rule)),
        ("help", rule.help),
    ]
    body = "\n".join(f"{label:12}{_html(text)}" for label, text in rows if text)
    if not body:
        return f"{_escape(scoped(rule))}: {rule.verdict}"
    summary = f"{rule.verdict}: {_html(scoped(rule))}"
    return f"<details><summary>{summary}</summary>\n<pre>\n{body}\n</pre>\n</details>"


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", clean(text))


def _html(text: str) -> str:
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
