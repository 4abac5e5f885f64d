"""Make the connections of the cases, one case after the other, and note the kernel's account."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.kernel.cases import CIPHERS, PORTS, VERSIONS, Case
from tests.kernel.guest import network
from tests.kernel.guest.observers import LIMIT_S, Launcher, Program, wait_until

HERE = Path(__file__).resolve().parent
WORK = Path("/tmp/work")
KTLS_CONF = """openssl_conf = top
[top]
ssl_conf = ssl
[ssl]
system_default = all
[all]
Options = KTLS
"""
TLS12 = {
    "AES_GCM_128": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "AES_GCM_256": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
TLS13 = {
    "AES_GCM_128": "TLS_AES_128_GCM_SHA256",
    "AES_GCM_256": "TLS_AES_256_GCM_SHA384",
    "CHACHA20_POLY1305": "TLS_CHACHA20_POLY1305_SHA256",
}
BIG = 300_000  # bytes that nginx sends with sendfile
NGINX = """daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.error;
events {{ }}
http {{ sendfile on; access_log off; root {work}/www; client_body_temp_path {work}/body;
ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem; ssl_session_tickets off;
{servers} }}
"""
SERVER = """server {{ listen 0.0.0.0:{port} ssl; listen [::]:{port} ssl; ssl_protocols TLSv{tls};
ssl_ciphers {tls12}; ssl_conf_command Ciphersuites {tls13}; ssl_conf_command Options KTLS; }}
"""


def prepare() -> None:
    """Make certificates, files to serve and configurations."""
    (WORK / "www").mkdir(parents=True)
    network.do(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 "
        f"-subj /CN=guest -keyout {WORK}/key.pem -out {WORK}/cert.pem"
    )
    (WORK / "www/small").write_text("hello\n")
    (WORK / "www/big").write_bytes(b"x" * BIG)
    (WORK / "ktls.cnf").write_text(KTLS_CONF)
    servers = [
        SERVER.format(port=port, tls=case.tls, tls12=TLS12[case.cipher], tls13=TLS13[case.cipher])
        for case, port in PORTS.items()
        if case.server == "nginx"
    ]
    (WORK / "nginx.conf").write_text(NGINX.format(work=WORK, servers="".join(servers)))


def start_nginx(launcher: Launcher) -> Program:
    nginx = launcher.start(f"nginx -c {WORK}/nginx.conf", WORK, network.SERVER)
    last = max(port for case, port in PORTS.items() if case.server == "nginx")
    wait_until(lambda: network.listens(last), f"nginx: {nginx}")
    return nginx


def run_all(
    launcher: Launcher, cases: Sequence[Case], log: Callable[[str], None]
) -> list[dict[str, object]]:
    """Run cases one after the other, and return what the kernel told of each."""
    told = []
    for case in cases:
        log(case.name)
        told.append(_run(launcher, case))
        if told[-1]["failed"]:
            log(f"  failed: {told[-1]['failed']}")
    return told


def _run(launcher: Launcher, case: Case) -> dict[str, object]:
    """Run a case; what goes wrong with its programs is told, and the others still run."""
    before = network.tls_stat()
    began, shown, failed = time.time(), {}, ""
    programs: list[Program] = []
    try:
        if case.server != "nginx":
            programs.append(_start_server(launcher, case))
        client = _start_client(launcher, case, programs)
        programs.append(client)
        shown = network.sockets(PORTS[case], {network.SERVER, network.place(case)[0]})
        client.end_input()
        for program in reversed(programs):
            program.wait()
        time.sleep(0.3)  # nginx sees the end a little later
    except TimeoutError as error:
        failed = str(error)
        for program in programs:
            program.kill()
    return {
        "case": case.name,
        "began": began,
        "ended": time.time(),
        "failed": failed,
        "before": before,
        "after": network.tls_stat(),
        "ss": shown,
        "said": [program.said() for program in programs],
    }


def _openssl(case: Case, words: str) -> str:
    chosen = f"-tls1_2 -cipher {TLS12[case.cipher]}"
    if case.tls == "1.3":
        chosen = f"-tls1_3 -ciphersuites {TLS13[case.cipher]}"
    return f"env OPENSSL_CONF={WORK}/ktls.cnf openssl {words} {chosen}"


def _c(case: Case, mode: str, address: str) -> str:
    numbers = f"{PORTS[case]} {VERSIONS[case.tls]} {CIPHERS[case.cipher]} {case.count}"
    return f"/job/ktls {mode} {address} {numbers}"


def _start_server(launcher: Launcher, case: Case) -> Program:
    port, address = PORTS[case], network.place(case)[1]
    how = case.link if case.link == "full" else case.client
    mode = "-quiet" if case.client == "key-update" else "-rev -quiet"
    line, ready = {
        "ktls": (f"{_c(case, 'serve', address)} {how}", "ready"),
        "python": (
            f"python3 {HERE}/tls.py serve {address} {port} {case.tls} {TLS12[case.cipher]}",
            "ready",
        ),
        "s_server": (
            _openssl(
                case, f"s_server -accept {port} -naccept 1 {mode} -cert cert.pem -key key.pem"
            ),
            "",
        ),
    }[case.server]
    program = launcher.start(line, WORK, network.SERVER)
    program.wait_for(ready)
    wait_until(lambda: network.listens(port), f"a listener of {program}", LIMIT_S)
    return program


def _start_client(launcher: Launcher, case: Case, servers: list[Program]) -> Program:
    """Start the client, and return when its connections have carried data."""
    side, address = network.place(case)
    bracketed = f"[{address}]:{PORTS[case]}" if case.family == 6 else f"{address}:{PORTS[case]}"
    if case.client in ("s_client", "key-update"):
        return _start_s_client(launcher, case, side, bracketed)
    if case.client == "curl":
        pick = f"--tlsv{case.tls} --tls-max {case.tls} --ciphers {TLS12[case.cipher]}"
        env = f"env OPENSSL_CONF={WORK}/ktls.cnf"
        line = f"{env} curl -sk {pick} https://{bracketed}/big -w ready\\n -o {WORK}/got"
    elif case.server == "ktls":
        line = _c(case, case.client, address)
    else:
        mode = "unasked" if case.client == "unasked" else "connect"
        line = (
            f"python3 {HERE}/tls.py {mode} {address} {PORTS[case]} {case.tls} {TLS12[case.cipher]}"
        )
    client = launcher.start(line, WORK, side)
    if case.link == "full":
        client.wait_for("started")
        servers[0].tell("empty the queue\n")
    client.wait_for("ready")
    return client


def _start_s_client(launcher: Launcher, case: Case, side: str, target: str) -> Program:
    if case.client == "key-update":
        return _update_keys(launcher, case, side, target)
    line = _openssl(case, f"s_client -connect {target} -quiet -no_ign_eof")
    client = launcher.start(line, WORK, side)
    if case.server == "nginx":
        client.tell("GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: len(client.said()) > BIG, f"the file for {client}", LIMIT_S)
    else:
        client.tell("hello\n")
        client.wait_for("hello" if case.server == "python" else "olleh")
    return client


def _update_keys(launcher: Launcher, case: Case, side: str, target: str) -> Program:
    """Let s_client change its keys: with a line of the letter k."""
    client = launcher.start(_openssl(case, f"s_client -connect {target}"), WORK, side)
    client.wait_for("Verify return code")
    client.tell("k\n")
    client.wait_for("KEYUPDATE")
    time.sleep(1)
    return client
