"""Annotations for GitHub Actions: workflow commands, one for each rule that did not simply pass."""

from ktrace.check.result import CheckResult, RuleResult
from ktrace.check.words import scoped
from ktrace.wording import clean

_COMMAND = {"failed": "error", "inconclusive": "error", "not shown": "notice"}


def render(result: CheckResult) -> str:
    """Return the commands, one a line; nothing where every rule passed."""
    return "".join(_command(rule) for rule in result.rules if rule.verdict in _COMMAND)


def _command(rule: RuleResult) -> str:
    properties = {"title": f"ktrace check {rule.verdict}: {scoped(rule)}"}
    if rule.evidence:
        properties["file"] = rule.evidence[0].source
        if rule.evidence[0].line is not None:
            properties["line"] = str(rule.evidence[0].line)
    words = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    baseline = f"baseline: {rule.baseline}" if rule.baseline else ""
    message = "\n".join(filter(None, (rule.candidate, baseline, rule.message, rule.help)))
    return f"::{_COMMAND[rule.verdict]} {words}::{_data(message)}\n"


def _data(text: str) -> str:
    """Escape a message; a line break is the only control character that stays one."""
    lines = (clean(line) for line in text.split("\n"))
    return "%0A".join(line.replace("%", "%25") for line in lines)


def _property(text: str) -> str:
    return clean(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
