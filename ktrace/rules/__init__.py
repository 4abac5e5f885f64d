"""Find what kept kTLS from being set up: one file a rule, one list of them.

A rule sees a connection when it has ended and says whether it shows a pattern; connections with the
same cause fold into one finding.
"""

from ktrace.errors import KtraceError
from ktrace.rules.folder import FindingFolder
from ktrace.rules.registry import RULES

__all__ = ["RULES", "FindingFolder", "manual"]


def manual(code: str) -> str:
    """Return the manual page of a finding as Markdown; the code's case does not matter."""
    for rule in RULES:
        if code.upper() in (rule.code, rule.name.upper()):
            return rule.manual()
    codes = f"{RULES[0].code} to {RULES[-1].code}"
    raise KtraceError(
        "no-such-finding",
        f"no finding is called {code}",
        f"`ktrace explain` lists them ({codes})",
    )
