"""Which socket an address of the kernel means: the kernel reuses addresses at once."""

from ktrace.events import Kind
from ktrace.sources.live.layout import Record

TCP_CLOSE = 7


class Identities:
    """Gives each socket of the kernel a number of its own: its address and a generation.

    A new inode at a known address is a new socket; so is every socket() and accept().
    """

    def __init__(self) -> None:
        self._at: dict[int, tuple[int, int]] = {}  # address -> (number, inode)
        self._last = 0

    def of(self, record: Record, kind: Kind) -> int | None:
        """Return the number of the socket that a record is about, None where it is not known."""
        if not record.sk:
            return None
        known = self._at.get(record.sk)
        if known is None or self._replaced(record, kind, known[1]):
            self._last += 1
            known = (self._last, record.ino)
            self._at[record.sk] = known
        elif record.ino and not known[1]:
            self._at[record.sk] = (known[0], record.ino)
        return known[0]

    @staticmethod
    def _replaced(record: Record, kind: Kind, inode: int) -> bool:
        if kind in (Kind.SOCKET, Kind.ACCEPT):
            return True
        if record.ino and inode:
            return record.ino != inode
        # without inodes (bcc): a life that begins inside a call on a descriptor is a new one
        return kind is Kind.STATE and record.fd >= 0 and record.arg0 == TCP_CLOSE
