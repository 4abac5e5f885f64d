"""What lies around the kernel: strace, and whether OpenSSL was built for kTLS."""

import shutil
import subprocess

from ktrace.doctor.check import Check, guarded


def checks() -> list[Check]:
    """Return the state of strace and OpenSSL."""
    return [guarded(_strace, "recording"), guarded(_openssl, "kTLS")]


def _strace() -> Check:
    path = shutil.which("strace")
    if path is None:
        todo = "install it (Debian: apt-get install strace)"
        return Check("recording", "strace", "missing", "not installed", todo)
    told = subprocess.run([path, "-V"], capture_output=True, text=True, check=False)
    first = (told.stdout.splitlines() or ["version not shown"])[0]
    return Check("recording", "strace", "ok", f"{path}, {first}")


def _openssl() -> Check:
    path = shutil.which("openssl")
    if path is None:
        found = "no openssl program to ask (a program may carry its own library)"
        return Check("kTLS", "OpenSSL", "unknown", found)
    release = _ask(path, "version")
    disabled = _ask(path, "list", "-disabled")
    if not release.startswith("OpenSSL 3"):
        todo = "kTLS needs OpenSSL 3.0 or later, built with enable-ktls"
        return Check("kTLS", "OpenSSL", "missing", release, todo)
    if "KTLS" in disabled.split():
        todo = "use a build with enable-ktls"
        return Check("kTLS", "OpenSSL", "missing", f"{release}, built without kTLS", todo)
    todo = ""
    if release.startswith(("OpenSSL 3.0", "OpenSSL 3.1")):
        todo = "nothing, but it never installs TLS_RX with TLS 1.3; 3.2 and later do"
    return Check("kTLS", "OpenSSL", "ok", f"{release}, built with kTLS", todo)


def _ask(path: str, *words: str) -> str:
    told = subprocess.run([path, *words], capture_output=True, text=True, check=False)
    return told.stdout.strip()
