"""Can the kernel do kTLS: version, configuration, tls module, available ULPs, its own account."""

import gzip
import platform
import socket
from pathlib import Path

from ktrace.doctor.check import Check, guarded

SOL_TCP = 6
TCP_ULP = 31
TOO_OLD = (4, 13)  # kTLS came with 4.13


def checks() -> list[Check]:
    """Return what was found, in the order a person would ask."""
    looks = (
        _kernel,
        _kernel_configuration,
        _tls_module,
        _available_ulps,
        _tls_on_a_socket,
        _account,
    )
    return [guarded(look, "kTLS") for look in looks]


def version() -> tuple[int, int]:
    """Return major and minor version of the running kernel."""
    major, minor = platform.release().split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)


def config() -> dict[str, str]:
    """Return the kernel's build configuration, empty where the host does not show it."""
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{platform.release()}")):
        if path.is_file():
            raw = path.read_bytes()
            text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode(errors="replace")
            lines = (line for line in text.splitlines() if line.startswith("CONFIG_"))
            return {name: value for name, _, value in (line.partition("=") for line in lines)}
    return {}


def _kernel() -> Check:
    found = f"Linux {platform.release()} on {platform.machine()}"
    if version() >= TOO_OLD:
        return Check("kTLS", "kernel", "ok", found)
    return Check("kTLS", "kernel", "missing", found, "kernel TLS needs Linux 4.13 or later")


def _kernel_configuration() -> Check:
    name = "kernel configuration"
    known = config()
    if not known:
        return Check("kTLS", name, "unknown", "this host does not show its configuration")
    value = known.get("CONFIG_TLS")
    if value in ("y", "m"):
        return Check("kTLS", name, "ok", f"CONFIG_TLS={value}")
    return Check(
        "kTLS",
        name,
        "missing",
        "CONFIG_TLS is not set",
        "use a kernel built with CONFIG_TLS=m or y",
    )


def _module_file() -> Path | None:
    folder = Path("/lib/modules", platform.release())
    return next(iter(folder.glob("kernel/net/tls/tls.ko*")), None)


def _tls_module() -> Check:
    name = "tls module"
    if Path("/sys/module/tls").is_dir():
        return Check("kTLS", name, "ok", "loaded (or built in)")
    if config().get("CONFIG_TLS") == "y":
        return Check("kTLS", name, "ok", "built in")
    if _module_file() is not None:
        return Check(
            "kTLS",
            name,
            "missing",
            "not loaded, but it can be",
            "modprobe tls, and put tls into /etc/modules-load.d: a program without CAP_NET_ADMIN"
            " cannot have it loaded, and gets ENOENT",
        )
    return Check(
        "kTLS",
        name,
        "missing",
        f"not loaded, and none under /lib/modules/{platform.release()}",
        "install the module of this kernel (in a container: load it on the host)",
    )


def _available_ulps() -> Check:
    name = "available ULPs"
    text = Path("/proc/sys/net/ipv4/tcp_available_ulp").read_text().strip()
    if "tls" in text.split():
        return Check("kTLS", name, "ok", text)
    return Check("kTLS", name, "missing", text or "none", "modprobe tls")


def _tls_on_a_socket() -> Check:
    """Try the real thing on a loopback connection: the only proof that counts."""
    name = "TCP_ULP tls on a socket"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        try:
            client.setsockopt(SOL_TCP, TCP_ULP, b"tls")
        except OSError as error:
            todo = "load the tls module; where it is loaded, look at seccomp and the LSM's log"
            return Check("kTLS", name, "missing", f"refused: {error.strerror}", todo)
    return Check("kTLS", name, "ok", "accepted")


def _account() -> Check:
    name = "/proc/net/tls_stat"
    path = Path("/proc/net/tls_stat")
    if not path.is_file():
        return Check("kTLS", name, "missing", "not there", "it appears with the tls module")
    counts = dict(line.split() for line in path.read_text().splitlines() if line.strip())
    shown = ("TlsTxSw", "TlsRxSw", "TlsTxDevice", "TlsRxDevice", "TlsDecryptError")
    return Check("kTLS", name, "ok", ", ".join(f"{key} {counts.get(key, '?')}" for key in shown))
