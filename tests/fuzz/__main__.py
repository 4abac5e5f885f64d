"""Fuzz all targets for some seconds each (see `make fuzz`), and print what they found.

Inputs are printed packed and in base64, since of a run in CI nothing but its log may be left.
"""

import argparse
import base64
import gzip
import os
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

FOLDER = Path("build/fuzz")
SLOW = "slow-unit-"  # told, but no failure: the machine may have been busy
LIMITS = ("-timeout=10", "-rss_limit_mb=1500", "-report_slow_units=2", "-print_final_stats=1")


def main() -> int:
    arguments = _arguments()
    if arguments.again is not None:
        return _again(*arguments.again)
    names = arguments.target or list(TARGETS)
    results = [_fuzz(name, arguments.seconds, arguments.seed) for name in names]
    return int(not all(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("--seed", type=int, default=1, help="0: another one each time")
    parser.add_argument("--again", nargs=2, metavar=("TARGET", "TEXT"), help="try a printed input")
    parser.add_argument("--target", choices=TARGETS, action="append", help="this one only")
    return parser.parse_args()


def _fuzz(target: str, seconds: int, seed: int) -> bool:
    """Fuzz one target in a process of its own: it dies where ktrace has a fault."""
    found = FOLDER / "found" / target
    found.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={found}/", f"-seed={seed}", *LIMITS]
    line = [sys.executable, "-m", "tests.fuzz.target", target, str(FOLDER / target), *options]
    print(f"== fuzzing {target} for {seconds} s, seed {seed}", flush=True)
    # the order of a set must not make another run of the same seed
    done = subprocess.run(line, env=os.environ | {"PYTHONHASHSEED": "0"}, check=False)
    for path in sorted(set(found.iterdir()) - before):
        _tell(target, path)
    if done.returncode:
        print(f"== {target}: failed with status {done.returncode}", flush=True)
    return done.returncode == 0


def _tell(target: str, path: Path) -> None:
    word = "slow" if path.name.startswith(SLOW) else "fault"
    text = base64.b64encode(gzip.compress(path.read_bytes(), 9, mtime=0)).decode()
    print(f"== {target}: {word}, {path}; to try it again, or to keep it as a regression case:")
    print(f"python -m tests.fuzz --again {target} {text}", flush=True)


def _again(target: str, text: str) -> int:
    """Write a printed input to a file and run the target on it, with a traceback where it fails."""
    data = gzip.decompress(base64.b64decode(text))
    path = FOLDER / "found" / f"again-{target}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    print(f"{path}: {len(data)} bytes", flush=True)
    TARGETS[target](data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
