"""What bpftrace saw of the same events: a second clock, and a check of the first account.

The kernel skips a program of it now and then, without a word.
"""

from collections.abc import Iterator
from pathlib import Path

from tests.kernel.lines import Call, Done, Line, State, Tls, TlsUlp


def read(folder: Path) -> Iterator[Line]:
    """Yield what happened; a call's lines are joined by their thread."""
    calls: dict[int, tuple[int, int]] = {}  # tid -> option, first bytes of the value
    for text in (folder / "recorder").read_text().splitlines():
        kind, *words = text.split() or [""]  # its maps, at the end, begin with an empty line
        if kind == "state":
            at, _sk, *rest = words
            yield State(int(at), *map(int, rest))
        elif kind == "call":
            at, thread, _pid, _fd, level, name, head = words
            calls[int(thread)] = int(name), int(head) & 0xFFFFFFFF
            yield Call(int(at), int(thread), int(level), int(name))
        elif kind == "done":
            calls.pop(int(words[1]), None)
            yield Done(*map(int, words))
        elif kind in ("ulp", "tls"):
            yield from _inside(kind, words, calls)


def _inside(kind: str, words: list[str], calls: dict[int, tuple[int, int]]) -> Iterator[Line]:
    at, tid, _sk, local, peer, state = words[:6]
    place = int(local), int.from_bytes(int(peer).to_bytes(2, "little"), "big"), int(state)
    if kind == "tls" and int(tid) in calls:
        yield Tls(int(at), int(tid), *place, *calls[int(tid)])
    elif kind == "ulp" and words[6:] == ["tls"]:
        yield TlsUlp(int(at), int(tid), *place)
