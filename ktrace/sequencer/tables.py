"""Descriptor tables: which number means which open file, in which process."""

from ktrace.sequencer.tracked import Tracked


class Other:
    """Anything that is no TCP socket and no epoll: it only takes up a number.

    Its data calls are counted as those of a socket are, and nobody reads the count.
    """

    __slots__ = ("omitted", "refs")

    def __init__(self) -> None:
        self.refs = 1
        self.omitted = 0


class Epoll:
    """An epoll instance: which socket was registered under which data.

    `complete` is False for one that existed before the trace: it can hold registrations nobody saw.
    """

    __slots__ = ("by_data", "by_socket", "complete", "fds")

    def __init__(self, complete: bool) -> None:
        self.complete = complete
        self.by_data: dict[int, list[Tracked]] = {}
        self.by_socket: dict[Tracked, tuple[int | None, int | None]] = {}
        self.fds: dict[int, int] = {}

    def add(self, socket: Tracked, data: int | None, events: int | None) -> None:
        self.remove(socket)
        self.by_socket[socket] = (data, events)
        socket.epolls.append(self)
        if data is not None:
            self.by_data.setdefault(data, []).append(socket)

    def remove(self, socket: Tracked) -> None:
        known = self.by_socket.pop(socket, None)
        if known is None:
            return
        socket.epolls.remove(self)
        if known[0] is None:
            return
        sharing = self.by_data.get(known[0], [])
        if socket in sharing:
            sharing.remove(socket)
        if not sharing:
            self.by_data.pop(known[0], None)

    def could_report(self, socket: Tracked) -> bool:
        """Tell whether an event of this epoll, shown only in part, could be of `socket`."""
        return socket in self.by_socket or not self.complete


class Pidfd:
    """A pidfd: pidfd_getfd() takes descriptors out of its process."""

    __slots__ = ("pid",)

    def __init__(self, pid: int) -> None:
        self.pid = pid


Open = Tracked | Epoll | Other | Pidfd
OTHER = Other()  # known to be no TCP socket


class Table:
    """The descriptor table of one process, or of several that share it (CLONE_FILES)."""

    __slots__ = ("cloexec", "fds", "filtered", "loose", "ring", "tids")

    def __init__(self) -> None:
        self.fds: dict[int, Open] = {}
        self.cloexec: set[int] = set()
        self.tids: set[int] = set()
        self.ring = 0  # io_uring may have connected or awaited sockets with a smaller number
        self.filtered = False  # calls on its sockets may have been refused unseen
        self.loose = False  # nobody saw how its threads came to be: they share it by assumption

    def copy(self) -> "Table":
        """Return what fork() gives the child; counts one more reference on each socket."""
        child = Table()
        child.fds = dict(self.fds)
        child.cloexec = set(self.cloexec)
        child.filtered = self.filtered
        for opened in child.fds.values():
            if isinstance(opened, Tracked):
                opened.refs += 1
        return child

    def filter(self) -> None:
        """From now on calls on its sockets may be refused unseen; before, they may have been."""
        self.filtered = True
        for opened in self.fds.values():
            if isinstance(opened, Tracked):
                opened.blind = True
