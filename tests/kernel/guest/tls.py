"""A TLS client or server of Python's ssl: `tls.py serve|connect|unasked ADDRESS PORT TLS CIPHER`.

Both talk one line and say "ready"; the client then holds the connection until its standard input
ends.  "unasked" is a client that leaves OP_ENABLE_KTLS off.
"""

import contextlib
import socket
import ssl
import sys

ENABLE_KTLS = 8  # ssl.OP_ENABLE_KTLS, which Python has a name for since 3.12


def context(mode: str, tls: str, cipher: str) -> ssl.SSLContext:
    serving = mode == "serve"
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serving else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = made.maximum_version = ssl.TLSVersion["TLSv" + tls.replace(".", "_")]
    if tls == "1.2":
        made.set_ciphers(cipher)
    if mode != "unasked":
        made.options |= ENABLE_KTLS
    if serving:
        made.load_cert_chain("cert.pem", "key.pem")
    else:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def serve(made: ssl.SSLContext, address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as listener:
        print("ready", flush=True)
        plain, _ = listener.accept()
    with made.wrap_socket(plain, server_side=True) as talk:
        talk.sendall(talk.recv(64))
        with contextlib.suppress(OSError):
            talk.recv(1)


def connect(made: ssl.SSLContext, address: str, port: int) -> None:
    with socket.create_connection((address, port)) as plain, made.wrap_socket(plain) as talk:
        talk.sendall(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
        assert talk.recv(4096)
        print("ready", flush=True)
        sys.stdin.read()


def main() -> None:
    mode, address, port, tls, cipher = sys.argv[1:]
    act = serve if mode == "serve" else connect
    act(context(mode, tls, cipher), address, int(port))


main()
