"""Each guest is booted once; a guest that cannot be built is a skip here, and a failure in CI."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.kernel import inside as rings
from tests.kernel import results
from tests.kernel.guests import GUESTS, Guest
from tests.kernel.steps import NotBuilt
from tests.live.conftest import need

AT_ONCE = 2  # a guest's emulation keeps one core busy
JOBS: dict[str, Callable[[Guest], Any]] = {"run": results.run, "inside": rings.run}


@pytest.fixture(scope="session")
def booted(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], Future[Any]]]:
    """Start the jobs of the guests whose tests were chosen, and no others."""
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = {
        (job, name): None
        for job in JOBS
        for spec in specs
        if spec is not None and (name := spec.params.get(job)) is not None
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {(job, name): pool.submit(JOBS[job], GUESTS[name]) for job, name in chosen}


def _brought_back(request: pytest.FixtureRequest, job: str) -> Any:
    future = request.getfixturevalue("booted")[job, request.param]
    try:
        return future.result()
    except NotBuilt as error:
        need(str(error))
        raise


@pytest.fixture(scope="session", params=list(GUESTS))
def run(request: pytest.FixtureRequest) -> results.Results:
    """What the guest brought back; KTRACE_KERNEL_AGAIN judges what lies there from the last run."""
    if os.environ.get("KTRACE_KERNEL_AGAIN"):
        return results.Results(GUESTS[request.param], results.BUILD / request.param)
    brought: results.Results = _brought_back(request, "run")
    return brought


@pytest.fixture(scope="session", params=list(GUESTS))
def inside(request: pytest.FixtureRequest) -> rings.Inside:
    """What the guest brought back of programs that use io_uring."""
    brought: rings.Inside = _brought_back(request, "inside")
    return brought
