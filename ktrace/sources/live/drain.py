"""A thread that empties the ring, so that decoding and writing can take their time."""

import threading
import time
from collections import deque
from collections.abc import Callable

from ktrace.sources.live.ring import Ring

PAUSE_S = 0.01
LIMIT = 1 << 30  # bytes kept for the decoder; beyond it the ring fills up and the kernel counts


class Drainer:
    """Moves records from the ring into a queue of chunks."""

    def __init__(self, ring: Ring, each_turn: Callable[[], None]) -> None:
        self._ring = ring
        self._each_turn = each_turn
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._arrived = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ktrace-drain", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, timeout_s: float) -> bytes:
        """Return the oldest chunk, empty when none came in time."""
        if not self._chunks:
            self._arrived.wait(timeout_s)
        with self._lock:
            if not self._chunks:
                self._arrived.clear()
                return b""
            chunk = self._chunks.popleft()
            self._size -= len(chunk)
            return chunk

    def stop(self) -> None:
        """Stop the thread and take what is left in the ring."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._turn()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._turn()
            time.sleep(PAUSE_S)

    def _turn(self) -> None:
        chunk = b"" if self._size >= LIMIT else self._ring.drain()
        self._each_turn()  # before the decoder sees a record that refers to a stack
        if chunk:
            with self._lock:
                self._chunks.append(chunk)
                self._size += len(chunk)
                self._arrived.set()
