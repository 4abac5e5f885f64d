"""Walk a copied user stack upwards with the unwind tables of the code (x86-64 .eh_frame).

Compilers leave frame pointers out, so the chain of callers is only in these tables.  Sources: the
System V ABI for x86-64, the LSB's words on .eh_frame and .eh_frame_hdr, and DWARF 5 section 6.4.
"""

import bisect
import struct
from typing import NamedTuple

from ktrace.sources.live.elf import Image
from ktrace.sources.live.maps import Maps

MAX_FRAMES = 24
RBP, RSP, RIP = 6, 7, 16
WORD = struct.Struct("<Q")


class Rules(NamedTuple):
    """How to find the caller's frame: its base, and where return address and rbp were saved."""

    register: int
    offset: int
    return_at: int
    rbp_at: int | None


class NoRule(Exception):
    """The tables say nothing for this address, or something that is not handled."""


def unwind(maps: Maps, ip: int, sp: int, bp: int, stack: bytes) -> list[int]:
    """Return the addresses of the calling code, innermost first; the first is `ip` itself."""
    found = [ip]
    base = sp
    registers = {RSP: sp, RBP: bp}
    while len(found) < MAX_FRAMES:
        # a return address may lie behind the end of its function: look at the call before it
        here = found[-1] if len(found) == 1 else found[-1] - 1
        try:
            rules = _rules(maps, here)
            frame = registers[rules.register] + rules.offset
            caller = _word(stack, frame + rules.return_at - base)
            if rules.rbp_at is not None:
                registers[RBP] = _word(stack, frame + rules.rbp_at - base)
        except (NoRule, IndexError, KeyError, struct.error):
            break
        if caller == 0 or frame <= registers[RSP]:
            break
        registers[RSP] = frame
        found.append(caller)
    return found


def _word(stack: bytes, at: int) -> int:
    if at < 0 or at + 8 > len(stack):
        raise NoRule
    word: int = WORD.unpack_from(stack, at)[0]
    return word


_tables: dict[int, "Table | None"] = {}


def _rules(maps: Maps, address: int) -> Rules:
    found = maps.find(address)
    if found is None:
        raise NoRule
    image, virtual = found
    if id(image) not in _tables:
        _tables[id(image)] = Table.of(image)
    table = _tables[id(image)]
    if table is None:
        raise NoRule
    return table.rules(virtual)


class Table:
    """The .eh_frame of one image, found through the search table of .eh_frame_hdr."""

    def __init__(self, frame: tuple[int, bytes], starts: list[int], entries: list[int]) -> None:
        self._address, self._data = frame
        self._starts = starts
        self._entries = entries

    @classmethod
    def of(cls, image: Image) -> "Table | None":
        header, frame = image.section(".eh_frame_hdr"), image.section(".eh_frame")
        # version 1, count as udata4, table of pairs relative to the header as sdata4: what all emit
        if header is None or frame is None or header[1][:4] != b"\x01\x1b\x03\x3b":
            return None
        address, data = header
        count = struct.unpack_from("<I", data, 8)[0]
        pairs = list(struct.iter_unpack("<ii", data[12 : 12 + 8 * count]))
        return cls(frame, [address + a for a, _ in pairs], [address + b for _, b in pairs])

    def rules(self, virtual: int) -> Rules:
        index = bisect.bisect_right(self._starts, virtual) - 1
        if index < 0:
            raise NoRule
        at = self._entries[index] - self._address
        length, pointer = struct.unpack_from("<II", self._data, at)
        common = self._common(at + 4 - pointer)
        start, size = struct.unpack_from("<iI", self._data, at + 8)
        start += self._address + at + 8
        if not start <= virtual < start + size:
            raise NoRule
        skipped, body = _uleb(self._data, at + 16)
        program = self._data[body + skipped : at + 4 + length]
        return _Program(common).run(program, virtual - start)

    def _common(self, at: int) -> "Common":
        data = self._data
        length = struct.unpack_from("<I", data, at)[0]
        end = at + 4 + length
        text_end = data.index(b"\0", at + 9)
        augmentation = data[at + 9 : text_end]
        code_align, here = _uleb(data, text_end + 1)
        data_align, here = _sleb(data, here)
        _, here = _uleb(data, here)
        if augmentation.startswith(b"z"):
            extra, here = _uleb(data, here)
            if b"R" in augmentation and data[here + _before_r(augmentation)] != 0x1B:
                raise NoRule
            here += extra
        return Common(code_align, data_align, data[here:end], b"S" in augmentation)


def _before_r(augmentation: bytes) -> int:
    """Return how many bytes of augmentation data come before that of R (L takes one; P is rare)."""
    if b"P" in augmentation[: augmentation.index(b"R")]:
        # P: one byte of encoding and a 4-byte pointer, as all x86-64 code has it
        return 5 + (b"L" in augmentation[: augmentation.index(b"R")])
    return int(b"L" in augmentation[: augmentation.index(b"R")])


class Common(NamedTuple):
    code_align: int
    data_align: int
    program: bytes
    signal: bool


class _Program:
    """Runs call frame instructions up to one address."""

    def __init__(self, common: Common) -> None:
        self._common = common
        self._register, self._offset = RSP, 8
        self._saved: dict[int, int] = {RIP: -8}
        self._initial: dict[int, int] = {}
        self._kept: list[tuple[int, int, dict[int, int]]] = []

    def run(self, program: bytes, target: int) -> Rules:
        if self._common.signal:
            raise NoRule
        self._execute(self._common.program, None)
        self._initial = dict(self._saved)
        self._execute(program, target)
        if RIP not in self._saved:
            raise NoRule  # the outermost frame says so
        return Rules(self._register, self._offset, self._saved[RIP], self._saved.get(RBP))

    def _execute(self, code: bytes, target: int | None) -> None:
        at = place = 0
        while at < len(code):
            operation = code[at]
            high, low = operation & 0xC0, operation & 0x3F
            at += 1
            if high == 0x40:  # advance_loc
                place += low * self._common.code_align
            elif high == 0x80:  # offset
                value, at = _uleb(code, at)
                self._saved[low] = value * self._common.data_align
            elif high == 0xC0:  # restore
                self._restore(low)
            elif low in (0x02, 0x03, 0x04):  # advance_loc1, 2, 4
                size = 1 << (low - 2)
                place += int.from_bytes(code[at : at + size], "little") * self._common.code_align
                at += size
            else:
                at = self._other(low, code, at)
            if target is not None and place > target:
                return

    def _other(self, operation: int, code: bytes, at: int) -> int:
        if operation == 0x00:  # nop
            return at
        if operation == 0x0A:  # remember_state
            self._kept.append((self._register, self._offset, dict(self._saved)))
            return at
        if operation == 0x0B:  # restore_state
            self._register, self._offset, self._saved = self._kept.pop()
            return at
        first, at = _uleb(code, at)
        if operation in (0x0C, 0x0D, 0x0E):
            return self._base(operation, first, code, at)
        return self._register_rule(operation, first, code, at)

    def _base(self, operation: int, first: int, code: bytes, at: int) -> int:
        """def_cfa, def_cfa_register, def_cfa_offset: how to find the frame."""
        if operation == 0x0E:
            self._offset = first
            return at
        self._register = first
        if operation == 0x0C:
            self._offset, at = _uleb(code, at)
        return at

    def _register_rule(self, operation: int, first: int, code: bytes, at: int) -> int:
        if operation in (0x07, 0x08):  # undefined, same_value
            self._saved.pop(first, None)
        elif operation == 0x06:  # restore_extended
            self._restore(first)
        elif operation == 0x05:  # offset_extended
            value, at = _uleb(code, at)
            self._saved[first] = value * self._common.data_align
        elif operation == 0x10 and first not in (RBP, RIP):  # an expression that nobody here needs
            size, at = _uleb(code, at)
            at += size
        elif operation != 0x2E:  # GNU_args_size says nothing of registers
            raise NoRule
        return at

    def _restore(self, register: int) -> None:
        if register in self._initial:
            self._saved[register] = self._initial[register]
        else:
            self._saved.pop(register, None)


def _uleb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


def _sleb(data: bytes, at: int) -> tuple[int, int]:
    start = at
    value, at = _uleb(data, at)
    bits = 7 * (at - start)
    return (value - (1 << bits) if value >> (bits - 1) & 1 else value), at
