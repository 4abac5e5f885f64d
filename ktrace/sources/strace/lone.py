"""Finds the thread of a line that strace wrote without a pid."""


class Lone:
    """Tells whose line it is.

    strace writes no prefix while it has one tracee: until the first fork, and again when one is
    left.
    """

    UNNAMED = 0

    def __init__(self) -> None:
        self._alive: dict[int, None] = {}
        self._root: int | None = (
            None  # the pid that lines without a prefix belong to, once it is known
        )
        self._children: set[int] = set()
        self._named = False
        self._used_unnamed = False

    def resolve(self, tid: int | None) -> int:
        """Return the tid of a line whose prefix says `tid`, or nothing."""
        if tid is not None:
            self._named = True
            if tid not in self._alive:
                self._alive[tid] = None
                if self._used_unnamed and self._root is None and tid not in self._children:
                    # the first named thread that nobody was seen to make is the one without a name
                    self._root = tid
            return self.UNNAMED if tid == self._root else tid
        self._used_unnamed = True
        if self._named:
            others = [t for t in self._alive if t != self._root]
            if self._root is None and len(others) == 1:
                return others[0]
            if self._root is not None and self._root not in self._alive and len(others) == 1:
                return others[0]
        return self.UNNAMED

    def follow(self, child: int | None) -> None:
        """Remember a child that clone() or fork() returned."""
        if child is not None and child > 0 and len(self._children) < 1 << 20:
            self._children.add(child)

    def gone(self, tid: int) -> None:
        if tid == self.UNNAMED and self._root is not None:
            self._alive.pop(self._root, None)
        self._alive.pop(tid, None)
