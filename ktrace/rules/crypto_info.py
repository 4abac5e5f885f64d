"""Which of the kernel's checks of crypto_info a key install fails, by its first four bytes."""

from collections.abc import Iterator

import msgspec

from ktrace.findings import KeyInstall
from ktrace.rules.calls import OK
from ktrace.timelines import Judged
from ktrace.uapi import TLS_CIPHERS, TLS_CRYPTO_INFO_SIZES, TLS_VERSIONS

CHECKS = (
    "the kernel checks, in this order: the version (TLS 1.2 or 1.3), that version and cipher are"
    " those of the other direction, the cipher, and that optlen is the size of that cipher's struct"
    " (AES_GCM_128 40, AES_GCM_256 and CHACHA20_POLY1305 56)"
)
_HEADER = 4  # sizeof(struct tls_crypto_info)
_ARIA = frozenset((57, 58))
_TLS_1_3 = 0x0304

Key = tuple[str, int | None, int | None, int | None, str | None]
Suite = tuple[int | None, int | None]  # version and cipher


class Install(msgspec.Struct, frozen=True):
    """A key install; `rejected_for` says which check it fails, as far as the trace shows."""

    call: KeyInstall
    option: str  # "TLS_TX" or "TLS_RX"
    cipher_name: str | None
    rejected_for: str


def installs(judged: Judged) -> Iterator[Install]:
    """Yield the key installs of a connection in time order."""
    calls = {"tx": list(judged.connection.tx), "rx": list(judged.connection.rx)}
    installed: dict[str, Suite] = {}
    for key in judged.facts.keys:
        direction, version, cipher, _, result = key
        if not calls[direction]:
            continue
        yield Install(
            call=calls[direction].pop(0),
            option=f"TLS_{direction.upper()}",
            cipher_name=TLS_CIPHERS.get(cipher) if cipher is not None else None,
            rejected_for=_failing_check(key, installed),
        )
        if result == OK:
            installed[direction] = (version, cipher)


def _failing_check(key: Key, installed: dict[str, Suite]) -> str:
    """Return the first check that the install fails, in the kernel's order."""
    direction, version, cipher, optlen, _ = key
    if optlen is not None and optlen < _HEADER:
        return f"optlen {optlen} is less than the {_HEADER} bytes of version and cipher"
    if version is not None and version not in TLS_VERSIONS:
        return f"version {version:#06x} is neither TLS 1.2 nor TLS 1.3"
    for other, suite in installed.items():
        if _differs(suite, (version, cipher)):
            where = "the keys it replaces" if other == direction else f"TLS_{other.upper()}"
            return f"version or cipher differs from that of {where}"
    return _failing_cipher(version, cipher, optlen, installed)


def _differs(one: Suite, other: Suite) -> bool:
    return any(a is not None and b is not None and a != b for a, b in zip(one, other, strict=True))


def _failing_cipher(
    version: int | None, cipher: int | None, optlen: int | None, installed: dict[str, Suite]
) -> str:
    if cipher is None:
        return ""
    name = TLS_CIPHERS.get(cipher)
    if name is None:
        return f"cipher {cipher} is unknown"
    if cipher in _ARIA and version == _TLS_1_3:
        return f"{name} goes with TLS 1.2 only"
    size = TLS_CRYPTO_INFO_SIZES[cipher]
    if optlen is not None and optlen != size:
        return f"optlen {optlen} is not the {size} bytes of {name}"
    for other, suite in installed.items():
        if suite == (version, cipher):
            return f"TLS_{other.upper()} took the same version and cipher"
    return f"this kernel may not have {name}"
