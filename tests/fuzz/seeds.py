"""Seeds for the fuzzer: pieces of the real logs, and a capture with every kind of event."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from ktrace.sources import capture
from ktrace.sources.strace import open_traces
from tests.fuzz.targets import packed

FIXTURES = Path(__file__).parent.parent / "fixtures"
PIECE = 1500  # bytes: small inputs are tried more often
HEADER = capture.Header(1, "ktrace", "live", "libbpf", ("connect", "setsockopt"))
WANTED = (b"setsockopt", b"connect", b"accept", b"epoll_", b"poll(", b"clone", b"resumed")


def strace_seeds() -> Iterator[bytes]:
    """Yield the pieces of the fixtures that show calls of interest."""
    for log in sorted(FIXTURES.glob("*/*")):
        data = log.read_bytes()[: 1 << 20] if log.is_file() else b""
        lines = [line for line in data.splitlines(keepends=True) if any(w in line for w in WANTED)]
        for start in range(0, min(len(lines), 60), 12):
            yield b"".join(lines[start : start + 12])[:PIECE]


def capture_seeds(folder: Path) -> Iterator[bytes]:
    """Yield captures of some events each, taken from the fixtures."""
    path = folder / "seed.ktrace"
    for log in sorted(FIXTURES.glob("*/trace*"))[:20]:
        events = open_traces([str(log)])[0].events()
        for number in range(4):
            writer = capture.Writer(str(path), HEADER, force=True)
            for event in itertools.islice(events, 25):
                writer.add(event)
            writer.lost(number)
            writer.close()
            yield packed(path.read_bytes())
    path.unlink()


def write_seeds(target: str, folder: Path) -> None:
    """Fill a folder with the seeds of a target."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = capture_seeds(folder) if target == "capture" else strace_seeds()
    for number, seed in enumerate(list(seeds)):
        (folder / f"seed-{number:04}").write_bytes(seed)
