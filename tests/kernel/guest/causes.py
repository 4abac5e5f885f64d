"""Produce causes of failing kTLS calls, each in a process of its own: `causes.py NAME...`.

Prints a line of JSON for each: the process, and what the calls on its socket of interest returned.
"""

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

SOL_TLS, TCP_ULP, TX, RX = 282, 31, 1, 2
SIZES = {51: 40, 52: 56, 53: 40, 54: 56, 55: 40, 57: 40}
NOBODY = 65534
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_FILTER = 38, 22, 2
X86_SETSOCKOPT = 54
KILL, REFUSE = 0x80000000, 0x00050000 | errno.EPERM

did: list[tuple[str, str]] = []


def note(call: str, act: Callable[[], object]) -> None:
    """Make a call, and write down what it returned."""
    try:
        act()
        did.append((call, "ok"))
    except OSError as error:
        did.append((call, errno.errorcode[error.errno or 0]))


def ulp(sock: socket.socket) -> None:
    note("ulp", lambda: sock.setsockopt(socket.SOL_TCP, TCP_ULP, b"tls"))


def key(sock: socket.socket, way: int, version: int, cipher: int, size: int = 0) -> None:
    """Install a key that is the letter k."""
    info = struct.pack("=HH", version, cipher).ljust(size or SIZES.get(cipher, 40), b"k")
    note("tx" if way == TX else "rx", lambda: sock.setsockopt(SOL_TLS, way, info))


def pair(protocol: int = 0) -> tuple[socket.socket, socket.socket]:
    """Return a connected client and its accepted end."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    client.connect(listener.getsockname())
    served = listener.accept()[0]
    listener.close()
    return client, served


def on_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ulp(listener)


def unconnected() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as fresh:
        ulp(fresh)


def close_wait() -> None:
    client, served = pair()
    served.close()
    assert client.recv(1) == b""
    ulp(client)


def reset() -> None:
    client, served = pair()
    served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    served.close()
    time.sleep(0.2)
    with contextlib.suppress(ConnectionResetError):
        client.recv(1)
    ulp(client)


def own_shutdown() -> None:
    client, _served = pair()
    client.shutdown(socket.SHUT_WR)
    ulp(client)


def refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        with contextlib.suppress(ConnectionRefusedError):
            client.connect(("127.0.0.1", 1))
        ulp(client)


def twice() -> None:
    client, _served = pair()
    ulp(client)
    ulp(client)


def keys_without_ulp() -> None:
    client, _served = pair()
    key(client, TX, 0x0303, 51)
    key(client, RX, 0x0303, 51)


def keyed(*keys: tuple[int, ...]) -> Callable[[], None]:
    """Return a cause: the ULP, then these installs."""

    def act() -> None:
        client, _served = pair()
        ulp(client)
        for one in keys:
            key(client, *one)

    return act


def multipath() -> None:
    client, _served = pair(262)
    ulp(client)


def attached() -> None:
    client, _served = pair()
    ulp(client)


def without_privilege() -> None:
    client, _served = pair()
    os.setuid(NOBODY)
    ulp(client)


def filtered(action: int) -> Callable[[], None]:
    """Return a cause: a seccomp filter that refuses setsockopt(), as a sandbox may."""

    def act() -> None:
        client, _served = pair()
        code = [
            (0x20, 0, 0, 0),  # load the number of the call
            (0x15, 0, 1, X86_SETSOCKOPT),
            (0x06, 0, 0, action),
            (0x06, 0, 0, 0x7FFF0000),
        ]
        lines = b"".join(struct.pack("HBBI", *one) for one in code)
        buffer = ctypes.create_string_buffer(lines)
        program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        assert libc.prctl(PR_SET_SECCOMP, SECCOMP_FILTER, program, 0, 0) == 0
        ulp(client)

    return act


CAUSES: dict[str, Callable[[], None]] = {
    "on-listener": on_listener,
    "unconnected": unconnected,
    "close-wait": close_wait,
    "reset": reset,
    "own-shutdown": own_shutdown,
    "refused": refused,
    "twice": twice,
    "keys-without-ulp": keys_without_ulp,
    "wrong-size": keyed((TX, 0x0303, 51, 41)),
    "wrong-version": keyed((TX, 0x0301, 51)),
    "unknown-cipher": keyed((TX, 0x0303, 99)),
    "aria-with-1.3": keyed((TX, 0x0304, 57)),
    "other-version": keyed((TX, 0x0303, 52), (RX, 0x0304, 52)),
    "other-cipher": keyed((TX, 0x0303, 52), (RX, 0x0303, 51)),
    "second-install-1.2": keyed((TX, 0x0303, 51), (TX, 0x0303, 51)),
    "second-install-1.3": keyed((TX, 0x0304, 51), (TX, 0x0304, 51)),
    "second-cipher-1.3": keyed((TX, 0x0304, 51), (TX, 0x0304, 52)),
    "mptcp": multipath,
    "seccomp-errno": filtered(REFUSE),
    "seccomp-kill": filtered(KILL),
    "attached": attached,
    "no-aead": keyed((TX, 0x0303, 53)),
    "without-privilege": without_privilege,
    "no-module": attached,
}


def run(name: str) -> None:
    """Produce a cause in a child; one that is killed has told nothing."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        CAUSES[name]()
        os.write(tell, json.dumps(did).encode())
        os._exit(0)
    os.close(tell)
    with open(told, "rb") as end:
        text = end.read()
    status = os.waitpid(child, 0)[1]
    ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else status >> 8
    calls = json.loads(text or "[]")
    print(json.dumps({"cause": name, "pid": child, "did": calls, "ended": ended}), flush=True)


if __name__ == "__main__":
    for chosen in sys.argv[1:]:
        run(chosen)
    print("ready", flush=True)
