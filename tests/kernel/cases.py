"""The connections that are made in every guest: which programs, which TLS, over which link."""

from dataclasses import dataclass

FIRST_PORT = 5001
# The length of crypto_info does not tell the cipher, so each is met with both versions.
CIPHERS = {"AES_GCM_128": 51, "AES_GCM_256": 52, "CHACHA20_POLY1305": 54}
VERSIONS = {"1.2": 0x0303, "1.3": 0x0304}
LINKS = {"lo": None, "full": None, "0ms": 0, "1ms": 1, "20ms": 20, "200ms": 200}


@dataclass(frozen=True)
class Case:
    """One client of one server; `count` connections one after the other, then held open at once.

    The orders "early" (HAProxy up to 3.4.0), "fixed", "rekey" and "fastopen" are of the small C
    program; link "full" is loopback to a listener whose accept queue is full.
    """

    server: str
    client: str
    tls: str
    cipher: str
    family: int
    link: str
    count: int = 1

    @property
    def name(self) -> str:
        words = (self.server, self.client, self.tls, self.cipher, f"ipv{self.family}", self.link)
        return "-".join(words)


def _c(client: str, tls: str, cipher: str, family: int, link: str, count: int = 1) -> Case:
    return Case("ktls", client, tls, cipher, family, link, count)


AES128, AES256, CHACHA = CIPHERS
CASES = (
    Case("nginx", "s_client", "1.2", AES128, 4, "lo"),
    Case("nginx", "s_client", "1.2", AES256, 6, "20ms"),
    Case("nginx", "s_client", "1.2", CHACHA, 4, "0ms"),
    Case("nginx", "s_client", "1.3", AES128, 6, "lo"),
    Case("nginx", "s_client", "1.3", AES256, 4, "1ms"),
    Case("nginx", "s_client", "1.3", CHACHA, 4, "20ms"),
    Case("nginx", "curl", "1.2", AES256, 4, "20ms"),
    Case("nginx", "curl", "1.3", AES128, 6, "0ms"),
    Case("nginx", "python", "1.2", CHACHA, 6, "200ms"),
    Case("nginx", "python", "1.3", AES256, 4, "1ms"),
    Case("nginx", "unasked", "1.3", AES256, 4, "lo"),
    Case("s_server", "s_client", "1.2", AES128, 6, "1ms"),
    Case("s_server", "s_client", "1.2", AES256, 4, "lo"),
    Case("s_server", "s_client", "1.3", CHACHA, 4, "200ms"),
    Case("s_server", "python", "1.2", AES256, 4, "20ms"),
    Case("s_server", "key-update", "1.3", AES256, 4, "lo"),
    Case("python", "s_client", "1.2", CHACHA, 4, "lo"),
    Case("python", "s_client", "1.3", AES128, 4, "20ms"),
    Case("python", "python", "1.3", AES256, 6, "0ms"),
    _c("early", "1.2", AES128, 4, "lo", 5),
    _c("early", "1.3", AES256, 6, "lo", 5),
    _c("early", "1.2", AES256, 4, "0ms", 3),
    _c("early", "1.3", CHACHA, 6, "1ms", 3),
    _c("early", "1.2", AES256, 4, "20ms", 5),
    _c("early", "1.3", AES128, 6, "200ms", 2),
    _c("early", "1.2", CHACHA, 4, "full"),
    _c("fixed", "1.2", AES128, 4, "lo", 3),
    _c("fixed", "1.3", AES256, 6, "0ms", 3),
    _c("fixed", "1.2", CHACHA, 4, "1ms"),
    _c("fixed", "1.3", CHACHA, 4, "20ms", 3),
    _c("fixed", "1.2", AES256, 6, "200ms"),
    _c("fixed", "1.3", AES128, 6, "full"),
    _c("rekey", "1.2", AES256, 4, "lo"),
    _c("rekey", "1.3", AES128, 4, "20ms"),
    _c("fastopen", "1.2", AES256, 4, "20ms", 3),
    _c("fastopen", "1.3", AES128, 4, "lo", 3),
    _c("fastopen", "1.3", CHACHA, 6, "20ms", 3),
)
PORTS = {case: FIRST_PORT + index for index, case in enumerate(CASES)}
