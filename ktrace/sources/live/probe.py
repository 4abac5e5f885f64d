"""The probe in its place: told whom to trace, and attached.

What it records waits in the ring for a `Session`.
"""

import struct
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ktrace.sources.live import kernel, targets
from ktrace.sources.live.attach import Attached, Loaded, attach
from ktrace.sources.live.child import Child
from ktrace.sources.live.targets import Chosen, Wanted

if TYPE_CHECKING:
    from ktrace.sources.live.hooks import Method

# struct kt_config: name, cgroup and its level, whether children are followed.
CONFIG = struct.Struct("=16sQII")


class Probe:
    """An attached probe.  `chosen` are the processes to begin with, `alive` those traced when it
    was attached, and `existing` the sockets that they had.  `stopped`: the user has had enough.
    """

    def __init__(self, loaded: Loaded, wanted: Wanted, chosen: Chosen) -> None:
        self.loaded = loaded
        self.wanted = wanted
        self.alive: set[int] = set()
        self.existing: list[targets.Existing] = []
        self.child: Child | None = Child(wanted.command) if wanted.command else None
        self.attached: Attached | None = None
        self.stopped = False
        try:
            self._set_up()
            self._take(chosen.tgids if self.child is None else (self.child.pid,))
            self.attached = attach(loaded)
            if self.child is None and wanted.follow and targets.newest() != chosen.newest:
                self._take_missed()
        except BaseException:
            self.close()
            if self.child is not None:
                self.child.abandon()
            raise

    @property
    def method(self) -> "Method | None":
        """How the probe looks into the kernel's functions, None where it cannot."""
        return None if self.attached is None else self.attached.method

    @property
    def sees_rings(self) -> bool:
        """Connects and kTLS calls made through io_uring are seen too: what looks into the ULP alone
        (bcc) sees neither connects nor keys.
        """
        return self.method is not None and len(self.loaded.inside) > 1

    def stop(self) -> None:
        """End the capture; what happened until now is still told."""
        self.stopped = True

    def detach(self) -> None:
        """Let the kernel go; what is in the ring stays there."""
        if self.attached is not None:
            self.attached.close()
            self.attached = None

    def close(self) -> None:
        """Detach, and let go of everything."""
        self.detach()
        self.loaded.close()

    def _set_up(self) -> None:
        """Tell the probe what to go by."""
        wanted = self.wanted
        comm = (wanted.comm or "").encode()[:15]
        cgroup, level = wanted.cgroup or (0, 0)
        config = CONFIG.pack(comm, cgroup, level, int(wanted.follow))
        kernel.map_update(self.loaded.map("config"), kernel.FIRST, config)

    def _take(self, tgids: Collection[int]) -> None:
        """Have processes traced, and look at what they have open: nothing yet for a command."""
        for tgid in tgids:
            kernel.map_update(self.loaded.map("traced"), struct.pack("=I", tgid), kernel.FIRST)
        self.alive.update(tgids)
        if self.child is not None:
            return
        found = [one for tgid in sorted(tgids) for one in targets.existing_sockets(tgid)]
        self._watch_ports(found)
        if not self.loaded.walks:
            self._teach(found)
        self.existing += found

    def _take_missed(self) -> None:
        """Take children that were made between the choice and the attach: no fork showed them."""
        traced = self.loaded.map("traced")
        while born := self._unseen(traced):
            self._take(born)

    def _unseen(self, traced: int) -> list[int]:
        """Return the children of those that are traced which the probe does not know."""
        born = targets.with_children(self.alive) - self.alive
        return [tgid for tgid in born if not kernel.map_has(traced, tgid)]

    def _watch_ports(self, found: Sequence[targets.Existing]) -> None:
        for one in found:
            if one.state == targets.LISTEN:
                port = int(one.local.rpartition(":")[2])
                kernel.map_update(
                    self.loaded.map("ports"), struct.pack("=H", port), struct.pack("=I", 1)
                )

    def _teach(self, found: Sequence[targets.Existing]) -> None:
        """Tell a probe that cannot look which descriptors are TCP sockets."""
        for one in found:
            key = struct.pack("=Ii", one.tgid, one.fd)
            kernel.map_update(self.loaded.map("fds"), key, struct.pack("=QII", 0, 0, 0))
