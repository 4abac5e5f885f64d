"""Find what kept kTLS from being set up: one file a rule, one list of them.

A rule sees a connection when it has ended and says whether it shows a pattern; connections with the
same cause fold into one finding.
"""

from ktrace.rules.folder import FindingFolder
from ktrace.rules.registry import RULES

__all__ = ["RULES", "FindingFolder", "manual"]


def manual(code: str) -> str:
    """Return the manual page of a finding as Markdown; raises KeyError for an unknown code."""
    return {rule.code: rule for rule in RULES}[code].manual()
