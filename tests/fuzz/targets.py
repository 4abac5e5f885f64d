"""What is fuzzed, without the fuzzer: a target takes bytes and raises where ktrace has a fault."""

import contextlib
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator

import zstandard

from ktrace.analysis import Options, analyse
from ktrace.errors import KtraceError
from ktrace.scrub.job import scrub_file
from ktrace.scrub.options import Wanted
from ktrace.sources.capture import FORMAT_VERSION, FRAME, MAGIC

CHUNK = struct.Struct("<cH")


def analysed(data: bytes) -> None:
    """Read a file as `ktrace parse` does.  A KtraceError is an answer; anything else is a fault."""
    with _log(data), contextlib.suppress(KtraceError):
        analyse(["log"], Options(keep="all"))


def strace(data: bytes) -> None:
    analysed(data)


def capture(data: bytes) -> None:
    """Read a capture.  The input is `packed`: a checksum would keep a fuzzer out for ever."""
    analysed(unpacked(data))


def scrub(data: bytes) -> None:
    """Scrub a log: what comes out holds no key byte that `ktrace parse` can see."""
    with _log(data), contextlib.suppress(KtraceError):
        scrub_file("log", "out", Wanted(payload=True, addresses=True))
        report = analyse(["out"], Options(keep="none"))
        assert "KT904" not in {finding.code for finding in report.findings}


TARGETS: dict[str, Callable[[bytes], None]] = {
    "strace": strace,
    "capture": capture,
    "scrub": scrub,
}


def unpacked(data: bytes) -> bytes:
    """Make a capture of a fuzzer's input: kind and length of a frame, then its MessagePack."""
    frames = [MAGIC + str(FORMAT_VERSION).encode() + b"\n"]
    squeeze = zstandard.ZstdCompressor(level=1).compress
    position = 0
    while position + CHUNK.size <= len(data):
        kind, length = CHUNK.unpack_from(data, position)
        position += CHUNK.size
        payload = squeeze(data[position : position + length])
        position += length
        frames.append(FRAME.pack(kind, len(payload), zlib.crc32(payload)) + payload)
    return b"".join(frames)


def packed(raw: bytes) -> bytes:
    """Turn a whole capture into an input of `capture`."""
    position = raw.index(b"\n") + 1
    expand = zstandard.ZstdDecompressor().decompress
    chunks = []
    while position < len(raw):
        kind, length, _ = FRAME.unpack_from(raw, position)
        position += FRAME.size
        payload = expand(raw[position : position + length])[:0xFFFF]
        position += length
        chunks.append(CHUNK.pack(kind, len(payload)) + payload)
    return b"".join(chunks)


@contextlib.contextmanager
def _log(data: bytes) -> Iterator[None]:
    """Go into a folder with a file "log".  Names that vary would lead the fuzzer other ways."""
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=shared) as folder, contextlib.chdir(folder):
        with open("log", "wb") as file:
            file.write(data)
        yield
