"""Make the smallest initrd that can mount a virtio disk and go on from there."""

import lzma
import shutil
import subprocess
from pathlib import Path

from tests.kernel.steps import Steps

WANTED = ("virtio_pci", "virtio_blk", "ext4")
SCRIPT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod "/$module"; done
/bin/busybox mount -t ext4 /dev/vda /disk || exec /bin/busybox sh
/bin/busybox mount --move /dev /disk/dev
exec /bin/busybox switch_root /disk /ktrace-init
"""


def make(steps: Steps, tree: Path, release: str, target: Path) -> None:
    """Write the initrd for a kernel whose modules are in `tree`."""
    work = target.with_name("initrd-files")
    for folder in ("bin", "dev", "disk"):
        (work / folder).mkdir(parents=True)
    shutil.copy(tree / "bin" / "busybox", work / "bin" / "busybox")
    modules = tree / "usr" / "lib" / "modules" / release
    names = [_add_module(modules / path, work) for path in in_order(modules)]
    (work / "init").write_text(SCRIPT.format(modules=" ".join(names)))
    (work / "init").chmod(0o755)
    files = "\n".join(str(path.relative_to(work)) for path in sorted(work.rglob("*")))
    with target.open("wb") as out:
        pack = ["cpio", "--quiet", "-o", "-H", "newc", "-D", str(work)]
        subprocess.run(pack, input=files.encode(), stdout=out, check=True)
    shutil.rmtree(work)


def in_order(modules: Path) -> list[str]:
    """Return the module files that are wanted, each after those it needs (from modules.dep)."""
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {Path(path).name.partition(".")[0].replace("-", "_"): path for path in needs}
    order: list[str] = []
    for name in WANTED:
        if name in by_name:  # else it is built in
            path = by_name[name]
            order += [p for p in (*reversed(needs[path]), path) if p not in order]
    return order


def _add_module(module: Path, work: Path) -> str:
    """Copy a module, unpacked, and return its name in the initrd."""
    data = module.read_bytes()
    name = module.name.removesuffix(".xz")
    (work / name).write_bytes(lzma.decompress(data) if module.suffix == ".xz" else data)
    return name
