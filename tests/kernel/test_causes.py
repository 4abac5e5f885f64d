"""Each cause of a failing kTLS call, produced on a real kernel, and what ktrace makes of it."""

import pytest

from tests.kernel.expected import CAUSES, cause
from tests.kernel.results import WAYS, Results

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("name", CAUSES)
def test_the_kernel_refuses_as_we_believe(run: Results, name: str) -> None:
    told = run.causes[name]
    assert tuple(map(tuple, told["did"])) == cause(name, run.guest).did


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CAUSES)
def test_the_finding_is_right(run: Results, name: str, way: str) -> None:
    want = cause(name, run.guest, way)
    shown = want.did if want.shown is None else want.shown
    here = run.of_process(way, run.causes[name]["pid"])
    tried = [c for c in here if (c.has_ktls if shown else c.role == "client")]
    assert [(c.outcome, c.ordering) for c in tried] == [(want.outcome, want.ordering)]
    made = [("ulp", one.result) for one in tried[0].ulp]
    made += [("tx", one.result) for one in tried[0].tx]
    made += [("rx", one.result) for one in tried[0].rx]
    assert sorted(map(str, made)) == sorted(map(str, shown))
    assert run.codes(way, tried) == set(want.codes)
