"""The TCP state of a connection as its calls show it: what proves ESTABLISHED, what shows a
failure.

One row of a table here is one fact of the kernel (net/ipv4/tcp.c, tcp_poll and friends; measured on
6.1 to 7.3).  `Effect` says what an event means for the socket; the sequencer applies it.
"""

import enum

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


class Effect(enum.Enum):
    """What an event tells of the socket."""

    NOTHING = enum.auto()
    PROOF = enum.auto()  # the kernel must have had the socket in ESTABLISHED
    FIN = enum.auto()  # a proof too, and the peer has closed
    FAILURE = enum.auto()  # the connect had failed
    RESET = enum.auto()  # the connection is gone


def of_call(event: Event, *, fastopen: bool, fastopen_child: bool) -> Effect:
    """Return what a finished call on a socket shows, whatever went before.

    `fastopen`: TCP_FASTOPEN_CONNECT or MSG_FASTOPEN was used, so that connect() = 0, EISCONN,
    writability and write > 0 all happen in SYN_SENT.  `fastopen_child`: accepted from a
    TCP_FASTOPEN listener.
    """
    kind = event.kind
    if kind is Kind.READ or kind is Kind.RECV_FDS:
        return _of_read(event)
    if kind is Kind.WRITE or kind is Kind.SEND_FDS:
        return _of_write(event, fastopen)
    if kind is Kind.CONNECT:
        return _of_connect(event, fastopen)
    if kind is Kind.GETPEERNAME:
        return Effect.PROOF if event.result == 0 and not fastopen_child else Effect.NOTHING
    if kind is Kind.ULP:
        return Effect.PROOF if event.result == 0 else Effect.NOTHING
    if kind is Kind.KEY:
        # only a socket that has the ULP takes keys, and only ESTABLISHED gets the ULP
        return Effect.PROOF if event.result == 0 else Effect.NOTHING
    if kind is Kind.SO_ERROR:
        return (
            Effect.FAILURE
            if isinstance(event.detail, IntDetail) and event.detail.value
            else Effect.NOTHING
        )
    if kind is Kind.TCP_INFO:
        return _of_tcp_info(event)
    return Effect.NOTHING


def _of_read(event: Event) -> Effect:
    if event.errno is not None:
        return Effect.RESET if event.errno in BROKEN else Effect.NOTHING
    if event.result is None or event.result < 0:
        return Effect.NOTHING
    return Effect.PROOF if event.result > 0 else Effect.FIN


def _of_write(event: Event, fastopen: bool) -> Effect:
    if event.errno is not None:
        return Effect.RESET if event.errno in BROKEN or event.errno == "EPIPE" else Effect.NOTHING
    if isinstance(event.detail, IoDetail) and event.detail.fastopen:
        return Effect.NOTHING
    return Effect.PROOF if event.result and event.result > 0 and not fastopen else Effect.NOTHING


def _of_connect(event: Event, fastopen: bool) -> Effect:
    if event.result is None and event.errno is None:
        return Effect.NOTHING
    if event.errno == "EISCONN" or event.result == 0:
        return Effect.NOTHING if fastopen else Effect.PROOF
    return Effect.NOTHING if event.errno in IN_PROGRESS or event.errno == CUT else Effect.FAILURE


def _of_tcp_info(event: Event) -> Effect:
    if event.result != 0 or not isinstance(event.detail, IntDetail):
        return Effect.NOTHING
    return (
        Effect.PROOF
        if uapi.TCP_STATES.get(event.detail.value) in AFTER_ESTABLISHED
        else Effect.NOTHING
    )


def of_readiness(events: int, *, fastopen: bool, in_flight: bool) -> Effect:
    """Return what a wait call's report for one socket shows.

    A socket that failed, or was never connected, is writable too, but then with ERR or HUP.
    """
    if events & (uapi.EPOLLERR | uapi.EPOLLHUP):
        return (
            Effect.FAILURE
            if in_flight
            else Effect.RESET
            if events & uapi.EPOLLHUP
            else Effect.NOTHING
        )
    if events & uapi.EPOLLOUT and not fastopen:
        return Effect.FIN if events & uapi.EPOLLRDHUP else Effect.PROOF
    return Effect.NOTHING
