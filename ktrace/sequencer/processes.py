"""Threads, processes and their descriptor tables."""

from collections.abc import Callable, Iterable

from ktrace.sequencer.tables import OTHER, Epoll, Open, Other, Table
from ktrace.sequencer.tracked import Tracked

Release = Callable[[Tracked], None]
MOST_SLOTS = 6_000_000  # about 500 MB


class Processes:
    """Which thread uses which descriptor table; tells the sequencer when a socket's last slot is
    gone.

    Threads whose making the trace does not show get a table of their own, marked loose.  When such
    a thread uses a descriptor that only another loose table has open, the two are taken for one
    process.
    """

    def __init__(self, release: Release) -> None:
        self._release = release
        self._tables: dict[int, Table] = {}
        self._tgids: dict[int, int] = {}
        self._copied = 0  # slots in tables that forks have copied
        self._left: list[Table] = []  # of threads that ended, where others may share the table
        self.generation = 0  # changes when a number may mean something else than before

    def tgid(self, tid: int) -> int:
        """Return the process of a thread where the trace tells it, else the thread itself."""
        return self._tgids.get(tid, tid)

    def set_tgid(self, tid: int, tgid: int) -> None:
        """Note whose thread this is, as a source that knows says: they share one table."""
        if tid not in self._tables:
            table = self.table(tgid)
            table.loose = False
            table.tids.add(tid)
            self._tables[tid] = table
        if tid != tgid:
            self._tgids[tid] = tgid

    def knows(self, tid: int) -> bool:
        return tid in self._tables

    def table(self, tid: int) -> Table:
        found = self._tables.get(tid)
        if found is None:
            found = self._tables[tid] = Table()
            found.tids.add(tid)
            found.loose = True
        return found

    def get(self, tid: int, fd: int) -> Open | None:
        """Return what `fd` is for the thread, None when the trace never showed it opened."""
        table = self._tables.get(tid)
        if table is None:
            table = self.table(tid)
        found = table.fds.get(fd)
        if found is None and table.loose:
            return self._join(tid, table, fd)
        return found

    def not_shown(self, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return those of (thread, descriptor) that are not known to be open; changes nothing."""
        tables = self._tables
        return [
            (tid, fd)
            for tid, fd in pairs
            if (table := tables.get(tid)) is None or fd not in table.fds
        ]

    def _join(self, tid: int, table: Table, fd: int) -> Open | None:
        others = {
            id(other): other
            for other in (*self._tables.values(), *self._left)
            if other is not table
            and other.loose
            and fd in other.fds
            and not isinstance(other.fds[fd], Other)
        }
        if len(others) != 1:
            return None
        other = next(iter(others.values()))
        if any(number in other.fds for number in table.fds):
            return None
        self.generation += 1
        other.fds.update(table.fds)
        if table.filtered or other.filtered:
            other.filter()
        other.cloexec |= table.cloexec
        other.tids |= table.tids
        for member in table.tids:
            self._tables[member] = other
        return other.fds.get(fd)

    def open(self, tid: int, fd: int, opened: Open, cloexec: bool) -> None:
        """Put `opened` at `fd`; what was there has been closed without the trace showing it."""
        table = self.table(tid)
        before = table.fds.get(fd)
        if before is not None:
            if (
                table.loose
                and isinstance(before, Tracked)
                and before.tid != tid
                and len(table.tids) > 1
            ):
                table = self._split(tid, table)
            else:
                self._drop(table, fd)
        table.fds[fd] = opened
        if cloexec:
            table.cloexec.add(fd)
        if isinstance(opened, Tracked):
            opened.refs += 1
            opened.blind = opened.blind or table.filtered

    def _split(self, tid: int, table: Table) -> Table:
        """Undo an assumed sharing: the same number was opened twice, so these are two processes."""
        self.generation += 1
        own = Table()
        own.loose = True
        own.tids.add(tid)
        table.tids.discard(tid)
        self._tables[tid] = own
        for fd, opened in list(table.fds.items()):
            if not isinstance(opened, Tracked):
                own.fds[fd] = opened
            elif opened.tid == tid:
                own.fds[fd] = table.fds.pop(fd)
            elif opened.listening:
                own.fds[fd] = opened
                opened.refs += 1
        return own

    def close(self, tid: int, fd: int) -> Open | None:
        """Free a number; return what was there."""
        found = self.get(tid, fd)
        if found is not None:
            self._drop(self.table(tid), fd)
        return found

    def _drop(self, table: Table, fd: int) -> None:
        opened = table.fds.pop(fd, None)
        table.cloexec.discard(fd)
        if isinstance(opened, Tracked):
            opened.refs -= 1
            if opened.refs <= 0:
                self._release(opened)
                return  # whoever remembers it sees that it has no slot left
        self.generation += 1

    def close_range(self, tid: int, first: int, last: int) -> None:
        table = self.table(tid)
        for fd in sorted(fd for fd in table.fds if first <= fd <= last):
            self._drop(table, fd)

    def set_cloexec(self, tid: int, first: int, last: int, on: bool) -> None:
        table = self.table(tid)
        chosen = {fd for fd in table.fds if first <= fd <= last} if first != last else {first}
        if on:
            table.cloexec |= chosen
        else:
            table.cloexec -= chosen

    def unshare(self, tid: int) -> None:
        """Give the thread a table of its own (close_range with UNSHARE)."""
        self.generation += 1
        table = self.table(tid)
        if len(table.tids) > 1:
            table.tids.discard(tid)
            self._tables[tid] = own = table.copy()
            own.tids.add(tid)

    def _copy(self, table: Table) -> Table:
        """Copy a table; forks that multiply a large one without end are more than memory holds."""
        self._copied += len(table.fds)
        if self._copied > MOST_SLOTS:
            self._copied = sum(len(one.fds) for one in self._tables.values())
            if self._copied > MOST_SLOTS // 2:
                raise MemoryError("descriptor tables")
        return table.copy()

    def fork(self, parent: int, child: int, *, files: bool, thread: bool) -> None:
        """Make a child known: with CLONE_FILES it shares the table, else it gets a copy."""
        self.generation += 1
        table = self.table(parent)
        early = self._tables.get(child)
        if early is not None and early is not table and child in early.tids:
            # the child's first calls were printed before the parent's clone() came back
            early.tids.discard(child)
        shared = table if files else self._copy(table)
        if early is not None and early is not table and not early.tids:
            for fd, opened in early.fds.items():
                shared.fds.setdefault(fd, opened)
            if early.filtered:
                shared.filter()
        shared.tids.add(child)
        self._tables[child] = shared
        if thread:
            self._tgids[child] = self.tgid(parent)
        else:
            self._tgids.pop(child, None)

    def loosen(self, tid: int) -> None:
        """Let threads of unknown making share this thread's table if they use its descriptors."""
        self.table(tid).loose = True

    def filter(self, tid: int) -> None:
        """The process has a seccomp filter, which its children and what it executes keep."""
        self.table(tid).filter()

    def exec(self, tid: int) -> None:
        """Close what execve() closes; the thread becomes its process."""
        self.generation += 1
        table = self.table(tid)
        if len(table.tids) > 1:
            leader = self.tgid(tid)
            group = {member for member in table.tids if self.tgid(member) == leader}
            if group != table.tids:
                table.tids -= {tid}
                table = self._tables[tid] = table.copy()
                table.tids.add(tid)
        for fd in sorted(table.cloexec):
            self._drop(table, fd)
        table.cloexec = set()
        leader = self._tgids.pop(tid, tid)
        if leader != tid:
            # the calling thread goes on under the leader's number
            table.tids.add(leader)
            self._tables[leader] = table

    def exit(self, tid: int, whole: bool) -> None:
        """A thread is gone, or (whole) its process: the last one closes the table."""
        table = self._tables.get(tid)
        if table is None:
            return
        self.generation += 1
        leader = self.tgid(tid)
        gone = {member for member in table.tids if self.tgid(member) == leader} if whole else {tid}
        if whole and table.loose:
            gone = set(table.tids)
        for member in gone:
            table.tids.discard(member)
            self._tables.pop(member, None)
            self._tgids.pop(member, None)
        if table.tids:
            return
        if table.loose and not whole and self._tables:
            # it may have been a thread of a process that goes on: another thread's calls will tell
            self._left.append(table)
            del self._left[:-64]
            return
        for fd in sorted(table.fds):
            self._drop(table, fd)
        if not self._tables:
            self._close_left()

    def _close_left(self) -> None:
        """The last thread is gone, and with it everything that was open."""
        left, self._left = self._left, []
        for table in left:
            for fd in sorted(table.fds):
                self._drop(table, fd)

    def tracked(self) -> list[Tracked]:
        """Return every open socket once, in the order of opening."""
        found = {
            opened.number: opened
            for table in {id(t): t for t in (*self._tables.values(), *self._left)}.values()
            for opened in table.fds.values()
            if isinstance(opened, Tracked)
        }
        return [found[number] for number in sorted(found)]

    def epolls(self, tid: int) -> list[Epoll]:
        return [opened for opened in self.table(tid).fds.values() if isinstance(opened, Epoll)]

    def other(self, tid: int, fd: int, cloexec: bool = False) -> None:
        """Take up a number with something that is no TCP socket."""
        self.open(tid, fd, OTHER, cloexec)
