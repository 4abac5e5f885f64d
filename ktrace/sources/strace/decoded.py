"""What a decoder of calls gives, and what every one of them needs."""

from collections.abc import Callable
from typing import NamedTuple

from ktrace.events import Detail, FdNote, Kind
from ktrace.sources.strace import values
from ktrace.sources.strace.lines import Outcome


class Unreadable(Exception):
    """A call that matters could not be read; the text says why and holds nothing of the line."""


class Decoded(NamedTuple):
    kind: Kind
    fd: int | None = None
    note: FdNote | None = None
    detail: Detail | None = None
    key_bytes: bool = False


Decoder = Callable[[list[str], Outcome | None], Decoded | None]


def fd_of(args: list[str], index: int = 0) -> tuple[int | None, FdNote | None]:
    """Return the descriptor that an argument is, and what strace says of it."""
    number, note = values.descriptor(args[index]) if len(args) > index else (None, None)
    if number is None:
        raise Unreadable("the descriptor is missing")
    return number, note


def arg_of(args: list[str], index: int) -> str:
    """Return an argument, empty where there is none."""
    return args[index] if len(args) > index else ""
