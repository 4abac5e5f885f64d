"""Reads an strace log with flametrace, as its own command does after tracing; prints the calls."""

import sys

from flametrace.core import Collapser, StraceParser


def main(path: str) -> int:
    """Return the number of complete calls."""
    collapser, calls = Collapser(), 0
    with open(path) as log:
        for call in StraceParser().parse(log):
            collapser.handle_call(call)
            calls += 1
    return calls


if __name__ == "__main__":
    print(main(sys.argv[1]))
