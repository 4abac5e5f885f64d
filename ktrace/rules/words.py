"""Sentences that findings have in common."""

from ktrace.findings import Outcome
from ktrace.rules.fold import OTHERS, Fold
from ktrace.wording import plural

# Past tense, so that one form serves one connection and many.
_BECAME: tuple[tuple[Outcome, str], ...] = (
    ("fallback", "went on with TLS in user space"),
    ("tx-only", "ended up with TX alone in the kernel"),
    ("rx-only", "ended up with RX alone in the kernel"),
    ("offloaded", "ended up with TX and RX in the kernel"),
    ("ulp-only", "got the ULP but no keys"),
    ("not-connected", "never came up, so no TLS was lost"),
    ("unknown", "went on out of this trace's sight"),
    ("none", "only listened"),
)


def became(fold: Fold) -> str:
    """Say what became of the connections."""
    parts = [(fold.outcomes[outcome], text) for outcome, text in _BECAME if fold.outcomes[outcome]]
    if not parts:
        return ""
    if fold.count == 1:
        return f"the connection {parts[0][1]}"
    if len(parts) == 1 and parts[0][0] == fold.count:
        everyone = "both connections" if fold.count == 2 else f"all {fold.count:,} connections"
        return f"{everyone} {parts[0][1]}"
    counted = ", ".join(f"{count:,} {text}" for count, text in parts)
    return f"of {plural(fold.count, 'connection')}, {counted}"


def retried(fold: Fold) -> str:
    """Say whether the ULP was tried again."""
    if not fold.retried:
        return "the ULP was not tried again"
    if fold.count == 1:
        return "a later attempt succeeded" if fold.recovered else "later attempts failed too"
    return f"the ULP was tried again on {fold.retried:,}, with success on {fold.recovered:,}"


def consequence(fold: Fold) -> tuple[str, ...]:
    """Say that refused key installs follow from the missing ULP and are no fault of their own."""
    if not fold.keys_without_ulp:
        return ()
    where = "" if fold.count == 1 else f" on {fold.keys_without_ulp:,} of them"
    return (f"TLS_TX or TLS_RX then failed{where} for want of the ULP: a consequence, not a fault",)


def to_peers(fold: Fold, most: int = 3) -> str:
    """Name the peers where there is more than one, the most frequent first."""
    names = [name for name in fold.peers if name != OTHERS]
    if len(names) < 2:
        return ""
    shown = [f"{name} ({fold.peers[name]:,})" for name in names[:most]]
    if len(names) > most:
        many = fold.peers[OTHERS] > 0
        shown.append("many more" if many else f"{len(names) - most} more")
    return f"peers: {', '.join(shown)}"
