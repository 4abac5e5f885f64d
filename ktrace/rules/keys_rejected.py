"""The kernel rejected the TLS keys.

## What it finds

A `setsockopt(fd, SOL_TLS, TLS_TX or TLS_RX, crypto_info)` that failed with EINVAL, ENOENT,
EBADMSG or another error that is not about a missing ULP (KT203), a second key (KT205) or
permission (KT206).

## Why it is bad

The direction stays in user space, and with it sendfile and the offload to a card.

For EINVAL the kernel checks, in this order: that there are at least 4 bytes; that the version is
TLS 1.2 (0x0303) or TLS 1.3 (0x0304); that version and cipher are those of the other direction,
where that one is installed; that it knows the cipher (ARIA with TLS 1.2 only); and that optlen is
the size of that cipher's struct:

| optlen | ciphers |
|---|---|
| 40 | AES_GCM_128 (51), AES_CCM_128 (53), SM4_GCM (55), SM4_CCM (56), ARIA_GCM_128 (57) |
| 56 | AES_GCM_256 (52), CHACHA20_POLY1305 (54), ARIA_GCM_256 (58) |

ENOENT means that the kernel lacks the AEAD itself (a crypto module, or FIPS forbids it). It is
not the ENOENT of TCP_ULP (KT201).

## Known limits

- ktrace reads version and cipher and never the key, so it cannot tell an error in the key
  material.
- A kernel that is older than a cipher answers EINVAL: the tables here are those of Linux 6.x.
- Where the log cuts the first four bytes (`-s 0` to `-s 3`), version and cipher are not known.

## Example

A cipher that no kernel knows, and a struct one byte too long:

    984 setsockopt(7<TCP:[...]>, SOL_TLS, TLS_TX, "\\3\\3c\\0"..., 40) = -1 EINVAL
    984 setsockopt(7<TCP:[...]>, SOL_TLS, TLS_TX, "\\3\\0033\\0"..., 41) = -1 EINVAL

## How to fix

Pass the struct of the cipher (`struct tls12_crypto_info_aes_gcm_128` and its kin, also for TLS
1.3) with its own size, the same version and cipher both ways, and choose a cipher that the kernel
has. For ENOENT load the module (`modprobe gcm`, `modprobe chacha20poly1305`), or use AES-GCM
under FIPS.
"""

from collections.abc import Iterator

from ktrace.rules.base import ConnectionRule, Words
from ktrace.rules.calls import NO_PERMISSION, NO_ULP, program, refused
from ktrace.rules.crypto_info import CHECKS, Install, installs
from ktrace.rules.fold import Fold, Hit
from ktrace.rules.words import became
from ktrace.timelines import Judged, TraceFacts
from ktrace.wording import listed, sentences

_OTHER_RULES = NO_ULP | NO_PERMISSION | {"EBUSY"}
_HELP = {
    "EINVAL": "pass the struct of the cipher with its own size (40 or 56 bytes), the same version"
    " and cipher in both directions, and a cipher that this kernel has",
    "ENOENT": "load the cipher's module (gcm, ccm, chacha20poly1305), or choose a cipher that the"
    " kernel allows (AES-GCM under FIPS)",
}
_WHY = {
    "EINVAL": CHECKS,
    "ENOENT": "the kernel lacks this AEAD (its crypto module, or FIPS forbids it); this is not the"
    " ENOENT of TCP_ULP",
    "EBADMSG": "the kernel could not use the keys for the records it already had",
}


class KeysRejected(ConnectionRule):
    code = "KT204"
    name = "keys-rejected"
    severity = "error"

    def hits(self, judged: Judged) -> Iterator[Hit]:
        for install in installs(judged):
            result = install.call.result or ""
            if refused(install.call) and result not in _OTHER_RULES:
                about = _about(install)
                cause = (result, about, program(judged))
                yield Hit(cause, self.severity, install.call, (install.option,), about)

    def words(self, fold: Fold, trace: TraceFacts) -> Words:
        result, about = fold.result, fold.hit.about
        detail = f"{about} ({result})" if about else result
        return Words(
            message=f"the kernel rejected the TLS keys: {detail}",
            why=_WHY.get(result, f"setsockopt(SOL_TLS) answered {result}"),
            outcome=sentences(f"{listed(fold.tags)} refused", became(fold)),
            help=_HELP.get(result, "look the error up in setsockopt(2)"),
        )


def _about(install: Install) -> str:
    """Say which check failed, as far as the first four bytes and optlen tell."""
    if install.call.result == "EINVAL":
        return install.rejected_for
    if install.call.result == "ENOENT" and install.cipher_name:
        return f"no {install.cipher_name} in this kernel"
    return ""
