"""Every row of the table of findings: which connections give which codes, with which severity."""

import random
from dataclasses import dataclass

import pytest

from ktrace.findings import Finding
from ktrace.timelines import Judged
from tests.judged import (
    GCM_256,
    TLS_1_2,
    TLS_1_3,
    Socket,
    findings,
    plain,
    raced,
    safe,
    trace_facts,
    unordered,
)

Codes = dict[str, str]


@dataclass
class Case:
    name: str
    judged: list[Judged]
    codes: Codes


def established(number: int = 1) -> Socket:
    return Socket(number).connect().writable()


def refused_ulp(result: str, **changes: object) -> Judged:
    return established().ulp(result).judged("fallback", "safe", **changes)


def retried(number: int = 1) -> Judged:
    socket = Socket(number).connect().ulp("ENOTCONN").writable().ulp("ok").key("tx").key("rx")
    return socket.judged("offloaded", "raced", recovered=True)


def rejected(result: str) -> Judged:
    return established().ulp().key("tx", result).judged("fallback", "safe")


CASES = [
    Case("nothing wrong", [safe(), plain(2)], {}),
    Case("raced, fell back", [raced()], {"KT101": "error"}),
    Case("raced, never came up", [raced(outcome="not-connected")], {"KT101": "warning"}),
    Case("raced, tried again", [retried()], {"KT101": "note"}),
    Case(
        "raced, tried again, and the keys were refused",
        [
            Socket()
            .connect()
            .ulp("ENOTCONN")
            .writable()
            .ulp()
            .key("tx", "EINVAL")
            .judged("fallback", "raced", recovered=True)
        ],
        {"KT101": "error", "KT204": "error"},
    ),
    Case("worst of three", [retried(1), raced(2, "not-connected"), raced(3)], {"KT101": "error"}),
    Case("two of three", [retried(1), raced(2, "not-connected")], {"KT101": "warning"}),
    Case(
        "raced, ENOTSUPP of an old kernel",
        [Socket().connect().ulp("ENOTSUPP").judged("fallback", "raced")],
        {"KT101": "error"},
    ),
    Case(
        "raced, keys tried all the same",
        [
            Socket()
            .connect()
            .ulp("ENOTCONN")
            .writable()
            .key("tx", "ENOPROTOOPT")
            .judged("fallback", "raced")
        ],
        {"KT101": "error"},
    ),
    Case("lucky", [unordered()], {"KT102": "warning"}),
    Case(
        "unordered, and no tls module",
        [Socket().connect().ulp("ENOENT").judged("fallback", "unordered")],
        {"KT201": "error", "KT102": "warning"},
    ),
    Case(
        "fresh socket",
        [Socket().ulp("ENOTCONN").connect().judged("fallback", "unconnected")],
        {"KT103": "warning"},
    ),
    Case(
        "fresh socket, later success",
        [
            Socket()
            .ulp("ENOTCONN")
            .connect()
            .writable()
            .ulp()
            .judged("ulp-only", "unconnected", recovered=True)
        ],
        {"KT103": "note", "KT303": "note"},
    ),
    Case(
        "listener",
        [
            Socket(role="listener")
            .call("listen", "listen(3)", "ok", "LISTEN")
            .ulp("ENOTCONN")
            .judged("none", "unconnected")
        ],
        {"KT103": "note"},
    ),
    Case(
        "listener of a kernel that says EINVAL",
        [
            Socket(role="listener")
            .call("listen", "listen(3)", "ok", "LISTEN")
            .ulp("EINVAL")
            .judged("none", "unconnected")
        ],
        {"KT103": "note"},
    ),
    Case(
        "failed connect",
        [
            Socket()
            .connect("ECONNREFUSED", "CLOSE")
            .ulp("ENOTCONN")
            .judged("not-connected", "unconnected", failure="ECONNREFUSED")
        ],
        {"KT103": "warning"},
    ),
    Case(
        "peer had closed",
        [
            established()
            .call("read", "read(156)", "ok", "CLOSE_WAIT")
            .ulp("ENOTCONN")
            .judged("fallback", "late")
        ],
        {"KT104": "note"},
    ),
    Case("no module", [refused_ulp("ENOENT")], {"KT201": "error"}),
    Case(
        "no module, keys tried all the same",
        [
            established()
            .ulp("ENOENT")
            .key("tx", "ENOPROTOOPT")
            .key("rx", "ENOPROTOOPT")
            .judged("fallback", "safe")
        ],
        {"KT201": "error"},
    ),
    Case(
        "module loaded in time",
        [
            established()
            .ulp("ENOENT")
            .ulp()
            .key()
            .key("rx")
            .judged("offloaded", "safe", recovered=True)
        ],
        {"KT201": "error"},
    ),
    Case("MPTCP", [refused_ulp("ENOPROTOOPT", mptcp=True)], {"KT202": "error"}),
    Case("other ULP", [refused_ulp("EOPNOTSUPP")], {"KT202": "error"}),
    Case("empty name", [refused_ulp("EINVAL")], {"KT202": "error"}),
    Case("an error no table has", [refused_ulp("ENOMEM")], {"KT202": "error"}),
    Case(
        "EEXIST after a success is benign",
        [established().ulp().key().ulp("EEXIST").key("rx").judged("offloaded", "safe")],
        {},
    ),
    Case(
        "EEXIST of a ULP set before the trace is benign",
        [Socket(role="unknown").ulp("EEXIST").key().key("rx").judged("offloaded", "unknown")],
        {},
    ),
    Case("EEXIST of another ULP", [refused_ulp("EEXIST")], {"KT202": "error"}),
    Case(
        "keys without ULP",
        [established().key("tx", "ENOPROTOOPT").judged("fallback")],
        {"KT203": "error"},
    ),
    Case(
        "keys without ULP, EOPNOTSUPP",
        [established().key("rx", "EOPNOTSUPP").judged("fallback")],
        {"KT203": "error"},
    ),
    Case(
        "keys before the ULP",
        [established().key("tx", "ENOPROTOOPT").ulp().key().key("rx").judged("offloaded", "safe")],
        {"KT203": "error"},
    ),
    Case(
        "keys after a refusal that nothing explains",
        [
            Socket(role="unknown")
            .ulp("ENOTCONN")
            .key("tx", "ENOPROTOOPT")
            .judged("fallback", "unknown")
        ],
        {"KT203": "error"},
    ),
    *(
        Case(f"keys {result}", [rejected(result)], {"KT204": "error"})
        for result in ("EINVAL", "ENOENT", "EBADMSG", "EFAULT")
    ),
    Case(
        "refused RX is no tx-only",
        [established().ulp().key().key("rx", "EINVAL").judged("tx-only", "safe")],
        {"KT204": "error"},
    ),
    Case(
        "rekey",
        [
            established()
            .ulp()
            .key()
            .key("rx")
            .ulp("EEXIST")
            .key("tx", "EBUSY")
            .judged("offloaded", "safe")
        ],
        {"KT205": "error"},
    ),
    *(
        Case(f"ULP {result}", [refused_ulp(result)], {"KT206": "error"})
        for result in ("EPERM", "EACCES")
    ),
    *(
        Case(f"key {result}", [rejected(result)], {"KT206": "error"})
        for result in ("EPERM", "EACCES")
    ),
    Case("TX only", [established().ulp().key().judged("tx-only", "safe")], {"KT301": "warning"}),
    Case(
        "TX, and an RX that never returned",
        [established().ulp().key().key("rx", None).judged("tx-only", "safe")],
        {},
    ),
    Case(
        "RX only", [established().ulp().key("rx").judged("rx-only", "safe")], {"KT302": "warning"}
    ),
    Case(
        "ULP never keyed, on three",
        [established(n).ulp().judged("ulp-only", "safe") for n in (1, 2, 3)],
        {"KT303": "note"},
    ),
    Case(
        "ULP that never returned", [Socket().connect().ulp(None).judged("unknown", "unknown")], {}
    ),
    Case("families missing", [plain(missing=("wait",))], {"KT902": "warning"}),
    Case(
        "raced, as far as the trace shows",
        [raced(missing=("wait", "io"))],
        {"KT101": "error", "KT902": "warning"},
    ),
    *(
        Case(
            limit,
            [Socket().connect().ulp().judged("ulp-only", "unknown", limits=(limit,))],
            {"KT303": "note", "KT902": "warning"},
        )
        for limit in ("hidden-wait", "io_uring", "ambiguous-epoll")
    ),
    *(
        Case(
            limit,
            [
                Socket(role="unknown")
                .ulp()
                .key()
                .key("rx")
                .judged("offloaded", "unknown", limits=(limit,))
            ],
            {},
        )
        for limit in ("before-trace", "lost-events")
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_codes_and_severities(case: Case) -> None:
    assert {one.code: one.severity for one in findings(*case.judged)} == case.codes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_finding_says_all_of_it(case: Case) -> None:
    for finding in findings(*case.judged):
        assert finding.message and finding.why and finding.help and finding.outcome and finding.who
        assert finding.count == len(finding.connections) == len(set(finding.connections))
        assert 1 <= len(finding.rows) <= 8
        assert [row.line for row in finding.rows] == sorted(row.line or 0 for row in finding.rows)
        text = " ".join(
            (finding.message, finding.why, finding.help, finding.outcome, *finding.notes)
        )
        assert "!" not in text and "  " not in text
        assert finding.message[0].islower() or finding.message.startswith("TLS")


def only(*judged: Judged, **trace: object) -> Finding:
    (finding,) = findings(*judged, trace=trace_facts(**trace))
    return finding


def test_marked_row_is_the_refused_attempt() -> None:
    finding = only(retried())
    (marked,) = (row for row in finding.rows if row.marked)
    assert (marked.line, marked.result, marked.state) == (103, "ENOTCONN", "SYN_SENT")
    assert finding.evidence[0].line == 103
    assert finding.evidence[0].text == 'setsockopt(156, SOL_TCP, TCP_ULP, "tls") = ENOTCONN'


def test_rows_are_at_most_eight_and_tell_the_story() -> None:
    socket = Socket().connect().ulp("ENOTCONN")
    for _ in range(50):
        socket.call("fcntl", "fcntl(156, F_SETFL, O_RDWR)")
        socket.call("recvfrom", "recvfrom(156)", "EAGAIN")
    socket.writable().call("write", "write(156)", "517").close()
    calls = [row.text.split("(")[0] for row in only(socket.judged("fallback", "raced")).rows]
    assert calls == ["connect", "setsockopt", "epoll_wait"]


def test_rows_show_the_end_of_what_was_never_up() -> None:
    finding = only(raced(outcome="not-connected"))
    assert [row.text.split("(")[0] for row in finding.rows] == ["connect", "setsockopt", "close"]


def test_many_kernel_tls_calls_still_fit() -> None:
    socket = established().ulp().key().key("rx")
    for _ in range(20):
        socket.ulp("EEXIST").key("tx", "ok")
    socket.key("tx", "EBUSY")
    finding = only(socket.judged("offloaded", "safe"))
    assert len(finding.rows) == 8
    assert finding.rows[-1].marked and finding.rows[-1].result == "EBUSY"


def test_evidence_names_up_to_eight_connections_the_shown_one_first() -> None:
    finding = only(*(raced(n, "not-connected") for n in range(1, 12)), raced(40))
    assert [place.line for place in finding.evidence] == [4003, 103, 203, 303, 403, 503, 603, 703]
    assert finding.who.startswith("c40")
    assert finding.connections[-2:] == ("c11", "c40")


def test_call_left_out_of_the_timeline_is_shown_all_the_same() -> None:
    judged = raced()
    socket = Socket().connect()
    bare = socket.judged("fallback", "raced", omitted=9)
    connection = bare.connection.__class__(
        **{
            name: getattr(bare.connection, name)
            for name in bare.connection.__struct_fields__
            if name != "ulp"
        },
        ulp=judged.connection.ulp,
    )
    finding = only(Judged(connection, bare.facts))
    assert finding.rows[-1].marked and finding.rows[-1].result == "ENOTCONN"


def test_stack_of_the_attempt_is_shown() -> None:
    stack = ("haproxy(ssl_sock_start+0x4f)", "haproxy(conn_start+0x12)")
    with_stack = Socket(9).connect().ulp("ENOTCONN", stack).judged("fallback", "raced")
    finding = only(raced(1), with_stack)
    assert finding.stack == stack
    assert finding.who.startswith("c9 ")


@pytest.mark.parametrize(
    ("result", "version", "cipher", "optlen", "words"),
    [
        ("EINVAL", TLS_1_2, 99, 40, "cipher 99 is unknown (EINVAL)"),
        ("EINVAL", 0x0301, 51, 40, "version 0x0301 is neither TLS 1.2 nor TLS 1.3 (EINVAL)"),
        ("EINVAL", TLS_1_2, 51, 41, "optlen 41 is not the 40 bytes of AES_GCM_128 (EINVAL)"),
        ("EINVAL", TLS_1_2, 54, 40, "optlen 40 is not the 56 bytes of CHACHA20_POLY1305 (EINVAL)"),
        (
            "EINVAL",
            None,
            None,
            0,
            "optlen 0 is less than the 4 bytes of version and cipher (EINVAL)",
        ),
        ("EINVAL", TLS_1_3, 57, 40, "ARIA_GCM_128 goes with TLS 1.2 only (EINVAL)"),
        ("EINVAL", TLS_1_2, 55, 40, "this kernel may not have SM4_GCM (EINVAL)"),
        ("EINVAL", None, None, None, "EINVAL"),
        ("ENOENT", TLS_1_2, 54, 56, "no CHACHA20_POLY1305 in this kernel (ENOENT)"),
    ],
)
def test_rejected_keys_name_the_check(
    result: str, version: int | None, cipher: int | None, optlen: int | None, words: str
) -> None:
    socket = established().ulp().key("tx", result, version, cipher, optlen)
    finding = only(socket.judged("fallback", "safe"))
    assert finding.message == f"the kernel rejected the TLS keys: {words}"
    if result == "EINVAL":
        assert all(
            word in finding.why for word in ("version", "cipher", "optlen", "other direction")
        )


def test_a_cipher_that_the_other_direction_took_is_there() -> None:
    socket = established().ulp().key("tx", "ok", TLS_1_3, 51, 40)
    judged = socket.key("rx", "EINVAL", TLS_1_3, 51, 40).judged("tx-only", "safe")
    (finding,) = (found for found in findings(judged) if found.code == "KT204")
    words = "TLS_TX took the same version and cipher (EINVAL)"
    assert finding.message == f"the kernel rejected the TLS keys: {words}"


def test_rejected_keys_that_differ_from_the_other_direction() -> None:
    socket = established().ulp().key("rx", "ok", TLS_1_3, GCM_256, 56)
    finding = only(socket.key("tx", "EINVAL", TLS_1_2, GCM_256, 56).judged("rx-only", "safe"))
    assert "differs from that of TLS_RX" in finding.message


def test_different_reasons_are_different_causes() -> None:
    one = established(1).ulp().key("tx", "EINVAL", cipher=99).judged("fallback", "safe")
    two = established(2).ulp().key("tx", "EINVAL", optlen=41).judged("fallback", "safe")
    three = established(3).ulp().key("tx", "EINVAL", optlen=41).judged("fallback", "safe")
    counts = {finding.message: finding.count for finding in findings(one, two, three)}
    assert sorted(counts.values()) == [1, 2]


def test_a_connection_counts_once_for_a_cause() -> None:
    socket = established().ulp().key().key("rx").key("tx", "EBUSY").key("rx", "EBUSY")
    finding = only(socket.judged("offloaded", "safe"))
    assert finding.count == 1
    assert finding.outcome == "TLS_RX and TLS_TX kept the old keys on 1 connection"


def test_peers_do_not_part_a_cause_and_programs_do() -> None:
    judged = [
        raced(1, peer="10.0.0.1:443", comm="haproxy/1"),
        raced(2, peer="10.0.0.2:443", comm="haproxy/2"),
        raced(3, peer="10.0.0.2:443", comm="envoy"),
    ]
    assert sorted(finding.count for finding in findings(*judged)) == [1, 2]
    folded = max(findings(*judged), key=lambda finding: finding.count)
    assert "peers: 10.0.0.1:443 (1), 10.0.0.2:443 (1)" in folded.outcome


def test_causes_of_a_hostile_trace_are_bounded() -> None:
    judged = [
        established(n).ulp().key("tx", "EINVAL", cipher=1000 + n).judged("fallback", "safe")
        for n in range(1, 101)
    ]
    found = findings(*judged)
    assert len(found) == 17
    assert sum(finding.count for finding in found) == 100
    (rest,) = (finding for finding in found if finding.count > 1)
    assert any("more than 16 causes" in note for note in rest.notes)


def test_the_order_of_arrival_does_not_matter() -> None:
    judged = [
        *(raced(n, peer=f"10.0.0.{n}:443") for n in range(1, 6)),
        *(raced(n, "not-connected") for n in range(6, 9)),
        *(unordered(n) for n in range(9, 30)),
        retried(30),
        refused_ulp("ENOENT"),
    ]
    expected = findings(*judged)
    shuffler = random.Random(1)
    for _ in range(5):
        shuffler.shuffle(judged)
        assert findings(*judged) == expected


def test_findings_come_worst_first_and_limits_of_trust_before_other_warnings() -> None:
    found = findings(
        unordered(1),
        raced(2, missing=("wait",)),
        established(3).ulp().judged("ulp-only", "safe"),
        trace=trace_facts(lost_events=3, not_understood=1, key_line_count=1),
    )
    assert [finding.code for finding in found] == [
        "KT101",
        "KT901",
        "KT902",
        "KT102",
        "KT904",
        "KT303",
        "KT903",
    ]


def test_fingerprints_are_stable_and_hold_nothing_of_the_run() -> None:
    one = only(raced(1))
    other = only(raced(77, pid=1, fd=9, peer="192.0.2.1:1", local="10.0.0.9:5", comm=None))
    assert one.fingerprint == other.fingerprint == "2da425bad8c28085"
    assert one.fingerprint != only(unordered(1)).fingerprint


def test_outcome_is_measured() -> None:
    margins = {"margin_basis": "observed"}
    finding = only(
        raced(1, margin_us=-39900.0, **margins),
        raced(2, margin_us=-740.0, **margins),
        raced(3, "not-connected", margin_us=None),
    )
    assert finding.outcome == (
        "of 3 connections, 2 went on with TLS in user space, 1 never came up, so no TLS was lost;"
        " the ULP was not tried again; 740 µs to 39.9 ms too early"
    )


def test_refused_keys_after_a_race_are_told_as_a_consequence() -> None:
    socket = Socket().connect().ulp("ENOTCONN").writable().key("tx", "ENOPROTOOPT")
    finding = only(socket.judged("fallback", "raced"))
    assert any("a consequence" in note for note in finding.notes)
    assert not any("a consequence" in note for note in only(raced()).notes)


def test_what_rests_on_a_missing_call_says_that_it_may_be_lost() -> None:
    one_way = established().ulp().key().judged("tx-only", "safe")
    never_keyed = established().ulp().judged("ulp-only", "safe")
    without_ulp = established().key("tx", "ENOPROTOOPT").judged("fallback", None)
    for judged, code in ((one_way, "KT301"), (never_keyed, "KT303"), (without_ulp, "KT203")):
        assert not any("KT901" in note for note in only(judged).notes)
        told = findings(judged, trace=trace_facts(lost_events=3))
        (finding,) = (one for one in told if one.code == code)
        assert any("3 events lost (KT901): the call" in note for note in finding.notes)


def test_help_of_the_race_and_of_tx_only() -> None:
    assert "96b08e959" in only(raced()).help
    assert "first EPOLLOUT, or just before installing the keys" in only(raced()).help
    for version in ("TLS 1.3", "TLS 1.2", None):
        help_line = only(
            established().ulp().key().judged("tx-only", "safe", tls_version=version)
        ).help
        assert "OpenSSL 3.2" in help_line and "force TLS 1.2" in help_line


def test_help_of_a_missing_module_names_every_cause() -> None:
    finding = only(refused_ulp("ENOENT"))
    for word in ("CONFIG_TLS", "CAP_NET_ADMIN", "container", "module_request"):
        assert word in finding.help
    assert "says nothing about the order" in finding.why


def test_mptcp_is_named() -> None:
    assert only(refused_ulp("ENOPROTOOPT", mptcp=True)).message == (
        "TLS ULP refused on an MPTCP socket (ENOPROTOOPT)"
    )


def test_fastopen_is_named() -> None:
    assert any("Fast Open" in note for note in only(raced(fastopen=True)).notes)


def test_uncovered_families_are_named_with_the_command_that_has_them() -> None:
    finding = only(
        Socket()
        .connect()
        .ulp()
        .key()
        .key("rx")
        .judged("offloaded", "unknown", missing=("io", "wait"))
    )
    assert finding.code == "KT902"
    assert finding.message.endswith("not in the trace: wait and io")
    assert "ktrace record -o strace.log --pid 3947" in finding.help


def test_a_trace_without_setsockopt_is_no_all_clear() -> None:
    finding = only(covered=("socket", "connect"))
    assert (finding.code, finding.count) == ("KT902", 0)
    assert "setsockopt" in finding.message


def test_lost_events() -> None:
    finding = only(safe(), lost_events=1204, kind="live", lines=None)
    assert (finding.code, finding.severity, finding.count) == ("KT901", "warning", 1204)
    assert finding.message == "1,204 events were lost"


def test_lines_not_understood_show_the_first_with_their_reasons() -> None:
    bad = ((0, 7, "expected a thread id or a time"), (0, 9, "no closing parenthesis"))
    finding = only(not_understood=5, bad_lines=bad)
    assert (finding.code, finding.severity, finding.count) == ("KT903", "note", 5)
    assert [(place.source, place.line) for place in finding.evidence] == [
        ("strace.log", 7),
        ("strace.log", 9),
    ]
    assert finding.evidence[0].text == "expected a thread id or a time"


def test_key_material() -> None:
    finding = only(key_line_count=2, key_lines=((0, 12), (0, 13)))
    assert (finding.code, finding.severity, finding.count) == ("KT904", "warning", 2)
    assert "ktrace scrub strace.log" in finding.help


def test_other_sources_are_named() -> None:
    judged = raced(opened=None, source=1, lines=(0, 0, 1, 0, 0))
    finding = only(judged, sources=("trace.1", "trace.2"))
    assert finding.evidence[0].source == "trace.2"
    assert finding.who.endswith("opened before the trace")
