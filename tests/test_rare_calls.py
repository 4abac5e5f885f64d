"""Calls that few programs make: what each proves, and what it does to descriptors.

`make mutants` showed that only the tests with a real program noticed when these broke.
"""

from pathlib import Path

import pytest

from ktrace.analysis import analyse
from ktrace.events import CloneDetail, DupDetail
from ktrace.sources.strace.decoded import Unreadable
from tests.test_contract_parse import CONNECT, FAST_OPEN, SOCKET, ULP, ULP_RACED
from tests.test_strace_values import decoded
from tests.verdicts import connections, verdicts

WAIT = "epoll_wait(3, [], 8, 0) = 0\n"  # waits are covered: without a proof the order is luck
STATES = {
    "TCP_ESTABLISHED": "safe",
    "TCP_CLOSE_WAIT": "safe",
    "TCP_FIN_WAIT1": "safe",
    "TCP_SYN_SENT": "unordered",
    "TCP_CLOSE": "unordered",
}


@pytest.mark.parametrize(("state", "ordering"), STATES.items())
def test_tcp_info_proves_what_it_shows(state: str, ordering: str) -> None:
    info = f"getsockopt(5, SOL_TCP, TCP_INFO, {{tcpi_state={state}, tcpi_ca_state=0}}, [104]) = 0\n"
    assert verdicts(SOCKET + CONNECT + WAIT + info + ULP) == [f"client ulp-only {ordering}"]
    failed = info.replace("= 0\n", "= -1 EBADF (Bad file descriptor)\n")
    assert verdicts(SOCKET + CONNECT + WAIT + failed + ULP) == ["client ulp-only unordered"]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("{tcpi_state=TCP_SYN_SENT, x=1}", 2),
        ("{tcpi_state=0x1 /* TCP_ESTABLISHED */, x=1}", 1),
        ("{tcpi_state=8, x=1}", 8),
        ('"\\4\\0\\0"', 4),
        ('""', None),
        ("{x=1}", None),
        ("{tcpi_state=TCP_NEW, x=1}", None),
        ("0x7ffd", None),
    ],
)
def test_the_state_in_tcp_info(value: str, number: int | None) -> None:
    found = decoded(f"getsockopt(5, SOL_TCP, TCP_INFO, {value}, [104]) = 0")
    assert found is not None
    assert getattr(found.detail, "value", None) == number


@pytest.mark.parametrize(
    ("arguments", "closes", "ordering"),
    [
        ("3, 4294967295, 0", True, None),
        ("0x3, 0xffffffff, 0", True, None),
        ("5, 5, 0", True, None),
        ("6, 9, 0", False, "safe"),
        ("3, 4, 0", False, "safe"),
        ("3, 4294967295, CLOSE_RANGE_CLOEXEC", False, "safe"),
        ("3, 4294967295, 0x4 /* CLOSE_RANGE_CLOEXEC */", False, "safe"),
        ("3, 4294967295, CLOSE_RANGE_UNSHARE", True, None),
    ],
)
def test_close_range_ends_the_connections_in_it(
    arguments: str, closes: bool, ordering: str | None
) -> None:
    """What comes on the same number afterwards is of another socket."""
    proof = 'write(5, "x", 1) = 1\n'
    log = SOCKET + CONNECT + proof + f"close_range({arguments}) = 0\n" + ULP
    expected = ["client none None", "unknown ulp-only unknown"] if closes else []
    assert verdicts(log, every=True) == (expected or [f"client ulp-only {ordering}"])


THREAD = (
    "child_stack={}, flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM"
    "|CLONE_SETTLS, parent_tid=[78], tls=0x7f5a3c1ff700, child_tidptr=0x7f5a3c1ff9d0"
)
CLONES = [
    (THREAD.format("0x7f5a3c1ff0f0"), (True, True)),  # Go, musl, and glibc before 2.34
    (THREAD.format("0xc000080000"), (True, True)),
    (THREAD.format("NULL"), (True, True)),
    ("child_stack=0x7fffff, flags=CLONE_VM|CLONE_VFORK|SIGCHLD", (False, False)),
    ("child_stack=0x10400, flags=CLONE_FILES|SIGCHLD", (True, False)),
    ("child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f", (False, False)),
    ("0x50f00, 0x7f5a3c1ff0f0, 0x7f, 0x7f, 0x7f", (True, True)),
    ("{flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, exit_signal=0, stack=0x7f}, 88", (True, True)),
    ("{flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x10400}, 88", (False, False)),
]


@pytest.mark.parametrize(("arguments", "shared"), CLONES)
def test_what_a_clone_shares_is_in_its_flags(arguments: str, shared: tuple[bool, bool]) -> None:
    """And not in the address of the stack, which is printed before them."""
    found = decoded(f"clone({arguments}) = 78")
    assert found is not None and isinstance(found.detail, CloneDetail)
    assert (found.detail.files, found.detail.thread) == shared


def test_close_range_without_its_bounds_is_told() -> None:
    with pytest.raises(Unreadable):
        decoded("close_range(3) = 0")


def test_only_the_thread_that_unshares_loses_descriptors() -> None:
    threads = f"77 clone({THREAD.format('0x7f5a3c1ff0f0')}) = 78\n"
    log = "".join(f"77 {line}\n" for line in (SOCKET + CONNECT).splitlines())
    proof = '77 write(5, "x", 1) = 1\n'
    shared = f"78 close_range(3, 9, 0) = 0\n77 {ULP}"
    unshared = f"78 close_range(3, 9, CLOSE_RANGE_UNSHARE) = 0\n77 {ULP}"
    assert verdicts(log + threads + proof + unshared) == ["client ulp-only safe"]
    assert verdicts(log + threads + proof + shared) == ["unknown ulp-only unknown"]


RIGHTS = (
    "{{msg_name=NULL, msg_namelen=0, msg_iov=[], msg_iovlen=0, msg_control=[{{cmsg_len=20,"
    " cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, {}}}], msg_controllen=24, msg_flags=0}}"
)
SENT = ("cmsg_data=[5]", "cmsg_data=[5<TCP:[1]>]", "[5]", 'cmsg_data="\\5\\0\\0\\0"')


@pytest.mark.parametrize("sent", SENT)
def test_a_descriptor_that_was_passed_is_the_same_connection(sent: str) -> None:
    there = f"sendmsg(8, {RIGHTS.format(sent)}, 0) = 1\nclose(5) = 0\n"
    got = RIGHTS.format("cmsg_data=[6]")
    back = f"recvmsg(9, {got}, 0) = 1\n"
    attempt = ULP.replace("(5", "(6")
    proof = 'write(6, "x", 1) = 1\n'
    assert verdicts(SOCKET + CONNECT + there + back + proof + attempt) == ["client ulp-only safe"]
    failed = there.replace(", 0) = 1", ", 0) = -1 EAGAIN (Resource temporarily unavailable)")
    lost = verdicts(SOCKET + CONNECT + failed + back + proof + attempt)
    assert lost == ["unknown ulp-only safe"], "nothing came from this process"


def test_a_descriptor_taken_from_another_process() -> None:
    log = "".join(f"77 {line}\n" for line in (SOCKET + CONNECT).splitlines())
    taken = "78 pidfd_open(77, 0) = 4\n78 pidfd_getfd(4, 5, 0) = 6\n"
    attempt = '78 write(6, "x", 1) = 1\n78 ' + ULP.replace("(5", "(6")
    assert verdicts(log + taken + attempt) == ["client ulp-only safe"]
    refused = taken.replace("0) = 6", "0) = -1 EPERM (Operation not permitted)")
    assert verdicts(log + refused + attempt) == ["unknown ulp-only safe"]


def test_splice_into_a_socket_proves_it() -> None:
    out = "splice(4, NULL, 5, NULL, 65536, SPLICE_F_MOVE) = 100\n"
    assert verdicts(SOCKET + CONNECT + WAIT + out + ULP) == ["client ulp-only safe"]
    other = out.replace("4, NULL, 5", "4, NULL, 7")
    assert verdicts(SOCKET + CONNECT + WAIT + other + ULP) == ["client ulp-only unordered"]


def test_io_uring_may_have_proved_anything() -> None:
    ring = "io_uring_enter(9, 1, 1, IORING_ENTER_GETEVENTS, NULL, 8) = 1\n"
    assert verdicts(SOCKET + CONNECT + WAIT + ring + ULP) == ["client ulp-only unknown"]
    assert verdicts(SOCKET + CONNECT + WAIT + ULP + ring) == ["client ulp-only unordered"]


def test_with_fast_open_only_data_proves() -> None:
    writable = "epoll_wait(3, [{events=EPOLLOUT, data={u32=5, u64=5}}], 8, -1) = 1\n"
    covered = 'read(0, "x", 1) = 1\n'  # data calls would be in the log
    read = covered.replace("(0", "(5")
    assert verdicts(SOCKET + FAST_OPEN + covered + writable + ULP) == ["client ulp-only unordered"]
    assert verdicts(SOCKET + FAST_OPEN + writable + read + ULP) == ["client ulp-only safe"]


def test_dup2_puts_the_socket_on_the_number_that_was_asked_for() -> None:
    proof = 'write(9, "x", 1) = 1\n'
    for call in ("dup2(5, 9) = 9", "dup3(5, 9, O_CLOEXEC) = 9", "dup2(5<TCP:[1]>, 9) = 9"):
        log = f"{SOCKET}{CONNECT}{WAIT}{call}\n{proof}{ULP}"
        assert verdicts(log) == ["client ulp-only safe"]
    begun = "77 dup2(5, 9 <unfinished ...>\n78 close(3) = 0\n77 <... dup2 resumed>) = 9\n"
    lines = "".join(f"77 {line}\n" for line in (SOCKET + CONNECT + WAIT).splitlines())
    assert verdicts(f"{lines}{begun}77 {proof}77 {ULP}") == ["client ulp-only safe"]
    found = decoded("dup2(5, 9) = 9")
    assert found is not None and found.detail == DupDetail(9, False)


@pytest.mark.parametrize(
    ("value", "outcome"), [("[0]", "ulp-only"), ("[111]", None), ("[ECONNREFUSED]", None)]
)
def test_so_error_tells_a_connect_that_failed(value: str, outcome: str | None) -> None:
    error = f"getsockopt(5, SOL_SOCKET, SO_ERROR, {value}, [4]) = 0\n"
    attempt = ULP if outcome else ULP_RACED
    expected = f"{outcome} unordered" if outcome else "not-connected unconnected"
    assert verdicts(f"{SOCKET}{CONNECT}{WAIT}{error}{attempt}") == [f"client {expected}"]


def test_attempts_of_two_threads_at_once_are_two() -> None:
    lines = "".join(f"77 {line}\n" for line in (SOCKET + CONNECT + WAIT).splitlines())
    begin = "setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4 <unfinished ...>\n"
    end = "<... setsockopt resumed>) = "
    refused = "-1 ENOTCONN (Transport endpoint is not connected)\n"
    log = f"{lines}77 clone({THREAD.format('NULL')}) = 78\n"
    log += f"77 {begin}78 {begin}78 {end}0\n77 {end}{refused}"
    [found] = connections(log)
    assert sorted(attempt.result or "" for attempt in found.ulp) == ["ENOTCONN", "ok"]


@pytest.mark.parametrize(("call", "left"), [("exit(0)", "safe"), ("exit_group(0)", None)])
def test_an_exit_ends_a_thread_or_the_whole_process(call: str, left: str | None) -> None:
    lines = "".join(f"77 {line}\n" for line in (SOCKET + CONNECT).splitlines())
    proof = '77 write(5, "x", 1) = 1\n'
    log = f"{lines}77 clone({THREAD.format('NULL')}) = 78\n{proof}78 {call} = ?\n77 {ULP}"
    assert verdicts(log) == [f"client ulp-only {left}" if left else "unknown ulp-only unknown"]


def test_select_that_returned_nothing_proves_nothing() -> None:
    for call in ("select(6, NULL, [5], NULL, {tv_sec=0, tv_usec=0}) = 0 (Timeout)",
                 "select(6, NULL, [5], NULL, NULL) = -1 EINTR (Interrupted system call)",
                 "select(7, [4], [5 6], NULL, NULL) = 1 (out [6])"):  # fmt: skip
        assert verdicts(f"{SOCKET}{CONNECT}{call}\n{ULP}") == ["client ulp-only unordered"]
    ready = "select(7, [4], [5 6], NULL, NULL) = 1 (out [5])\n"
    assert verdicts(f"{SOCKET}{CONNECT}{ready}{ULP}") == ["client ulp-only safe"]


def test_what_a_cut_array_shows_is_not_in_the_part_that_was_cut() -> None:
    covered = 'read(0, "x", 1) = 1\n'
    shown = "poll([{fd=5, events=POLLOUT}, ...], 3, 9) = 2 ([{fd=5, revents=POLLOUT}, ...])\n"
    other = shown.replace("fd=5", "fd=7")
    assert verdicts(SOCKET + FAST_OPEN + covered + shown + ULP) == ["client ulp-only unordered"]
    assert verdicts(SOCKET + FAST_OPEN + covered + other + ULP) == ["client ulp-only unknown"]


@pytest.mark.parametrize(
    ("sockets", "refused", "warned"), [(40, 0, True), (40, 1, False), (9, 0, False)]
)
def test_many_calls_of_which_none_failed_may_be_a_log_of_strace_z(
    sockets: int, refused: int, warned: bool, tmp_path: Path
) -> None:
    log = tmp_path / "strace.log"
    option = "setsockopt(5, SOL_TCP, TCP_NODELAY, [1], 4) = 0\n"
    text = f"{SOCKET}{option}close(5) = 0\n" * sockets
    log.write_text(text + "close(99) = -1 EBADF (Bad file descriptor)\n" * refused)
    warnings = analyse([str(log)]).trace.warnings
    assert any("strace -z" in warning for warning in warnings) is warned


@pytest.mark.parametrize("sign", ["&lt;", "&#60;", "&#x3c;"])
def test_a_data_call_that_a_web_page_encoded_is_read(tmp_path: Path, sign: str) -> None:
    """Alone in what is read last, nothing but its descriptor shows that it is encoded."""
    log = tmp_path / "log"
    log.write_text(
        f"674 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 5{sign}socket:[46992]&gt;\n"
        f"674 recvfrom(5{sign}socket:[46992]&gt;, 0x55d0c0de, 4096, 0, NULL, NULL) = -1 ENOTCONN"
        " (Transport endpoint is not connected)\n"
    )
    trace = analyse([str(log)]).trace
    assert (trace.events, trace.not_understood) == (2, 0)
