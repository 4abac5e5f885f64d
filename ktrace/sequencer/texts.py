"""The words for a call in timelines and findings, built from decoded fields only."""

from ktrace.events import (
    AcceptDetail,
    CloseRangeDetail,
    DupDetail,
    Endpoint,
    EpollCtlDetail,
    Event,
    IntDetail,
    KeyDetail,
    Kind,
    OptionDetail,
    SocketDetail,
    StateDetail,
    UlpDetail,
)
from ktrace.uapi import ERRNO_NAMES, SHUTDOWN, TCP_STATES, TLS_CIPHERS, TLS_VERSIONS

_SHUTDOWN_NAMES = {number: name for name, number in SHUTDOWN.items()}
RING_CALLS = (Kind.CONNECT, Kind.ULP, Kind.KEY)
_READY = ((0x1, "IN"), (0x4, "OUT"), (0x8, "ERR"), (0x10, "HUP"), (0x2000, "RDHUP"))


def describe(event: Event) -> str:
    """Return the call as a reader knows it, e.g. `connect(156, 10.1.0.3:4043)`."""
    fd = "?" if event.fd is None else str(event.fd)
    inner = _inner(event, fd)
    by_ring = event.fd is None and event.sock is not None and event.kind in RING_CALLS
    text = f"{'io_uring: ' if by_ring else ''}{event.call}({inner})"
    if (
        event.kind in (Kind.SOCKET, Kind.ACCEPT, Kind.DUP)
        and event.result is not None
        and event.errno is None
    ):
        return f"{text} -> {event.result}"
    if event.kind is Kind.SO_ERROR and isinstance(event.detail, IntDetail):
        return f"{text} -> {ERRNO_NAMES.get(event.detail.value, event.detail.value)}"
    if event.kind is Kind.TCP_INFO and isinstance(event.detail, IntDetail):
        return f"{text} -> {TCP_STATES.get(event.detail.value, 'UNKNOWN')}"
    return text


def _inner(event: Event, fd: str) -> str:
    detail = event.detail
    if isinstance(detail, SocketDetail):
        return f"{detail.family}, {detail.type}, {detail.protocol}"
    if isinstance(detail, Endpoint):
        return f"{fd}, {detail}"
    if isinstance(detail, AcceptDetail):
        return f"{fd}, {detail.peer}" if detail.peer is not None else fd
    if isinstance(detail, UlpDetail):
        return f'{fd}, SOL_TCP, TCP_ULP, "{detail.name or "tls"}"'
    if isinstance(detail, KeyDetail):
        return f"{fd}, SOL_TLS, TLS_{detail.direction.upper()}{_crypto(detail)}"
    if isinstance(detail, OptionDetail):
        value = "" if detail.value is None else f", [{detail.value}]"
        return f"{fd}, {detail.level}, {detail.name}{value}"
    if isinstance(detail, EpollCtlDetail):
        wanted = "" if detail.events is None else f", {ready_bits(detail.events)}"
        return f"{fd}, {detail.op}, {detail.fd}{wanted}"
    return f"{fd}{_more(event)}"


def _more(event: Event) -> str:
    detail = event.detail
    if event.kind is Kind.SO_ERROR:
        return ", SOL_SOCKET, SO_ERROR"
    if event.kind is Kind.TCP_INFO:
        return ", SOL_TCP, TCP_INFO"
    if event.kind is Kind.SHUTDOWN and isinstance(detail, IntDetail):
        return f", {_SHUTDOWN_NAMES.get(detail.value, detail.value)}"
    if isinstance(detail, CloseRangeDetail):
        return f", {detail.first}, {detail.last}"
    if isinstance(detail, DupDetail) and detail.target is not None:
        return f", {detail.target}"
    if isinstance(detail, StateDetail):
        return f"{detail.old} -> {detail.new}"
    return ""


def _crypto(detail: KeyDetail) -> str:
    version = TLS_VERSIONS.get(detail.version or 0) or (
        f"version {detail.version:#06x}" if detail.version else ""
    )
    cipher = TLS_CIPHERS.get(detail.cipher or 0) or (
        f"cipher {detail.cipher}" if detail.cipher else ""
    )
    shown = " ".join(part for part in (version, cipher) if part)
    return f", {shown}" if shown else ""


def ready(event: Event, fd: int, events: int) -> str:
    """Return what a wait call said of one socket, e.g. `epoll_wait(4) -> 156 EPOLLOUT`."""
    prefix = "EPOLL" if "epoll" in event.call else "POLL"
    asked = "" if event.fd is None else str(event.fd)
    return f"{event.call}({asked}) -> {fd} {ready_bits(events, prefix)}"


def ready_bits(events: int, prefix: str = "EPOLL") -> str:
    names = [prefix + name for bit, name in _READY if events & bit]
    return "|".join(names) if names else hex(events & 0xFFFFFFFF)
