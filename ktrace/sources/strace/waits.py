"""Calls that wait for descriptors, and what they say of each: epoll, poll, select."""

import re

from ktrace import uapi
from ktrace.events import CloexecDetail, EpollCtlDetail, Kind, Ready, WaitDetail
from ktrace.sources.strace import values
from ktrace.sources.strace.decoded import Decoded, Unreadable, arg_of, fd_of
from ktrace.sources.strace.lines import Outcome


def epoll_create(args: list[str], out: Outcome | None) -> Decoded:
    bits = values.flags(arg_of(args, 0), uapi.O_CLOEXEC)
    return Decoded(Kind.EPOLL_CREATE, detail=CloexecDetail(bool(bits & 0o2000000)))


_OP_NAMES = {1: "ADD", 2: "DEL", 3: "MOD"}


def epoll_ctl(args: list[str], out: Outcome | None) -> Decoded:
    epfd, note = fd_of(args)
    op = _OP_NAMES.get(values.constant(arg_of(args, 1), uapi.EPOLL_OPS) or 0)
    fd, _ = fd_of(args, 2)
    if op is None or fd is None:
        raise Unreadable("epoll_ctl() without an operation")
    entries = values.epoll_events(arg_of(args, 3))
    events, data = entries[0] if entries else (None, None)
    return Decoded(Kind.EPOLL_CTL, epfd, note, EpollCtlDetail(op, fd, events, data))


_CUT = re.compile(r"\.\.\.\s*\]")


def epoll_wait(args: list[str], out: Outcome | None) -> Decoded:
    epfd, note = fd_of(args)
    if out is None or not out.result or out.result < 0:
        return Decoded(Kind.WAIT, epfd, note, WaitDetail(()))
    array = arg_of(args, 1)
    entries = values.epoll_events(array)
    ready = tuple(Ready(None, data, bits) for bits, data in entries)
    return Decoded(Kind.WAIT, epfd, note, WaitDetail(ready, len(entries) < out.result))


def poll(args: list[str], out: Outcome | None) -> Decoded:
    asked = arg_of(args, 0)
    watched = tuple(fd for fd, _ in values.poll_events(asked))
    all_shown = asked.startswith("[") and _CUT.search(asked) is None
    if out is None or not out.result or out.result < 0:
        return Decoded(Kind.WAIT, detail=WaitDetail((), watched=watched if all_shown else None))
    came = values.poll_events(out.suffix)
    ready = tuple(Ready(fd, None, bits) for fd, bits in came)
    hidden = len(came) < out.result
    return Decoded(Kind.WAIT, detail=WaitDetail(ready, hidden, watched if all_shown else None))


_SETS = re.compile(rf"\b(in|out|exc(?:ept)?) ({values.FD_SET})")
_SET_BITS = {"in": uapi.EPOLLIN, "out": uapi.EPOLLOUT}


def select(args: list[str], out: Outcome | None) -> Decoded:
    asked = [arg for arg in args[1:4] if arg.startswith("[")]
    hidden_sets = any(arg.startswith("0x") for arg in args[1:4])
    watched = None if hidden_sets else tuple({fd for arg in asked for fd in values.fd_set(arg)})
    if out is None or not out.result or out.result < 0:
        return Decoded(Kind.WAIT, detail=WaitDetail((), watched=watched))
    ready = tuple(
        Ready(fd, None, _SET_BITS.get(name, 0x2))
        for name, members in _SETS.findall(out.suffix)
        for fd in values.fd_set(members)
    )
    return Decoded(Kind.WAIT, detail=WaitDetail(ready, len(ready) < out.result, watched))
