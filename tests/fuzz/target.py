"""Fuzz one target: `python -m tests.fuzz.target TARGET FOLDER [libFuzzer options]`."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ktrace.sources", "ktrace.scrub", "ktrace.sequencer"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.seeds import write_seeds

HERE = Path(__file__).parent


def main() -> None:
    target, folder, *options = sys.argv[1:]
    corpus = Path(folder)
    write_seeds(target, corpus)
    known = [str(path) for path in [HERE / "regressions" / target] if path.is_dir()]
    words = [] if target == "capture" else [f"-dict={HERE / 'strace.dict'}"]
    line = [sys.argv[0], str(corpus), *known, *words, *options]
    atheris.Setup(line, TARGETS[target])
    atheris.Fuzz()


main()
