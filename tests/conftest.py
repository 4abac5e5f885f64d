"""Rules for every test."""

import os
from collections.abc import Generator
from typing import Any

import pytest

HEAVY = ("live", "browser", "kernel")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """In CI a skipped test of a heavy suite is a failure: nobody would notice that it never ran."""
    report = yield
    heavy = any(item.get_closest_marker(name) for name in HEAVY)
    if report.skipped and heavy and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow here: {report.longrepr}"
    return report
