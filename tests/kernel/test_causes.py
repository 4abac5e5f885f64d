"""Each cause of a failing kTLS call, produced on a real kernel, and what ktrace makes of it."""

import pytest

from tests.kernel.expected import CAUSES, cause
from tests.kernel.results import WAYS, Results

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("name", CAUSES)
def test_the_kernel_refuses_as_we_believe(run: Results, name: str) -> None:
    told = run.causes[name]
    assert tuple(map(tuple, told["did"])) == cause(name, run.guest).did


def disagreements(run: Results, name: str, way: str) -> list[str]:
    """Return what a report says of a cause that is not so."""
    want = cause(name, run.guest, way)
    shown = want.did if want.shown is None else want.shown
    here = run.of_process(way, run.causes[name]["pid"])
    tried = [c for c in here if (c.has_ktls if shown else c.role == "client")]
    found = []
    if (got := [(c.outcome, c.ordering) for c in tried]) != [(want.outcome, want.ordering)]:
        found.append(f"{got}")
    made = [("ulp", one.result) for c in tried for one in c.ulp]
    made += [("tx", one.result) for c in tried for one in c.tx]
    made += [("rx", one.result) for c in tried for one in c.rx]
    if sorted(map(str, made)) != sorted(map(str, shown)):
        found.append(f"calls {made}")
    if (codes := run.codes(way, tried)) != set(want.codes):
        found.append(f"findings {codes}")
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CAUSES)
def test_the_finding_is_right(run: Results, name: str, way: str) -> None:
    found = disagreements(run, name, way)
    assert not found or run.report(way).trace.lost_events, found


@pytest.mark.parametrize("way", WAYS)
def test_no_more_is_wrong_than_was_lost(run: Results, way: str) -> None:
    wrong = sum(bool(disagreements(run, name, way)) for name in CAUSES)
    assert wrong <= run.report(way).trace.lost_events
