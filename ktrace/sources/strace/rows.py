"""What the scanner hands to the reader: the candidates of a block, and an account of its lines."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ktrace.sources.strace.fast import Read

CALL, RESUMED, EXIT = 0, 1, 2


class Row(msgspec.Struct, gc=False):
    """A candidate.  `rest` is what follows `name(`; `passed` the sum of -r deltas up to it (ns).

    `at_ns` is the time where the scanner has read it, an epoch of strace -ttt, else -1.
    `quiet` is the part of the block before it, from the candidate before, that was swallowed.
    `read` is set where the whole record was read at once; then `rest` is empty.
    """

    line: int
    form: int
    tid: int | None
    comm: str | None
    time: bytes | None
    name: str
    rest: bytes
    is_data: bool = False
    stack: tuple[str, ...] | None = None
    passed: int = 0
    quiet: tuple[int, int] = (0, 0)
    quiet_line: int = 0
    read: Read | None = None
    at_ns: int = -1


DESCRIBED = b"<TCP"  # what -yy writes behind the descriptor of a socket


class Data(NamedTuple):
    """The data calls in the quiet parts of a block.

    `fds` are their descriptors; those before row `i` end at `ends[i]` and begin where those before
    the row above it end.  `lines`, where they were asked for, tells of each where it is, and then
    their second halves are among them, with the descriptor -1.  `pairs`, where the log describes
    sockets, are the threads and descriptors of all, each once.
    """

    fds: list[int]
    ends: list[int]
    lines: "DataLines | None" = None
    pairs: Sequence[tuple[int, int]] = ()


class DataLines(NamedTuple):
    """Of each data call: its line, where that starts and ends in the block, its thread and time.

    As in a `Row`, but the thread is -1 without a pid.  `clock` and `call` are columns of a line.
    """

    clock: int
    call: int
    numbers: list[int]
    starts: list[int]
    stops: list[int]
    tids: list[int]
    times: list[int]


class Block(NamedTuple):
    """What one block holds; line numbers count from 0 at its first line.

    `bad` are (line, reason) of what was not understood, the first few; `not_understood` counts them
    all. The last row may be a mere end mark (no name): the quiet part behind the last candidate.
    `data` is None where the descriptors of data calls were not looked for.
    """

    rows: list[Row]
    lines: int
    records: int
    not_understood: int
    bad: list[tuple[int, str]]
    unfiltered: bool
    waits: bool
    passed: int
    data: Data | None = None


class Dialect(NamedTuple):
    """What the head of a log says of all of it.

    `relative`: times are deltas of -r; `numbered`: an editor's line numbers stand before the
    records; `symbolic`: constants are names, not the numbers of -X raw; `folded`: the width at
    which every line was broken, 0 for none.
    """

    relative: bool = False
    numbered: bool = False
    symbolic: bool = False
    folded: int = 0
