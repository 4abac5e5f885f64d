"""What this host can do: kTLS itself, live capture, and recording with strace."""

from ktrace.doctor import capture, kernel, tools
from ktrace.doctor.check import Check

__all__ = ["Check", "examine"]


def examine() -> tuple[Check, ...]:
    """Look at this host; every check answers, whatever is missing."""
    return (*kernel.checks(), *capture.checks(), *tools.checks())
