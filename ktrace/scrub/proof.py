"""Reads what a scrub writes as `ktrace parse` would: the second pair of eyes."""

from collections.abc import Iterable, Iterator

from ktrace.errors import KtraceError
from ktrace.sources.strace import dialect, files, scan
from ktrace.sources.strace.account import Account
from ktrace.sources.strace.datacalls import Counted
from ktrace.sources.strace.reader import Reader
from ktrace.sources.strace.rows import Block, Dialect


class _Anything:
    """The descriptor of a data call that nobody looks at."""

    refs = 1
    omitted = 0


class _Unconcerned:
    """A consumer to which no data call matters."""

    detailed = False
    generation = 0
    asked: frozenset[int] = frozenset()

    def unknown(self, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        return []

    def settled(self, tid: int, fd: int) -> Counted:
        return _Anything()


class Proof:
    """Takes the blocks of one file; raises KtraceError where a key is still to be seen."""

    def __init__(self, name: str, account: Account) -> None:
        self._name = name
        self._account = account
        self._reader = Reader(0, account, None, _Unconcerned())
        self._dialect: Dialect | None = None

    def read(self, block: bytes) -> None:
        if self._dialect is None:
            self._dialect = dialect.of(block[: dialect.HEAD_BYTES])
        whole = block if block.endswith(b"\n") else block + b"\n"
        blocks: Iterator[tuple[bytes, Block]] = iter([(whole, scan.scan(whole, self._dialect))])
        for _ in self._reader.events(blocks):
            pass
        if self._account.key_line_count:
            line = self._account.key_lines[0][1]
            raise KtraceError(
                "not-scrubbed",
                f"{self._name}:{line}: shows key bytes in a form that scrub cannot blank",
                "remove that call by hand; please report its form, without the bytes",
            )


def require_trace(name: str, account: Account) -> None:
    """Refuse what is no strace log: nothing is known of what it may hold."""
    if not account.lines:
        raise KtraceError("empty", f"{name}: is empty", files.RECORD_HELP)
    if account.events == 0 and (
        account.records < 1 or account.not_understood > 4 * account.records
    ):
        raise no_trace(name)


def no_trace(name: str) -> KtraceError:
    message = f"{name}: not an strace log, so it cannot be scrubbed"
    return KtraceError("no-trace", message, files.RECORD_HELP)
