"""What a scrub is asked to do, and what it did."""

import msgspec


class Wanted(msgspec.Struct, frozen=True):
    """Key bytes always go; these go too."""

    payload: bool = False
    addresses: bool = False


class Counts(msgspec.Struct):
    """What was changed, in all files of a run."""

    keys: int = 0  # calls
    key_bytes: int = 0
    fragments: int = 0
    strings: int = 0
    dumps: int = 0
    addresses: int = 0
    lines: int = 0


class Change(msgspec.Struct, frozen=True, gc=False):
    """Bytes of a block that read differently from now on."""

    start: int
    end: int
    new: bytes


class Refused(Exception):
    """A place that may show key bytes and cannot be read; `at` counts bytes of the block's view."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason
