"""Take a Debian and its kernels from the mirror that this machine's apt uses."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.kernel.steps import NotBuilt, Steps

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
KERNEL = "linux-image-cloud-amd64"


def mirror(steps: Steps, label: str) -> str | None:
    """Return the address from which apt takes "Debian" or "Debian-Security" here, if it does."""
    told = steps.ask("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)")
    found = [line.split(" ", 1)[1] for line in told.splitlines() if line.startswith(f"{label} ")]
    return found[0] if found else None


def bootstrap(steps: Steps, suite: str, packages: Sequence[str], tree: Path) -> None:
    """Make a small Debian with these packages."""
    main = mirror(steps, "Debian")
    if main is None:
        raise NotBuilt("apt knows no Debian mirror: run apt-get update first")
    options = ["--variant=minbase", f"--keyring={KEYRING}", f"--include={','.join(packages)}"]
    # Its mounts end with it, however it ends: a later clean-up must not meet this machine's /proc.
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    steps.do(*apart, "debootstrap", *options, suite, tree, main)
    shutil.rmtree(tree / "var" / "cache" / "apt")


def add_kernel(steps: Steps, suite: str, work: Path, tree: Path, made: Path) -> str:
    """Unpack the suite's newest cloud kernel with its headers, and return its release."""
    apt = _Apt(steps, suite, work)
    (image,) = apt.depends(KERNEL, "linux-image-")
    release = image.removeprefix("linux-image-")
    headers = f"linux-headers-{release}"
    # Newer suites split the image: it is empty and depends on these.
    parts = apt.depends(image, "linux-binary-", "linux-modules-")
    apt.unpack([image, *parts, headers, *apt.depends(headers, "linux-headers-")], tree)
    for place in (tree / "boot" / f"vmlinuz-{release}", _modules(tree, release) / "vmlinuz"):
        if place.is_file():
            shutil.copy(place, made / "vmlinuz")
            return release
    raise NotBuilt(f"no vmlinuz in {image} and {parts}")


def _modules(tree: Path, release: str) -> Path:
    return tree / "usr" / "lib" / "modules" / release


class _Apt:
    """An apt with lists of its own, that sees one suite and leaves the machine's alone."""

    def __init__(self, steps: Steps, suite: str, work: Path) -> None:
        self.steps, self.work = steps, work
        for folder in ("lists/partial", "cache/archives/partial", "debs"):
            (work / folder).mkdir(parents=True)
        (work / "sources").write_text("".join(_sources(steps, suite)))
        (work / "status").touch()
        self.options = (
            f"-oDir::Etc::SourceList={work}/sources",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={work}/lists",
            f"-oDir::State::Status={work}/status",
            f"-oDir::Cache={work}/cache",
            "-oAPT::Sandbox::User=root",
        )
        steps.do("apt-get", *self.options, "-q", "update")

    def depends(self, package: str, *prefixes: str) -> list[str]:
        """Return the packages that one depends on and whose names begin so."""
        told = self.steps.ask("apt-cache", *self.options, "depends", package)
        names = re.findall(r"^ *Depends: (\S+)$", told, re.MULTILINE)
        return [name for name in names if name.startswith(prefixes)]

    def unpack(self, packages: Sequence[str], tree: Path) -> None:
        """Unpack packages without running their scripts."""
        self.steps.do(
            "env", "-C", self.work / "debs", "apt-get", *self.options, "-q", "download", *packages
        )
        for deb in sorted((self.work / "debs").iterdir()):
            # Not `dpkg -x`, which replaces the links of a merged /usr by folders.
            files = ["dpkg-deb", "--fsys-tarfile", str(deb)]
            unpack = ["tar", "-x", "-C", str(tree), "--keep-directory-symlink"]
            with subprocess.Popen(files, stdout=subprocess.PIPE) as packed:
                subprocess.run(unpack, stdin=packed.stdout, check=True)
            if packed.returncode:
                raise NotBuilt(f"dpkg-deb cannot read {deb.name}")


def _sources(steps: Steps, suite: str) -> list[str]:
    """Return the suite, and its security updates where it has some."""
    signed = f"deb [signed-by={KEYRING}]"
    lines = [f"{signed} {mirror(steps, 'Debian')} {suite} main\n"]
    security = mirror(steps, "Debian-Security")
    if security and not suite.endswith("-backports"):
        lines.append(f"{signed} {security} {suite}-security main\n")
    return lines
