"""The conclusion as SARIF 2.1.0: a result for each finding and for each rule that did not pass.

Fingerprints hold no pid, fd, time or local port, so code scanning knows a finding again.
"""

from typing import Any
from urllib.parse import quote

import msgspec

from ktrace.check.result import CheckResult, FindingChange, RuleResult
from ktrace.check.run import Run
from ktrace.check.words import scoped
from ktrace.findings import Evidence, Finding
from ktrace.wording import clean

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_STATE = {"new": "new", "known": "unchanged", "gone": "absent"}
Json = dict[str, Any]


def render(result: CheckResult, candidate: Run) -> str:
    """Return the log; the evidence lines come from the candidate's findings."""
    details = {f.fingerprint or f.code: f for f in candidate.details()}
    rules = [rule for rule in result.rules if rule.verdict in ("failed", "inconclusive")]
    results = [
        *(_finding(change, details, result) for change in result.findings),
        *(_rule(rule, candidate) for rule in rules),
    ]
    run = {
        "tool": {"driver": _driver(result, rules, details)},
        "invocations": [_invocation(result)],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {"status": result.status, "headline": result.headline},
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(_clean(log)), indent=2).decode() + "\n"


def _clean(value: Any) -> Any:
    """Escape control characters in every text of a document."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, list) else value


def _driver(result: CheckResult, rules: list[RuleResult], details: dict[str, Finding]) -> Json:
    descriptors: dict[str, Json] = {}
    for change in result.findings:
        detail = details.get(change.fingerprint or change.code)
        descriptors.setdefault(change.code, _descriptor(change, detail))
    for rule in rules:
        words = f"ktrace check: {rule.rule}"
        descriptors.setdefault(
            _rule_id(rule), {"id": _rule_id(rule), "shortDescription": {"text": words}}
        )
    return {
        "name": result.tool.name,
        "version": result.tool.version,
        "rules": list(descriptors.values()),
    }


def _descriptor(change: FindingChange, detail: Finding | None) -> Json:
    words = {"id": change.code, "name": change.name, "shortDescription": {"text": change.name}}
    if detail is None:
        return words
    full = {"fullDescription": {"text": detail.why}} if detail.why else {}
    help_text = {"help": {"text": detail.help}} if detail.help else {}
    return {**words, **full, **help_text}


def _invocation(result: CheckResult) -> Json:
    """Return how the run ended; one that was inconclusive did not do what it was asked for."""
    notes = [
        {"level": "error", "message": {"text": f"{scoped(rule)}: {rule.message}"}}
        for rule in result.rules
        if rule.verdict == "inconclusive"
    ]
    return {
        "executionSuccessful": result.status != "inconclusive",
        "exitCode": result.exit_status,
        "exitCodeDescription": result.status,
        "toolExecutionNotifications": notes,
    }


def _finding(change: FindingChange, details: dict[str, Finding], result: CheckResult) -> Json:
    fingerprint = change.fingerprint or change.code
    detail = details.get(fingerprint)
    entry: Json = {
        "ruleId": change.code,
        "kind": "fail",
        "level": change.severity,
        "message": {"text": change.message or change.name},
        "locations": _locations(detail.evidence if detail else ()),
        "partialFingerprints": {"ktraceFinding/v1": fingerprint},
        "properties": {"baseline": change.baseline, "candidate": change.candidate},
    }
    if result.baseline is not None:
        entry["baselineState"] = _STATE[change.change]
    if change.waived:
        entry["suppressions"] = [_suppression(change, result)]
    return entry


def _suppression(change: FindingChange, result: CheckResult) -> Json:
    uses = (use for use in result.waivers if use.code == change.code and use.state == "used")
    reasons = "; ".join(f"{use.reason} (until {use.until})" for use in uses)
    return {"kind": "external", "status": "accepted", "justification": reasons}


def _rule(rule: RuleResult, candidate: Run) -> Json:
    failed = rule.verdict == "failed"
    words = (f"{scoped(rule)}: {rule.candidate}", rule.message, rule.help)
    evidence = rule.evidence or tuple(
        Evidence(source=source, line=None, text="") for source in candidate.sources[:1]
    )
    return {
        "ruleId": _rule_id(rule),
        "kind": "fail" if failed else "open",
        "level": "error" if failed else "none",
        "message": {"text": ". ".join(filter(None, words))},
        "locations": _locations(evidence),
        "partialFingerprints": {"ktraceRule/v1": f"{rule.rule}|{rule.scope or ''}"},
        "properties": {"verdict": rule.verdict, "connections": list(rule.connections[:100])},
    }


def _rule_id(rule: RuleResult) -> str:
    return f"check/{rule.rule}"


def _locations(evidence: tuple[Evidence, ...]) -> list[Json]:
    return [_location(line) for line in evidence]


def _location(line: Evidence) -> Json:
    physical: Json = {"artifactLocation": {"uri": _uri(line.source)}}
    if line.line is not None:
        physical["region"] = {"startLine": line.line}
        if line.text:
            physical["region"]["snippet"] = {"text": line.text}
    return {"physicalLocation": physical}


def _uri(source: str) -> str:
    path = quote(clean(source))
    return f"file://{path}" if path.startswith("/") else path
