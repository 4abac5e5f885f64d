"""The grammar of one record: who, when, which call, what came back.

strace's line is `PID TIME name(args) = result suffix`; every part but the name can be missing.  The
head is matched on bytes by the scanner (scan.py) with the patterns from here; the rest of a line
that matters comes here as text.
"""

import re
from typing import NamedTuple

from ktrace.uapi import ERRNO_NAMES, ERRNO_NUMBERS

# Syscalls that the analysis needs, whatever their family; a name missing here is never looked at.
CORE_NAMES = (
    "socket|socketpair|connect|accept4?|listen|bind|setsockopt|getsockopt|getpeername|getsockname"
    "|close|close_range|shutdown|dup[23]?|fcntl(?:64)?"
    "|epoll_create1?|epoll_ctl|epoll_p?wait2?|p?poll(?:_time64)?|_newselect|p?select6?(?:_time64)?"
    "|clone[23]?|v?fork|execve(?:at)?|exit(?:_group)?|ioctl|io_uring_(?:enter|setup)|pidfd_open|pidfd_getfd"
    "|splice|tee|open(?:at2?)?|creat|pipe2?|eventfd2?|timerfd_create|signalfd4?|memfd_create"
    "|inotify_init1?|prctl|seccomp"
)
# Data calls: the bulk of a log, and of no interest once a connection is set up.
DATA_NAMES = (
    "recv(?:msg|from|mmsg)?|send(?:msg|to|mmsg|file(?:64)?)?|readv?|writev?"
    "|p(?:read|write)(?:64|v2?)|vmsplice"
)

MAX_DIGITS = 20  # what is longer fits no register: damage
TIME = r"\d{2}:\d\d:\d\d(?:\.\d+)?|\d+\.\d+|\d{9,}"
_PID = r"\[pid +(\d+)(?:<([^>\n]*)>)?\] *|(\d{1,8})(?:<([^>\n]*)>)? +"
HEAD = (
    rf" *(?:{_PID})?(?:({TIME}) +)?(?:\(\+ +(\d+\.\d+)\) +)?"
    r"(?:\[ *\d+\] +)?(?:\[[0-9a-f?]{8,16}\] +)?"
)
# the same without groups, for lines that nobody looks at
PLAIN_HEAD = (
    r" *(?:\[pid +\d+(?:<[^>\n]*>)?\] *|\d{1,8}(?:<[^>\n]*>)? +)?"
    rf"(?:(?:{TIME}) +)?(?:\(\+ +\d+\.\d+\) +)?(?:\[ *\d+\] +)?(?:\[[0-9a-f?]{{8,16}}\] +)?"
)
PLAIN_TIME = (
    rf"(?:(?:{TIME}) +)?(?:\(\+ +\d+\.\d+\) +)?(?:\[ *\d+\] +)?(?:\[[0-9a-f?]{{8,16}}\] +)?"
)
# words that look like a call at the start of a wrapped line, but are part of an argument
NO_CALL = "htons|htonl|inet_addr|inet_pton|inet_ntoa|makedev|sizeof|if_nametoindex|st_makedev"
CALL_NAME = rf"(?!(?:{NO_CALL})\()[a-z_][a-z0-9_]*"
STACK_LINE = (
    r" *> [^\n]*(?:\+0x[0-9a-f]+\)|\(\)|\)) \[0x[0-9a-f]+\][^\n]*| *> [^\n]*\[0x[0-9a-f]+\][^\n]*"
)
MESSAGE = (
    r"(?:/?(?:[\w./-]*/)?strace: |\[? ?Process \d+ (?:attached|detached|resumed|suspended)"
    r"|% time |------ "
    r"|strace: Process| \| [0-9a-f]{5,8} | \* \d+ bytes in buffer | = \d+ buffers in vector )[^\n]*"
)


class Outcome(NamedTuple):
    """What came back: the text of the arguments, the result, and what stands behind it."""

    args: str
    result: int | None
    errno: str | None
    note: str | None
    suffix: str
    duration_ns: int | None


_WHOLE = re.compile(
    r"(?P<args>.*)\)\s*=\s*(?:(?P<hex>0x[0-9a-f]+)|(?P<int>-?\d+)|(?P<none>\?))"
    r"(?:<(?P<note>(?:->|[^<>])*)>)?"
    r"(?:\s+(?:(?P<errno>E[A-Z0-9]+)\b|(?:\(errno |ERRNO_)(?P<number>\d+)\b\)?))?(?P<suffix>.*)",
    re.S,
)
_DURATION = re.compile(r"<(\d+)\.(\d+)>\s*$")
_UNFINISHED = re.compile(
    r"(?P<args>.*?)<(?:unfinished|detached|pending) ?(?:\.\.\.|…)\s*+>?\s*+$"
    r"|(?P<lost>.*?)<ptrace\([^)]*\):.*$",
    re.S,
)
_STRINGS = re.compile(r'(?<!\\)"(?:[^"\\]|\\.)*+"')
_SECOND_RESULT = re.compile(r"\)\s*= (?:-?\d|\?|0x)")
_KILLED = re.compile(r"\+\+\+ killed by (\w+)")


_SIMPLE = re.compile(
    r" = (-?\d+)(?:<((?:->|[^<>])*)>)?(?: (E[A-Z0-9]+) \([^()]*\))?(?: <(\d+)\.(\d+)>)?$"
)


def whole(text: str) -> Outcome | None:
    """Read `args) = result suffix`; None when the text has no result."""
    close = text.rfind(") = ")
    if close >= 0:
        simple = _SIMPLE.match(text, close + 1)
        if simple is not None:
            result, note, errno, seconds, fraction = simple.groups()
            if errno is None and result[0] == "-":
                errno = "EUNKNOWN"  # somebody cut the error's name off
            duration_ns = _nanoseconds(seconds, fraction) if seconds else None
            return Outcome(text[:close], int(result[:MAX_DIGITS]), errno, note, "", duration_ns)
    return _whole(text)


def _is_name(errno: str) -> bool:
    return errno in ERRNO_NUMBERS or errno.startswith("ERESTART")


def _whole(text: str) -> Outcome | None:
    match = _WHOLE.fullmatch(text)
    if match is None:
        return None
    shown = match["int"]
    result = (
        int(shown[:MAX_DIGITS]) if shown else int(match["hex"][:18], 16) if match["hex"] else None
    )
    errno = match["errno"]
    if match["number"]:
        number = int(match["number"][:9])
        errno = ERRNO_NAMES.get(number, f"E{number}")
    suffix = match["suffix"]
    if result == -1 and (errno is None or (not suffix and not _is_name(errno))):
        errno = "EUNKNOWN"  # somebody cut the error's name off, or the log ends in it
    duration = _DURATION.search(suffix) if "<" in suffix else None
    return Outcome(
        match["args"],
        result,
        errno,
        match["note"],
        suffix,
        _nanoseconds(duration[1], duration[2]) if duration else None,
    )


def unfinished(text: str) -> str | None:
    """Return the arguments of a call that another thread's record interrupted, else None."""
    if "<" not in text:
        return None
    match = _UNFINISHED.fullmatch(text)
    if match is None:
        return None
    return match["args"].rstrip() if match["args"] is not None else match["lost"]


def is_glued(args: str) -> bool:
    """Tell whether the arguments hold the result of an earlier record (two records on one line)."""
    return _SECOND_RESULT.search(_STRINGS.sub('""', args)) is not None


def was_killed(suffix: str) -> bool:
    """Tell a seccomp kill, whose "result" is the number of the syscall."""
    return _KILLED.search(suffix) is not None


def nanoseconds(text: str) -> int:
    """Turn `22:16:45.123456`, `1795299745.433677` or `0.000151` into nanoseconds."""
    if text[-7:-6] == "." and ":" not in text and len(text) < 20:
        return int(text[:-7] + text[-6:]) * 1000
    whole_part, _, fraction = text.partition(".")
    if ":" in whole_part:
        hours, minutes, seconds = whole_part.split(":")
        whole_part = str(int(hours) * 3600 + int(minutes) * 60 + int(seconds))
    return _nanoseconds(whole_part, fraction)


def _nanoseconds(seconds: str, fraction: str) -> int:
    return int(seconds[-12:]) * 1_000_000_000 + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


_STACK = re.compile(r"^ *> ((?:[^\[]|\[(?!0x))*+)\[0x[0-9a-f]+\]")


def frame(line: str) -> str | None:
    """Read a line of `strace -k`: `libc.so.6(connect+0x4f)`, without the folder."""
    match = _STACK.match(line)
    if match is None:
        return None
    path, paren, symbol = match[1].rstrip().partition("(")
    return path.rsplit("/", 1)[-1] + paren + symbol


_ENTITY = re.compile(rb"&(?:quot|[gl]t|amp|nbsp|#\d+);")


def is_hurt(rest: bytes) -> bool:
    """Tell marks of mail, web and terminals that can stand inside a well-formed record."""
    if rest.isascii() and b"&" not in rest and b"\x1b" not in rest and b"<br" not in rest:
        return False
    marks = b"\xa0" in rest or b"\x1b" in rest or b"<br" in rest
    return marks or _ENTITY.search(rest) is not None


def ends(rest: bytes) -> bool:
    """Tell whether a record has its end: a result, or another thread's interruption."""
    return b"<unfinished" in rest or b" = " in rest or b"<detached" in rest or b")= " in rest
