"""What the fuzzer found once must not come back."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

FOUND = sorted((Path(__file__).parent / "fuzz" / "regressions").glob("*/*"))


@pytest.mark.parametrize("found", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_is_mended(found: Path) -> None:
    """A target raises where ktrace has a fault; an error for the user is an answer."""
    TARGETS[found.parent.name](found.read_bytes())


def test_every_target_is_kept_here() -> None:
    assert {path.parent.name for path in FOUND} == set(TARGETS)
