"""Reads compressed logs in bounded memory, and stops at a file that only pretends to be one."""

import io
import lzma
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from ktrace.errors import KtraceError

if TYPE_CHECKING:
    import gzip

    import zstandard

MAGIC = {b"\x1f\x8b": "gz", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zst"}
MEMORY = 1 << 27  # for a decoder's window: twice what the highest usual level of xz and zstd needs
ZSTD_STEP = 1 << 10  # compressed bytes at once: four of them can stand for 128 kB
# strace logs shrink to a tenth, a loop's log to a hundredth.  gzip cannot do more than 1032.
BOMB_BYTES = 1 << 30
BOMB_RATIO = 1000


def compression(magic: bytes) -> str:
    """Tell "gz", "xz", "zst" or "" by the first bytes of a file."""
    return next((name for begin, name in MAGIC.items() if magic.startswith(begin)), "")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Packed:
    """The compressed file, counted as it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._count += len(data)
        return data

    def tell(self) -> int:
        return self._count

    def close(self) -> None:
        self._stream.close()


class _Xz:
    """Decodes xz with a limit on memory, which lzma.LZMAFile does not have."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed
        self._decoder: lzma.LZMADecompressor | None = None
        self._rest = b""

    def read(self, size: int) -> bytes:
        while True:
            if self._decoder is None or self._decoder.eof:
                if self._decoder is not None:
                    self._rest = self._decoder.unused_data.lstrip(b"\0")
                self._rest = self._rest or self._packed.read(1 << 16).lstrip(b"\0")
                if not self._rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
            elif self._decoder.needs_input:
                self._rest = self._packed.read(1 << 16)
                if not self._rest:
                    raise EOFError("the file is cut")
            data, self._rest = self._decoder.decompress(self._rest, size), b""
            if data:
                return data


class _Zst:
    """Decodes zstd and notices where a frame is cut, which zstandard's stream reader does not."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed
        self._decoder: zstandard.ZstdDecompressionObj | None = None
        self._ready = memoryview(b"")

    def read(self, size: int) -> bytes:
        while not self._ready:
            rest = b""
            if self._decoder is not None and self._decoder.eof:
                rest, self._decoder = self._decoder.unused_data, None
            rest = rest or self._packed.read(ZSTD_STEP)
            if not rest and self._decoder is not None:
                raise EOFError("the file is cut")
            if not rest:
                return b""
            self._decoder = self._decoder or self._new()
            self._ready = memoryview(self._decoder.decompress(rest))
        data, self._ready = self._ready[:size], self._ready[size:]
        return bytes(data)

    @staticmethod
    def _new() -> "zstandard.ZstdDecompressionObj":
        import zstandard

        return zstandard.ZstdDecompressor(max_window_size=MEMORY).decompressobj()


class _Gz:
    """Gives what gzip has decoded so far, so that a cut file is read up to its cut."""

    def __init__(self, file: "gzip.GzipFile") -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read1(size)


class _Guarded(io.RawIOBase):
    """Passes on what a decoder gives, until it is far more than any log."""

    def __init__(self, decoder: _Readable, packed: Packed) -> None:
        self._decoder = decoder
        self._packed = packed
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._decoder.read(len(buffer))
        buffer[: len(data)] = data
        self._count += len(data)
        if self._count > BOMB_BYTES and self._count > BOMB_RATIO * self._packed.tell():
            raise KtraceError(
                "bomb",
                f"a compressed file that grows to more than {BOMB_RATIO} times its size",
                "where it really is a log, decompress it and name the plain file",
            )
        return len(data)

    def close(self) -> None:
        self._packed.close()
        super().close()


class Expanded(io.BufferedReader):
    """The plain text of a compressed log; `fileobj` tells how much of the file was read."""

    def __init__(self, decoder: _Readable, packed: Packed) -> None:
        super().__init__(_Guarded(decoder, packed), 1 << 17)
        self.fileobj = packed


def expanded(stream: BinaryIO, how: str) -> BinaryIO:
    """Return the plain text of `stream`, compressed as `how` says."""
    packed = Packed(stream)
    if how == "gz":
        import gzip

        file = gzip.GzipFile(fileobj=cast(BinaryIO, packed), mode="rb")
        return cast(BinaryIO, Expanded(_Gz(file), packed))
    if how == "xz":
        return cast(BinaryIO, Expanded(_Xz(packed), packed))
    return cast(BinaryIO, Expanded(_Zst(packed), packed))
