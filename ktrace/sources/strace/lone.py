"""Finds the thread of a line that strace wrote without a pid."""

import re
from collections.abc import Collection, Iterable

# who is named, who came to be as a child, and what the first thread heard of its own number
_NAMES = re.compile(
    rb"^[> ]*\[pid +(\d{1,8})"
    rb"|Process (\d{1,8}) attached"
    rb"|\b(?:clone[23]?|v?fork)(?:\(| resumed)[^\n]*= (\d{1,8})(?: <[\d.]+>)?\r?$"
    rb"|^[^\n\[\"]{0,60}\bset_tid_address\([^\n]* = (\d{1,8})\b",
    re.M,
)
_HINTS = (b"[pid ", b" attached", b"clone", b"fork", b"set_tid_address(")
UNNAMED = 0
_NUMBERED = re.compile(rb"^[> ]*(?:\[pid +\d|\d{1,8}(?:<[^\n]*>)? +[\d\[a-z<+-])")


def first_thread(blocks: Iterable[bytes]) -> int | None:
    """Return the thread of the lines without a pid, as other lines of the log name it.

    strace names it once there is a second one: it is the first that is named and is nobody's child.
    UNNAMED where all that are named are children, None where nothing tells.
    """
    named: dict[int, None] = {}
    children: set[int] = set()
    heard: int | None = None
    for number, data in enumerate(blocks):
        if number == 0 and _NUMBERED.match(data.lstrip()):
            return None
        if not any(hint in data for hint in _HINTS):
            continue
        for name, attached, made, own in _NAMES.findall(data):
            if name:
                named[int(name)] = None
            elif own and not named:
                heard = heard or int(own)
            elif attached or made:
                children.add(int(attached or made))
        if heard in named:
            break
    nobodys = [tid for tid in named if tid not in children]
    if heard in named or not named:
        return heard
    return nobodys[0] if nobodys else heard or UNNAMED


class Lone:
    """Tells whose line it is.

    strace writes no prefix while it has one tracee: until the first fork, and again when one is
    left.  `only`: the thread whose file this is (-ff).
    """

    def __init__(self, root: int | None = None, only: int | None = None) -> None:
        self._only = only
        self.settled: set[int] = set()  # living threads that are called what their prefix says
        self._root = root  # the pid that lines without a prefix belong to, once it is known
        self._alive: dict[int, None] = {} if root is None else {root: None}
        self._first = UNNAMED if root is None else root  # what it is called
        self._children: set[int] = set()
        self._named = False
        self._used_unnamed = False

    def resolve(self, tid: int | None) -> int:
        """Return the tid of a line whose prefix says `tid`, or nothing."""
        if self._only is not None:
            return self._only
        if tid is not None:
            self._named = True
            if tid not in self._alive:
                self._alive[tid] = None
                if self._used_unnamed and self._root is None and tid not in self._children:
                    # the first named thread that nobody was seen to make is the one without a name
                    self._root = tid
            if tid == self._root:
                return self._first
            self.settled.add(tid)
            return tid
        self._used_unnamed = True
        if self._named:
            others = [t for t in self._alive if t != self._root]
            if self._root is None and len(others) == 1:
                return others[0]
            if self._root is not None and self._root not in self._alive and len(others) == 1:
                return others[0]
        return self._first

    @property
    def alive(self) -> Collection[int]:
        """The threads that were named so far and have not ended."""
        return self._alive.keys()

    def follow(self, child: int | None) -> None:
        """Remember a child that clone() or fork() returned."""
        if child is not None and child > 0 and len(self._children) < 1 << 20:
            self._children.add(child)

    def gone(self, tid: int) -> None:
        if tid == self._first and self._root is not None:
            self._alive.pop(self._root, None)
        self._alive.pop(tid, None)
        self.settled.discard(tid)
