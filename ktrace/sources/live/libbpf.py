"""Load the probe's CO-RE object with the system's libbpf: no compiler, no headers."""

import ctypes
import os
from pathlib import Path

from ktrace.errors import KtraceError
from ktrace.resources import bpf_dir
from ktrace.sources.live.attach import SYSCALLS, Hook, Syscall
from ktrace.sources.live.kernel import architecture

LIBRARY = "libbpf.so.1"


class LibbpfObject:
    """The loaded object: programs and maps by name, as descriptors that stay ours."""

    name = "libbpf"
    walks = True
    # Raw tracepoints: a classic one is skipped while any other BPF program runs on the CPU, and a
    # state change arrives in softirq, on top of whatever was running.
    hooks = (
        Hook("state_change", None, "inet_sock_set_state"),
        Hook("process_fork", None, "sched_process_fork"),
        Hook("process_exec", None, "sched_process_exec"),
        Hook("process_exit", None, "sched_process_exit"),
        Hook("any_exit", None, "sys_exit"),
        Hook("any_enter", None, "sys_enter"),
    )
    # Other data calls are seen by what the socket has moved; a look with MSG_PEEK moves nothing.
    syscalls = (
        *SYSCALLS,
        Syscall("recvfrom", "asking", "io"),
        Syscall("recvmsg", "asking", "io"),
    )

    def __init__(self, ring_bytes: int) -> None:
        self._library = _library()
        self._object = self._open(bpf_dir() / f"probe.{architecture()}.o")
        self._set_ring(ring_bytes)
        failed = self._library.bpf_object__load(self._object)
        if failed:
            self.close()
            raise KtraceError(
                "bpf-load",
                f"the kernel refused the probe: {os.strerror(-failed)}",
                "see `ktrace doctor` for what is missing",
            )

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

    def _open(self, path: Path) -> int | None:
        if not path.is_file():
            raise KtraceError(
                "no-object", f"{path.name} is not there", "build it with `make bpf`, or reinstall"
            )
        opened: int | None = self._library.bpf_object__open_file(os.fsencode(path), None)
        if not opened:
            raise KtraceError("bpf-open", f"libbpf cannot read {path.name}", "install it again")
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


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY, use_errno=True)
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
        "bpf_map__fd": (ctypes.c_int, [pointer]),
        "bpf_program__fd": (ctypes.c_int, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if not os.environ.get("KTRACE_DEBUG"):
        library.libbpf_set_print(None)
    return library
