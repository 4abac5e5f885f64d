"""The probe is loaded while ktrace is imported, where `live` will want it, and taken once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrace import cli
from ktrace.errors import KtraceError
from ktrace.sources.live import ahead, backends

ROOT = Path(__file__).resolve().parent.parent


class Object:
    """Stands for a loaded probe; nothing is loaded here."""

    name = "libbpf"

    def __init__(self, ring_bytes: int) -> None:
        self.ring_bytes = ring_bytes
        self.closed = False
        MADE.append(self)
        if ring_bytes == UNLOADABLE:
            raise KtraceError("bpf-load", "refused", "do something")

    def close(self) -> None:
        self.closed = True


MADE: list[Object] = []
UNLOADABLE = 1 << 20


@pytest.fixture(autouse=True)
def _objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ahead, "LibbpfObject", Object)
    monkeypatch.setattr("ktrace.sources.live.libbpf.LibbpfObject", Object)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(ahead, "_begun", None)
    MADE.clear()
    yield
    ahead.taken(0)


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        ("live --pid 1", True),
        ("live --backend libbpf --pid 1", True),
        ("live -- curl --help", True),
        ("live --help", False),
        ("live -h", False),
        ("live --ring-size 64 --pid 1", False),
        ("live --ring-size=64 --pid 1", False),
        ("live --backend bcc --pid 1", False),
        ("live --backend=bcc --pid 1", False),
        ("parse live", False),
        ("", False),
    ],
)
def test_only_a_capture_that_will_want_it_begins(line: str, begins: bool) -> None:
    cli.load_ahead(line.split())
    assert (ahead.taken(cli.DEFAULT_RING_BYTES) is not None) == begins


def test_nobody_but_root_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    cli.load_ahead(["live", "--pid", "1"])
    assert ahead.taken(cli.DEFAULT_RING_BYTES) is None


def test_the_object_is_taken_once() -> None:
    ahead.begin(4096)
    first, second = backends.load("auto", 4096), backends.load("auto", 4096)
    assert [id(first.loaded), id(second.loaded)] == [id(one) for one in MADE]
    assert not any(one.closed for one in MADE)


def test_one_of_another_size_is_closed() -> None:
    ahead.begin(4096)
    assert id(backends.load("libbpf", 8192).loaded) == id(MADE[1])
    assert [(one.ring_bytes, one.closed) for one in MADE] == [(4096, True), (8192, False)]


def test_what_kept_it_from_loading_is_told_where_it_is_wanted() -> None:
    ahead.begin(UNLOADABLE)
    with pytest.raises(KtraceError, match="refused"):
        backends.load("libbpf", UNLOADABLE)
    assert len(MADE) == 1


def test_nothing_heavy_is_imported_before_the_load_begins() -> None:
    """What it takes is in the way of every capture: the kernel does not load meanwhile."""
    heavy = ("collections.abc", "enum", "pathlib", "re", "typing")
    code = (
        "import sys; before = set(sys.modules); from ktrace.cli import main;"
        " from ktrace.sources.live import ahead;"
        f" print(sorted(set({heavy!r}) & (set(sys.modules) - before)))"
    )
    words = [sys.executable, "-S", "-c", code]  # without site, which may import anything
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_what_decodes_and_analyses_is_imported_after_the_attach() -> None:
    code = (
        "import sys; import ktrace.cli.live;"
        " print([name for name in ('msgspec', 'ktrace.events', 'ktrace.analysis')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
