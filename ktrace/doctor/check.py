"""The answer to one question about the host."""

from collections.abc import Callable
from typing import Literal

import msgspec

from ktrace.errors import KtraceError

Status = Literal["ok", "missing", "unknown"]


class Check(msgspec.Struct, frozen=True):
    """`todo` is what to do about it, empty where nothing is to be done."""

    area: Literal["kTLS", "live capture", "recording"]
    name: str
    status: Status
    found: str
    todo: str = ""


def guarded(look: Callable[[], Check], area: Literal["kTLS", "live capture", "recording"]) -> Check:
    """Run one look; what this host forbids or lacks is an answer too."""
    try:
        return look()
    except (OSError, ValueError, UnicodeDecodeError, KtraceError) as error:
        name = look.__name__.strip("_").replace("_", " ")
        return Check(area, name, "unknown", f"could not look: {error}", "run ktrace doctor as root")
