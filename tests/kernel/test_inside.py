"""Where the probe looks into the kernel's functions: io_uring is seen, and nothing twice."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from ktrace.findings import Connection, Report
from tests.kernel import boot
from tests.kernel.conftest import EACH
from tests.kernel.guests import GUESTS
from tests.kernel.results import BUILD
from tests.kernel.steps import NotBuilt
from tests.live.conftest import need

pytestmark = pytest.mark.kernel

ROUNDS = 3
WAYS = ("fentry", "kprobe")
LIMIT_S = 1200
RING_SETS_OPTIONS_SINCE = (6, 7)
# script of ring.c -> order, outcome; "all", "data" and "early" set options through the ring
WANTED = {
    "calls": ("safe", "tx-only"),
    "connect": ("unknown", "tx-only"),
    "all": ("unknown", "tx-only"),
    "data": ("safe", "tx-only"),
    "early": ("raced", "fallback"),
}
BY_RING = ("all", "data", "early")
JOB = f"""
modprobe tls
uname -r >/results/release
for way in {" ".join(WAYS)}; do
    for script in {" ".join(WANTED)}; do
        python3 ./inside.py $way live --format json -- \\
            sh -c "exec ./ring $script {ROUNDS} >/results/$way-$script.said" \\
            >/results/$way-$script.json 2>/results/$way-$script.err
    done
done
"""


@dataclass(frozen=True)
class Inside:
    folder: Path
    release: tuple[int, int]

    def report(self, way: str, script: str) -> Report:
        path = self.folder / f"{way}-{script}"
        told = path.with_suffix(".err").read_text()
        assert told.startswith("ktrace: capturing with libbpf"), told
        return msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Report)


@pytest.fixture(scope="module", params=EACH)
def inside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Inside:
    """What the guest brought back of every script, looked at in both ways."""
    guest, program = GUESTS[request.param], tmp_path_factory.mktemp("ring") / "ring"
    source = boot.ROOT / "tests" / "live" / "ring.c"
    subprocess.run(["gcc", "-static", "-O1", "-o", program, source], check=True)
    files = {"ring": program, "inside.py": Path(__file__).with_name("guest") / "inside.py"}
    try:
        ran = boot.run(guest, JOB, files, BUILD / f"inside-{guest.name}", LIMIT_S)
    except NotBuilt as error:
        need(str(error))
        raise
    found = re.match(r"(\d+)\.(\d+)", (ran.folder / "release").read_text())
    assert found is not None
    return Inside(ran.folder, (int(found[1]), int(found[2])))


@pytest.mark.parametrize("script", WANTED)
@pytest.mark.parametrize("way", WAYS)
def test_every_attempt_is_seen_once(inside: Inside, way: str, script: str) -> None:
    if script in BY_RING and inside.release < RING_SETS_OPTIONS_SINCE:
        # the kernel refuses the request before it comes to the socket
        assert not any(c.ulp for c in inside.report(way, script).connections)
        return
    report = inside.report(way, script)
    tried = [c for c in report.connections if c.ulp]
    order, outcome = WANTED[script]
    assert [(c.role, c.ordering, c.outcome) for c in tried] == [("client", order, outcome)] * ROUNDS
    assert [(len(c.ulp), len(c.tx)) for c in tried] == [(1, int(script != "early"))] * ROUNDS
    assert all(_connects(c) == 1 for c in tried)
    assert {c.ulp[0].basis for c in tried} == {"observed"}
    assert {(c.tls_version, c.cipher) for c in tried if c.tx} <= {("TLS 1.3", "AES_GCM_128")}


@pytest.mark.parametrize("way", WAYS)
def test_the_report_says_that_the_ring_is_looked_into(inside: Inside, way: str) -> None:
    warnings = inside.report(way, "calls").trace.warnings
    assert any("made through it are in the capture" in warning for warning in warnings)
    assert not any("are not seen" in warning for warning in warnings)


def _connects(connection: Connection) -> int:
    return sum(row.call == "connect" for row in connection.timeline)
