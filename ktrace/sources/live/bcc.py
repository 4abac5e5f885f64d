"""Load the probe with the distribution's bcc, which compiles it now (the one importer of bcc).

The package on PyPI of that name is something else; the real one serves the distribution's own
Python, and is looked for there when the running interpreter cannot see it.
"""

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktrace.errors import KtraceError
from ktrace.resources import bpf_dir
from ktrace.sources.live.hooks import ANY, SYSCALLS, ULP, Hook, Inside, Syscall
from ktrace.sources.live.kernel import architecture, has_kprobes
from ktrace.sources.live.tracefs import Tracefs

if TYPE_CHECKING:
    from ktrace.sources.live.hooks import Method

SITES = ("/usr/lib/python3/dist-packages", "/usr/lib/python3/site-packages")
DATA_IN = ("read", "readv", "recvfrom", "recvmsg", "recvmmsg")
DATA_OUT = ("write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile")
MACRO = {"x86_64": "-DKT_X86", "aarch64": "-DKT_ARM64"}


class BccObject:
    """The compiled and loaded probe."""

    name = "bcc"
    walks = False
    hooks = (
        Hook("state_change", "sock", "inet_sock_set_state"),
        Hook("process_fork", "sched", "sched_process_fork"),
        Hook("process_exec", "sched", "sched_process_exec"),
        Hook("process_exit", "sched", "sched_process_exit"),
        *ANY,
    )
    by_call: tuple[str, ...] = ()
    # It cannot look into the socket, so it watches the data calls while one is in flight.
    syscalls = (
        *SYSCALLS,
        *(Syscall(name, "asking", "io", "read") for name in DATA_IN),
        *(Syscall(name, "asking", "io", "write") for name in DATA_OUT),
        Syscall("splice", "asking", "io"),
        Syscall("socketpair", "socketpair", "socket"),
        Syscall("clone", "clone", "process"),
        Syscall("clone3", "clone", "process"),
    )

    def __init__(self, ring_bytes: int) -> None:
        module = _module()
        self.method: Method | None = "kprobe" if has_kprobes() else None
        self.inside: tuple[Inside, ...] = (ULP,) if self.method else ()
        flags = [MACRO[architecture()], "-w", *_definitions(ring_bytes)]
        with _headers(), _silence():
            try:
                self._bpf: Any = module.BPF(text=source().encode(), cflags=flags)
            except Exception as error:  # bcc raises a bare Exception when it cannot compile
                raise KtraceError(
                    "bcc-compile",
                    "bcc cannot compile the probe here",
                    "install headers of some kernel (Debian: apt-get install linux-headers-amd64),"
                    " or use --backend libbpf",
                ) from error
        self._module = module
        self._programs: dict[str, int] = {}

    def program(self, name: str) -> int:
        if name not in self._programs:
            kind = self._kind(name)
            with _silence():
                try:
                    self._programs[name] = self._bpf.load_func(name, kind).fd
                except Exception as error:
                    raise KtraceError(
                        "bcc-load",
                        f"the kernel refused the probe's program {name}",
                        "see `ktrace doctor`, or use --backend libbpf",
                    ) from error
        return self._programs[name]

    def _kind(self, program: str) -> Any:
        kinds = self._module.BPF
        if program.startswith(("kprobe_", "kretprobe_")):
            return kinds.KPROBE
        classic = any(hook.program == program and hook.category for hook in self.hooks)
        return kinds.TRACEPOINT if classic else kinds.RAW_TRACEPOINT

    def map(self, name: str) -> int:
        fd: int = self._bpf[name].map_fd if name != "events" else self._ring_fd()
        return fd

    def close(self) -> None:
        self._bpf.cleanup()

    def _ring_fd(self) -> int:
        fd: int = self._module.lib.bpf_table_fd(self._bpf.module, b"events")
        return fd


def source() -> str:
    """Return the probe's text with its own headers in place."""

    def included(found: "re.Match[str]") -> str:
        return (bpf_dir() / found[1]).read_text()

    text = (bpf_dir() / "probe.bcc.c").read_text()
    return re.sub(r'^#include "(\w+\.h)"$', included, text, flags=re.M)


def _definitions(ring_bytes: int) -> list[str]:
    tracefs = Tracefs()
    try:
        child = tracefs.field("sched", "sched_process_fork", "child_pid")
        old = tracefs.field("sched", "sched_process_exec", "old_pid")
    finally:
        tracefs.close()
    pages = ring_bytes // os.sysconf("SC_PAGE_SIZE")
    return [f"-DRING_PAGES={pages}", f"-DFORK_CHILD={child}", f"-DEXEC_OLD_PID={old}"]


def _module() -> Any:
    """Import bcc, also from the distribution's site directory."""
    for site in ("", *SITES):
        if site and not Path(site, "bcc", "libbcc.py").is_file():
            continue
        found = importlib.util.find_spec("bcc") if not site else _spec_in(site)
        if found is None or not Path(found.origin or "", "..", "libbcc.py").resolve().is_file():
            continue
        try:
            return _imported(site)
        except (ImportError, OSError):
            continue
    raise KtraceError(
        "no-bcc",
        "bcc for Python is not installed",
        "install it (Debian: apt-get install python3-bpfcc), or use --backend libbpf",
    )


def _spec_in(site: str) -> Any:
    from importlib.machinery import PathFinder

    return PathFinder.find_spec("bcc", [site])


def _imported(site: str) -> Any:
    if site:
        sys.path.append(site)
    try:
        import bcc
    finally:
        if site:
            sys.path.remove(site)
    return bcc


@contextmanager
def _headers() -> Iterator[None]:
    """Let bcc find kernel headers.

    The probe takes no layout from them, so those of another kernel do: where this kernel has none,
    any that are installed are put together in one tree, as bcc wants them.
    """
    found = None if Path("/lib/modules", os.uname().release, "build").is_dir() else _any_headers()
    if found is None or "BCC_KERNEL_SOURCE" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ktrace-headers-") as folder:
        machine = {"x86_64": "x86", "aarch64": "arm64"}[architecture()]
        for part in ("include", f"arch/{machine}/include"):
            _merge(Path(folder, part), [tree / part for tree in found])
        os.environ["BCC_KERNEL_SOURCE"] = folder
        try:
            yield
        finally:
            del os.environ["BCC_KERNEL_SOURCE"]


def _merge(target: Path, parts: list[Path]) -> None:
    """Fill a folder with links to what the parts have; the first wins."""
    target.mkdir(parents=True)
    for part in parts:
        for child in part.iterdir() if part.is_dir() else ():
            if not (target / child.name).exists():
                (target / child.name).symlink_to(child)


def _any_headers() -> tuple[Path, ...] | None:
    """Return the newest headers under /usr/src: the generated, and (Debian) the common part."""
    for build in sorted(Path("/usr/src").glob("linux-headers-*"), reverse=True):
        if (build / "include" / "generated" / "autoconf.h").is_file():
            return build, Path(re.sub(r"-[a-z0-9]+$", "-common", str(build)))
    return None


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the compiler's words off the user's terminal, unless they are asked for."""
    if os.environ.get("KTRACE_DEBUG"):
        yield
        return
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
