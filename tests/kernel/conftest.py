"""Each guest is booted once; a guest that cannot be built is a skip here, and a failure in CI."""

import os

import pytest

from tests.kernel import results
from tests.kernel.guests import GUESTS
from tests.kernel.steps import NotBuilt
from tests.live.conftest import need

# The tests of a guest stay in one process, with its results.
EACH = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in GUESTS]


@pytest.fixture(scope="session", params=EACH)
def run(request: pytest.FixtureRequest) -> results.Results:
    """What the guest brought back; KTRACE_KERNEL_AGAIN judges what lies there from the last run."""
    guest = GUESTS[request.param]
    if os.environ.get("KTRACE_KERNEL_AGAIN"):
        return results.Results(guest, results.BUILD / guest.name)
    try:
        return results.run(guest)
    except NotBuilt as error:
        need(str(error))
        raise
