"""Rules for every test."""

import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The terminal that the tests run on must not show in what they see.
os.environ["COLUMNS"] = "80"
for name in ("NO_COLOR", "FORCE_COLOR", "KTRACE_DEBUG"):
    os.environ.pop(name, None)

# How long an example takes says something of the machine only; hostile input has limits of its own.
# The same examples in every run; `pytest --hypothesis-profile=search` looks for new ones.
for profile, same in (("search", False), ("ktrace", True)):
    settings.register_profile(
        profile, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=same
    )
settings.load_profile("ktrace")

# In CI a skip is a failure, but for these: nobody would notice a test that never ran there.
MAY_SKIP = ("root may read every file", "another compiler writes other code")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    expected = hasattr(report, "wasxfail") or any(why in str(report.longrepr) for why in MAY_SKIP)
    if report.skipped and not expected and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
