"""A program that its own seccomp filter keeps from setsockopt(): `refused.py ACTION OPTION...`.

An action is what the filter answers with, an option what is tried on a connected socket.
"""

import contextlib
import ctypes
import os
import signal
import socket
import struct
import sys
import threading
import time

SETSOCKOPT = {"x86_64": 54, "aarch64": 208}
ACTIONS = {
    "errno": 0x50001,
    "trap": 0x30000,
    "kill": 0x80000000,
    "kill-thread": 0,
    "allow": 0x7FFF0000,
}
OPTIONS = {
    "ulp": (socket.SOL_TCP, 31, b"tls"),
    "other": (socket.SOL_TCP, 31, b"espintcp"),
    "tx": (282, 1, struct.pack("HH", 0x0304, 51) + bytes(36)),
}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2


def refuse(action: int) -> None:
    """From now on every setsockopt() of this process is answered with `action`."""
    code = [
        (0x20, 0, 0, 0),  # load the number of the call
        (0x15, 0, 1, SETSOCKOPT[os.uname().machine]),
        (0x06, 0, 0, action),
        (0x06, 0, 0, ACTIONS["allow"]),
    ]
    lines = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(lines))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, FILTER, program, 0, 0) == 0


def call_in_a_thread(fd: int, option: str) -> None:
    """Make the call in a thread that does not come back, and wait until it is gone."""
    level, name, value = OPTIONS[option]
    libc = ctypes.CDLL(None)  # which lets the interpreter go on meanwhile
    line = (fd, level, name, value, len(value))
    thread = threading.Thread(target=libc.setsockopt, args=line, daemon=True)
    thread.start()
    while len(os.listdir("/proc/self/task")) > 1:
        time.sleep(0.01)


def main() -> None:
    action, *options = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    served = listener.accept()
    signal.signal(signal.SIGSYS, lambda *_: None)
    refuse(ACTIONS[action])
    for option in options:
        if action == "kill-thread":
            call_in_a_thread(client.fileno(), option)
            continue
        with contextlib.suppress(OSError):
            client.setsockopt(*OPTIONS[option])
    served[0].close()
    if action == "kill-thread":
        os._exit(0)  # the interpreter would wait for the thread


if __name__ == "__main__":
    main()
