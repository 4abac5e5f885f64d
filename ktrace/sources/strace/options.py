"""setsockopt() and getsockopt(): the calls that set kernel TLS up, and what is asked of a socket.

Key bytes end here: of crypto_info four bytes are decoded, and whether more stood behind them.
"""

import re

from ktrace import uapi
from ktrace.events import FdNote, IntDetail, KeyDetail, Kind, OptionDetail, UlpDetail
from ktrace.sources.strace import values
from ktrace.sources.strace.decoded import Decoded, Unreadable, arg_of, fd_of
from ktrace.sources.strace.lines import Outcome


def setsockopt(args: list[str], out: Outcome | None) -> Decoded:
    fd, note = fd_of(args)
    level = values.constant(arg_of(args, 1), uapi.LEVELS)
    if level == uapi.SOL_TCP:
        return _tcp_option(fd, note, args)
    if level == uapi.SOL_TLS:
        return _tls_option(fd, note, args)
    if level is None and len(args) < 3:
        raise Unreadable("setsockopt() without level and option")
    level_name = uapi.LEVEL_NAMES.get(-1 if level is None else level, "other")
    return Decoded(Kind.SOCKOPT, fd, note, OptionDetail(level_name, _word(arg_of(args, 2))))


_WORD = re.compile(r"[A-Z][A-Z0-9_]{1,40}")


def _word(text: str) -> str:
    """Return the constant's name in `text`: a word of the kernel, never text of the program."""
    match = _WORD.search(text)
    return match[0] if match else str(values.integer(text.split(" ")[0] if text else ""))


def _tcp_option(fd: int | None, note: FdNote | None, args: list[str]) -> Decoded:
    option = values.constant(arg_of(args, 2), uapi.TCP_OPTIONS)
    if option is None and _WORD.search(arg_of(args, 2)) is None:
        raise Unreadable("setsockopt(SOL_TCP) without an option")
    if option != uapi.TCP_ULP:
        name = uapi.TCP_OPTION_NAMES.get(option, "") if option is not None else ""
        return Decoded(
            Kind.SOCKOPT,
            fd,
            note,
            OptionDetail(
                "SOL_TCP", name or _word(arg_of(args, 2)), values.integer(arg_of(args, 3))
            ),
        )
    optlen = values.integer(arg_of(args, 4))
    name_shown = ulp_name(arg_of(args, 3))
    if name_shown is not None and name_shown != "tls":
        return Decoded(Kind.SOCKOPT, fd, note, OptionDetail("SOL_TCP", "TCP_ULP"))
    return Decoded(Kind.ULP, fd, note, UlpDetail(name_shown, optlen))


def ulp_name(text: str) -> str | None:
    """Return the ULP's name by value: an int of four bytes, a string of any form, None when not
    shown.
    """
    if values.is_string(text):
        raw, cut = values.string(text, 16)
        name, nul, _ = raw.partition(b"\0")
        if cut and not nul and b"tls".startswith(name):
            return None
        return name.decode("ascii", "replace")
    shown = text.isdigit() or (text.startswith("[") and text.endswith("]"))  # not torn by the end
    number = values.integer(text) if shown else None
    if number is None or not 0 < number < 1 << 32:
        return None
    little = number.to_bytes(4, "little").partition(b"\0")[0]
    big = number.to_bytes(4, "big").partition(b"\0")[0]
    return "tls" if b"tls" in (little, big) else little.decode("ascii", "replace")


def _tls_option(fd: int | None, note: FdNote | None, args: list[str]) -> Decoded:
    option = values.constant(arg_of(args, 2), uapi.TLS_OPTIONS)
    if option not in (uapi.TLS_TX, uapi.TLS_RX):
        if option is None and _WORD.search(arg_of(args, 2)) is None:
            raise Unreadable("setsockopt(SOL_TLS) without an option")
        return Decoded(Kind.SOCKOPT, fd, note, OptionDetail("SOL_TLS", _word(arg_of(args, 2))))
    version, cipher, key_bytes = crypto_info(arg_of(args, 3))
    detail = KeyDetail(
        "tx" if option == uapi.TLS_TX else "rx", version, cipher, values.integer(arg_of(args, 4))
    )
    return Decoded(Kind.KEY, fd, note, detail, key_bytes)


# What `ktrace scrub` puts in place of key bytes; anything else behind the fourth byte is key
# material.
FILLERS = (0x00, 0x58)
_REDACTED = re.compile(rb"[<\[][a-z _-]{3,40}[>\]]$")  # people write <redacted>


def is_key_material(rest: bytes) -> bool:
    """Tell whether what stands behind version and cipher can be a key: not filler, not words."""
    return any(byte not in FILLERS for byte in rest) and _REDACTED.match(rest) is None


def crypto_info(text: str) -> tuple[int | None, int | None, bool]:
    """Read version and cipher_type, and tell whether key bytes are shown; keeps nothing else."""
    if not values.is_string(text) or text.startswith(('"...', '"<')):
        return None, None, False
    raw, _ = values.string(text, 512)
    shown = is_key_material(raw[4:])
    version = _u16(raw, 0)
    cipher = _u16(raw, 2)
    if version is not None and version >> 8 != 3 and raw[:1] == b"\3":
        version = int.from_bytes(raw[:2], "big")  # a big-endian machine
    if cipher is not None and cipher > 0xFF and cipher & 0xFF == 0:
        cipher = int.from_bytes(raw[2:4], "big")
        version = int.from_bytes(raw[:2], "big")
    return version, cipher, shown


def _u16(raw: bytes, start: int) -> int | None:
    return int.from_bytes(raw[start : start + 2], "little") if len(raw) >= start + 2 else None


_STATE = re.compile(r"tcpi_state=(\w+)(?:\s*/\*\s*(\w+))?")


def getsockopt(args: list[str], out: Outcome | None) -> Decoded:
    fd, note = fd_of(args)
    level = values.constant(arg_of(args, 1), uapi.LEVELS)
    if (
        level == uapi.SOL_SOCKET
        and values.constant(arg_of(args, 2), uapi.SOCKET_OPTIONS) == uapi.SO_ERROR
    ):
        number = values.errno_number(arg_of(args, 3)) if out is not None else None
        return Decoded(Kind.SO_ERROR, fd, note, None if number is None else IntDetail(number))
    if (
        level == uapi.SOL_TCP
        and values.constant(arg_of(args, 2), uapi.TCP_OPTIONS) == uapi.TCP_INFO
    ):
        return Decoded(
            Kind.TCP_INFO, fd, note, _tcp_state(arg_of(args, 3)) if out is not None else None
        )
    shown = level == uapi.SOL_TLS and crypto_info(arg_of(args, 3))[2]
    return Decoded(Kind.GETSOCKOPT, fd, note, key_bytes=shown)


def _tcp_state(text: str) -> IntDetail | None:
    if values.is_string(text):
        raw, _ = values.string(text, 1)
        return IntDetail(raw[0]) if raw else None
    match = _STATE.search(text)
    if match is None:
        return None
    number = values.constant(match[2] or match[1], uapi.TCP_STATE_NUMBERS)
    return None if number is None else IntDetail(number)
