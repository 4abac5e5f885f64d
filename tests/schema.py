"""Check JSON output against the schema in the project, more strictly than a user would."""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA_FILE = Path(__file__).resolve().parent.parent / "ktrace" / "schema" / "report-1.json"


@functools.cache
def _validators() -> dict[str, Any]:
    """Return validators for a report and for one connection, closed for unknown fields."""
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    for definition in schema["$defs"].values():
        definition["additionalProperties"] = False
    make = jsonschema.Draft202012Validator
    make.check_schema(schema)
    return {name: make({**schema, "$ref": f"#/$defs/{name}"}) for name in ("Report", "Connection")}


def check_report(text: str | bytes) -> dict[str, Any]:
    """Return a report's JSON as an object; fail where it breaks the schema."""
    return _check("Report", text)


def check_connection(line: str | bytes) -> dict[str, Any]:
    """Return a line of ndjson as an object; fail where it breaks the schema."""
    return _check("Connection", line)


def _check(name: str, text: str | bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(text)
    _validators()[name].validate(data)
    return data
