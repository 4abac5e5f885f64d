"""The manual pages and the schema are what the code gives, and every page says all of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ktrace.rules import RULES, manual
from ktrace.rules.base import Rule

ROOT = Path(__file__).resolve().parent.parent
HEADINGS = ["What it finds", "Why it is bad", "Known limits", "Example", "How to fix"]


def test_generated_files_are_current() -> None:
    check = [sys.executable, str(ROOT / "tools" / "generate.py"), "--check"]
    result = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_no_page_is_left_over() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "findings").glob("KT*.md")}
    assert pages == {rule.code for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_page_has_its_parts(rule: Rule) -> None:
    page = manual(rule.code)
    assert page.startswith(f"# {rule.code} {rule.name} ({rule.severity})\n")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == HEADINGS
    assert all(part.strip() for part in re.split(r"^## .*$", page, flags=re.MULTILINE))
    assert "!" not in page.replace("!=", "")
    assert all(len(line) <= 100 for line in page.splitlines())


def test_codes_and_names_are_unique_and_in_order() -> None:
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))
    assert len({rule.name for rule in RULES}) == len(RULES) == 17


def test_unknown_code() -> None:
    with pytest.raises(KeyError):
        manual("KT999")
