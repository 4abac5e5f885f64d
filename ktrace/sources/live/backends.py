"""Which loader to use: the first that works, and why not the other."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from ktrace.errors import KtraceError
from ktrace.sources.live.attach import Loaded

Backend = Literal["auto", "libbpf", "bcc"]


class Chosen(NamedTuple):
    """`passed_over` says why the loader before it was not used."""

    loaded: Loaded
    passed_over: str | None


def _libbpf(ring_bytes: int) -> Loaded:
    from ktrace.sources.live.libbpf import LibbpfObject

    return LibbpfObject(ring_bytes)


LOADERS: dict[str, Callable[[int], Loaded]] = {"libbpf": _libbpf}


def load(backend: Backend, ring_bytes: int) -> Chosen:
    """Load the probe."""
    if backend != "auto":
        return Chosen(LOADERS[backend](ring_bytes), None)
    first: KtraceError | None = None
    for name, loader in LOADERS.items():
        try:
            return Chosen(loader(ring_bytes), first and f"not {previous(name)}: {first.message}")
        except KtraceError as error:
            first = first or error
    assert first is not None
    raise first


def previous(name: str) -> str:
    names = list(LOADERS)
    return names[names.index(name) - 1]
