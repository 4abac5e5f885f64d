"""Load the probe while Python imports the rest of ktrace: a start takes the longer, not both.

What libbpf and the kernel do needs no interpreter.  Nothing is attached, and an object that nobody
takes ends with the process.
"""

import threading

from ktrace.sources.live.libbpf import LibbpfObject

_begun: "Ahead | None" = None


class Ahead(threading.Thread):
    """Loads the probe through libbpf in the background."""

    def __init__(self, ring_bytes: int) -> None:
        super().__init__(name="ktrace-load", daemon=True)
        self.ring_bytes = ring_bytes
        self._loaded: LibbpfObject | None = None
        self._failed: Exception | None = None

    def run(self) -> None:
        try:
            self._loaded = LibbpfObject(self.ring_bytes)
        except Exception as error:  # told where the object is wanted, if it ever is
            self._failed = error

    def result(self) -> LibbpfObject:
        """Wait for the object; raise what kept it from loading."""
        self.join()
        if self._failed is not None:
            raise self._failed
        assert self._loaded is not None
        return self._loaded


def begin(ring_bytes: int) -> None:
    """Begin to load; `taken()` hands the object over."""
    global _begun
    _begun = Ahead(ring_bytes)
    _begun.start()


def taken(ring_bytes: int) -> LibbpfObject | None:
    """Return the object that was begun, once; None where none was, or one of another size."""
    global _begun
    begun, _begun = _begun, None
    if begun is None:
        return None
    loaded = begun.result()
    if begun.ring_bytes == ring_bytes:
        return loaded
    loaded.close()
    return None
