"""User stacks of early ULP attempts: taken as bytes at the call, named after the fact."""

from ktrace.sources.live import kernel
from ktrace.sources.live.attach import Loaded
from ktrace.sources.live.layout import STACK_BYTES, STACK_HEAD, STACKS
from ktrace.sources.live.maps import Maps


class Stacks:
    """Collects the copies as they come, while the process that made them still has its maps."""

    def __init__(self, loaded: Loaded) -> None:
        self._fd = loaded.map("stacks")
        self._copies: list[bytes] = []
        self._maps: dict[int, Maps] = {}

    def keep_up(self, count: int) -> None:
        """Fetch copies that were taken since the last time (called by the draining thread)."""
        for slot in range(len(self._copies), min(count, STACKS)):
            key = slot.to_bytes(4, "little")
            copy = kernel.map_lookup(self._fd, key, STACK_HEAD.size + STACK_BYTES)
            tgid = STACK_HEAD.unpack_from(copy)[4]
            if tgid not in self._maps:
                self._maps[tgid] = Maps.of(tgid)
            self._copies.append(copy)

    def frames(self, tgid: int, slot: int) -> tuple[str, ...] | None:
        """Return the calling code, innermost first, None where the copy cannot be read."""
        if slot >= len(self._copies):
            return None
        copy = self._copies[slot]
        ip, sp, bp, size, _ = STACK_HEAD.unpack_from(copy)
        maps = self._maps.get(tgid)
        if maps is None or not maps.regions or ip == 0:
            return None
        from ktrace.sources.live.unwind import unwind

        stack = copy[STACK_HEAD.size : STACK_HEAD.size + size]
        return tuple(maps.name(address) for address in unwind(maps, ip, sp, bp, stack)) or None
