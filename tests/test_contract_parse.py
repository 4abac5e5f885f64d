"""What the manual promises of `ktrace parse`, one small readable log a promise."""

from pathlib import Path
from typing import NamedTuple

import pytest

from ktrace.analysis import analyse
from ktrace.findings import Report

SOCKET = "socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 5\n"
CONNECT = (
    'connect(5, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("10.0.0.1")}, 16)'
    " = -1 EINPROGRESS (Operation now in progress)\n"
)
FAST_OPEN = (
    "setsockopt(5, SOL_TCP, TCP_FASTOPEN_CONNECT, [1], 4) = 0\n"
    'connect(5, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("10.0.0.1")}, 16) = 0\n'
)
ULP = "setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4) = 0\n"
ULP_RACED = ULP.replace("= 0", "= -1 ENOTCONN (Transport endpoint is not connected)")
WRITABLE = "epoll_wait(3, [{events=EPOLLOUT, data={u32=5, u64=5}}], 8, -1) = 1\n"
NO_ANSWER = "poll([{fd=7, events=POLLIN}], 1, 0) = 0 (Timeout)\n"
RING = "io_uring_enter(9, 1, 1, IORING_ENTER_GETEVENTS, NULL, 8) = 1\n"
FAST_OPEN_LISTENER = (
    "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 3\n"
    "setsockopt(3, SOL_TCP, TCP_FASTOPEN, [16], 4) = 0\nlisten(3, 16) = 0\n"
    'accept(3, {sa_family=AF_INET, sin_port=htons(4), sin_addr=inet_addr("10.0.0.1")}, [16]) = 5\n'
)
CLOSE = "close(5) = 0\n"
RACED = SOCKET + CONNECT + ULP_RACED + WRITABLE + CLOSE


def _each_line(text: str, before: str, behind: str = "\n") -> str:
    return "".join(before + line + behind for line in text.splitlines())


class Case(NamedTuple):
    """A log, its connections with kTLS as "role outcome ordering", and its finding codes."""

    log: str
    connections: list[str]
    codes: list[str]
    not_understood: int = 0


QUOTED_PRINTABLE = """\
77 22:16:45 [00007f1122334455] socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, I=
PPROTO_TCP) =3D 5
77 22:16:45 [00007f1122334455] connect(5, {sa_family=3DAF_INET, sin_port=3D=
htons(443), sin_addr=3Dinet_addr("10.0.0.1")}, 16) =3D -1 EINPROGRESS (Oper=
ation now in progress)
77 22:16:45 [00007f1122334455] setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4=
) =3D -1 ENOTCONN (Transport endpoint is not connected)
77 22:16:45 [00007f1122334455] epoll_wait(3, [{events=3DEPOLLOUT, data=3D{u=
32=3D5, u64=3D5}}], 8, -1) =3D 1
"""
WRAPPED_QUOTE = """\
> 77   1795300698.700000 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 5
> 77   1795300698.794873
> connect(5, {sa_family=AF_INET, sin_port=htons(443),
> sin_addr=inet_addr("10.0.0.1")}, 16) = -1 EINPROGRESS (Operation now in
> progress)
> 77   1795300698.800000 setsockopt(5, SOL_TCP, TCP_ULP, [7564404],
> 4) = -1 ENOTCONN (Transport endpoint is not connected) <0.000012>
> 77   1795300698.810000 rt_sigsuspend([], 8) = ?
> ERESTARTNOHAND (To be restarted if no handler) <15.626768>
> 77   1795300698.820000 --- SIGALRM {si_signo=SIGALRM,
> si_code=SI_TIMER, si_timerid=0, si_overrun=0, si_int=0, si_ptr=NULL}
> ---
> 77   1795300698.830000 epoll_wait(3, [{events=EPOLLOUT,
> data={u32=5, u64=5}}], 8, -1) = 1 <0.000012>
"""
LISTENER = """\
socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 5
listen(5, 128) = 0
setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4) = -1 ENOTCONN (Transport endpoint is not connected)
close(5) = 0
"""

CASES = {
    "an error number without a name": Case(
        RACED.replace(
            "ENOTCONN (Transport endpoint is not connected)", "ERRNO_524 (Unknown error 524)"
        ),
        ["client fallback raced"],
        ["KT101"],
    ),
    "the order on a listener needs no coverage": Case(
        LISTENER, ["listener none unconnected"], ["KT103"]
    ),
    "blank lines in a quoted mail": Case(
        _each_line(RACED, "> ", "\n>\n> \n"), ["client fallback raced"], ["KT101"]
    ),
    "quoted-printable before the first sign": Case(
        QUOTED_PRINTABLE, ["client fallback raced"], ["KT101"]
    ),
    "quoted-printable that breaks at a blank": Case(
        QUOTED_PRINTABLE.replace("SOCK_STREAM|SOCK_NONBLOCK, I=\nPP", "SOCK_STREAM, =\nIPP"),
        ["client fallback raced"],
        ["KT101"],
    ),
    "wraps in a quoted mail": Case(WRAPPED_QUOTE, ["client fallback raced"], ["KT101"]),
    "two records on a line, with instruction pointers": Case(
        _each_line(RACED, "[00007f1122334455] ").replace(" = 5\n", " = 5 "),
        ["client fallback raced"],
        ["KT101"],
    ),
    "two records on a line, with the command": Case(
        _each_line(RACED.replace(ULP_RACED, ULP), "77<haproxy> ").replace(" = 0\n77", " = 077"),
        ["client ulp-only unordered"],
        ["KT102", "KT303"],
    ),
    "records that run into each other are counted": Case(
        RACED.replace(" = 5\n", " = 5;"),
        ["unknown fallback unknown"],
        ["KT902", "KT903"],
        not_understood=1,
    ),
    "a number that was reused unseen is a socket again": Case(
        "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 5\n"
        + ULP.replace("= 0", "= -1 ENOENT (No such file or directory)")
        + 'setsockopt(5, SOL_TLS, TLS_TX, "\\4\\0034\\0"..., 56)'
        + " = -1 ENOPROTOOPT (Protocol not available)\n",
        ["unknown fallback unknown"],
        ["KT201"],
    ),
    "a Unix socket takes no ULP": Case(
        "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 5\n"
        + ULP.replace("= 0", "= -1 EOPNOTSUPP (Operation not supported)"),
        [],
        [],
    ),
    "with Fast Open only data from the peer proves": Case(
        SOCKET + FAST_OPEN + ULP_RACED + WRITABLE + CLOSE,
        ["client fallback raced"],
        ["KT101", "KT902"],
    ),
    "with Fast Open and reads in the log it never came up": Case(
        SOCKET + FAST_OPEN + ULP_RACED + WRITABLE + "read(5, 0x7f, 9) = -1 EAGAIN (x)\n" + CLOSE,
        ["client not-connected raced"],
        ["KT101"],
    ),
    "a log that ends in the name of connect's error": Case(
        SOCKET + ULP.replace("= 0", "= -1 ENOENT (No such file or directory)") + CONNECT[:-36],
        ["client fallback unconnected"],
        ["KT103", "KT201"],
    ),
    "a log that ends in the name of the ULP's error": Case(
        SOCKET + CONNECT + WRITABLE.replace("5", "6") + ULP_RACED[:-44],
        ["client fallback unknown"],
        ["KT902"],
    ),
    "a log that ends in the value of TCP_ULP": Case(
        SOCKET + CONNECT + WRITABLE.replace("5", "6") + ULP[:35],
        ["client unknown unordered"],
        ["KT102"],
    ),
    "a splice out of the socket is a read": Case(
        SOCKET + CONNECT + "splice(5, NULL, 9, NULL, 4096, 0) = 17\n" + NO_ANSWER + ULP + CLOSE,
        ["client ulp-only safe"],
        ["KT303"],
    ),
    "a splice that ends is a FIN": Case(
        SOCKET + CONNECT + "splice(5, NULL, 9, NULL, 4096, 0) = 0\n" + NO_ANSWER + ULP_RACED,
        ["client fallback late"],
        ["KT104"],
    ),
    "a splice into the socket is a write": Case(
        SOCKET + CONNECT + "splice(9, NULL, 5, NULL, 4096, 0) = 17\n" + NO_ANSWER + ULP + CLOSE,
        ["client ulp-only safe"],
        ["KT303"],
    ),
    "tee moves nothing through a socket": Case(
        SOCKET + CONNECT + "tee(9, 5, 4096, 0) = 17\n" + NO_ANSWER + ULP + CLOSE,
        ["client ulp-only unordered"],
        ["KT102", "KT303"],
    ),
    "why a socket from before the trace was refused is not known": Case(
        ULP_RACED + WRITABLE + CLOSE, ["unknown fallback unknown"], ["KT902"]
    ),
    "nothing limits what went well": Case(ULP + CLOSE, ["unknown ulp-only unknown"], ["KT303"]),
    "the child of a Fast Open listener may be in SYN_RECV": Case(
        FAST_OPEN_LISTENER + ULP_RACED + CLOSE, ["server fallback unknown"], ["KT902"]
    ),
    "io_uring may have connected the socket": Case(
        SOCKET + RING + ULP_RACED + CONNECT + WRITABLE + CLOSE,
        ["client fallback unknown"],
        ["KT902"],
    ),
    "a ring that needs no calls may bring any proof": Case(
        "io_uring_setup(8, {flags=IORING_SETUP_SQPOLL}) = 9\n"
        + SOCKET
        + CONNECT
        + NO_ANSWER
        + ULP
        + CLOSE,
        ["client ulp-only unknown"],
        ["KT303", "KT902"],
    ),
    "a proof in the log stands beside io_uring": Case(
        SOCKET + CONNECT + RING + WRITABLE + ULP + CLOSE, ["client ulp-only safe"], ["KT303"]
    ),
    "what was keyed before the trace is not known": Case(
        ULP.replace("= 0", "= -1 EEXIST (File exists)")
        + 'setsockopt(5, SOL_TLS, TLS_RX, "\\4\\0034\\0"..., 56) = 0\n'
        + CLOSE,
        ["unknown rx-only unknown"],
        [],
    ),
    "what strace says when it lets go is no record": Case(
        SOCKET + CONNECT + ULP_RACED + WRITABLE + "epoll_wait(3, strace: Process 12 detached\n"
        " <detached ...>\n",
        ["client fallback raced"],
        ["KT101"],
    ),
}


def parse(tmp_path: Path, text: str) -> Report:
    log = tmp_path / "log"
    log.write_text(text, newline="")
    return analyse([str(log)])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_log_gives_what_the_manual_says(case: Case, tmp_path: Path) -> None:
    report = parse(tmp_path, case.log)
    assert [
        f"{c.role} {c.outcome} {c.ordering}" for c in report.connections if c.has_ktls
    ] == case.connections
    assert sorted(finding.code for finding in report.findings) == case.codes
    assert report.trace.not_understood == case.not_understood


def test_a_mapped_address_has_one_spelling(tmp_path: Path) -> None:
    raw, named = (
        parse(
            tmp_path,
            "socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP) = 4\nlisten(4, 1) = 0\n"
            f"accept(4, {{sa_family=AF_INET6, {address}, sin6_scope_id=0}}, [28]) = 5\n",
        )
        for address in (
            'sin6_port="\\xe3\\x74", sin6_flowinfo="\\x00\\x00\\x00\\x00", sin6_addr='
            '"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\xff\\xff\\x7f\\x00\\x00\\x01"',
            "sin6_port=htons(58228), sin6_flowinfo=htonl(0),"
            ' inet_pton(AF_INET6, "::ffff:127.0.0.1", &sin6_addr)',
        )
    )
    assert raw.connections[1].peer == named.connections[1].peer == "[::ffff:127.0.0.1]:58228"


THREAD = "clone(child_stack=0x7f5d9d7fe3f0, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 12\n"


def test_the_opening_thread_stands_for_a_process_without_a_number(tmp_path: Path) -> None:
    report = parse(tmp_path, THREAD + _each_line(RACED, "[pid    12] "))
    assert [connection.pid for connection in report.connections] == [12]


def test_the_first_thread_is_called_what_later_lines_call_it(tmp_path: Path) -> None:
    report = parse(tmp_path, RACED + THREAD + _each_line(RACED, "[pid    12] ") + "[pid 11] pause(")
    assert [connection.pid for connection in report.connections] == [11, 11]
    assert [attempt.tid for c in report.connections for attempt in c.ulp] == [11, 12]


def test_a_thread_of_an_old_libc_shares_its_descriptors(tmp_path: Path) -> None:
    used_by_it = _each_line(CONNECT + ULP_RACED, "[pid    12] ")
    report = parse(tmp_path, SOCKET + THREAD + used_by_it + "[pid 11] close(5) = 0\n")
    assert [f"{c.role} {c.ordering}" for c in report.connections] == ["client raced"]


def test_a_wrap_is_mended_wherever_a_block_ends(tmp_path: Path) -> None:
    prefix = "> 77   1795300698.700000"
    log = _each_line(RACED * 40, prefix, "\n").replace(prefix, f"{prefix}\n> ")
    report = parse(tmp_path, log.replace("SOCK_STREAM|SOCK_NONBLOCK, ", "SOCK_STREAM,\n> "))
    assert report.summary.raced == 40
    assert report.trace.not_understood == 0


STARTED = (
    'execve("./client", ["./client"], 0x7ffc /* 9 vars */) = 0\n'
    "mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f52ae15c000\n"
)
PRELOAD = 'access("/etc/ld.so.preload", R_OK) = -1 ENOENT (No such file or directory)\n'


def test_a_program_that_starts_without_a_failed_call_was_traced_with_z(tmp_path: Path) -> None:
    connected = SOCKET + CONNECT.partition(" = ")[0] + " = 0\n" + CLOSE
    doubted = parse(tmp_path, STARTED + connected)
    assert any("strace -z" in warning for warning in doubted.trace.warnings)
    assert not parse(tmp_path, STARTED + PRELOAD + connected).trace.warnings
