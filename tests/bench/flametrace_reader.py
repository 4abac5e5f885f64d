"""Reads an strace log with flametrace, as its own command does after tracing; prints the calls."""

import importlib
import sys


def main(path: str) -> int:
    """Return the number of complete calls."""
    core = importlib.import_module("flametrace.core")
    collapser, calls = core.Collapser(), 0
    with open(path) as log:
        for call in core.StraceParser().parse(log):
            collapser.handle_call(call)
            calls += 1
    return calls


if __name__ == "__main__":
    print(main(sys.argv[1]))
