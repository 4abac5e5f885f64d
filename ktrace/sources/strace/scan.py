"""The scanner: finds, in a block of a log, the few records that matter, and counts the rest.

One regular expression walks the block.  It swallows runs of quiet records in one step (calls that
nobody needs, data calls that moved data, waits that report nothing but input) and stops at a
candidate, or at a line that is no record (`odd`).  What a swallowed data call was made on is looked
up later, by `data_calls`, and only a connection that is not settled makes the reader look at the
record itself. A block with odd lines, or with a candidate that has no end, goes through repair.py;
a clean one never does.
"""

import functools
import re
from collections.abc import Iterator

import msgspec

from ktrace.sources.strace import fast
from ktrace.sources.strace import lines as grammar
from ktrace.sources.strace.repair import Assembler, Repaired
from ktrace.sources.strace.rows import CALL, EXIT, RESUMED, Block, Dialect, Row
from ktrace.sources.strace.usual import AUDITED, RAW_SPECIAL_DATA, SPECIAL_DATA, scan_usual
from ktrace.sources.strace.values import unescaped

_CORE = grammar.CORE_NAMES
_DATA = grammar.DATA_NAMES
_NEEDED = f"(?:{_CORE}|{_DATA})"
_MOVED = r"[^\n]*\) += (?:[1-9]\d*|-1 EAGAIN \([^\n()]*\))(?: <\d+\.\d+>)?\n"
_BEGINS = r"[^\n]*<unfinished \.\.\.>\n"
# readiness for input only: it proves nothing and shows no failure
_INPUT = r"\[(?:\{(?:events=)?EPOLLIN, [^E\n\].]*+)*+\][^\n]*\n"
_UNNEEDED_CALL = (
    rf"<\.\.\. (?!{_NEEDED} )\w+ resumed[^\n]*\n"
    rf"|(?!{_NEEDED}\(){grammar.CALL_NAME}\([^\n]*\n|--- [^\n]*\n"
)
_NO_CALL = rf"{grammar.STACK_LINE}\n|{grammar.MESSAGE}\n|[ \t\r]*\n"
_UNNEEDED = rf"(?:{grammar.PLAIN_HEAD}(?:{_UNNEEDED_CALL})|{_NO_CALL})"
_INPUT_WAIT = (
    rf"epoll_p?wait2?\(\d+(?:<[^>\n]*>)?, (?:{_INPUT}| <unfinished \.\.\.>\n)"
    rf"|<\.\.\. epoll_p?wait2? resumed>{_INPUT}"
)
_QUIET = (
    rf"(?:{grammar.PLAIN_HEAD}(?:(?:{_DATA})\(\d(?:{_MOVED}|{_BEGINS})"
    rf"|<\.\.\. (?:{_DATA}) resumed>{_MOVED}|{_INPUT_WAIT}"
    rf"|{_UNNEEDED_CALL})|{_NO_CALL})"
)
# a quiet part again, this time with its data calls
_QUIET_BUT_DATA = rf"(?:{grammar.PLAIN_HEAD}(?:{_INPUT_WAIT}|{_UNNEEDED_CALL})|{_NO_CALL})"
# the commonest of these, as strace -f -ttt -T writes them: tried first, since it never goes back
_USUAL = (
    r"\d{1,8}+ ++\d++\.\d{6} (?:(?:re(?:cv(?:msg|from)|adv?)|send(?:to|msg)|writev?)\(\d"
    r"[^\n]*\) = (?:[1-9]\d*+|-1 EAGAIN \([^\n()]*+\))(?: <\d++\.\d++>)?\n"
    rf"|epoll_wait\(\d++(?:<[^>\n]*+>)?, {_INPUT}|futex\([^\n]*+\n)"
)


@functools.cache
def _block_pattern(swallowed: str) -> re.Pattern[bytes]:
    """Return what walks a block; compiled when it is needed, since it takes a while."""
    return re.compile(
        (
            rf"(?>{swallowed})*+()(?:{grammar.HEAD}(?:(?:({_CORE})|({_DATA}))\("
            rf"|<\.\.\. ({_NEEDED}) resumed> ?|(\+\+\+) )([^\n]*)\n|([^\n]*\n)|\Z)"
        ).encode()
    )


_BLOCK, _CAREFUL_BLOCK, _DATA_BLOCK = f"{_USUAL}|{_QUIET}", _UNNEEDED, _QUIET_BUT_DATA
_START = re.compile(
    (
        rf"(?:> ?)*{grammar.PLAIN_HEAD}"
        rf"(?:{grammar.CALL_NAME}\(|--- |\+\+\+ |<\.\.\. \w+ resumed)"
    ).encode()
)
_ENCODED_FD = re.compile(rb"\(\d+&(?:lt|#)")
_LONE_HEAD = re.compile(rf"(?:> ?)*{grammar.PLAIN_HEAD}".encode())
_DAMAGED_START = re.compile(
    rb"(?:[ \t\xc2\xa0>#$%*;|/]|&gt;|&nbsp;|=20|\x1b\[[0-9;]*m|<\w[^>\n]{0,40}>)*+"
    rb"(?:(?:\[pid\b|\d)[^\n\"({]{0,80}?)?" + rf"(?:{grammar.CALL_NAME}\(|--- SIG|\+\+\+ )".encode()
)
_DELTA = re.compile(
    rb"^ *(?:\[pid +\d+(?:<[^>\n]*>)?\] *|\d{1,8}(?:<[^>\n]*>)? +)?(\d+\.\d+) ", re.M
)
_UNFILTERED = re.compile(
    rf"^{grammar.PLAIN_HEAD}(?:mmap|brk|futex|munmap|mprotect|rt_sigaction)\(".encode(), re.M
)
_UNFILTERED_HINTS = (b"futex(", b"mmap(", b"brk(", b"rt_sigaction(")
_WAIT_HINTS = (b"epoll_wait(", b"epoll_pwait")
_WAIT_SEEN = re.compile(rf"^{grammar.PLAIN_HEAD}epoll_p?wait2?\(".encode(), re.M)
# one match a line, so that the search never tries a position inside one
_DATA_CALL = re.compile(
    (
        rf" *(?:\[pid +(\d+)(?:<[^>\n]*>)?\] *|(\d{{1,8}})(?:<[^>\n]*>)? +)?{grammar.PLAIN_TIME}"
        rf"(?:{_DATA})\((\d+)[^\n]*\n|[^\n]*\n"
    ).encode()
)


def cut_at(data: bytes) -> int:
    """Return where to cut `data`: before the last line that starts a record."""
    start = _last_start(data, _START)
    if start:
        return _lone_head(data, start) or start
    # a mail's quote marks, blanks and colours stand before every record
    return _last_start(data, _DAMAGED_START) or data.rfind(b"\n") + 1


def starts_record(line: bytes) -> bool:
    """Tell whether a line begins a record."""
    return _START.match(line) is not None


def _last_start(data: bytes, pattern: re.Pattern[bytes]) -> int:
    position = data.rfind(b"\n") + 1
    for _ in range(400):
        start = data.rfind(b"\n", 0, max(position - 1, 0)) + 1
        if start == 0 or pattern.match(data, start):
            return start
        position = start
    return 0


def _lone_head(data: bytes, end: int) -> int:
    """Return where the line before `end` starts if a wrap parted it, a head, from its call."""
    start = data.rfind(b"\n", 0, end - 1) + 1
    if data[max(start - 200, 0) : start].rstrip(b" \r\n").endswith((b"=", b",", b"(")):
        return 0  # `4<socket:[7]>` behind a wrapped ` =` is a result
    return start if _LONE_HEAD.fullmatch(data[start:end].rstrip() + b" ") else 0


def scan(
    data: bytes,
    dialect: Dialect = Dialect(),  # noqa: B008 - immutable
    *,
    look: bool = True,
    large: bool = False,
    detailed: bool = False,
) -> Block:
    """Scan one block of whole lines, ended by a newline.

    `look`: also look for calls that show what the trace covers.  `large`: the log is long enough
    for the scanner of usual logs, which takes a while to load.  `detailed`: it tells where each
    data call is.
    """
    block = None
    hurt = dialect.numbered or dialect.folded or _is_encoded(data)
    if large and not hurt and not dialect.relative:
        block = scan_usual(data, symbolic=dialect.symbolic, detailed=detailed)
    if block is None and not hurt:
        block = _scan_clean(data, dialect)
    if block is None:
        return _scan_damaged(data, dialect)
    if not look:
        return block
    return block._replace(unfiltered=is_unfiltered(data), waits=_has_waits(data))


def _is_encoded(data: bytes) -> bool:
    """Tell a block of a web page: a data call whose descriptor is 5&lt;... would be passed over."""
    return (b"&lt;" in data or b"&#" in data) and _ENCODED_FD.search(data) is not None


def _has_waits(data: bytes) -> bool:
    return any(hint in data for hint in _WAIT_HINTS) and _WAIT_SEEN.search(data) is not None


def is_unfiltered(data: bytes) -> bool:
    """Tell whether a block shows calls that no filter of network calls lets through."""
    found = any(hint in data for hint in _UNFILTERED_HINTS)
    return found and _UNFILTERED.search(data) is not None


def data_calls(data: bytes, quiet: tuple[int, int]) -> list[tuple[bytes, bytes, bytes]]:
    """Return (pid in brackets, pid, fd) of each data call in a swallowed part of a block."""
    return [call for call in _DATA_CALL.findall(data, *quiet) if call[2]]


def careful_rows(data: bytes, row: Row) -> list[Row]:
    """Return every data call of the swallowed part before `row`, one row each."""
    part = data[row.quiet[0] : row.quiet[1]]
    block = _clean_rows(part, _DATA_BLOCK, row.passed > 0)
    if block is None:
        return []
    passed = row.passed - block.passed - (delta_ns(row.time) if row.time and row.passed else 0)
    return [
        msgspec.structs.replace(
            inner, line=row.quiet_line + inner.line, passed=passed + inner.passed
        )
        for inner in block.rows
        if inner.name
    ]


def deltas_ns(data: bytes, start: int, end: int) -> int:
    """Return the sum of the -r deltas of a part of a block."""
    return sum(map(delta_ns, _DELTA.findall(data, start, end)))


def _scan_clean(data: bytes, dialect: Dialect) -> Block | None:
    """Scan a block of well-formed records; None when it is not one."""
    marks = SPECIAL_DATA if dialect.symbolic else (*SPECIAL_DATA, *RAW_SPECIAL_DATA)
    special = any(mark in data for mark in marks)
    return _clean_rows(data, _CAREFUL_BLOCK if special else _BLOCK, dialect.relative)


def _clean_rows(data: bytes, swallowed: str, relative: bool) -> Block | None:
    rows: list[Row] = []
    line = passed = start = 0
    clean = data.isascii() and b"\x1b" not in data
    audit = sum(data.count(f"{name}(".encode()) for name in AUDITED)
    for match in _block_pattern(swallowed).finditer(data):
        _, bpid, bcomm, pid, comm, time, _, core, moved, resumed, gone, rest, odd = match.groups()
        first, quiet = line, (start, match.start(1))
        start = match.end()
        if quiet[1] > quiet[0]:
            line += data.count(b"\n", *quiet)
            if relative:
                passed += deltas_ns(data, *quiet)
        if odd:
            return None
        name = (core or moved or resumed or gone or b"").decode()
        if core and ((b"&" in rest or b"<br" in rest or not clean) and grammar.is_hurt(rest)):
            return None
        if core and rest.endswith((b"\r", b"= -1")):
            return None
        if resumed and b") = " in rest and (b"<unfinished" in rest or rest.count(b") = ") > 1):
            return None  # another record behind it
        if (core or moved) and b" = " not in rest and not grammar.ends(rest):
            return None
        if relative and time:
            passed += delta_ns(time)
        audit -= name in AUDITED and not resumed
        number, label = pid or bpid, comm or bcomm
        read = fast.read(name, rest) if core else None
        rows.append(
            Row(
                line,
                RESUMED if resumed else EXIT if gone else CALL,
                int(number) if number else None,
                unescaped(label.decode("utf-8", "replace")) if label else None,
                time,
                name,
                rest or b"" if read is None else b"",
                moved is not None,
                _stack_behind(data, start) if name == "setsockopt" else None,
                passed,
                quiet,
                first,
                read,
            )
        )
        if not name:
            break
        line += 1
    if audit:  # such a call stands somewhere else than at the start of a record
        return None
    return Block(rows, line, line, 0, [], False, False, passed)


def delta_ns(text: bytes) -> int:
    return grammar.nanoseconds(text.decode()) if b":" not in text else 0


def _stack_behind(data: bytes, position: int) -> tuple[str, ...] | None:
    """Return the frames of -k that follow a record."""
    if data[position : position + 4].lstrip(b" ")[:1] != b">":
        return None
    text = data[position : position + 8192].decode("utf-8", "replace")
    return stack_of(text.split("\n"))


def stack_of(text: list[str]) -> tuple[str, ...] | None:
    """Return the frames at the head of `text`, at most 32 of them."""
    frames = []
    for line in text[:32]:
        frame = grammar.frame(line)
        if frame is None:
            break
        frames.append(frame)
    return tuple(frames) or None


def _scan_damaged(data: bytes, dialect: Dialect) -> Block:
    """Scan a block line by line, mending what mail, web and editors did to it."""
    quoted = data.count(b"=3D") > data.count(b" = ")
    assembler = Assembler(numbered=dialect.numbered, quoted=quoted, folded=dialect.folded)
    rows: list[Row] = []
    passed = 0
    unfiltered = False
    for record in assembler.records(data.split(b"\n")[:-1]):
        unfiltered = unfiltered or _UNFILTERED.match(record.text.encode()) is not None
        for row in rows_of(record):
            if dialect.relative and row.time:
                passed += delta_ns(row.time)
            if row.name:
                row.passed = passed
                rows.append(row)
    return Block(
        rows,
        assembler.lines,
        assembler.understood,
        assembler.not_understood,
        assembler.bad,
        unfiltered,
        False,
        passed,
    )


_RECORD = re.compile(
    rf"{grammar.HEAD}(?:({grammar.CALL_NAME})\(|<\.\.\. (\w+) resumed> ?|(\+\+\+) |(---) )(.*)",
    re.S,
)
_IS_NEEDED = re.compile(_NEEDED)
_IS_DATA = re.compile(f"(?:{_DATA})")


def rows_of(record: Repaired) -> Iterator[Row]:
    """Yield the row of a mended record; it has no name when nobody needs the call."""
    match = _RECORD.match(record.text)
    if match is None:
        return
    bpid, bcomm, pid, comm, time, _, call, resumed, gone, signal, rest = match.groups()
    name = call or resumed or gone or ""
    needed = bool(gone) or _IS_NEEDED.fullmatch(name) is not None
    number = pid or bpid
    yield Row(
        record.line,
        RESUMED if resumed else EXIT if gone else CALL,
        int(number) if number else None,
        unescaped(comm or bcomm or "") or None,
        time.encode() if time else None,
        name if needed and not signal else "",
        rest.encode("utf-8", "replace"),
        bool(call) and _IS_DATA.fullmatch(name) is not None,
        stack_of(record.stack) if record.stack else None,
    )
