"""Find the files that are not Python: the probe's sources and the report's templates.

They lie at the top level of a checkout (also of one installed with `pip install -e`), and under
`ktrace/_data` in a wheel.
"""

import os

from ktrace.errors import KtraceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

_PACKAGE = os.path.dirname(os.path.realpath(__file__))
_CHECKOUT = os.path.dirname(_PACKAGE)


def bpf_folder() -> str:
    """Return the folder of the eBPF sources and objects, for who cannot wait for `pathlib`."""
    return _find("bpf", os.path.join(_CHECKOUT, "bpf"))


def bpf_dir() -> "Path":
    """Return the folder of the eBPF sources (and objects, where they were built)."""
    return _path(bpf_folder())


def templates_dir() -> "Path":
    """Return the folder of the HTML report's templates, styles and scripts."""
    return _path(_find("templates", os.path.join(_CHECKOUT, "reports", "templates")))


def _path(name: str) -> "Path":
    from pathlib import Path

    return Path(name)


def _find(name: str, in_checkout: str) -> str:
    packaged = os.path.join(_PACKAGE, "_data", name)
    for folder in (packaged, in_checkout):
        if os.path.isdir(folder):
            return folder
    raise KtraceError(
        "missing-files",
        f"this installation of ktrace lacks its {name} files (looked for {packaged})",
        "install ktrace again from a wheel or a complete checkout",
    )
