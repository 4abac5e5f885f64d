"""What a recorder in the kernel writes down, whichever it is."""

from typing import NamedTuple


class State(NamedTuple):
    """A state change of the socket with these ports."""

    at: int
    local: int
    peer: int
    old: int
    new: int


class Call(NamedTuple):
    """setsockopt() of an option that concerns kTLS begins."""

    at: int
    tid: int
    level: int
    name: int


class Done(NamedTuple):
    """The thread's setsockopt() returns."""

    at: int
    tid: int
    result: int


class TlsUlp(NamedTuple):
    """tcp_set_ulp() with the name "tls", and the socket's state there."""

    at: int
    tid: int
    local: int
    peer: int
    state: int


class Tls(NamedTuple):
    """tls_setsockopt(): `way` is TLS_TX or TLS_RX, `head` version and cipher as one number."""

    at: int
    tid: int
    local: int
    peer: int
    state: int
    way: int
    head: int


Line = State | Call | Done | TlsUlp | Tls
