"""Whatever connections a trace holds: the rules never fail, and findings keep their promises."""

from typing import Any, get_args

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrace.findings import Ordering, Outcome
from ktrace.reporters import REPORTERS, text
from ktrace.reporters.layout import width_of
from ktrace.rules.base import ConnectionRule
from ktrace.rules.folder import is_flawless
from ktrace.rules.registry import RULES
from ktrace.timelines import Judged, Limit
from tests.judged import ALL, Socket, report, trace_facts
from tests.schema import check_report

ERRORS = "ENOTCONN ENOTSUPP ENOENT EEXIST EBUSY EINVAL ENOPROTOOPT EOPNOTSUPP EPERM EACCES ENOMEM"
RESULTS = st.none() | st.just("ok") | st.sampled_from(ERRORS.split())
NUMBERS = st.none() | st.sampled_from([0, 3, 40, 51, 54, 56, 57, 99, 0x0303, 0x0304, 0xFFFF])
NAMES = st.none() | st.sampled_from(["haproxy", "haproxy/12", "7", ""]) | st.text(max_size=15)


@st.composite
def connections(draw: st.DrawFn, number: int) -> Judged:
    role = draw(st.sampled_from(["client", "server", "listener", "unknown"]))
    peer = draw(st.none() | st.sampled_from(["10.0.0.1:443", "[2001:db8::1]:443"]))
    socket = Socket(number, role=role, peer=peer)
    for step in draw(st.lists(st.sampled_from(["connect", "ready", "ulp", "key", "close"]))):
        if step == "connect":
            socket.connect(draw(st.sampled_from(["ok", "EINPROGRESS", "ECONNREFUSED"])))
        elif step == "ready":
            socket.writable()
        elif step == "ulp":
            socket.ulp(draw(RESULTS))
        elif step == "key":
            direction = draw(st.sampled_from(["tx", "rx"]))
            socket.key(direction, draw(RESULTS), draw(NUMBERS), draw(NUMBERS), draw(NUMBERS))
        else:
            socket.close()
    orderings = st.sampled_from(get_args(Ordering)) if socket.attempts else st.none()
    changes: dict[str, Any] = {
        "comm": draw(NAMES),
        "recovered": draw(st.booleans()),
        "margin_us": draw(st.none() | st.floats(-1e9, 1e9)),
        "margin_basis": draw(st.sampled_from(["observed", "inferred"])),
        "missing": tuple(draw(st.lists(st.sampled_from(ALL), max_size=2, unique=True))),
        "limits": tuple(draw(st.lists(st.sampled_from(get_args(Limit)), max_size=2, unique=True))),
        "failure": draw(st.sampled_from([None, "ECONNREFUSED"])),
        "mptcp": draw(st.booleans()),
        "fastopen": draw(st.booleans()),
    }
    return socket.judged(draw(st.sampled_from(get_args(Outcome))), draw(orderings), **changes)


TRACES = st.integers(0, 8).flatmap(
    lambda count: st.tuples(*(connections(number) for number in range(1, count + 1)))
)


@settings(max_examples=60, deadline=None)
@given(TRACES, st.randoms(use_true_random=False))
def test_findings_keep_their_promises(judged: tuple[Judged, ...], shuffler: Any) -> None:
    built = report(judged)
    ids = {one.connection.id for one in judged}
    for finding in built.findings:
        assert finding.count == len(finding.connections) or not finding.connections
        assert set(finding.connections) <= ids
        assert len(finding.rows) <= 8
        assert sum(row.marked for row in finding.rows) <= 1
        assert finding.message and finding.why and finding.help
        assert "3947" not in finding.fingerprint
    prints = [(finding.code, finding.fingerprint) for finding in built.findings]
    assert len(set(prints)) == len(prints)
    shuffled = list(judged)
    shuffler.shuffle(shuffled)
    assert report(shuffled).findings == built.findings
    assert report(shuffled).summary == built.summary


@settings(max_examples=200, deadline=None)
@given(connections(1), st.lists(st.sampled_from(["ulp", "tx", "rx"]), max_size=4))
def test_no_rule_has_anything_to_say_of_a_flawless_connection(one: Judged, made: list[str]) -> None:
    socket = Socket(1)
    for call in made:
        socket.ulp("ok") if call == "ulp" else socket.key(call, "ok", 0x0304, 51, 40)
    for judged in (one, socket.judged("offloaded", "safe" if "ulp" in made else None)):
        if judged.connection.has_ktls and is_flawless(judged.connection):
            facts = msgspec.structs.replace(judged.facts, missing=(), limits=())
            unlimited = msgspec.structs.replace(judged, facts=facts)
            rules = [rule for rule in RULES if isinstance(rule, ConnectionRule)]
            assert not [hit for rule in rules for hit in rule.hits(unlimited)]


@settings(max_examples=40, deadline=None)
@given(TRACES, st.integers(80, 140))
def test_every_report_can_be_written(judged: tuple[Judged, ...], width: int) -> None:
    built = report(judged, trace_facts(not_understood=len(judged)))
    *lines, last = text.render(built, width=width).splitlines()
    assert all(width_of(line) <= width for line in lines)
    assert last.startswith("ktrace: ")
    assert text.render(built, unicode=False).isascii()
    for connection in built.connections:
        assert text.render_connection(connection, width=width)
    check_report(REPORTERS["json"].render(built))
    for name in ("ndjson", "csv", "markdown"):
        assert REPORTERS[name].render(built) is not None
