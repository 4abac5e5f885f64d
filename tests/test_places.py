"""Outputs go where the user said: no link that a stranger laid is followed on the way there."""

import os
import stat
import threading
from pathlib import Path

import pytest

from ktrace import places
from ktrace.cli import main
from ktrace.errors import KtraceError
from ktrace.reporters import write_atomically
from ktrace.sources.capture import Header, Writer
from tests.test_cli_parse import CLEAN, ROOT

LOG = str(ROOT / CLEAN)
COMMANDS = {
    "html": ["parse", LOG, "--html"],
    "json": ["parse", LOG, "--json"],
    "parquet": ["parse", LOG, "--parquet"],
    "junit": ["check", LOG, "--junit"],
    "baseline": ["check", LOG, "--update-baseline"],
    "scrub": ["scrub", LOG, "--force", "-o"],
    "record": ["record", "--force", "-o"],
}


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder as /tmp is: everybody may write, and lay links."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o1777)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("precious")
    return folder


def tried(command: str, path: Path) -> int:
    rest = ["--", "true"] if command == "record" else []
    return main([*COMMANDS[command], str(path), *rest])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_to_a_file_is_not_followed(
    open_folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = open_folder.parent / "mine"
    (open_folder / "out").symlink_to(mine / "precious")
    assert tried(command, open_folder / "out") == 2
    assert "symbolic link" in capsys.readouterr().err
    assert (mine / "precious").read_text() == "precious"
    assert (os.listdir(mine), os.listdir(open_folder)) == (["precious"], ["out"])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_to_nothing_yet_is_not_followed(open_folder: Path, command: str) -> None:
    mine = open_folder.parent / "mine"
    (open_folder / "out").symlink_to(mine / "new")
    assert tried(command, open_folder / "out") == 2
    assert os.listdir(mine) == ["precious"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_to_a_folder_is_not_followed(open_folder: Path, command: str) -> None:
    mine = open_folder.parent / "mine"
    (open_folder / "sub").symlink_to(mine)
    assert tried(command, open_folder / "sub" / "precious") == 2
    assert (mine / "precious").read_text() == "precious"
    assert os.listdir(mine) == ["precious"]


def test_nor_is_one_behind_a_link_of_ones_own(open_folder: Path) -> None:
    mine = open_folder.parent / "mine"
    (mine / "results").symlink_to("../open/out")
    (open_folder / "out").symlink_to(mine / "precious")
    with pytest.raises(KtraceError), write_atomically(mine / "results"):
        pass
    (open_folder / "out").unlink()
    with write_atomically(mine / "results") as file:
        file.write("new")
    assert (open_folder / "out").read_text() == "new"


def test_links_elsewhere_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "real" / "link").symlink_to(tmp_path / "folder" / ".." / "file")
    with write_atomically(tmp_path / "folder" / "link") as file:
        file.write("new")
    assert (tmp_path / "file").read_text() == "new"
    assert (tmp_path / "real" / "link").is_symlink()


def test_links_in_a_ring_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"), write_atomically(tmp_path / "a"):
        pass


@pytest.mark.parametrize("path", ["/", ".", "..", "sub/", "missing/out", "file/out"])
def test_what_is_no_file_is_an_error(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError), write_atomically(path):
        pass
    assert sorted(os.listdir(tmp_path)) == ["file", "sub"]


def test_a_capture_replaces_and_never_writes_into_what_was_there(open_folder: Path) -> None:
    """A hard link would lead to another file."""
    precious = open_folder.parent / "mine" / "precious"
    os.link(precious, open_folder / "out")
    writer = Writer(str(open_folder / "out"), Header(1, "ktrace", "live", "libbpf", ()), force=True)
    writer.close()
    assert precious.read_text() == "precious"
    assert (open_folder / "out").read_bytes().startswith(b"ktrace capture")


def test_the_mode_of_a_strangers_file_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else strangers could write into the report."""
    (tmp_path / "out").touch()
    (tmp_path / "out").chmod(0o666)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with write_atomically(tmp_path / "out") as file:
        file.write("new")
    assert not stat.S_IMODE((tmp_path / "out").stat().st_mode) & stat.S_IWOTH


def test_open_files_of_proc_are_written_to(tmp_path: Path) -> None:
    """`--json >(jq .)` and /dev/stdout are links whose text is no path."""
    ends: list[tuple[int, int]] = [os.pipe(), os.pipe()]
    for form, (reader, writer) in zip(("/dev/fd/{}", "/proc/self/fd/{}"), ends, strict=True):
        with write_atomically(form.format(writer)) as file:
            file.write("new")
        os.close(writer)
        with os.fdopen(reader) as received:
            assert received.read() == "new"


@pytest.mark.parametrize("command", ["json", "scrub"])
def test_a_fifo_is_written_to(tmp_path: Path, command: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    assert tried(command, tmp_path / "pipe") == 0
    reader.join()
    assert got[0] and (tmp_path / "pipe").is_fifo()


def test_no_folder_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "ring").symlink_to("ring")
    for path in ("out", "missing/out", "ring"):
        try:
            with places.place(tmp_path / path):
                pass
        except OSError:
            assert path != "out"
    assert len(os.listdir("/proc/self/fd")) == before
