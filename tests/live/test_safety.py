"""What a capture as root may touch: its own probe, and the files that it was told to write."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ktrace.resources import bpf_dir
from tests.live.capturing import KTRACE

pytestmark = pytest.mark.live

OPENED = re.compile(
    r'open(?:at2?)?\((?:AT_FDCWD(?:<[^>]*>)?|\d+<([^>]*)>), "([^"]*)", ([^)]*)\) = \d'
)
CHANGES = re.compile(
    r"\b(?:rename\w*|unlink\w*|mkdir\w*|symlink\w*|link\w*|chmod|fchmodat|chown|fchownat)\("
)
RUN = [sys.executable, "-c", "pass"]


def watched(folder: Path, *args: str) -> str:
    """Run `ktrace live` under strace and return the log of what it did to files."""
    strace = shutil.which("strace")
    assert strace is not None, "the live suite needs strace"
    trace = folder.parent / "trace"
    calls = "open,openat,openat2,creat,?rename,renameat,renameat2,?unlink,unlinkat,?mkdir,mkdirat"
    calls += ",?symlink,symlinkat,?link,linkat,?chmod,fchmodat,?chown,fchownat"
    line = [strace, "-f", "-y", "-s", "4096", "-o", str(trace), "-e", f"trace={calls}"]
    environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([*line, *KTRACE, "live", *args, "--", *RUN], cwd=folder, env=environ, check=True)
    return trace.read_text()


def test_only_the_files_that_were_named_are_written(tmp_path: Path) -> None:
    """Among them no cache, no socket, nothing in /tmp; a draft is beside its file and gone."""
    folder = tmp_path / "folder"
    folder.mkdir()
    log = watched(folder, "--output", "run.ktrace", "--json", "report.json")
    written = set()
    for base, name, flags in OPENED.findall(log):
        if "O_WRONLY" in flags or "O_RDWR" in flags or "O_CREAT" in flags:
            written.add(os.path.normpath(os.path.join(base or folder, name)))
    assert f"{folder}/run.ktrace" in written
    foreign = {path for path in written if not path.startswith((f"{folder}/", "/dev/null"))}
    assert {path for path in foreign if not path.startswith("/proc/self/")} == set()
    assert sorted(os.listdir(folder)) == ["report.json", "run.ktrace"]
    moved = [line for line in log.splitlines() if CHANGES.search(line)]
    assert len(moved) == 1 and '"report.json"' in moved[0], moved


def test_the_probe_comes_from_ktraces_own_package(tmp_path: Path) -> None:
    """Objects of the same name lie where a loader might look."""
    folder = tmp_path / "folder"
    for place in (folder, folder / "bpf"):
        place.mkdir(exist_ok=True)
        for probe in bpf_dir().glob("probe.*"):
            (place / probe.name).write_bytes(b"not a probe")
    log = watched(folder)
    objects = {name for _, name, _ in OPENED.findall(log) if re.search(r"\.(?:bpf|o)$", name)}
    assert objects, log[:2000]
    assert {os.path.dirname(name) for name in objects} == {str(bpf_dir())}


@pytest.mark.parametrize("option", ["--output", "--json", "--html"])
def test_no_link_is_followed_where_everybody_may_write(tmp_path: Path, option: str) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o1777)
    (tmp_path / "precious").write_text("precious")
    (folder / "out").symlink_to(tmp_path / "precious")
    more = ["--force"] if option == "--output" else []
    line = [*KTRACE, "live", option, str(folder / "out"), *more, "--", *RUN]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "a symbolic link in a folder where everybody may write" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "precious").read_text() == "precious"
