"""Find the files that are not Python: the probe's sources and the report's templates.

They lie at the top level of a checkout (also of one installed with `pip install -e`), and under
`ktrace/_data` in a wheel.
"""

from pathlib import Path

from ktrace.errors import KtraceError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def bpf_dir() -> Path:
    """Return the folder of the eBPF sources (and objects, where they were built)."""
    return _find("bpf", _CHECKOUT / "bpf")


def templates_dir() -> Path:
    """Return the folder of the HTML report's templates, styles and scripts."""
    return _find("templates", _CHECKOUT / "reports" / "templates")


def _find(name: str, in_checkout: Path) -> Path:
    packaged = _PACKAGE / "_data" / name
    for folder in (packaged, in_checkout):
        if folder.is_dir():
            return folder
    raise KtraceError(
        "missing-files",
        f"this installation of ktrace lacks its {name} files (looked for {packaged})",
        "install ktrace again from a wheel or a complete checkout",
    )
