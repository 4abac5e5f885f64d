"""ktrace: find out whether kernel TLS was really set up, and why not.

`ktrace.parse("strace.log")` returns a report; `assert not report.raced` is a test, and
`report.connections` a pandas DataFrame with one row a connection.
"""

from ktrace.errors import KtraceError

TYPE_CHECKING = False  # `typing` would keep a live capture waiting
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ktrace.api import Report, parse

__all__ = ["KtraceError", "Report", "__version__", "parse"]

__version__ = "0.1.0"


def __getattr__(name: str) -> "Callable[..., Any]":
    """Import the analysis when it is first asked for, so that `import ktrace` costs nothing."""
    if name in ("Report", "parse"):
        from ktrace import api

        value: Callable[..., Any] = getattr(api, name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
