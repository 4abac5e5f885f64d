"""Load the probe's CO-RE object with the system's libbpf: no compiler, no headers."""

import ctypes
import os
from types import SimpleNamespace

from ktrace.errors import KtraceError
from ktrace.resources import bpf_folder
from ktrace.sources.live.hooks import (
    ANY,
    INSIDE,
    PREEMPTS_SINCE,
    PREFIXES,
    REFUSED,
    SYSCALLS,
    ULP,
    Hook,
    Inside,
    Syscall,
    ways_in,
)
from ktrace.sources.live.kernel import architecture, release, takes_fentry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktrace.sources.live.hooks import Method

LIBRARY = "libbpf.so.1"
LASTING = ("bpf_object__load", "bpf_object__close")
BTF = "/sys/kernel/btf/vmlinux"
# Other data calls are seen by what the socket has moved; a look with MSG_PEEK moves nothing.
PEEKS = tuple(Syscall(name, "asking", "io", "asking") for name in ("recvfrom", "recvmsg"))
CASTS_SINCE = (6, 2)  # a pointer of any origin can be given its type

# Exits first, so that no call is seen beginning whose end is not.  Kernels that take no 32-bit
# programs have nothing to hang the last on.
OWN = (
    *(f"return_{call.name}" for call in (*SYSCALLS, *PEEKS) if call.exit_program),
    *(f"call_{call.name}" for call in (*SYSCALLS, *PEEKS)),
)
FOREIGN = tuple(
    f"call_foreign_{name}" for name in ("socketcall", "socket", "connect", "setsockopt")
)


class Variant:
    """One way to load the probe: which object, what it looks into, and the programs of an object
    that has one for each system call.
    """

    __slots__ = ("by_call", "file", "inside", "method")

    def __init__(
        self,
        file: str,
        method: "Method | None",
        inside: tuple[Inside, ...],
        by_call: tuple[str, ...] = (),
    ) -> None:
        self.file = file
        self.method = method
        self.inside = inside
        self.by_call = by_call


def _by_call() -> "Iterator[tuple[str, ...]]":
    """Yield the programs that hang on one function each, as many as a kernel may have."""
    for foreign in (FOREIGN, ()):
        for refused in REFUSED:
            yield (*OWN, refused, *foreign)
    yield OWN


def variants() -> "Iterator[Variant]":
    """Yield the ways that this kernel may take, the best first."""
    here = release()
    known = tuple(one for one in INSIDE if here >= one.since)
    if here >= PREEMPTS_SINCE and architecture() == "x86_64" and takes_fentry():
        for by_call in _by_call():
            for method in ways_in():
                yield Variant("probe.x86_64.bycall.o", method, known, by_call)
    files = [f"probe.{architecture()}.o"]
    if here >= CASTS_SINCE:
        files.insert(0, f"probe.{architecture()}.cast.o")
    for file in files:
        for method in ways_in():
            yield Variant(file, method, known)
            yield Variant(file, method, (ULP,))
        yield Variant(file, None, ())


class LibbpfObject:
    """The loaded object: programs and maps by name, as descriptors that stay ours."""

    name = "libbpf"
    walks = True
    # Raw tracepoints: a classic one is skipped while any other BPF program runs on the CPU, and a
    # state change arrives in softirq, on top of whatever was running.
    hooks: tuple[Hook, ...] = (
        Hook("state_change", None, "inet_sock_set_state"),
        Hook("process_fork", None, "sched_process_fork"),
        Hook("process_exec", None, "sched_process_exec"),
        Hook("process_exit", None, "sched_process_exit"),
    )
    syscalls = (
        *(call for call in SYSCALLS if call.name != "setsockopt"),  # any_enter has it in itself
        *PEEKS,
    )

    def __init__(self, ring_bytes: int) -> None:
        self._library = _library()
        self._object: int | None = None
        failed = 0
        for variant in variants():
            failed = self._load(variant, ring_bytes)
            if not failed:
                self.method, self.inside = variant.method, variant.inside
                self.by_call = variant.by_call
                self.hooks += () if variant.by_call else ANY
                return
            self.close()
        if not os.path.exists(BTF):
            raise KtraceError(
                "no-btf",
                f"this kernel does not describe its types ({BTF})",
                "use --backend bcc, or a kernel built with CONFIG_DEBUG_INFO_BTF",
            )
        raise KtraceError(
            "bpf-load",
            f"the kernel refused the probe: {os.strerror(-failed)}",
            "see `ktrace doctor` for what is missing",
        )

    def _load(self, variant: Variant, ring_bytes: int) -> int:
        """Load one variant; return 0 or the negative errno."""
        self._object = self._open(variant.file)
        self._set_ring(ring_bytes)
        prefixes = PREFIXES[variant.method] if variant.method is not None else ()
        wanted = {f"{prefix}_{one.name}" for prefix in prefixes for one in variant.inside}
        for one in INSIDE:
            for prefix in (prefix for both in PREFIXES.values() for prefix in both):
                name = f"{prefix}_{one.name}"
                if name not in wanted:
                    self._leave_out(name)
        for name in {*OWN, *REFUSED, *FOREIGN} - set(variant.by_call) if variant.by_call else ():
            self._leave_out(name)
        failed: int = self._library.bpf_object__load(self._object)
        return failed

    def _leave_out(self, program: str) -> None:
        found = self._library.bpf_object__find_program_by_name(self._object, program.encode())
        self._library.bpf_program__set_autoload(found, False)

    def program(self, name: str) -> int:
        """Return the descriptor of a program."""
        return self._fd("program", name)

    def map(self, name: str) -> int:
        """Return the descriptor of a map."""
        return self._fd("map", name)

    def close(self) -> None:
        if self._object:
            self._library.bpf_object__close(self._object)
            self._object = None

    def _open(self, name: str) -> int | None:
        path = os.path.join(bpf_folder(), name)
        if not os.path.isfile(path):
            raise KtraceError(
                "no-object", f"{name} is not there", "build it with `make bpf`, or reinstall"
            )
        opened: int | None = self._library.bpf_object__open_file(os.fsencode(path), None)
        if not opened:
            raise KtraceError("bpf-open", f"libbpf cannot read {name}", "install it again")
        return opened

    def _set_ring(self, ring_bytes: int) -> None:
        ring = self._library.bpf_object__find_map_by_name(self._object, b"events")
        self._library.bpf_map__set_max_entries(ring, ring_bytes)

    def _fd(self, kind: str, name: str) -> int:
        find = getattr(self._library, f"bpf_object__find_{kind}_by_name")
        found = find(self._object, name.encode())
        fd: int = getattr(self._library, f"bpf_{kind}__fd")(found) if found else -1
        if fd < 0:
            raise KtraceError("bpf-part", f"the probe has no {kind} {name}", "install ktrace again")
        return fd


def _library() -> SimpleNamespace:
    """Return the functions of libbpf.  The lasting ones let other threads run meanwhile; for the
    others, getting the interpreter back would take longer than they do.
    """
    try:
        patient, quick = ctypes.CDLL(LIBRARY), ctypes.PyDLL(LIBRARY)
    except OSError:
        raise KtraceError(
            "no-libbpf",
            f"{LIBRARY} is not installed",
            "install it (Debian: apt-get install libbpf1)",
        ) from None
    pointer = ctypes.c_void_p
    signatures = {
        "bpf_object__open_file": (pointer, [ctypes.c_char_p, pointer]),
        "bpf_object__load": (ctypes.c_int, [pointer]),
        "bpf_object__close": (None, [pointer]),
        "bpf_object__find_map_by_name": (pointer, [pointer, ctypes.c_char_p]),
        "bpf_object__find_program_by_name": (pointer, [pointer, ctypes.c_char_p]),
        "bpf_map__set_max_entries": (ctypes.c_int, [pointer, ctypes.c_uint32]),
        "bpf_program__set_autoload": (ctypes.c_int, [pointer, ctypes.c_bool]),
        "bpf_map__fd": (ctypes.c_int, [pointer]),
        "bpf_program__fd": (ctypes.c_int, [pointer]),
    }
    functions = SimpleNamespace()
    for name, (result, arguments) in signatures.items():
        function = getattr(patient if name in LASTING else quick, name)
        function.restype, function.argtypes = result, arguments
        setattr(functions, name, function)
    if not os.environ.get("KTRACE_DEBUG"):
        patient.libbpf_set_print(None)
    return functions
