"""Calls that open, copy, pass on and close descriptors, and those that make and end processes."""

from ktrace.events import (
    BEGIN,
    END,
    AcceptDetail,
    CloneDetail,
    CloseRangeDetail,
    DupDetail,
    Event,
    FdList,
    FdPair,
    IntDetail,
    Kind,
    SocketDetail,
)
from ktrace.sequencer.knowledge import prove
from ktrace.sequencer.tables import OTHER, Open, Pidfd
from ktrace.sequencer.tracked import Row, Tracked
from ktrace.sequencer.world import Handler, World, is_tcp_note, returned_fd, says_inet
from ktrace.tcp_state import AFTER_CLOSE


def _socket(world: World, event: Event) -> None:
    if not returned_fd(event):
        return
    assert event.result is not None
    detail = event.detail
    if not isinstance(detail, SocketDetail) or not detail.is_tcp:
        world.processes.other(
            event.tid, event.result, isinstance(detail, SocketDetail) and detail.cloexec
        )
        return
    tracked = world.new(event, event.result)
    tracked.family = detail.family
    tracked.mptcp = detail.is_mptcp
    tracked.state = "CLOSE"
    tracked.learn(event.result_note)
    world.processes.open(event.tid, event.result, tracked, detail.cloexec)
    tracked.keep(Row(event, "CLOSE", "CLOSE"))


def _pair(world: World, event: Event) -> None:
    if event.phase is not BEGIN and isinstance(event.detail, FdPair) and not event.errno:
        world.processes.other(event.tid, event.detail.first, event.detail.cloexec)
        world.processes.other(event.tid, event.detail.second, event.detail.cloexec)


def _opens_other(world: World, event: Event) -> None:
    if isinstance(event.detail, FdPair):
        _pair(world, event)
    elif returned_fd(event):
        assert event.result is not None
        world.processes.other(event.tid, event.result)


def _accept(world: World, event: Event) -> None:
    listener = world.subject(event)
    if listener is not None and listener.before_trace and returned_fd(event):
        listener.listening = True
        listener.state = "LISTEN"
    if not returned_fd(event) or (listener is None and not says_inet(event)):
        if returned_fd(event):
            assert event.result is not None
            world.processes.other(event.tid, event.result)
        return
    assert event.result is not None
    detail = event.detail if isinstance(event.detail, AcceptDetail) else AcceptDetail(None)
    tracked = world.new(event, event.result)
    tracked.accepted = True
    tracked.fastopen_child = listener is not None and listener.fastopen_listener
    tracked.mptcp = listener is not None and listener.mptcp
    tracked.family = listener.family if listener is not None else None
    tracked.learn_peer(detail.peer)
    tracked.learn(event.result_note)
    world.processes.open(event.tid, event.result, tracked, detail.cloexec)
    if tracked.fastopen_child:
        tracked.state = "SYN_RECV"
        world.unsettle(tracked)
    else:
        prove(world, tracked, event)
    tracked.keep(Row(event, tracked.state, tracked.state))


def _close(world: World, event: Event) -> None:
    if event.phase is END or event.fd is None or event.errno == "EBADF":
        return
    found = world.processes.get(event.tid, event.fd)
    if isinstance(found, Tracked) and found.refs == 1 and _held_elsewhere(event):
        found.refs += 1  # live: on its way to somebody, who takes it over or lets it end
        world.held[found.number] = found
    elif isinstance(found, Tracked) and found.refs == 1:
        after = AFTER_CLOSE.get(found.state, "CLOSE") if found.state != "UNKNOWN" else "UNKNOWN"
        found.keep_if_room(Row(event, found.state, after))
        found.state = after
    world.processes.close(event.tid, event.fd)


def _close_range(world: World, event: Event) -> None:
    detail = event.detail
    if event.phase is BEGIN or not isinstance(detail, CloseRangeDetail) or event.errno:
        return
    if detail.unshare:
        world.processes.unshare(event.tid)
    if detail.cloexec:
        world.processes.set_cloexec(event.tid, detail.first, detail.last, True)
    else:
        world.processes.close_range(event.tid, detail.first, detail.last)


def _dup(world: World, event: Event) -> None:
    if event.fd is None or not returned_fd(event):
        return
    assert event.result is not None
    detail = event.detail if isinstance(event.detail, DupDetail) else DupDetail()
    found: Open | None = world.processes.get(event.tid, event.fd)
    if found is None and event.note is not None and is_tcp_note(event.note):
        found = world.adopt(event)
    if event.result != event.fd:
        world.processes.open(event.tid, event.result, found or OTHER, detail.cloexec)
        world.asked_changed()


def _setfd(world: World, event: Event) -> None:
    if event.fd is not None and isinstance(event.detail, IntDetail) and not event.errno:
        world.processes.set_cloexec(event.tid, event.fd, event.fd, bool(event.detail.value))


def _send_fds(world: World, event: Event) -> None:
    # from its start on: the receiver's call can come back first
    if event.phase is END or not isinstance(event.detail, FdList) or event.errno:
        return
    world.asked_changed()
    for fd in event.detail.fds:
        opened = world.processes.get(event.tid, fd)
        if isinstance(opened, Tracked):
            opened.refs += 1  # in flight between the two processes it stays open
        world.sent.append(opened)
    del world.sent[:-4096]


def _recv_fds(world: World, event: Event) -> None:
    if event.phase is BEGIN or not isinstance(event.detail, FdList) or event.errno:
        return
    for fd in event.detail.fds:
        opened = world.sent.pop(0) if world.sent else None
        if opened is None:  # from a process that is not traced: its calls will tell what it is
            world.processes.close(event.tid, fd)
            continue
        world.processes.open(event.tid, fd, opened, event.detail.cloexec)
        if isinstance(opened, Tracked):
            opened.refs -= 1


def _pidfd_open(world: World, event: Event) -> None:
    if returned_fd(event) and isinstance(event.detail, IntDetail):
        assert event.result is not None
        world.processes.open(event.tid, event.result, Pidfd(event.detail.value), True)


def _pidfd_getfd(world: World, event: Event) -> None:
    if not returned_fd(event) or event.fd is None or not isinstance(event.detail, IntDetail):
        return
    assert event.result is not None
    pidfd = world.processes.get(event.tid, event.fd)
    taken = world.processes.get(pidfd.pid, event.detail.value) if isinstance(pidfd, Pidfd) else None
    world.processes.open(event.tid, event.result, taken or OTHER, True)
    world.asked_changed()


def _clone(world: World, event: Event) -> None:
    if event.phase is BEGIN:
        world.cloning[event.tid] = event
        return
    world.cloning.pop(event.tid, None)
    if event.result and event.result > 0 and not world.processes.knows(event.result):
        born(world, event, event.result)


def born(world: World, clone: Event, child: int) -> None:
    """Give a new thread the descriptor table that its parent's clone() says."""
    world.asked_changed()
    if clone.call in ("fork", "vfork") or isinstance(clone.detail, CloneDetail):
        detail = clone.detail if isinstance(clone.detail, CloneDetail) else CloneDetail()
        world.processes.fork(clone.tid, child, files=detail.files, thread=detail.thread)
        parent = world.processes.tgid(clone.tid)
        if not detail.thread and parent in world.rings:
            world.rings[child] = world.rings[parent]
    else:
        world.processes.loosen(clone.tid)  # a thread or a process: only its calls will tell


def _exec(world: World, event: Event) -> None:
    if event.phase is not BEGIN and event.result == 0:
        world.processes.exec(event.tid)


def _exit(world: World, event: Event) -> None:
    if event.phase is not END:
        world.leave(event.tid)
        world.cloning.pop(event.tid, None)
        world.processes.exit(
            event.tid, isinstance(event.detail, IntDetail) and event.detail.value == 1
        )


def _seccomp(world: World, event: Event) -> None:
    if event.phase is not BEGIN and event.errno is None:
        world.processes.filter(event.tid)


def _held_elsewhere(event: Event) -> bool:
    """Tell whether the probe saw other holders of a descriptor that is closed."""
    return isinstance(event.detail, IntDetail) and event.detail.value > 0


HANDLERS: dict[Kind, Handler] = {
    Kind.SOCKET: _socket,
    Kind.SOCKETPAIR: _pair,
    Kind.OPENS_OTHER: _opens_other,
    Kind.ACCEPT: _accept,
    Kind.CLOSE: _close,
    Kind.CLOSE_RANGE: _close_range,
    Kind.DUP: _dup,
    Kind.SETFD: _setfd,
    Kind.SEND_FDS: _send_fds,
    Kind.RECV_FDS: _recv_fds,
    Kind.PIDFD_OPEN: _pidfd_open,
    Kind.PIDFD_GETFD: _pidfd_getfd,
    Kind.CLONE: _clone,
    Kind.EXEC: _exec,
    Kind.EXIT: _exit,
    Kind.SECCOMP: _seccomp,
}
