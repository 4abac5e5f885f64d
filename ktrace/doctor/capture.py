"""Can this host capture live: BPF, BTF, tracefs, the two loaders, privileges."""

import ctypes
import ctypes.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

from ktrace.doctor.check import Check, guarded
from ktrace.doctor.kernel import config, version
from ktrace.sources.live import kernel

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21}
CAPABILITIES |= {"CAP_PERFMON": 38, "CAP_BPF": 39}
RING_BUFFER_SINCE = (5, 8)
TASK_STORAGE_SINCE = (5, 12)
TRACEFS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))


def checks() -> list[Check]:
    """Return what live capture needs and what is there."""
    looks = (
        _bpf,
        _btf,
        _tracefs,
        _function_hooks,
        _libbpf,
        _bcc,
        _headers,
        _capabilities,
        _lockdown,
        _container,
    )
    return [guarded(look, "live capture") for look in looks]


def _bpf() -> Check:
    if version() < RING_BUFFER_SINCE:
        todo = "live capture needs Linux 5.8 or later; use ktrace record"
        return Check("live capture", "BPF", "missing", f"Linux {platform.release()}", todo)
    known = config()
    if known and known.get("CONFIG_BPF_SYSCALL") != "y":
        todo = "use a kernel built with CONFIG_BPF_SYSCALL"
        return Check("live capture", "BPF", "missing", "CONFIG_BPF_SYSCALL is not set", todo)
    text = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
    mode = text.read_text().strip() if text.is_file() else "not shown"
    return Check("live capture", "BPF", "ok", f"unprivileged_bpf_disabled: {mode}")


def _btf() -> Check:
    path = Path("/sys/kernel/btf/vmlinux")
    if path.is_file():
        size = path.stat().st_size >> 10
        return Check("live capture", "BTF", "ok", f"{path}, {size} KiB")
    todo = "use a kernel with CONFIG_DEBUG_INFO_BTF, or the bcc backend"
    return Check("live capture", "BTF", "missing", "no /sys/kernel/btf/vmlinux", todo)


def _tracefs() -> Check:
    for folder in TRACEFS:
        if (folder / "events" / "sock" / "inet_sock_set_state" / "id").is_file():
            return Check("live capture", "tracefs", "ok", f"{folder}")
    return Check(
        "live capture",
        "tracefs",
        "ok",
        "not mounted or not readable; only the bcc backend needs it, and opens it itself as root",
    )


def _function_hooks() -> Check:
    name = "kprobes and fentry"
    kprobes = kernel.has_kprobes()
    if os.geteuid() != 0:
        found = f"kprobes {'yes' if kprobes else 'no'}, fentry not known"
        return Check("live capture", name, "unknown", found, "run ktrace doctor as root")
    fentry = kernel.takes_fentry()
    found = f"fentry {'yes' if fentry else 'refused'}, kprobes {'yes' if kprobes else 'no'}"
    if fentry or kprobes:
        return Check("live capture", name, "ok", found)
    todo = "nothing: the syscall tracepoints do; calls made through io_uring are not seen"
    return Check("live capture", name, "missing", found, todo)


def _libbpf() -> Check:
    try:
        library = ctypes.CDLL("libbpf.so.1")
    except OSError:
        todo = "install it (Debian: apt-get install libbpf1), or use the bcc backend"
        return Check("live capture", "libbpf", "missing", "no libbpf.so.1", todo)
    library.libbpf_version_string.restype = ctypes.c_char_p
    found = library.libbpf_version_string().decode(errors="replace")
    if version() < TASK_STORAGE_SINCE:
        todo = "this backend needs Linux 5.12 or later; use --backend bcc"
        return Check("live capture", "libbpf", "missing", f"libbpf.so.1, {found}", todo)
    return Check("live capture", "libbpf", "ok", f"libbpf.so.1, {found}")


def _bcc() -> Check:
    package = next(
        (
            folder
            for folder in Path("/usr/lib").glob("python3*/**/bcc/__init__.py")
            if (folder.parent / "libbcc.py").is_file()
        ),
        None,
    )
    library = ctypes.util.find_library("bcc")
    if package is not None and library is not None:
        return Check("live capture", "bcc", "ok", f"{package.parent}, {library}")
    todo = "needed only for --backend bcc (Debian: apt-get install python3-bpfcc)"
    return Check("live capture", "bcc", "missing", "no bcc for Python", todo)


def _headers() -> Check:
    build = Path("/lib/modules", platform.release(), "build")
    if build.is_dir():
        return Check("live capture", "kernel headers", "ok", str(build))
    others = sorted(Path("/usr/src").glob("linux-headers-*"))
    if others:
        found = f"none of this kernel, but {others[0].name}, which do for ktrace"
        return Check("live capture", "kernel headers", "ok", found)
    todo = "needed only for --backend bcc (Debian: apt-get install linux-headers-amd64)"
    return Check("live capture", "kernel headers", "missing", "none", todo)


def _capabilities() -> Check:
    status = Path("/proc/self/status").read_text()
    mask = int(
        next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16
    )
    have = [name for name, bit in CAPABILITIES.items() if mask >> bit & 1]
    found = ", ".join(have) or "none of " + ", ".join(CAPABILITIES)
    if "CAP_SYS_ADMIN" in have or {"CAP_BPF", "CAP_PERFMON"} <= set(have):
        return Check("live capture", "capabilities", "ok", found)
    return Check("live capture", "capabilities", "missing", found, "run ktrace live with sudo")


def _lockdown() -> Check:
    path = Path("/sys/kernel/security/lockdown")
    if not path.is_file():
        return Check("live capture", "lockdown", "ok", "no lockdown")
    text = path.read_text().strip()
    if "[confidentiality]" not in text:
        return Check("live capture", "lockdown", "ok", text)
    todo = "the confidentiality mode forbids BPF to read kernel memory; use ktrace record"
    return Check("live capture", "lockdown", "missing", text, todo)


def _container() -> Check:
    name = "container"
    tool = shutil.which("systemd-detect-virt")
    if tool:
        told = subprocess.run([tool, "--container"], capture_output=True, text=True, check=False)
        found = told.stdout.strip()
    else:
        marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
        found = "docker or podman" if any(mark.exists() for mark in marks) else "none"
    if _initial_pid_namespace():
        inside = "" if found in ("none", "") else f" ({found}), with the host's process ids"
        return Check("live capture", name, "ok", f"inside one{inside}" if inside else "none")
    todo = "capture on the host: process ids in here are not those the kernel gives to the probe"
    return Check("live capture", name, "missing", f"inside one ({found})", todo)


def _initial_pid_namespace() -> bool:
    """The first pid namespace has this fixed inode (PROC_PID_INIT_INO)."""
    return Path("/proc/self/ns/pid").stat().st_ino == 0xEFFFFFFC
