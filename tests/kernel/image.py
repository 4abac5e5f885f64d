"""Build the disk, kernel and initrd of a guest, once: later runs find them in the cache.

Everything comes from the Debian mirror that this machine's apt is set up with, and from PyPI.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kernel import debian, initrd
from tests.kernel.guests import PROGRAMS, WHEELS, Guest, Root
from tests.kernel.steps import NotBuilt, Steps

HERE = Path(__file__).resolve().parent
INIT = HERE / "guest" / "init"
RECIPE = (HERE / "image.py", HERE / "debian.py", HERE / "initrd.py", INIT)
NEEDED = {"debootstrap": "debootstrap", "mke2fs": "e2fsprogs", "cpio": "cpio", "xz": "xz-utils"}
LIBRARIES = "opt/ktrace-libraries"
DISK_SIZE = "3G"  # sparse: half of it is used


@dataclass(frozen=True)
class Built:
    disk: Path
    kernel: Path
    initrd: Path


def built(guest: Guest) -> Built:
    """Return the guest's files, from the cache or built now, which takes minutes and root."""
    with _claimed(guest.root) as folder:
        if not folder.is_dir():
            _build_beside(guest.root, folder)
    kernel = folder / guest.kernel
    return Built(folder / "disk", kernel / "vmlinuz", kernel / "initrd")


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ktrace" / "kernel"


def key(root: Root) -> str:
    """Return a name that changes with the recipe (not with what the mirror has)."""
    told = hashlib.sha256(json.dumps([repr(root), PROGRAMS, WHEELS]).encode())
    for file in RECIPE:
        told.update(file.read_bytes())
    return f"{root.suite}-{told.hexdigest()[:16]}"


@contextmanager
def _claimed(root: Root) -> Iterator[Path]:
    """Let one process build an image while others wait for it."""
    cache().mkdir(parents=True, exist_ok=True)
    folder = cache() / key(root)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _build_beside(root: Root, target: Path) -> None:
    """Build in a folder of its own and rename it: a cut build leaves no half image."""
    if os.geteuid() != 0:
        raise NotBuilt("building a guest needs root: debootstrap makes a whole Debian")
    missing = [package for name, package in NEEDED.items() if shutil.which(name) is None]
    if missing:
        raise NotBuilt(f"not installed: {' '.join(missing)}")
    with tempfile.TemporaryDirectory(dir=cache(), prefix=f"{root.suite}-making-") as folder:
        work = Path(folder)
        made = work / "made"
        made.mkdir()
        _build(root, Steps(work / "log"), work, made)
        (work / "log").rename(made / "log")
        made.rename(target)


def _build(root: Root, steps: Steps, work: Path, made: Path) -> None:
    tree = work / "tree"
    debian.bootstrap(steps, root.suite, PROGRAMS, tree)
    for suite in root.kernels:
        (made / suite).mkdir()
        release = debian.add_kernel(steps, suite, work / f"apt-{suite}", tree, made / suite)
        steps.do("chroot", tree, "depmod", release)
        initrd.make(steps, tree, release, made / suite / "initrd")
    _add_libraries(steps, root, tree / LIBRARIES)
    # Compiling them takes seconds in emulation, at each start.
    steps.do("chroot", tree, "python3", "-m", "compileall", "-q", f"/{LIBRARIES}")
    shutil.copy(INIT, tree / "ktrace-init")
    (tree / "ktrace-init").chmod(0o755)
    options = ["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0"]
    steps.do("mke2fs", *options, "-d", tree, made / "disk", DISK_SIZE)


def _add_libraries(steps: Steps, root: Root, target: Path) -> None:
    """Install what ktrace imports, as wheels for the guest's Python, not for this one."""
    platforms = [f"--platform=manylinux{tag}_x86_64" for tag in ("2014", "_2_17", "_2_28")]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile"]
    pip.append(f"--target={target}")
    wanted = [f"--python-version={root.python}", "--implementation=cp", "--only-binary=:all:"]
    steps.do(*pip, *wanted, *platforms, *WHEELS)
