"""The notebook page: its code runs on a real log and draws a picture."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from ktrace.cli import main
from tests.browser.conftest import FIXTURES

PAGE = Path(__file__).parents[2] / "docs" / "notebook.md"
LOGS = ("haproxy-before-delayed/trace", "haproxy-before-local/trace", "nginx/nginx.trace")


def run_page(folder: Path) -> dict[str, Any]:
    """Run the page's code in a folder with a real run's table; return its names."""
    logs = [str(FIXTURES / name) for name in LOGS]
    assert main(["parse", *logs, "--csv", str(folder / "before.csv")]) == 0
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 5
    names: dict[str, Any] = {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for block in blocks:
            exec(block, names)
    finally:
        os.chdir(before)
    return names


def test_the_page_runs_and_agrees_with_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names = run_page(tmp_path)
    counts = names["counts"]
    assert counts.loc["10.9.0.2:4043", ["fallback", "n"]].tolist() == [5, 5]
    assert counts.loc["10.9.0.1:4043", ["fallback", "n"]].tolist() == [0, 5]
    assert counts.loc["10.9.0.1", "n"] == 11
    assert (tmp_path / "fallback.png").read_bytes().startswith(b"\x89PNG")
