"""The scanner: finds, in a block of a log, the few records that matter, and counts the rest.

One regular expression walks the block: it swallows runs of well-formed records that nobody needs in one
step, and stops at a candidate, or at a line that is no record (`odd`).  A block with odd lines, or with a
candidate that has no end, goes through repair.py; a clean block never does.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ktrace.sources.strace import lines as grammar
from ktrace.sources.strace.repair import Assembler, Repaired

CALL, RESUMED, EXIT = 0, 1, 2

_CORE = grammar.CORE_NAMES
_DATA = grammar.DATA_NAMES
_NEEDED = f"(?:{_CORE}|{_DATA})"
_BORING = (
    rf"(?:{grammar.PLAIN_HEAD}(?:(?!{_NEEDED}\(){grammar.CALL_NAME}\(|--- |<\.\.\. (?!{_NEEDED} )\w+ resumed)[^\n]*\n"
    rf"|{grammar.STACK_LINE}\n|{grammar.MESSAGE}\n|[ \t\r]*\n)"
)
_BLOCK = re.compile(
    (
        rf"((?>{_BORING})*+)(?:{grammar.HEAD}"
        rf"(?:(?:({_CORE})|({_DATA}))\(|<\.\.\. ({_NEEDED}) resumed> ?|(\+\+\+) )([^\n]*)\n|([^\n]*\n)|\Z)"
    ).encode()
)
_AUDITED = (b"setsockopt", b"connect")
_START = re.compile(
    rf"^{grammar.PLAIN_HEAD}(?:{grammar.CALL_NAME}\(|--- |\+\+\+ |<\.\.\. \w+ resumed)".encode()
)
_DELTA = re.compile(
    br"^ *(?:\[pid +\d+(?:<[^>\n]*>)?\] *|\d{1,8}(?:<[^>\n]*>)? +)?(\d+\.\d+) ", re.M
)
_UNFILTERED = re.compile(
    rf"^{grammar.PLAIN_HEAD}(?:mmap|brk|futex|munmap|mprotect|rt_sigaction)\(".encode(), re.M
)


class Row(NamedTuple):
    """A candidate.  `rest` is what follows `name(`; `passed` is the sum of -r deltas before it."""

    line: int
    end_line: int
    form: int
    tid: int | None
    comm: str | None
    time: bytes | None
    name: str
    rest: bytes
    stack: tuple[str, ...] | None = None
    data: bool = False
    relative: int = 0


class Block(NamedTuple):
    """What one block holds; line numbers count from 0 at its first line.

    `bad` are (line, reason) of what was not understood, the first few; `not_understood` counts them all.
    """

    rows: list[Row]
    lines: int
    records: int
    not_understood: int
    bad: list[tuple[int, str]]
    unfiltered: bool
    relative: int


def cut_at(data: bytes) -> int:
    """Return where to cut `data` so that no record is torn: before the last line that starts one."""
    end = data.rfind(b"\n") + 1
    position = end
    for _ in range(400):
        start = data.rfind(b"\n", 0, max(position - 1, 0)) + 1
        if start == 0:
            break
        if _START.match(data, start):
            return start
        position = start
    return end


def scan(
    data: bytes, *, look_for_unfiltered: bool = True, relative: bool = False, numbered: bool = False
) -> Block:
    """Scan one block of whole lines (the last one may lack its newline).

    `relative`: the times are deltas of -r; `numbered`: an editor's line numbers stand before the records.
    """
    if not data.endswith(b"\n"):
        data += b"\n"
    unfiltered = look_for_unfiltered and is_unfiltered(data)
    block = None if numbered else _scan_clean(data, unfiltered, relative)
    return block if block is not None else _scan_damaged(data, unfiltered, relative, numbered)


_TIMED = re.compile(rf"^{grammar.HEAD}".encode())


def has_clock(head: bytes) -> bool:
    """Tell whether the records of a log have times that order different threads (no deltas)."""
    times = [match[5] for line in head.split(b"\n")[:50] if line and (match := _TIMED.match(line))]
    return any(time and (b":" in time or len(time.partition(b".")[0]) >= 9) for time in times)


def has_relative_clock(head: bytes) -> bool:
    """Tell the deltas of -r from times of day and epoch times."""
    times = [match[5] for line in head.split(b"\n")[:50] if line and (match := _TIMED.match(line))]
    shown = [time for time in times if time]
    return bool(shown) and all(
        b":" not in time and len(time.partition(b".")[0]) < 9 for time in shown
    )


_LEADING = re.compile(rb"^\s*(\d{1,6})(?:[ \t]+|[:.|)])")


def has_line_numbers(head: bytes) -> bool:
    """Tell line numbers of an editor, which count up by one a line, from pids."""
    numbers = [
        (index, int(match[1]))
        for index, line in enumerate(head.split(b"\n")[:200])
        if (match := _LEADING.match(line))
    ]
    if len(numbers) < 3:
        return False
    offset = numbers[0][1] - numbers[0][0]
    return sum(number - index == offset for index, number in numbers) >= 0.8 * len(numbers)


def is_unfiltered(data: bytes) -> bool:
    hints = (b"mmap(", b"brk(", b"futex(", b"mprotect(", b"rt_sigaction(")
    return any(hint in data for hint in hints) and _UNFILTERED.search(data) is not None


def _scan_clean(data: bytes, unfiltered: bool, relative: bool) -> Block | None:
    """Scan a block of well-formed records; None when it is not one."""
    rows: list[Row] = []
    append = rows.append
    line = passed = 0
    audit = sum(data.count(name + b"(") for name in _AUDITED)
    stacks = b"\n > " in data or b"\n  > " in data or data[:3] == b" > "
    for (
        boring,
        bpid,
        bcomm,
        pid,
        comm,
        time,
        delta,
        core,
        data_name,
        resumed,
        gone,
        rest,
        odd,
    ) in _BLOCK.findall(data):
        if boring:
            line += boring.count(b"\n")
            if relative:
                passed += sum(map(_delta, _DELTA.findall(boring)))
            if stacks and rows:
                _attach_stack(rows, boring)
        if odd:
            return None
        number = pid or bpid
        if core:
            if b"\r" in rest or not _ends(rest):
                return None
            form, name, is_data = CALL, core, False
        elif data_name:
            form, name, is_data = CALL, data_name, True
            if not _ends(rest):
                return None
        elif resumed:
            form, name, is_data = RESUMED, resumed, False
            audit += name in _AUDITED
        elif gone:
            form, name, is_data = EXIT, gone, False
        else:
            break
        audit -= name in _AUDITED
        if relative and time:
            passed += _delta(time)
        append(
            Row(
                line,
                line,
                form,
                int(number) if number else None,
                (comm or bcomm).decode("utf-8", "replace") if comm or bcomm else None,
                time or None,
                name.decode(),
                rest,
                None,
                is_data,
                passed,
            )
        )
        line += 1
    if audit:  # such a call stands somewhere else than at the start of a record
        return None
    return Block(rows, line, line, 0, [], unfiltered, passed)


def _ends(rest: bytes) -> bool:
    """Tell whether a record has its end: a result, or another thread's interruption."""
    return b" = " in rest or b"<unfinished" in rest or b"<detached" in rest or b")= " in rest


def _delta(text: bytes) -> int:
    return grammar.nanoseconds(text.decode()) if b":" not in text else 0


def _attach_stack(rows: list[Row], boring: bytes) -> None:
    last = rows[-1]
    if last.name != "setsockopt" or boring.lstrip(b" ")[:2] != b"> ":
        return
    rows[-1] = last._replace(stack=stack_of(boring.decode("utf-8", "replace").splitlines()))


def stack_of(text: list[str]) -> tuple[str, ...] | None:
    """Return the frames at the head of `text`, at most 32 of them."""
    frames = []
    for line in text[:32]:
        frame = grammar.frame(line)
        if frame is None:
            break
        frames.append(frame)
    return tuple(frames) or None


def _scan_damaged(data: bytes, unfiltered: bool, relative: bool, numbered: bool) -> Block:
    """Scan a block line by line, mending what mail, web and editors did to it."""
    assembler = Assembler(numbered=numbered)
    rows: list[Row] = []
    passed = 0
    for record in assembler.records(_physical_lines(data)):
        for row in rows_of(record):
            if relative and row.time:
                passed += _delta(row.time)
            if row.name:
                rows.append(row._replace(relative=passed))
    return Block(
        rows,
        assembler.lines,
        assembler.understood,
        assembler.not_understood,
        assembler.bad,
        unfiltered,
        passed,
    )


def _physical_lines(data: bytes) -> Iterator[bytes]:
    yield from data.split(b"\n")[:-1]


_RECORD = re.compile(
    rf"{grammar.HEAD}(?:({grammar.CALL_NAME})\(|<\.\.\. (\w+) resumed> ?|(\+\+\+) |(---) )(.*)",
    re.S,
)
_IS_NEEDED = re.compile(_NEEDED)
_IS_DATA = re.compile(f"(?:{_DATA})")


def rows_of(record: Repaired) -> Iterator[Row]:
    match = _RECORD.match(record.text)
    if match is None:
        return
    bpid, bcomm, pid, comm, time, _delta_, call, resumed, gone, signal, rest = match.groups()
    name = call or resumed or gone or ""
    needed = bool(gone) or _IS_NEEDED.fullmatch(name) is not None
    number = pid or bpid
    yield Row(
        record.line,
        record.end_line,
        RESUMED if resumed else EXIT if gone else CALL,
        int(number) if number else None,
        comm or bcomm or None,
        time.encode() if time else None,
        name if needed and not signal else "",
        rest.encode("utf-8", "replace"),
        stack_of(record.stack) if record.stack else None,
        bool(call) and _IS_DATA.fullmatch(name) is not None,
    )
