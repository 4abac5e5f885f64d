#!/usr/bin/env python3
"""Write the files that are made from the code: manual pages of the findings, the JSON Schema.

With --check, write nothing and fail where a file is not what the code gives.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ktrace.findings import SCHEMA, json_schema  # noqa: E402
from ktrace.rules import RULES  # noqa: E402

PAGES = ROOT / "docs" / "findings"
SCHEMA_FILE = ROOT / "ktrace" / "schema" / "report-1.json"
MADE = "<!-- Made from the docstring of {module} by tools/generate.py. -->\n"


def files() -> dict[Path, str]:
    """Return each generated file with its text."""
    pages = {PAGES / f"{rule.code}.md": page(rule) for rule in RULES}
    return {SCHEMA_FILE: schema(), PAGES / "README.md": index(), **pages}


def page(rule) -> str:
    module = type(rule).__module__.replace(".", "/") + ".py"
    return MADE.format(module=module) + rule.manual()


def index() -> str:
    rows = "".join(
        f"| [{rule.code}]({rule.code}.md) | {rule.name} | {rule.severity} | {first_line(rule)} |\n"
        for rule in RULES
    )
    return (
        MADE.format(module="ktrace/rules")
        + "# Findings\n\n"
        + "`ktrace explain CODE` prints these pages. A finding folds all connections with the\n"
        + "same cause and takes the worst severity among them; here is the worst it can have.\n\n"
        + f"| code | name | severity | what |\n|---|---|---|---|\n{rows}"
    )


def first_line(rule) -> str:
    return (sys.modules[type(rule).__module__].__doc__ or "").split("\n", 1)[0]


def schema() -> str:
    """Return the JSON Schema; readers must accept fields that a later minor version adds."""
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        "description": "The output of `ktrace parse --format json`. Fields may be added within"
        " this version; none is taken away or given another meaning.",
        **json_schema(),
    }
    made["$defs"]["Report"]["properties"]["schema"] = {"const": SCHEMA}
    return json.dumps(made, indent=1) + "\n"


def main() -> int:
    stale = [
        path
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not current: run tools/generate.py")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files()[path], encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
