"""Symbols and unwind tables of a program or library (the one importer of pyelftools)."""

import bisect
import struct
from typing import Any, NamedTuple

SYMBOL = struct.Struct("<IBBHQQ")
STT_FUNC, STT_GNU_IFUNC = 2, 10
MAX_FILE = 1 << 30


class Segment(NamedTuple):
    offset: int
    size: int
    virtual: int


class Image:
    """A 64-bit little-endian ELF file; what cannot be read is as if it were stripped."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._segments = [
            Segment(s["p_offset"], s["p_filesz"], s["p_vaddr"])
            for s in file.iter_segments("PT_LOAD")
        ]
        self._symbols: list[tuple[int, int, str]] | None = None
        self._starts: list[int] = []

    @classmethod
    def open(cls, path: str) -> "Image | None":
        """Read a file, None where it is not there or no ELF, or pyelftools is not installed."""
        try:
            from elftools.common.exceptions import ELFError
            from elftools.elf.elffile import ELFFile
        except ImportError:
            return None
        try:
            stream = open(path, "rb")  # noqa: SIM115 - stays open for the sections
            file = ELFFile(stream)
            if file.elfclass != 64 or not file.little_endian:
                return None
            return cls(file)
        except (OSError, ELFError, ValueError):
            return None

    def virtual(self, offset: int) -> int:
        """Turn an offset in the file into an address as the file counts them."""
        for segment in self._segments:
            if segment.offset <= offset < segment.offset + segment.size:
                return offset - segment.offset + segment.virtual
        return offset

    def symbol(self, virtual: int) -> tuple[str, int] | None:
        """Return the function at an address and the distance from its start."""
        if self._symbols is None:
            self._symbols = self._read_symbols()
            self._starts = [start for start, _, _ in self._symbols]
        index = bisect.bisect_right(self._starts, virtual) - 1
        if index < 0:
            return None
        start, size, name = self._symbols[index]
        return (name, virtual - start) if virtual < start + max(size, 1) else None

    def section(self, name: str) -> tuple[int, bytes] | None:
        """Return a section's address and bytes."""
        found = self._file.get_section_by_name(name)
        return None if found is None else (found["sh_addr"], found.data())

    def _read_symbols(self) -> list[tuple[int, int, str]]:
        found: dict[int, tuple[int, int, str]] = {}
        for table, strings in ((".dynsym", ".dynstr"), (".symtab", ".strtab")):
            symbols, names = self.section(table), self.section(strings)
            if symbols is None or names is None:
                continue
            whole = len(symbols[1]) - len(symbols[1]) % SYMBOL.size
            for name, info, _, index, value, size in SYMBOL.iter_unpack(symbols[1][:whole]):
                if index and info & 0xF in (STT_FUNC, STT_GNU_IFUNC):
                    found[value] = (value, size, _string(names[1], name))
        return sorted(found.values())


def _string(strings: bytes, at: int) -> str:
    end = strings.find(b"\0", at)
    return strings[at:end].decode(errors="backslashreplace")
