"""The files that are not Python are found in a checkout and in a wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ktrace import resources
from ktrace.errors import KtraceError

ROOT = Path(__file__).resolve().parent.parent


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run_in_wheel(unpacked: Path, code: str) -> str:
    """Run code with the wheel's ktrace; the checkout's must not be the one that answers."""
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        f"import ktrace; assert ktrace.__file__.startswith({str(unpacked)!r}), ktrace.__file__\n"
        f"{code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=unpacked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_checkout_has_them_at_the_top_level() -> None:
    assert resources.bpf_dir() == ROOT / "bpf"
    assert resources.templates_dir() == ROOT / "reports" / "templates"


def test_the_wheel_has_every_file_of_both_folders(unpacked: Path) -> None:
    data = unpacked / "ktrace" / "_data"
    assert files_below(data / "bpf") == files_below(ROOT / "bpf")
    assert files_below(data / "templates") == files_below(ROOT / "reports" / "templates")
    assert files_below(data / "bpf")
    assert files_below(data / "templates")


def test_the_wheel_has_every_module_and_the_type_marker(unpacked: Path) -> None:
    here = {name for name in files_below(ROOT / "ktrace") if name.endswith((".py", "py.typed"))}
    assert here <= files_below(unpacked / "ktrace")
    assert "py.typed" in here


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ktrace"}


def test_the_wheel_finds_its_own_files(unpacked: Path) -> None:
    said = run_in_wheel(
        unpacked,
        "from ktrace import resources; print(resources.bpf_dir(), resources.templates_dir())",
    )
    data = unpacked / "ktrace" / "_data"
    assert said.split() == [str(data / "bpf"), str(data / "templates")]


def test_the_wheel_analyses_a_log_and_renders_it(unpacked: Path) -> None:
    log = ROOT / "tests/fixtures/haproxy-before-delayed/trace"
    page = unpacked / "report.html"
    code = (
        f"report = ktrace.parse({str(log)!r}); report.to_html({str(page)!r}); print(report.raced)"
    )
    assert run_in_wheel(unpacked, code).strip() == "5"
    assert "10.9.0.2:4043" in page.read_text(encoding="utf-8")


def test_a_broken_installation_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path)
    monkeypatch.setattr(resources, "_CHECKOUT", tmp_path)
    with pytest.raises(KtraceError, match="lacks its bpf files"):
        resources.bpf_dir()
