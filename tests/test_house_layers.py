"""Imports point one way, heavy libraries have one importer, and nothing grows out of sight."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ktrace"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each part may import of ktrace; a new part needs a row.  `ktrace` is the package itself
# (the version).
LEAVES = {"errors", "events", "findings", "places", "uapi", "wording", "ktrace"}
MAY_IMPORT: dict[str, set[str]] = {
    "ktrace": {"api", "errors"},
    "errors": set(),
    "uapi": set(),
    "events": set(),
    "findings": set(),
    "wording": {"findings"},
    "packed": {"findings"},
    "timelines": {"findings"},
    "resources": {"errors"},
    "places": {"errors"},
    "statistics": {"findings"},
    "tally": {"findings", "statistics", "timelines"},
    "tables": LEAVES,
    "metrics": LEAVES,
    "recording": LEAVES,
    # Of the timelines a source knows TraceFacts and Gap only: see the test below.
    "sources": {"errors", "events", "places", "resources", "timelines", "uapi"},
    "tcp_state": {"events", "uapi"},
    # The sequencer and the verdict on what it tracked are one layer.
    "sequencer": {"events", "findings", "tcp_state", "timelines", "uapi"},
    "rules": {"events", "findings", "timelines", "uapi", "wording"},
    "reporters": LEAVES | {"packed", "resources", "statistics", "tables", "tally", "timelines"},
    "analysis": LEAVES
    | {"packed", "rules", "sequencer", "sources", "statistics", "tally", "tcp_state", "timelines"},
    "check": LEAVES | {"analysis", "statistics", "tally", "timelines"},
    "scrub": LEAVES | {"reporters", "sources"},
    "doctor": LEAVES | {"resources", "sources"},
    "__main__": {"cli"},
    "api": {"analysis", "findings", "reporters", "tables"},
    "pytest_plugin": LEAVES | {"analysis", "api", "check", "recording", "rules"},
    "cli": LEAVES
    | {"analysis", "check", "doctor", "metrics", "recording", "reporters", "rules", "sources"}
    | {"scrub", "timelines"},
}

# Heavy or optional: imported when needed, the first five by one module each.
ONE_IMPORTER = {
    "bcc": "ktrace/sources/live/",
    "jinja2": "ktrace/reporters/",
    "numpy": "ktrace/sources/strace/columns.py",
    "pandas": "ktrace/tables.py",
    "scipy": "ktrace/check/",
}
HEAVY = (*ONE_IMPORTER, "elftools", "prometheus_client", "pyarrow", "zstandard")

# Longer than is good to read, each with its reason.
MOST_FUNCTION_LINES, MOST_MODULE_LINES = 40, 400
LONG = {
    "ktrace/sequencer/tracked.py:__init__": "one line a field",
    "ktrace/sources/live/decode.py:decode": "the innermost loop of a capture; half is one Event",
    "ktrace/sources/strace/scan.py:_clean_rows": "the innermost loop; a call a line costs too much",
    "ktrace/sources/strace/usual.py:_rows": "half of it is one Row, a line a field",
    "ktrace/sources/strace/reader.py:_event": "half of it is one Event, a line a field",
}


def unit(module: Path) -> str:
    """Return the part of ktrace that a module belongs to: its package or its own name."""
    first = module.relative_to(PACKAGE).parts[0]
    return "ktrace" if first == "__init__.py" else first.removesuffix(".py")


@functools.cache
def imports(module: Path) -> tuple[tuple[str, bool], ...]:
    """Return the full name of each import and whether it runs when the module is imported."""
    return tuple(_imports(module))


def _imports(module: Path) -> Iterator[tuple[str, bool]]:
    tree = _WithoutTypes().visit(ast.parse(module.read_text(encoding="utf-8")))
    lazy = {id(node) for node in _lazy_nodes(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) not in lazy


def _lazy_nodes(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ast.walk(node)


class _WithoutTypes(ast.NodeTransformer):
    """Drops `if TYPE_CHECKING:` blocks, which import nothing when the program runs."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else node


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(module: Path) -> None:
    here = unit(module)
    assert here in MAY_IMPORT, f"{here} has no row in MAY_IMPORT"
    for name, _ in imports(module):
        top, *rest = name.split(".")
        if top == "ktrace":
            there = rest[0] if rest and (PACKAGE / rest[0]).exists() else ""
            there = there or (
                rest[0] if rest and (PACKAGE / f"{rest[0]}.py").exists() else "ktrace"
            )
            assert there == here or there in MAY_IMPORT[here], f"{here} imports {name}"


def test_sources_know_no_connection() -> None:
    for module in MODULES:
        if unit(module) == "sources":
            taken = {name for name, _ in imports(module) if name.startswith("ktrace.timelines.")}
            assert taken <= {"ktrace.timelines.TraceFacts", "ktrace.timelines.Gap"}, module


@pytest.mark.parametrize("library", HEAVY)
def test_heavy_libraries_are_lazy(library: str) -> None:
    for module in importers_of(library):
        at_once = any(
            now
            for name, now in imports(module)
            if name == library or name.startswith(f"{library}.")
        )
        assert not (at_once and _is_imported_early(module)), module


@pytest.mark.parametrize(("library", "place"), ONE_IMPORTER.items())
def test_the_heaviest_have_one_importer(library: str, place: str) -> None:
    (importer,) = importers_of(library)
    assert str(importer.relative_to(ROOT)).startswith(place)


def importers_of(library: str) -> list[Path]:
    """Return the modules that import a library, for more than its types."""
    return [
        module
        for module in MODULES
        if any(name.split(".")[0] == library for name, _ in imports(module))
    ]


def _is_imported_early(module: Path) -> bool:
    """Say whether other modules of ktrace import this one when they are imported."""
    name = ".".join(module.relative_to(ROOT).with_suffix("").parts)
    return any(
        at_once and (taken == name or taken.startswith(f"{name}."))
        for other in MODULES
        for taken, at_once in imports(other)
    )


def lengths(module: Path) -> Iterator[tuple[str, int, int]]:
    """Yield the place, the lines and the most lines of a module and of its functions."""
    text = module.read_text(encoding="utf-8")
    name = str(module.relative_to(ROOT))
    yield name, text.count("\n"), MOST_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1 - _docstring_lines(node)
            yield f"{name}:{node.name}", lines, MOST_FUNCTION_LINES


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    text = ast.get_docstring(node, clean=False)
    return 0 if text is None else text.count("\n") + 1


def test_functions_and_modules_are_short_or_have_a_reason() -> None:
    """Cut what is new here, or say in LONG why it is better whole; take out what was cut."""
    long = {
        place: lines for module in MODULES for place, lines, most in lengths(module) if lines > most
    }
    assert set(long) == set(LONG), long
