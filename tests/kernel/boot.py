"""Boot a guest in software emulation, give it a job, and take the results out."""

import platform
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.kernel import image
from tests.kernel.guests import Guest
from tests.kernel.steps import NotBuilt

ROOT = Path(__file__).resolve().parents[2]
QEMU = "qemu-system-x86_64"
CORES = 2
ROOM = 512 << 20  # bytes for the results; the file is sparse
CHECKOUT = ("ktrace", "bpf", "reports/templates", "tests/kernel")


class Failed(Exception):
    """The guest did not come to an end; says where its console is."""


@dataclass(frozen=True)
class Ran:
    """What a job left: `folder` holds its /results and the guest's console."""

    folder: Path
    status: int
    seconds: float

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")


def run(guest: Guest, script: str, files: dict[str, Path], folder: Path, limit_s: float) -> Ran:
    """Run a shell script in a fresh copy of a guest.

    The script starts in /job, where `files` (names there to paths here) and the checkout lie; what
    it writes to /results, and all it prints, is in `folder` afterwards, in place of what was there.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "run").write_text(script)
    job, back = folder / "job.tar", folder / "results.tar"
    pack({"run": folder / "run", **files}, job)
    with back.open("wb") as out:
        out.truncate(ROOM)
    console = folder / "console"
    began = time.monotonic()
    line = [*command(guest, job, back), "-display", "none", "-serial", f"file:{console}"]
    try:
        subprocess.run(line, stdin=subprocess.DEVNULL, check=True, timeout=limit_s)
        unpack = ["tar", "-x", "--no-same-owner", "-f", str(back), "-C", str(folder)]
        subprocess.run(unpack, check=True)
        status = int((folder / "status").read_text())
    except (subprocess.SubprocessError, OSError) as error:
        told = console.read_text(errors="replace")[-2000:] if console.exists() else ""
        raise Failed(f"{guest.name}: {error}; its console ({console}) ends:\n{told}") from error
    finally:
        back.unlink(missing_ok=True)
        job.unlink(missing_ok=True)
    return Ran(folder, status, time.monotonic() - began)


def run_or_again(
    guest: Guest, script: str, files: dict[str, Path], folder: Path, limit_s: float
) -> Ran:
    """Run a script that must end with 0; a guest that panics, hangs or gives up gets another boot.

    Nothing of the first is judged; its console and results stay in `folder`-first.
    """
    try:
        return _good(guest, run(guest, script, files, folder, limit_s))
    except Failed as error:
        print(f"{error}\n{guest.name}: once more", file=sys.stderr, flush=True)
        first = folder.with_name(f"{folder.name}-first")
        shutil.rmtree(first, ignore_errors=True)
        folder.rename(first)
    return _good(guest, run(guest, script, files, folder, limit_s))


def _good(guest: Guest, ran: Ran) -> Ran:
    print(f"{guest.name}: {ran.folder.name} took {ran.seconds:.0f} s", file=sys.stderr, flush=True)
    if ran.status:
        raise Failed(f"{guest.name}: the job ended with {ran.status}:\n{ran.output[-3000:]}")
    return ran


def shell(guest: Guest, files: dict[str, Path], folder: Path) -> None:
    """Open a shell in the guest on this terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    job = folder / "job.tar"
    pack(files, job)
    line = command(guest, job, None)
    at = line.index("-append") + 1
    line[at] += " ktrace.shell"
    subprocess.run([*line, "-nographic"], check=False)


def pack(files: dict[str, Path], target: Path) -> None:
    """Write a tar of files and of the parts of the checkout that a guest needs."""
    with tarfile.open(target, "w") as tar:
        for part in CHECKOUT:
            tar.add(ROOT / part, f"checkout/{part}", filter=_no_caches)
        for name, path in files.items():
            tar.add(path, name, filter=_no_caches)


def _no_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member


def command(guest: Guest, job: Path, back: Path | None) -> list[str]:
    """Return the line that boots a guest; writes to its disk are thrown away."""
    if shutil.which(QEMU) is None:
        raise NotBuilt(f"{QEMU} is not installed (Debian: qemu-system-x86)")
    if platform.machine() != "x86_64":
        raise NotBuilt("the guests are amd64, and so are the programs built for them here")
    files = image.built(guest)
    drives = [f"file={files.disk},format=raw,snapshot=on", f"file={job},format=raw,readonly=on"]
    if back is not None:
        drives.append(f"file={back},format=raw,cache=unsafe")
    # One thread for all cores: with a thread each, a core may run a breakpoint that the kernel has
    # just patched away (seen on 7.3 as a panic in ksys_read while probes were attached).
    return [
        QEMU,
        *("-machine", "pc", "-accel", "tcg,thread=single", "-cpu", "max"),
        *("-smp", str(CORES), "-m", "1536", "-nic", "none", "-no-reboot"),
        *("-kernel", str(files.kernel), "-initrd", str(files.initrd)),
        *("-append", "console=ttyS0 panic=-1 quiet random.trust_cpu=on no_timer_check"),
        *(word for drive in drives for word in ("-drive", f"if=virtio,{drive}")),
    ]
