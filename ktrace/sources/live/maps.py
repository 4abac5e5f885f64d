"""What lies where in a process's memory, and the names of the code there."""

import bisect
import os
from typing import NamedTuple

from ktrace.sources.live.elf import Image

MAX_IMAGES = 256


class Region(NamedTuple):
    """A mapped stretch of a file."""

    start: int
    end: int
    offset: int
    path: str


class Maps:
    """The executable regions of one process, read while it ran."""

    _images: dict[str, Image | None] = {}  # noqa: RUF012 - shared on purpose: libraries are

    def __init__(self, tgid: int, regions: list[Region]) -> None:
        self._tgid = tgid
        self.regions = regions
        self._starts = [region.start for region in regions]

    @classmethod
    def of(cls, tgid: int) -> "Maps":
        """Read /proc/PID/maps; a process that is gone has no regions."""
        try:
            with open(f"/proc/{tgid}/maps", errors="surrogateescape") as file:
                lines = file.read().splitlines()
        except OSError:
            lines = []
        return cls(tgid, [region for line in lines if (region := _region(line))])

    def find(self, address: int) -> tuple[Image, int] | None:
        """Return the file an address belongs to, and the address as the file counts it."""
        region = self._region(address)
        image = None if region is None else self._image(region.path)
        if region is None or image is None:
            return None
        return image, image.virtual(address - region.start + region.offset)

    def name(self, address: int) -> str:
        """Return `module(function+0x12)`, `module+0x1234` without symbols, or the bare address."""
        region = self._region(address)
        if region is None:
            return f"{address:#x}"
        module = _shown(os.path.basename(region.path))
        found = self.find(address)
        if found is None:
            return f"{module}+{address - region.start + region.offset:#x}"
        image, virtual = found
        symbol = image.symbol(virtual)
        if symbol is None:
            return f"{module}+{virtual:#x}"
        return f"{module}({_shown(symbol[0])}+{symbol[1]:#x})"

    def _region(self, address: int) -> Region | None:
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0 or address >= self.regions[index].end:
            return None
        return self.regions[index]

    def _image(self, path: str) -> Image | None:
        if path not in self._images:
            if len(self._images) >= MAX_IMAGES:
                self._images.clear()
            # a process in a container sees other files under the same names
            inside = f"/proc/{self._tgid}/root{path}"
            self._images[path] = Image.open(inside) or Image.open(path)
        return self._images[path]


def _region(line: str) -> Region | None:
    fields = line.split(maxsplit=5)
    if len(fields) < 6 or "x" not in fields[1] or not fields[5].startswith("/"):
        return None
    start, end = (int(word, 16) for word in fields[0].split("-"))
    return Region(start, end, int(fields[2], 16), fields[5])


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
