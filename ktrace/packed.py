"""The timeline of a connection that a report keeps, in a fraction of the memory of its rows."""

import functools
import zlib
from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from ktrace.findings import Connection, TimelineRow

_RAW_DEFLATE = -15  # without header and checksum: it never leaves the process
_LEVEL = 1
_MOST_UNPACKED = 64  # timelines: whoever looks at one does so several times


class PackedTimeline(Sequence[TimelineRow]):
    """The rows of a timeline, as compressed JSON; each access reads them anew, or from a cache.

    `first` and `last` are the times of its first and last row, seconds of the trace's clock.
    """

    __slots__ = ("_data", "first", "last")

    def __init__(self, rows: Sequence[TimelineRow]) -> None:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_DEFLATE, zdict=_usual())
        self._data = packer.compress(msgspec.json.encode(rows)) + packer.flush()
        self.first, self.last = ends(rows)

    @property
    def json(self) -> bytes:
        """The rows as a JSON array."""
        return _expanded(self._data)

    def __iter__(self) -> Iterator[TimelineRow]:
        return iter(_unpacked(self._data))

    def __len__(self) -> int:
        return len(_unpacked(self._data))

    @overload
    def __getitem__(self, index: int) -> TimelineRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TimelineRow, ...]: ...
    def __getitem__(self, index: int | slice) -> TimelineRow | tuple[TimelineRow, ...]:
        return _unpacked(self._data)[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedTimeline):
            return self._data == other._data
        return isinstance(other, Sequence) and _unpacked(self._data) == tuple(other)

    def __hash__(self) -> int:
        return hash(_unpacked(self._data))

    def __repr__(self) -> str:
        return repr(_unpacked(self._data))


@functools.lru_cache(maxsize=_MOST_UNPACKED)
def _unpacked(data: bytes) -> tuple[TimelineRow, ...]:
    return msgspec.json.decode(_expanded(data), type=tuple[TimelineRow, ...])


def _expanded(data: bytes) -> bytes:
    return zlib.decompressobj(_RAW_DEFLATE, zdict=_usual()).decompress(data)


def ends(timeline: Sequence[TimelineRow]) -> tuple[float | None, float | None]:
    """Return the times of the first and the last row, None where there is none."""
    if isinstance(timeline, PackedTimeline):
        return timeline.first, timeline.last
    return (timeline[0].time, timeline[-1].time) if timeline else (None, None)


def packed(connection: Connection) -> Connection:
    """Return the same connection with its timeline packed."""
    return msgspec.structs.replace(connection, timeline=PackedTimeline(connection.timeline))


def to_json(value: object) -> msgspec.Raw:
    """Encode what msgspec does not know: its `enc_hook`."""
    if isinstance(value, PackedTimeline):
        return msgspec.Raw(value.json)
    raise NotImplementedError(type(value).__name__)


@functools.cache
def _usual() -> bytes:
    """Return what timelines have in common, the commonest last; it decides their size only."""
    up, syn = "ESTABLISHED", "SYN_SENT"
    rows = (
        ("state", "state change in the kernel", None, syn, up, "observed"),
        ("shutdown", "shutdown(10, SHUT_WR)", "ok", up, "FIN_WAIT1", "inferred"),
        ("accept4", "accept4(6, 10.0.0.1:40000) -> 10", "ok", up, up, "inferred"),
        ("epoll_wait", "epoll_wait(5) -> 10 EPOLLIN|EPOLLOUT", "1", syn, up, "inferred"),
        ("epoll_ctl", "epoll_ctl(5, ADD, 10, EPOLLIN|EPOLLOUT|EPOLLRDHUP)", "ok", syn, syn, ""),
        ("sendto", "sendto(10)", "1400", up, up, "inferred"),
        ("recvmsg", "recvmsg(10)", "EAGAIN", up, up, "inferred"),
        ("setsockopt", 'setsockopt(10, SOL_TCP, TCP_ULP, "tls")', "ENOTCONN", syn, syn, ""),
        ("setsockopt", "setsockopt(10, SOL_TLS, TLS_TX, TLS 1.3 AES_GCM_128)", "ok", up, up, ""),
        ("connect", "connect(10, 10.0.0.1:443)", "EINPROGRESS", "CLOSE", syn, "inferred"),
        ("socket", "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) -> 10", "ok", "CLOSE", "CLOSE", ""),
        ("close", "close(10)", "ok", up, "FIN_WAIT1", "inferred"),
    )
    names = TimelineRow.__struct_fields__
    every = [
        dict(
            zip(
                names,
                (100, 1795299745.0, 1000, call, text, result, 20.0, a, b, basis),
                strict=True,
            )
        )
        for call, text, result, a, b, basis in rows
    ]
    return msgspec.json.encode(every)
