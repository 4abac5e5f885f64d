"""The scanner for the usual large log: every line one whole record, all heads of the same width.

Large logs are mostly of one shape from end to end (`strace -f -ttt -T -o`).  Their lines are told
apart by the bytes at fixed places, all lines of a block at once with numpy, several times as fast
as by the grammar in scan.py, which reads every other log.  Both find the same rows; a block with
one line of another shape is left to the grammar.
"""

import contextlib
import functools
import os
import re
from typing import TYPE_CHECKING

from ktrace.sources.strace import fast
from ktrace.sources.strace import lines as grammar
from ktrace.sources.strace.calls import DECODERS
from ktrace.sources.strace.rows import CALL, EXIT, RESUMED, Block, DataLines, Row

if TYPE_CHECKING:
    from ktrace.sources.strace.columns import Columns

_HEAD = re.compile(rb"(?:(\d{1,8}) +)?((?:\d{10}|\d\d:\d\d:\d\d)\.\d{6}(?:\d{3})?) ")
_IS_DATA, _IS_WAIT = re.compile(grammar.DATA_NAMES), re.compile(r"epoll_p?wait2?")
_NAMES = {name.encode(): name for name in DECODERS}
_DATA_NAMES = frozenset(name for name in DECODERS if _IS_DATA.fullmatch(name))
AUDITED = ("setsockopt", "connect", "socket", "accept", "accept4")
ENDINGS = frozenset(name[-2:] for name in AUDITED)
_ENDS_SO = {name: name[-2:] in ENDINGS for name in (*DECODERS, "")}
# what a data call of these does is more than moving data
SPECIAL_DATA = (b"SCM_RIGHTS", b"FASTOPEN")
RAW_SPECIAL_DATA = (b"cmsg_level=0x1,", b"0x20000000")
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"
_HURT = (b"\r", b"\x1b")

# What a line can be, by the first bytes of its call.  A name that is not needed but begins like one
# that is costs a look, and no more.
QUIET, CORE, DATA, WAIT, SECOND = range(5)
KEY = 4  # bytes
_OTHER_CALL = re.compile(rb"[a-z_][a-z0-9_]{0,60}(?:\(| resumed)|--- ")
_MOST_KEYS = 4096
_MOVED = re.compile(rb"\) += (?:[1-9]\d*|-1 EAGAIN \([^()]*\))(?: <\d+\.\d+>)?$")
_UNFINISHED = b"<unfinished ...>"
_ZERO, _LASTED = len(") = 0 <0.000021>"), len(" <0.000021>")


class Unusual(Exception):
    """A line has another shape than the others."""


def _classes() -> dict[bytes, int]:
    found = {b"<...": SECOND, b"+++ ": CORE}
    for name in DECODERS:
        key = f"{name}("[:KEY].encode()
        kind = DATA if _IS_DATA.fullmatch(name) else WAIT if _IS_WAIT.fullmatch(name) else CORE
        found[key] = kind if found.get(key, kind) == kind else min(kind, found[key])
    return found | {b"epol": WAIT}


CLASSES = _classes()


def scan_usual(data: bytes, *, symbolic: bool, detailed: bool = False) -> Block | None:
    """Scan a block of whole lines; None when it is not of the usual shape.

    `detailed`: tell where each data call is.
    """
    head = _HEAD.match(data)
    marks = SPECIAL_DATA if symbolic else (*SPECIAL_DATA, *RAW_SPECIAL_DATA)
    if head is None or not data.isascii() or any(mark in data for mark in _HURT):
        return None
    try:
        columns = _loaded()(data, head.start(2), head.end())
        if any(columns.holds(mark) for mark in marks):
            return None
        rows = _rows(data, columns)
        quiet = columns.data([row.line for row in rows], lines=detailed)
    except Unusual:
        return None
    if not _is_audited(data, rows, columns):
        return None
    return Block(rows, columns.lines, columns.lines, 0, [], False, False, 0, quiet)


@functools.cache
def _loaded() -> "type[Columns]":
    """Load numpy, but not the threads of its BLAS: they spin, and nothing here multiplies."""
    missing = _BLAS_THREADS not in os.environ
    if missing:
        os.environ[_BLAS_THREADS] = "1"
    try:
        from ktrace.sources.strace.columns import Columns
    finally:
        if missing:
            del os.environ[_BLAS_THREADS]
    return Columns


def _is_audited(data: bytes, rows: list[Row], columns: "Columns") -> bool:
    """Tell whether the calls that decide stand nowhere but at the start of a record."""
    calls = [row.name for row in rows if row.form == CALL]
    if columns.calls_ending(ENDINGS) == sum(map(_ENDS_SO.__getitem__, calls)):
        return True  # nearly always, and quicker than to look for each name
    names = sum(name in AUDITED for name in calls)
    return names == sum(data.count(f"{name}(".encode()) for name in AUDITED)


def learn(text: bytes) -> None:
    """Take in a call that nobody needs; raises Unusual when the text does not begin as a call."""
    if _OTHER_CALL.match(text) is None or len(CLASSES) >= _MOST_KEYS:
        raise Unusual
    CLASSES[text[:KEY]] = QUIET


def is_quiet(text: bytes) -> bool:
    """Tell a call that nobody needs, a data call that moved data, a wait that reports only input.

    `text`: a record without its head.
    """
    kind, begins = CLASSES.get(text[:KEY], QUIET), True
    if kind == SECOND:
        text, begins = text[len(b"<... ") :], False
        kind = CLASSES.get(text[:KEY], QUIET)
    if kind == DATA:
        if begins and text.endswith(_UNFINISHED):
            return True
        return _MOVED.match(text, max(text.rfind(b") "), 0)) is not None
    if kind != WAIT or text[6:7] not in (b"w", b"p"):
        return kind == QUIET
    said = text.removeprefix(b"epoll_wait resumed>")
    inputs = said.count(b"EPOLLIN, ")
    if said.count(b"EPOLL") != inputs or not (inputs or b"[]" in said):
        return begins and said.endswith(_UNFINISHED)
    return said.find(b"...") < 0


def _rows(data: bytes, columns: "Columns") -> list[Row]:
    """Read the candidates, and mark what lies between them."""
    clock, call, may_be_hurt = columns.clock, columns.call, b"&" in data
    rows: list[Row] = []
    quiet = first = 0  # where the part that nobody needed began: its offset, its line
    for number, start, end, tid, at_ns, lasted_ns, is_zero in columns.candidates():
        text = data[start + call : end]
        paren = text.find(b"(")
        name, form, read = _NAMES.get(text[:paren], ""), CALL, None
        if name:
            if name in _DATA_NAMES:
                pass  # only the reader knows whether anybody wants it
            elif is_zero:
                read = fast.read_zero(name, text[paren + 1 : -_ZERO], lasted_ns)
            elif lasted_ns >= 0:
                read = fast.read_lasting(name, text[paren + 1 : -_LASTED], lasted_ns)
            else:
                read = fast.read(name, text[paren + 1 :])
            rest = b"" if read is not None else text[paren + 1 :]
            if (read is None and not _ends(rest)) or (may_be_hurt and grammar.is_hurt(text)):
                raise Unusual
        else:
            form, name, rest = _second_half(text)
            if not name:
                if form == CALL and _OTHER_CALL.match(text) is None:
                    raise Unusual  # torn, and what is lost may matter
                continue
        rows.append(
            Row(
                number,
                form,
                tid if tid >= 0 else None,
                None,
                data[start + clock : start + call - 1],
                name,
                rest,
                form == CALL and name in _DATA_NAMES,
                None,
                0,
                (quiet, start),
                first,
                read,
                at_ns,
            )
        )
        quiet, first = end + 1, number + 1
    size, count = len(data), columns.lines
    return [
        *rows,
        Row(count, CALL, None, None, None, "", b"", False, None, 0, (quiet, size), first),
    ]


def data_row(data: bytes, lines: DataLines, index: int) -> Row:
    """Return the row of a quiet data call; it has no name where the line is torn after all."""
    start, tid = lines.starts[index], lines.tids[index]
    text = data[start + lines.call : lines.stops[index]]
    name, form, rest = "", CALL, b""
    if text.startswith(b"<... "):
        with contextlib.suppress(Unusual):
            form, name, rest = _second_half(text)
    else:
        called, _, rest = text.partition(b"(")
        name = _NAMES.get(called, "")
    return Row(
        lines.numbers[index],
        form,
        tid if tid >= 0 else None,
        None,
        data[start + lines.clock : start + lines.call - 1],
        name,
        rest,
        name in _DATA_NAMES and form == CALL,
        at_ns=lines.times[index],
    )


def _second_half(text: bytes) -> tuple[int, str, bytes]:
    """Read the second half of a call, or a thread's end; no name for what nobody needs."""
    if text.startswith(b"+++ "):
        return EXIT, "+++", text[4:]
    if not text.startswith(b"<... "):
        return CALL, "", b""
    first, resumed, rest = text.partition(b" resumed>")
    if not resumed or (b") = " in rest and (rest.count(b") = ") > 1 or b"<unfinished" in rest)):
        raise Unusual  # torn, or another record stands behind it
    return RESUMED, _NAMES.get(first[5:], ""), rest.removeprefix(b" ")


def _ends(rest: bytes) -> bool:
    """Tell whether a record has its end, as far as a look at it can tell."""
    return grammar.ends(rest) and not rest.endswith(b"= -1")
