"""Which socket an address of the kernel means: the kernel reuses addresses at once."""

from ktrace.events import Detail, Kind, StateDetail

SOCKET, ACCEPT = Kind.SOCKET, Kind.ACCEPT  # found once, since it is looked at for every record


class Identities:
    """Gives each socket of the kernel a number of its own: its address and a generation.

    A new inode at a known address is a new socket; so is every socket() and accept().
    """

    def __init__(self) -> None:
        self._at: dict[int, tuple[int, int]] = {}  # address -> (number, inode)
        self._last = 0

    def of(self, sk: int, inode: int, kind: Kind, fd: int, detail: Detail | None) -> int:
        """Return the number of the socket at an address, which a record is about."""
        known = self._at.get(sk)
        if known is not None and kind is not SOCKET and kind is not ACCEPT:
            number, before = known
            if inode and before:
                replaced = inode != before
            else:
                # without inodes (bcc): a life that begins inside a call on a number is a new one
                replaced = fd >= 0 and isinstance(detail, StateDetail) and detail.old == "CLOSE"
            if not replaced:
                if inode and not before:
                    self._at[sk] = (number, inode)
                return number
        self._last += 1
        self._at[sk] = (self._last, inode)
        return self._last
