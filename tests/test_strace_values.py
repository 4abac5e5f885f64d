"""Values are decoded by what they are, however strace, its version or a person spells them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrace import uapi
from ktrace.events import Endpoint, FdNote, KeyDetail, Kind, UlpDetail
from ktrace.sources.strace import calls, fast, lines, values
from ktrace.sources.strace.decoded import Decoded
from ktrace.sources.strace.repair import glue, unglue


def decoded(record: str) -> Decoded | None:
    name, _, rest = record.partition("(")
    out = lines.whole(rest)
    assert out is not None, record
    return calls.DECODERS[name](values.split_args(out.args), out)


@pytest.mark.parametrize(
    ("text", "names", "number"),
    [
        ("SOL_TCP", uapi.LEVELS, 6),
        ("IPPROTO_TCP", uapi.LEVELS, 6),
        ("6", uapi.LEVELS, 6),
        ("0x6", uapi.LEVELS, 6),
        ("06", uapi.LEVELS, 6),
        ("0x6 /* SOL_TCP */", uapi.LEVELS, 6),
        ("0x11a /* SOL_?? */", uapi.LEVELS, 282),
        ("282", uapi.LEVELS, 282),
        ("TCP_ULP", uapi.TCP_OPTIONS, 31),
        ("0x1f /* TCP_??? */", uapi.TCP_OPTIONS, 31),
        ("037", uapi.TCP_OPTIONS, 31),
        ("TCP_WHATEVER", uapi.TCP_OPTIONS, None),
    ],
)
def test_constants(text: str, names: dict[str, int], number: int | None) -> None:
    assert values.constant(text, names) == number


@pytest.mark.parametrize(
    "call",
    [
        "setsockopt(16, SOL_TCP, TCP_ULP, [7564404], 4) = 0",
        "setsockopt(16, SOL_TCP, TCP_ULP, [1953264384], 4) = 0",  # a big-endian machine
        'setsockopt(16, SOL_TCP, TCP_ULP, "tls", 3) = 0',
        'setsockopt(16, SOL_TCP, TCP_ULP, "tls\\0\\0"..., 16) = 0',
        'setsockopt(16, SOL_TCP, TCP_ULP, "\\x74\\x6c\\x73", 3) = 0',
        'setsockopt(16, SOL_TCP, TCP_ULP, "\\164\\154\\163", 3) = 0',
        'setsockopt(16, SOL_TCP, TCP_ULP, ""..., 3) = 0',
        'setsockopt(16, SOL_TCP, TCP_ULP, "t"..., 3) = 0',
        "setsockopt(16, SOL_TCP, TCP_ULP, 0x7ffc1a2b3c40, 4) = 0",
        "setsockopt(16, SOL_TCP, TCP_ULP, ..., 4) = 0",
        "setsockopt(16, SOL_TCP, 0x1f /* TCP_??? */, [7564404], 4) = 0",
        "setsockopt(16, 0x6, 0x1f, [7564404], 4) = 0",
        "setsockopt(0x10, 0x6, 0x1f, 0x7ffc1a2b3c40, 0x4) = 0",
        "setsockopt(16, 0x6 /* SOL_TCP */, 0x1f /* TCP_ULP */, [7564404], 4) = 0",
        "setsockopt(sockfd=16, level=SOL_TCP, optname=TCP_ULP, optval=[7564404], optlen=4) = 0",
        'setsockopt(16, IPPROTO_TCP, TCP_ULP, "tls", 4) = 0',
        "setsockopt(16<TCP:[46999]>, SOL_TCP, TCP_ULP, [7564404], 4) = 0",
        "setsockopt(16<TCP:[127.0.0.1:6296->127.0.0.1:367]>, SOL_TCP, TCP_ULP, [7564404], 4) = 0",
    ],
)
def test_every_form_of_an_attempt(call: str) -> None:
    found = decoded(call)
    assert found is not None
    assert (found.kind, found.fd) == (Kind.ULP, 16)
    assert isinstance(found.detail, UlpDetail)
    assert found.detail.name in ("tls", None)


@pytest.mark.parametrize("name", ["mptcp", "espintcp", "smc", "tl", "tlsx"])
def test_another_ulp_is_no_attempt(name: str) -> None:
    found = decoded(f'setsockopt(4, SOL_TCP, TCP_ULP, "{name}", {len(name)}) = 0')
    assert found is not None
    assert found.kind is Kind.SOCKOPT


@pytest.mark.parametrize(
    ("payload", "version", "cipher", "shows_key"),
    [
        (r'"\3\0033\0"...', 0x303, 51, False),
        (r'"\3\0033\0\1\2\3"...', 0x303, 51, True),
        (r'"\4\38\0"...', 0x304, 56, False),
        (r'"\3\39\0"...', 0x303, 57, False),
        (r'"\x04\x03\x34\x00"...', 0x304, 52, False),
        (r'"\3\0033\0\0\0\0\0\0\0"...', 0x303, 51, False),  # scrubbed
        (r'"\3\0034\0<redacted>"...', 0x303, 52, False),
        (r'"\3\4\0003"...', 0x304, 51, False),  # a big-endian machine
        (r'"\4\3"...', 0x304, None, False),
        ('""...', None, None, False),
        ("0x7ffc1a2b3c40", None, None, False),
        ('"...algorithm and key material..."', None, None, False),
    ],
)
def test_crypto_info(
    payload: str, version: int | None, cipher: int | None, shows_key: bool
) -> None:
    found = decoded(f"setsockopt(4, SOL_TLS, TLS_TX, {payload}, 40) = 0")
    assert found is not None
    assert found.detail == KeyDetail("tx", version, cipher, 40)
    assert found.key_bytes is shows_key


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (
            '{sa_family=AF_INET, sin_port=htons(4043), sin_addr=inet_addr("10.1.0.3")}',
            Endpoint("AF_INET", "10.1.0.3", 4043),
        ),
        (
            r'{sa_family=0x2, sin_port="\x0f\xcb", sin_addr="\x0a\x01\x00\x03"}',
            Endpoint("AF_INET", "10.1.0.3", 4043),
        ),
        (
            '{sa_family=AF_INET6, sin6_port=htons(1), inet_pton(AF_INET6, "::1", &sin6_addr),'
            " sin6_flowinfo=htonl(0), sin6_scope_id=0}",
            Endpoint("AF_INET6", "::1", 1),
        ),
        ('{sa_family=AF_UNIX, sun_path="/run/x"}', Endpoint("AF_UNIX")),
        (
            '{sa_family=PF_INET, sin_port=htons(1), sin_addr=inet_addr("1.2.3.4")}',
            Endpoint("AF_INET", "1.2.3.4", 1),
        ),
        ("0x7ffc1a2b3c40", None),
        ("NULL", None),
        ("{sa_family=0x", None),
    ],
)
def test_addresses(text: str, endpoint: Endpoint | None) -> None:
    found = values.endpoint(text)
    if text.endswith("0x"):
        assert found is None or found.address is None
    else:
        assert found == endpoint


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("TCP:[46999]", FdNote("TCP", inode=46999)),
        ("socket:[46999]", FdNote(None, inode=46999)),
        (
            "TCP:[127.0.0.1:36296->127.0.0.1:36097]",
            FdNote("TCP", None, "127.0.0.1:36296", "127.0.0.1:36097"),
        ),
        ("TCPv6:[[::1]:1->[::1]:2]", FdNote("TCPv6", None, "[::1]:1", "[::1]:2")),
        ("TCP:[0.0.0.0:80]", FdNote("TCP", None, "0.0.0.0:80")),
        ("UNIX-STREAM:[1->2]", FdNote("UNIX-STREAM")),
        ("/etc/passwd", None),
        (r"\x54\x43\x50\x3a\x5b\x39\x5d", FdNote("TCP", inode=9)),
    ],
)
def test_what_y_wrote_behind_a_descriptor(text: str, note: FdNote | None) -> None:
    assert values.note(text) == note


@pytest.mark.parametrize(
    ("text", "result", "errno"),
    [
        ("4) = 0", 0, None),
        ("4) = 5<TCP:[46999]>", 5, None),
        ("4) = 0x7ccf", 0x7CCF, None),
        ("4)                     = 3 <0.000012>", 3, None),
        ("4) = -1 ENOTCONN (Transport endpoint is not connected)", -1, "ENOTCONN"),
        ("4) = -1 ENOTCONN (Der Socket ist nicht verbunden) <0.000012>", -1, "ENOTCONN"),
        ("4) = -1 ENOTCONN (Конечная точка не подсоединена) (INJECTED)", -1, "ENOTCONN"),
        ("4) = -1 (errno 524)", -1, "ENOTSUPP"),
        ("4) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)", None, "ERESTARTSYS"),
        ("4) = ?", None, None),
        ("4) = -1", -1, "EUNKNOWN"),
    ],
)
def test_results(text: str, result: int | None, errno: str | None) -> None:
    out = lines.whole(text)
    assert out is not None
    assert (out.result, out.errno) == (result, errno)


def test_a_failure_without_a_name_is_never_a_success() -> None:
    out = lines.whole("5, SOL_TCP, TCP_ULP, [7564404], 4) = -1")
    assert out is not None
    assert out.errno is not None


SHORT_RECORDS = [
    "close(5) = 0",
    "close(5<TCP:[1.2.3.4:5->6.7.8.9:10]>) = -1 EBADF (Bad file descriptor) <0.000010>",
    "setsockopt(5, SOL_TCP, TCP_ULP, [7564404], 4) = -1 ENOTCONN (Transport endpoint) <0.000010>",
    "setsockopt(5, SOL_TCP, TCP_NODELAY, [1], 4) = 0",
    "setsockopt(5, SOL_TCP, TCP_FASTOPEN_CONNECT, [1], 4) = 0",
    "setsockopt(5, SOL_SOCKET, SO_KEEPALIVE, [1], 4) = 0",
    r'setsockopt(5, SOL_TLS, TLS_TX, "\3\0034\0kkkk"..., 56) = 0 <0.001000>',
    r'setsockopt(5, SOL_TLS, TLS_RX, "\4\0033\0"..., 40) = -1 EINVAL (Invalid argument)',
    "epoll_ctl(4, EPOLL_CTL_ADD, 5, {events=EPOLLIN|EPOLLOUT, data={u32=5, u64=4294967301}}) = 0",
    "epoll_ctl(4, EPOLL_CTL_MOD, 5<TCP:[1]>, {events=EPOLLIN, data=0xb}) = 0 <0.000010>",
    "epoll_ctl(4, EPOLL_CTL_DEL, 5, NULL) = 0",
    "epoll_wait(4, [{events=EPOLLOUT, data={u32=5, u64=5}}], 200, 1000) = 1 <0.000010>",
    "epoll_wait(4<anon_inode:[eventpoll]>, [], 200, 0) = 0",
    'connect(5<TCP:[9]>, {sa_family=AF_INET, sin_port=htons(8), sin_addr=inet_addr("1.2.3.4")}, 16)'
    " = -1 EINPROGRESS (Operation now in progress) <0.000010>",
    'accept4(3, {sa_family=AF_INET, sin_port=htons(8), sin_addr=inet_addr("1.2.3.4")}, [99 => 16],'
    " SOCK_CLOEXEC|SOCK_NONBLOCK) = 7<TCP:[1.1.1.1:1->1.2.3.4:80]> <0.000010>",
    "shutdown(5, SHUT_WR) = 0",
    "socket(AF_INET6, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, IPPROTO_TCP) = 5<TCPv6:[77]>",
    "socket(AF_UNIX, SOCK_DGRAM, 0) = 5",
    'recvmsg(5<TCP:[1.1.1.1:1->1.2.3.4:80]>, {msg_name=NULL, msg_iov=[{iov_base="\\27"...,'
    " iov_len=9}], msg_iovlen=1, msg_controllen=0, msg_flags=0}, 0) = 9 <0.000010>",
    'sendto(5, "a, b) "..., 14, MSG_DONTWAIT|MSG_NOSIGNAL, NULL, 0) = 14',
    "recvfrom(5, 0x7f12, 8, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)",
    'read(5, "", 8) = 0 <0.000010>',
    "writev(5<socket:[7]>, [{iov_base=NULL, iov_len=0}], 1) = -1 EPIPE (Broken pipe) <0.000010>",
]
SPECIAL_DATA = [
    'sendto(5, "k"..., 14, MSG_FASTOPEN, {sa_family=AF_INET}, 16) = 14',
    "sendto(5, 0x7f12, 14, 0x20000000, 0x7f13, 16) = 14",
    "recvmsg(5, {msg_iovlen=1, msg_controllen=0, msg_flags=0}, MSG_ERRQUEUE) = 4",
    "recvmsg(5, {msg_control=[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS,"
    " cmsg_data=[7]}]}, 0) = 4",
    'read(5, "k"..., 8) = 8 674 1795299745.000211 read(6, "", 8) = 0',
]


@pytest.mark.parametrize("record", SPECIAL_DATA)
def test_a_data_call_that_may_do_more_is_left_to_the_decoder(record: str) -> None:
    name, _, rest = record.partition("(")
    assert fast.read(name, rest.encode()) is None


@pytest.mark.parametrize("record", SHORT_RECORDS)
def test_the_short_cut_reads_what_the_decoder_reads(record: str) -> None:
    name, _, rest = record.partition("(")
    out = lines.whole(rest)
    found = decoded(record)
    assert out is not None
    assert found is not None
    read = fast.read(name, rest.encode())
    if name == "socket" and "AF_UNIX" in record:
        assert read is None or read.detail == found.detail
        return
    assert read is not None
    assert (read.kind, read.fd, read.note, read.detail) == found[:4]
    assert read.key_bytes == found.key_bytes
    assert (read.result, read.errno) == (-1 if out.errno else out.result, out.errno)
    assert read.duration_ns == out.duration_ns
    assert read.result_note == (values.note(out.note) if out.note else None)


_PAYLOAD_PARTS = (
    *(r"\3", r"\003", r"\0", r"\000", r"\0034", r"\x03", r"\x3", r"\130", r"\n", r"\"", r"\\"),
    *(r"\212", r"\74", r"\x", "3", "4", "X", "k", "<", "[key]", "<redacted>", "...", "ÿ", "“"),
)
_payloads = st.lists(st.sampled_from(_PAYLOAD_PARTS), max_size=12).map("".join)


@settings(max_examples=400)
@given(_payloads, st.sampled_from(["", "..."]))
def test_the_short_cut_reads_of_a_crypto_info_what_the_decoder_reads(body: str, cut: str) -> None:
    rest = f'5, SOL_TLS, TLS_TX, "{body}"{cut}, 40) = 0 <0.001000>'
    read = fast.read("setsockopt", rest.encode())
    if read is not None:
        found = decoded(f"setsockopt({rest}")
        assert found is not None
        assert (read.detail, read.key_bytes) == (found.detail, found.key_bytes)


def test_the_short_cut_takes_the_usual_crypto_info() -> None:
    for body in (r"\3\0034\0kkkk", r"\3\0033\0\212\17", r"\4\0034\0", r"\3\0033\0\0\0X\0k"):
        assert fast.read("setsockopt", b'5, SOL_TLS, TLS_RX, "%s", 40) = 0' % body.encode())


_atoms = st.sampled_from(
    [
        "5",
        "SOL_TCP",
        "[7564404]",
        '"a, b"',
        r'"\"}"',
        "{x=1, y={z=[1, 2]}}",
        "3<TCP:[1->2]>",
        "[]",
        "0x1",
    ]
)


@given(st.lists(_atoms, min_size=1, max_size=8))
def test_arguments_are_parted_at_their_commas(atoms: list[str]) -> None:
    assert values.split_args(", ".join(atoms)) == atoms


@given(st.text(alphabet='abc,"[]{}()<>\\ =-', max_size=60))
def test_the_quick_split_agrees_with_the_careful_one_where_it_applies(text: str) -> None:
    # on broken input the two may part differently, but neither fails
    assert isinstance(values.split_args(text), list)


@given(st.binary(max_size=64))
def test_strings_are_unescaped_to_their_bytes(raw: bytes) -> None:
    octal = '"' + "".join(f"\\{byte:03o}" for byte in raw) + '"'
    hexed = '"' + "".join(f"\\x{byte:02x}" for byte in raw) + '"'
    assert values.string(octal) == (raw, False)
    assert values.string(hexed) == (raw, False)


def test_records_on_one_line_are_parted() -> None:
    one = "3947 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 156"
    two = "3947 setsockopt(156, SOL_TCP, TCP_ULP, [7564404], 4) = -1 ENOTCONN (Transport endpoint)"
    assert unglue(f"{one} {two}") == [one, two]
    assert unglue(f"{two}{one}") == [two, one]
    assert unglue(f"{one}3947 22:16:45 close(5) = 0", {3947}) == [one, "3947 22:16:45 close(5) = 0"]
    assert unglue("<... socket resumed>) = 73947 close(5) = 0", {3947})[0].endswith(") = 7")
    begun = "3947 setsockopt(7, SOL_TCP, TCP_ULP, [7564404], 4 <unfinished ...>"
    assert unglue(f"39 <... socket resumed>) = 7 {begun}")[1] == begun
    quoted = '3947 write(1, "a) = 0 3947 close(3) = 0", 20) = 20'
    assert unglue(quoted) == [quoted]


def test_a_torn_record_is_joined_as_the_grammar_wants() -> None:
    assert glue("setsockopt(5, SOL_TCP, TCP_", "ULP, [7564404], 4) = 0").count("TCP_ULP") == 1
    whole = glue("connect(5, {...}, 16) = -1", "EINPROGRESS (Operation now in progress)")
    assert "-1 EINPROGRESS" in whole


@pytest.mark.parametrize(
    ("text", "names", "number"),
    [
        ("SOL_?? /* SOL_TCP */", uapi.LEVELS, 6),  # the name is known, the spelling is not
        ("SOL_?? /* SOL_NEW */", uapi.LEVELS, None),
        ("", uapi.LEVELS, None),
        ("-", uapi.LEVELS, None),
        ("-1", uapi.LEVELS, -1),
        ("09", uapi.LEVELS, 9),
        ("08", uapi.LEVELS, 8),
        ("010", uapi.LEVELS, 8),
    ],
)
def test_a_constant_without_a_usual_spelling(
    text: str, names: dict[str, int], number: int | None
) -> None:
    assert values.constant(text, names) == number


def test_flags_in_a_comment_count_where_the_number_shows_none() -> None:
    assert values.flags("0x? /* EPOLLIN|EPOLLOUT */", uapi.EPOLL_BITS) == 5
    assert values.flags("0 /* nothing that is known */", uapi.EPOLL_BITS) == 0
    assert values.flags("EPOLLIN|0x4", uapi.EPOLL_BITS) == 5
    assert values.event_bits("EPOLLOUT|EPOLLHUP") == 0x14


@pytest.mark.parametrize(
    ("sockaddr", "endpoint"),
    [
        ('{sa_family=AF_INET, sin_port=20480, sin_addr="\\1\\2\\3\\4"}', ("1.2.3.4", 80)),
        ('{sa_family=AF_INET, sin_port=0xfb01, sin_addr="\\x01\\2\\3\\4"}', ("1.2.3.4", 507)),
        ('{sa_family=AF_INET, sin_port="\\0P", sin_addr="\\1\\2\\3"}', (None, 80)),
        ('{sa_family=AF_INET, sin_port="\\0", sin_addr="abcd"}', ("97.98.99.100", None)),
        ('{sa_family=AF_INET, sin_port=htons(80), sin_addr="\\a\\b\\t\\n"}', ("7.8.9.10", 80)),
        ('{sa_family=AF_INET, sin_port=htons(80), sin_addr="\\v\\f\\r\\e"}', ("11.12.13.27", 80)),
        ('{sa_family=AF_INET, sin_port=htons(80), sin_addr="\\"\\\\qz"}', ("34.92.113.122", 80)),
        ('{sa_family=2, sin_port=htons(80), sin_addr=inet_addr("1.2.3.4")}', ("1.2.3.4", 80)),
        ('{sa_family=PF_INET, sin_port=htons(80), sin_addr=inet_addr("1.2.3.4")}', ("1.2.3.4", 80)),
        ("{sin_family=0x2 /* AF_INET */, sin_port=htons(80)}", (None, 80)),
    ],
)
def test_a_sockaddr_in_bytes_and_numbers(
    sockaddr: str, endpoint: tuple[str | None, int | None]
) -> None:
    assert values.endpoint(sockaddr) == Endpoint("AF_INET", *endpoint)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("TCP:[1.2.3.4:0]", FdNote(protocol="TCP")),  # not bound yet
        ("TCP:[1.2.3.4:80]", FdNote(protocol="TCP", local="1.2.3.4:80")),
        ("TCP:[1.2.3.4:80->5.6.7.8:0]", FdNote(protocol="TCP", local="1.2.3.4:80")),
        ("TCPv6:[[::1]:80->[::2]:81]", FdNote(protocol="TCPv6", local="[::1]:80", peer="[::2]:81")),
        ("TCP:[:80]", FdNote(protocol="TCP")),
        ("TCP:[1.2.3.4:http]", FdNote(protocol="TCP")),
        (f"TCP:[{'1' * 61}:80]", FdNote(protocol="TCP", local="1" * 61 + ":80")),
        (f"TCP:[{'1' * 62}:80]", FdNote(protocol="TCP")),  # no address is so long
        ("socket:[12]", FdNote(inode=12)),
        ("/a/path", None),
    ],
)
def test_a_decoration(text: str, note: FdNote | None) -> None:
    assert values.note(text) == note


def test_the_descriptors_in_a_set_are_not_those_in_decorations() -> None:
    assert values.fd_set("[3<TCP:[1->2]> 14]") == [3, 14]
    assert values.poll_events("[{fd= 5<TCP:[1]>, events=POLLIN, revents=POLLOUT}]") == [(5, 4)]


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ('"\\1\\22\\0333"', b"\1\x12\x1b3"),
        ('"\\377\\400"', b"\xff\0"),
        ('"\\x4a\\x4"', b"J\x04"),
        ('"\\q\\8\\""', b'q8"'),
        ('"\ud800"', b"?"),  # half a character, from a damaged log
    ],
)
def test_the_bytes_of_a_string(text: str, raw: bytes) -> None:
    assert values.string(text) == (raw, False)


def test_what_strace_escaped_in_a_name_is_shown_as_it_was() -> None:
    """As strace 6.1 -Y prints it."""
    assert values.unescaped("haproxy") == "haproxy"
    assert values.unescaped(r"na\303\257v\74e\76\\ \0331") == "na\u00efv<e>\\ \x1b1"
    assert values.unescaped(r"\377") == "\ufffd"
