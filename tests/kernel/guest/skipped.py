"""How often the kernel skipped each loaded BPF program, whoever loaded it."""

import ctypes
import itertools
import os
import struct

from ktrace.sources.live import kernel

GET_FD_BY_ID = 13
NAME = slice(64, 80)  # of struct bpf_prog_info


def table() -> str:
    """Return a line for each program that was skipped: times, name."""
    counted = sorted(((misses, name) for name, misses in _programs() if misses), reverse=True)
    return "".join(f"{misses:8} {name}\n" for misses, name in counted)


def _programs() -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    last = 0
    for _ in itertools.count():
        try:
            last = kernel.next_program(last)
            fd = kernel.bpf(GET_FD_BY_ID, struct.pack("=III", last, 0, 0))
        except OSError:
            return found
        found.append((_name(fd), kernel.recursion_misses(fd)))
        os.close(fd)
    return found


def _name(fd: int) -> str:
    info = ctypes.create_string_buffer(kernel.PROG_INFO_SIZE)
    kernel.bpf(
        kernel.OBJ_INFO,
        struct.pack("=IIQ", fd, kernel.PROG_INFO_SIZE, ctypes.addressof(info)),
    )
    return info.raw[NAME].partition(b"\0")[0].decode()
