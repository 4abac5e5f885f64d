"""Which loader to use: the first that works, and why not the other."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

from ktrace.errors import KtraceError
from ktrace.sources.live import kernel
from ktrace.sources.live.attach import Loaded
from ktrace.sources.live.hooks import PREEMPTS_SINCE, REFUSED

if TYPE_CHECKING:
    from ktrace.sources.live.hooks import Method

Backend = Literal["auto", "libbpf", "bcc"]


class Chosen(NamedTuple):
    """`passed_over` says why the loader before it was not used."""

    loaded: Loaded
    passed_over: str | None


def _libbpf(ring_bytes: int) -> Loaded:
    from ktrace.sources.live import ahead
    from ktrace.sources.live.libbpf import LibbpfObject

    return ahead.taken(ring_bytes) or LibbpfObject(ring_bytes)


def _bcc(ring_bytes: int) -> Loaded:
    from ktrace.sources.live.bcc import BccObject

    return BccObject(ring_bytes)


# What each loader's probe sees less of.
LIMITS: dict[str, tuple[str, ...]] = {
    "libbpf": (),
    "bcc": (
        "captured with bcc, which sees less than libbpf: no address or state of a socket accepted"
        " without asking for the peer's address, no connect and no key install made through"
        " io_uring, and a socket that is passed to another process counts as opened before the"
        " trace there",
    ),
}
BLIND = "calls made through io_uring are not seen"
LOADERS: dict[str, Callable[[int], Loaded]] = {"libbpf": _libbpf, "bcc": _bcc}


PREEMPTED = (
    "this kernel can preempt a run of the probe and skips others on that CPU until it goes on, so"
    " that a busy machine loses events"
)


def limits(loaded: Loaded, method: "Method | None") -> tuple[str, ...]:
    """Return what a capture does not see, in words for its reader."""
    found = list(LIMITS[loaded.name])
    if not loaded.by_call and kernel.release() >= PREEMPTS_SINCE:
        found.append(PREEMPTED)
    if loaded.by_call and not set(REFUSED) & set(loaded.by_call):
        found.append("calls that a seccomp filter refuses are not seen")
    if method is None:
        found.append(f"{BLIND}: this kernel lets no probe into its functions")
    return tuple(found)


def load(backend: Backend, ring_bytes: int) -> Chosen:
    """Load the probe."""
    if backend != "auto":
        return Chosen(LOADERS[backend](ring_bytes), None)
    failed: list[tuple[str, KtraceError]] = []
    for name, loader in LOADERS.items():
        try:
            loaded = loader(ring_bytes)
        except KtraceError as error:
            failed.append((name, error))
            continue
        return Chosen(loaded, f"not {failed[0][0]}: {failed[0][1].message}" if failed else None)
    raise failed[0][1]
