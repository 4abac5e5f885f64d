"""Each guest is booted once; a guest that cannot be built is a skip here, and a failure in CI."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.kernel import results
from tests.kernel.guests import GUESTS
from tests.kernel.steps import NotBuilt
from tests.live.conftest import need

AT_ONCE = 2  # a guest's emulation keeps one core busy


@pytest.fixture(scope="session")
def booted(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[results.Results]]]:
    """Start the guests whose tests were chosen, and no others."""
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    named = {spec.params.get("run") for spec in specs if spec is not None}
    chosen = [name for name in GUESTS if name in named]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(results.run, GUESTS[name]) for name in chosen}


@pytest.fixture(scope="session", params=list(GUESTS))
def run(request: pytest.FixtureRequest) -> results.Results:
    """What the guest brought back; KTRACE_KERNEL_AGAIN judges what lies there from the last run."""
    name = request.param
    if os.environ.get("KTRACE_KERNEL_AGAIN"):
        return results.Results(GUESTS[name], results.BUILD / name)
    future: Future[results.Results] = request.getfixturevalue("booted")[name]
    try:
        return future.result()
    except NotBuilt as error:
        need(str(error))
        raise
