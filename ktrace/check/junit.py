"""The conclusion as JUnit XML: one test case a rule.

An inconclusive rule is an error, not a skipped test: CI systems count skipped tests as fine.
"""

import re
from xml.etree import ElementTree as ET

from ktrace.check.result import CheckResult, RuleResult
from ktrace.check.words import place, scoped
from ktrace.wording import clean, id_runs

# What XML 1.0 cannot hold even escaped; lone surrogates come from file names that are no UTF-8.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def render(result: CheckResult) -> str:
    """Return the document."""
    failed = sum(rule.verdict == "failed" for rule in result.rules)
    errors = sum(rule.verdict == "inconclusive" for rule in result.rules)
    counts = {"tests": str(len(result.rules)), "failures": str(failed), "errors": str(errors)}
    root = ET.Element("testsuites", {"name": "ktrace check", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": "ktrace check", **counts, "skipped": "0"})
    _properties(suite, result)
    for rule in result.rules:
        _case(suite, rule)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _properties(suite: ET.Element, result: CheckResult) -> None:
    values = {
        "status": result.status,
        "exit_status": str(result.exit_status),
        "headline": result.headline,
        "candidate": result.candidate.name,
        "policy": result.policy,
    }
    if result.baseline is not None:
        values["baseline"] = result.baseline.name
    properties = ET.SubElement(suite, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", {"name": name, "value": _text(value)})


def _case(suite: ET.Element, rule: RuleResult) -> None:
    names = {"classname": f"ktrace.check.{rule.rule}", "name": _text(scoped(rule))}
    case = ET.SubElement(suite, "testcase", names)
    details = _text("\n".join(_lines(rule)))
    if rule.verdict in ("failed", "inconclusive"):
        tag = "failure" if rule.verdict == "failed" else "error"
        words = _text("; ".join(filter(None, (rule.candidate, rule.message))))
        ET.SubElement(case, tag, {"type": rule.verdict, "message": words}).text = details
    else:
        ET.SubElement(case, "system-out").text = details


def _lines(rule: RuleResult) -> list[str]:
    rows = (
        ("verdict", rule.verdict),
        ("candidate", rule.candidate),
        ("baseline", rule.baseline),
        ("why", rule.message),
        ("connections", id_runs(rule.connections)),
        ("findings", ", ".join(rule.codes)),
        *(("evidence", f"{place(line)}  {line.text}") for line in rule.evidence),
        ("help", rule.help),
    )
    return [f"{label}: {clean(text)}" for label, text in rows if text]


def _text(text: str) -> str:
    return _FORBIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
