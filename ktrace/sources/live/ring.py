"""Drain the probe's ring buffer in bulk, through its memory map.

All records have one size, so the ring is an array: the headers of what was written are checked with
one slice, and the records are copied out with one more.  Nothing here is called once a record.
"""

import mmap

from ktrace.sources.live.layout import RECORD

HEADER = 8
STRIDE = (RECORD.size + HEADER + 7) & ~7
BUSY = 1 << 31
UNFINISHED = 1 << 30  # at least this: busy, or discarded, which the probe never does


class Ring:
    """A consumer of one BPF ring buffer of `size` bytes; not safe for two threads."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self.size = size
        self._consumer = mmap.mmap(fd, page)
        # The kernel maps the data twice in a row, so that no record is broken at the end.
        self._producer = mmap.mmap(
            fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page
        )
        self._positions = memoryview(self._consumer).cast("Q")
        self._written = memoryview(self._producer)[:8].cast("Q")
        self._data = memoryview(self._producer)[page:]
        self._headers = self._data.cast("I")

    def drain(self) -> bytes:
        """Return all finished records with their headers (`STRIDE` bytes each), in order."""
        position = self._positions[0]
        count = (self._written[0] - position) // STRIDE
        if count <= 0:
            return b""
        start = position & (self.size - 1)
        first = start // 4
        step = STRIDE // 4
        # Headers before data: a record whose header says finished is complete when it is copied.
        headers = self._headers[first : first + count * step : step].tolist()
        if max(headers) >= UNFINISHED:
            count = next(i for i, header in enumerate(headers) if header >= UNFINISHED)
        chunk = bytes(self._data[start : start + count * STRIDE])
        self._positions[0] = position + count * STRIDE
        return chunk

    def close(self) -> None:
        for view in (self._positions, self._written, self._headers, self._data):
            view.release()
        self._consumer.close()
        self._producer.close()
