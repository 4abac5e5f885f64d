"""What a guest brought back of programs that use io_uring, looked at in both ways."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ktrace.findings import Report
from tests.kernel import boot
from tests.kernel.guests import Guest
from tests.kernel.results import BUILD

ROUNDS = 3
FOREIGN_CALLS = 21  # of foreign.c, that concern a connection
LIMIT_S = 1200
WAYS = ("fentry", "kprobe")
# script of ring.c -> order, outcome; "data" and "early" set options through the ring
WANTED = {
    "calls": ("safe", "tx-only"),
    "connect": ("unknown", "tx-only"),
    "data": ("safe", "tx-only"),
    "early": ("raced", "fallback"),
}
BY_RING = ("data", "early")
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
python3 -m ktrace live --backend bcc --format json -- \\
    sh -c "exec ./ring data {ROUNDS} >/results/bcc-data.said" \\
    >/results/bcc-data.json 2>/results/bcc-data.err
python3 -m ktrace live --backend libbpf --format json -- ./foreign \\
    >/results/fentry-foreign.json 2>/results/fentry-foreign.err
exit 0 # what ktrace says is judged
"""


@dataclass(frozen=True)
class Inside:
    folder: Path
    release: tuple[int, int]

    def report(self, way: str, script: str) -> Report:
        path = self.folder / f"{way}-{script}"
        told = path.with_suffix(".err").read_text()
        loader = "bcc" if way == "bcc" else "libbpf"
        assert told.startswith(f"ktrace: capturing with {loader}"), told
        return msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Report)


def run(guest: Guest) -> Inside:
    """Boot the guest and run every script, looked at in every way."""
    folder = BUILD / f"inside-{guest.name}"
    program = BUILD / "programs" / f"ring-{guest.name}"
    program.parent.mkdir(parents=True, exist_ok=True)
    sources = boot.ROOT / "tests" / "live"
    subprocess.run(["gcc", "-static", "-O1", "-o", program, sources / "ring.c"], check=True)
    foreign = program.with_name(f"foreign-{guest.name}")
    flags = ["-m32", "-O1", "-nostdlib", "-static", "-ffreestanding", "-fno-pic", "-no-pie"]
    subprocess.run(["gcc", *flags, "-o", foreign, sources / "foreign.c"], check=True)
    files = {"ring": program, "foreign": foreign}
    files["inside.py"] = Path(__file__).with_name("guest") / "inside.py"
    ran = boot.run_or_again(guest, JOB, files, folder, LIMIT_S)
    found = re.match(r"(\d+)\.(\d+)", (ran.folder / "release").read_text())
    assert found is not None
    return Inside(ran.folder, (int(found[1]), int(found[2])))
