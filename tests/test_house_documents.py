"""Commands and options are documented, links lead somewhere, and nothing names a machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ktrace.cli.commands import COMMANDS, available, group

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)

# Fixtures are logs of other machines and keep what they show.
MACHINE_PATHS = re.compile(rb"(?<![A-Za-z0-9_.-])/(work|farm|root|home)/[A-Za-z.]")
NOT_HERE = re.compile(rb"(?<![A-Za-z/])" + rb"shar" + rb"ed/")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def project_files() -> list[Path]:
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    paths = [ROOT / name.decode() for name in names.split(b"\0") if name]
    fixtures = ROOT / "tests" / "fixtures"
    return [path for path in paths if path.is_file() and fixtures not in path.parents]


def options_of(name: str) -> list[str]:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return [
        option
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for option in parameter.opts
        if option.startswith("--")
    ]


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_is_in_this_installation(entry: object) -> None:
    assert entry in available().values()


@pytest.mark.parametrize("name", available())
def test_every_command_is_documented(name: str) -> None:
    assert f"ktrace {name}" in README
    assert re.search(rf"^#+ .*ktrace {name}", DOCUMENTS, re.MULTILINE), "no section in docs/"


@pytest.mark.parametrize("name", available())
def test_every_option_is_documented(name: str) -> None:
    missing = [option for option in options_of(name) if f"{option}" not in DOCUMENTS]
    assert missing == []


def test_every_documented_option_exists() -> None:
    known = {option for name in available() for option in options_of(name)} | {"--help"}
    rows = re.findall(r"^\| (`-.*?) \|", DOCUMENTS, re.MULTILINE)
    named = {option for row in rows for option in re.findall(r"--[a-z][a-z-]*", row)}
    assert "--jobs" in named
    assert named <= known


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_linked_from_the_readme_or_another_page() -> None:
    linked = set(LINK.findall(README)) | {f"docs/{name}" for name in LINK.findall(DOCUMENTS)}
    top = {f"docs/{page.name}" for page in PAGES if page.parent == ROOT / "docs"}
    assert top <= linked


def test_the_readme_shows_what_make_demo_prints() -> None:
    """Where this fails after a change of the output, paste the new output."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    log = re.search(r"^DEMO_LOG = (.*)$", makefile, re.MULTILINE)
    shown = re.search(r"<!-- output of `make demo` -->\n```text\n(.*?)```", README, re.DOTALL)
    assert log is not None and shown is not None
    command = "import sys; from ktrace.cli import main; sys.exit(main())"
    printed = subprocess.run(
        [sys.executable, "-c", command, "parse", log[1]],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown[1] == printed.stdout


def test_every_make_target_is_listed() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    phony = {name for line in re.findall(r"^\.PHONY:(.*)", makefile, re.M) for name in line.split()}
    assert set(re.findall(r"^  make ([a-z-]+)", listed.stdout, re.MULTILINE)) == phony


def test_ci_runs_targets_that_exist() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    suites = re.search(r"^SUITES=\((.*)\)$", script, re.MULTILINE)
    assert suites is not None
    names = suites[1].split()
    assert names[0] == "test"
    for name in names:
        subprocess.run(["make", "-n", name], cwd=ROOT, capture_output=True, check=True)


@pytest.mark.parametrize("pattern", [MACHINE_PATHS, NOT_HERE], ids=["machine", "elsewhere"])
def test_no_file_names_a_place_outside_the_project(pattern: re.Pattern[bytes]) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line.decode(errors='replace').strip()[:80]}"
        for path in project_files()
        for line in path.read_bytes().splitlines()
        if b"\0" not in line and pattern.search(line)
    ]
    assert found == []
