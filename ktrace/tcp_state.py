"""The TCP state of a connection as its calls show it: what proves ESTABLISHED, what shows a
failure.

One row of a table here is one fact of the kernel (net/ipv4/tcp.c, tcp_poll and friends; measured on
6.1 to 7.3).  `Effect` says what an event means for the socket; the sequencer applies it.
"""

from collections.abc import Callable
from typing import Literal

from ktrace import uapi
from ktrace.events import Event, IntDetail, IoDetail, Kind

# connect() that came back with one of these goes on in the background
IN_PROGRESS = frozenset(
    (
        "EINPROGRESS",
        "EALREADY",
        "EINTR",
        "EAGAIN",
        "ERESTARTSYS",
        "ERESTARTNOINTR",
        "ERESTARTNOHAND",
        "ERESTART_RESTARTBLOCK",
    )
)
CUT = "EUNKNOWN"  # the call failed, and the name of the error is not in the log
# a data call with one of these tells that the connect had failed, or that the peer reset
BROKEN = frozenset(
    ("ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ECONNABORTED")
)
NOT_CONNECTED = frozenset(("ENOTCONN", "ENOTSUPP"))
# states that a socket reaches only through ESTABLISHED
AFTER_ESTABLISHED = frozenset(
    ("ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT", "LAST_ACK", "CLOSING", "TIME_WAIT")
)

AFTER_SHUTDOWN = {"ESTABLISHED": "FIN_WAIT1", "CLOSE_WAIT": "LAST_ACK"}
AFTER_CLOSE = {
    "ESTABLISHED": "FIN_WAIT1",
    "CLOSE_WAIT": "LAST_ACK",
    "SYN_SENT": "CLOSE",
    "SYN_RECV": "FIN_WAIT1",
    "LISTEN": "CLOSE",
}


# What an event tells of the socket.  proof: the kernel must have had it in ESTABLISHED; fin: that
# too, and the peer has closed; failure: the connect had failed; reset: the connection is gone.
# Words and not an Enum, whose members Python 3.11 finds as slowly as it calls a function.
Effect = Literal["nothing", "proof", "fin", "failure", "reset"]


def of_call(event: Event, *, fastopen: bool, fastopen_child: bool) -> Effect:
    """Return what a finished call on a socket shows, whatever went before.

    `fastopen`: TCP_FASTOPEN_CONNECT or MSG_FASTOPEN was used, so that connect() = 0, EISCONN,
    writability and write > 0 all happen in SYN_SENT.  `fastopen_child`: accepted from a
    TCP_FASTOPEN listener.
    """
    shows = _EFFECTS.get(event.kind)
    return "nothing" if shows is None else shows(event, fastopen, fastopen_child)


def _of_read(event: Event, _fastopen: bool, _child: bool) -> Effect:
    if event.errno is not None:
        return "reset" if event.errno in BROKEN else "nothing"
    if event.result is None or event.result < 0:
        return "nothing"
    return "proof" if event.result > 0 else "fin"


def _of_write(event: Event, fastopen: bool, _child: bool) -> Effect:
    if event.errno is not None:
        return "reset" if event.errno in BROKEN or event.errno == "EPIPE" else "nothing"
    if isinstance(event.detail, IoDetail) and event.detail.fastopen:
        return "nothing"
    return "proof" if event.result and event.result > 0 and not fastopen else "nothing"


def _of_connect(event: Event, fastopen: bool, _child: bool) -> Effect:
    if event.result is None and event.errno is None:
        return "nothing"
    if event.errno == "EISCONN" or event.result == 0:
        return "nothing" if fastopen else "proof"
    return "nothing" if event.errno in IN_PROGRESS or event.errno == CUT else "failure"


def _of_tcp_info(event: Event, _fastopen: bool, _child: bool) -> Effect:
    if event.result != 0 or not isinstance(event.detail, IntDetail):
        return "nothing"
    return "proof" if uapi.TCP_STATES.get(event.detail.value) in AFTER_ESTABLISHED else "nothing"


def _of_getpeername(event: Event, _fastopen: bool, child: bool) -> Effect:
    return "proof" if event.result == 0 and not child else "nothing"


def _of_ktls(event: Event, _fastopen: bool, _child: bool) -> Effect:
    # only ESTABLISHED gets the ULP, and only a socket that has it takes keys
    return "proof" if event.result == 0 else "nothing"


def _of_so_error(event: Event, _fastopen: bool, _child: bool) -> Effect:
    return "failure" if isinstance(event.detail, IntDetail) and event.detail.value else "nothing"


# one row a kind of call that can tell something
_EFFECTS: dict[Kind, Callable[[Event, bool, bool], Effect]] = {
    Kind.READ: _of_read,
    Kind.RECV_FDS: _of_read,
    Kind.WRITE: _of_write,
    Kind.SEND_FDS: _of_write,
    Kind.CONNECT: _of_connect,
    Kind.GETPEERNAME: _of_getpeername,
    Kind.ULP: _of_ktls,
    Kind.KEY: _of_ktls,
    Kind.SO_ERROR: _of_so_error,
    Kind.TCP_INFO: _of_tcp_info,
}


def of_readiness(events: int, *, fastopen: bool, in_flight: bool) -> Effect:
    """Return what a wait call's report for one socket shows.

    A socket that failed, or was never connected, is writable too, but then with ERR or HUP.
    """
    if events & (uapi.EPOLLERR | uapi.EPOLLHUP):
        return "failure" if in_flight else "reset" if events & uapi.EPOLLHUP else "nothing"
    if events & uapi.EPOLLOUT and not fastopen:
        return "fin" if events & uapi.EPOLLRDHUP else "proof"
    return "nothing"
