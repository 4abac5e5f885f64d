"""Run strace with exactly the calls that a verdict needs, and be as good as absent around it."""

import ctypes
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ktrace import places, uapi
from ktrace.errors import KtraceError

# A `?` lets strace go on where the architecture or its own version lacks the call.
FAMILY_CALLS: dict[str, tuple[str, ...]] = {
    "socket": ("socket", "socketpair", "bind"),
    "connect": ("connect",),
    "accept": ("?accept", "accept4"),
    "listen": ("listen",),
    "setsockopt": ("setsockopt",),
    "getsockopt": ("getsockopt", "getpeername", "getsockname"),
    "close": ("close", "?close_range", "shutdown"),
    "dup": ("dup", "?dup2", "dup3", "fcntl", "?fcntl64", "?pidfd_open", "?pidfd_getfd"),
    "wait": (
        "?epoll_create",
        "epoll_create1",
        "epoll_ctl",
        "?epoll_wait",
        "epoll_pwait",
        "?epoll_pwait2",
        "?poll",
        "ppoll",
        "?select",
        "?_newselect",
        "pselect6",
        "?io_uring_enter",
    ),
    "io": (
        "read",
        "readv",
        "?recv",
        "recvfrom",
        "recvmsg",
        "recvmmsg",
        "write",
        "writev",
        "?send",
        "sendto",
        "sendmsg",
        "sendmmsg",
        "sendfile",
        "?sendfile64",
        "splice",
    ),
    "process": (
        "clone",
        "?clone3",
        "?fork",
        "?vfork",
        "execve",
        "?execveat",
        "exit",
        "exit_group",
        "?unshare",
    ),
}
CALLS = tuple(call for calls in FAMILY_CALLS.values() for call in calls)

# -s 4 keeps version and cipher of crypto_info and cuts every key byte; -v keeps it from cutting
# arrays of ready descriptors.  No -y: it slows the call after connect() so much that a race hides.
_OPTIONS = ("-f", "-q", "-ttt", "-T", "-v", "-s", "4", "-e")
OPTIONS = (*_OPTIONS, "trace=" + ",".join(CALLS))
# With --seccomp-bpf a filter of the program's own is asked first, and what that refuses is not
# seen: then the log tells that there is such a filter, though not all that stands in it.
CHEAP_OPTIONS = (
    *_OPTIONS,
    "trace=" + ",".join((*CALLS, "prctl", "?seccomp")),
    *("-e", "abbrev=prctl,seccomp"),
    "--seccomp-bpf",
)
# kTLS calls on no descriptor, which the kernel answers with EBADF unless a filter is asked before
_TRIED = ((uapi.SOL_TCP, uapi.TCP_ULP), (uapi.SOL_TLS, uapi.TLS_TX), (uapi.SOL_TLS, uapi.TLS_RX))
SI_KERNEL = 0x80  # siginfo's si_code of a key pressed on the terminal
INTERRUPTED = 128 + signal.SIGINT
PASSED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def find_strace() -> str:
    """Return the path of strace."""
    path = shutil.which("strace")
    if path is None:
        raise KtraceError(
            "no-strace",
            "strace is not installed",
            "install it (Debian: apt-get install strace), or capture with `ktrace live`",
        )
    return path


def command_line(strace: str, log: str, pids: Sequence[int], command: Sequence[str]) -> list[str]:
    """Return the strace command; --seccomp-bpf works only on a program that strace starts."""
    # strace takes a leading | or ! for a command to pipe into.
    target = ["-o", os.path.join(".", log)]
    if not command:
        return [strace, *OPTIONS, *target, *(word for pid in pids for word in ("-p", str(pid)))]
    cheap = _knows_seccomp(strace) and not refuses_ktls()
    return [strace, *(CHEAP_OPTIONS if cheap else OPTIONS), *target, "--", *command]


def refuses_ktls() -> bool:
    """Tell whether a seccomp filter that is there already, of a container or a service, refuses
    kTLS calls: with --seccomp-bpf strace would not see them.
    """
    if "\nSeccomp:\t0\n" in Path("/proc/self/status").read_text(errors="replace"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()  # a filter may also kill
    if child == 0:
        for level, option in _TRIED:
            libc.setsockopt(-1, level, option, None, 0)
            if ctypes.get_errno() != errno.EBADF:
                os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def _knows_seccomp(strace: str) -> bool:
    told = subprocess.run([strace, "-h"], capture_output=True, text=True, check=False)
    return "--seccomp-bpf" in told.stdout + told.stderr


def claim(log: str, force: bool) -> None:
    """Create the log, so that nothing else takes its name; refuse one that exists."""
    fd = places.claim(log, force)
    if fd is None:
        raise KtraceError(
            "log-exists", f"{log} exists", "choose another name, or --force to overwrite it"
        )
    os.close(fd)


def check_command(command: Sequence[str]) -> None:
    """Refuse a program that is not there before anything is written."""
    if shutil.which(command[0]) is None:
        raise KtraceError(
            "no-command", f"{command[0]}: no such program", "check the name and the PATH"
        )


def check_pids(pids: Sequence[int]) -> None:
    """Refuse a process that is not there before anything is written."""
    for pid in pids:
        if not Path(f"/proc/{pid}").is_dir():
            raise KtraceError(
                "no-process", f"no process {pid}", "look the process up with ps or pgrep"
            )


def record(log: str, pids: Sequence[int], command: Sequence[str], force: bool) -> int:
    """Record until the program ends (or ktrace is told to stop) and return its exit status."""
    strace = find_strace()
    if command:
        check_command(command)
    check_pids(pids)
    claim(log, force)
    status = _supervise(command_line(strace, log, pids, command), bool(command))
    stopped = not command and status == INTERRUPTED  # attached, and then nothing happened
    if os.path.isfile(log):  # of a pipe or a device nothing can be told
        _check_log(log, status, stopped)
    return status if command else 0


def _check_log(log: str, status: int, stopped: bool) -> None:
    size = os.path.getsize(log)
    if size == 0 and not stopped:
        os.unlink(log)
        raise KtraceError(
            "nothing-recorded",
            f"strace recorded nothing (its exit status was {status})",
            "its own message is above; tracing another user's process needs root or CAP_SYS_PTRACE",
        )
    with open(log, "rb") as file:
        file.seek(max(size - 1, 0))
        if file.read() not in (b"", b"\n"):
            raise KtraceError(
                "log-cut",
                f"{log} ends in the middle of a line: strace could not write all of it",
                "free some space, or write to another disk, and record again",
            )


def _supervise(line: list[str], own_command: bool) -> int:
    """Run strace, pass signals on, and return its exit status as a shell would say it."""
    waited = {signal.SIGCHLD, *PASSED_ON}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    try:
        child = subprocess.Popen(
            line, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before)
        )
        while child.poll() is None:
            info = signal.sigwaitinfo(waited)
            # A key pressed on the terminal has reached the whole process group already.
            if info.si_signo != signal.SIGCHLD and info.si_code != SI_KERNEL:
                _pass_on(child.pid, info.si_signo, own_command)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _pass_on(strace: int, number: int, own_command: bool) -> None:
    """Send a signal to the traced program; an attached strace is told to detach instead."""
    if not own_command:
        os.kill(strace, signal.SIGINT)
        return
    for pid in _children(strace):
        os.kill(pid, number)


def _children(parent: int) -> list[int]:
    """Return the processes whose parent is `parent` (the program that strace started)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] not in "ZX":
            found.append(int(entry.parent.name))
    return found
