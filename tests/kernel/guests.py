"""The guests: which Debian, which kernel, and what is installed in each."""

from dataclasses import dataclass

PROGRAMS = (
    "bpftrace",
    "busybox-static",
    "ca-certificates",
    "curl",
    "iproute2",
    "kmod",
    "libbpf1",
    "nginx-light",
    "openssl",
    "procps",
    "python3",
    "python3-bpfcc",
    "strace",
)
# What ktrace imports when it records, parses and captures; pandas and scipy would double the image.
WHEELS = ("click", "jinja2", "msgspec", "prometheus-client", "pyelftools", "zstandard")


@dataclass(frozen=True)
class Root:
    """A Debian with its programs; guests that differ only in the kernel share one."""

    suite: str
    python: str  # the version of Debian's python3, for which the wheels are taken
    kernels: tuple[str, ...]  # suites whose newest cloud kernel goes in


@dataclass(frozen=True)
class Guest:
    """A root booted with one of its kernels.

    `openssl`, `rekeys` and `preempts` (the programs of tracepoints) are what the expectations turn
    on.
    """

    name: str
    root: Root
    kernel: str
    openssl: str
    rekeys: bool
    preempts: bool = False


BOOKWORM = Root("bookworm", "3.11", ("bookworm",))
TRIXIE = Root("trixie", "3.13", ("trixie", "trixie-backports"))
GUESTS = {
    guest.name: guest
    for guest in (
        Guest("bookworm", BOOKWORM, "bookworm", "3.0", rekeys=False),
        Guest("trixie", TRIXIE, "trixie", "3.5", rekeys=False),
        Guest("backports", TRIXIE, "trixie-backports", "3.5", rekeys=True, preempts=True),
    )
}
