"""Real programs on a real kernel: ktrace's three ways against the kernel's own account."""

import re
from collections import Counter
from dataclasses import astuple, replace

import pytest

from ktrace.findings import Connection
from tests.kernel.account import RX, TX, Seen
from tests.kernel.cases import CASES, CIPHERS, LINKS, PORTS, VERSIONS, Case
from tests.kernel.expected import EARLY, NOTHING, OPENSSL, Want, refuses_a_rekey, wanted
from tests.kernel.results import WAYS, Results, sockets

pytestmark = pytest.mark.kernel

SIDES = ("client", "server")
each_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
# The others are over before ss can look, or given up by OpenSSL when it may not rekey.
HELD = [case for case in CASES if case.client not in ("curl", "key-update")]
TLS_OF = {number: f"TLS {text}" for text, number in VERSIONS.items()}
CIPHER_OF = {number: name for name, number in CIPHERS.items()}
FINDING = {"raced": "KT101", "unordered": "KT102", "tx-only": "KT301", "ulp-only": "KT303"}
Keys = tuple[str | None, str | None]


def expected(case: Case, run: Results) -> dict[str, list[Want]]:
    """Return what each end must get, in the order of the connections.

    What timing decides is taken from the account: which state an early attempt met, and whether
    OpenSSL found data in its buffers already, which keeps it from installing TLS_RX.
    """
    ends = run.account.of_port(PORTS[case])
    # the connection that fills an accept queue comes first
    wants = {side: [NOTHING] if case.link == "full" else [] for side in SIDES}
    for _ in range(case.count):
        client, server = (wanted(case, side, run.guest) for side in SIDES)
        if client.ordering == "early" and ends["client"][len(wants["client"])].early():
            client, server = Want("fallback", "raced", None, None), NOTHING
        elif client.ordering == "early":
            client = replace(client, ordering="unordered")
        for side, want in (("client", client), ("server", server)):
            if case.server != "ktls" and want.outcome == "offloaded":
                one_way = ends[side][len(wants[side])].outcome() == "tx-only"
                want = replace(want, outcome="tx-only") if one_way else want
            wants[side].append(want)
    return wants


def keys_of(seen: Seen) -> Keys:
    good = [one for one in seen.installs if one.result == 0]
    if not good:
        return None, None
    return TLS_OF[good[0].version], CIPHER_OF[good[0].cipher]


@each_case
def test_the_kernel_did_what_the_case_is_for(run: Results, case: Case) -> None:
    assert not run.traffic[case.name]["failed"]
    ends = run.account.of_port(PORTS[case])
    for side, wants in expected(case, run).items():
        got = [(seen.outcome(), *keys_of(seen)) for seen in ends[side]]
        assert got == [(want.outcome, want.tls, want.cipher) for want in wants], side
        assert [seen.early() for seen in ends[side]] == [w.ordering == "raced" for w in wants]


def test_openssl_installs_tls_rx_where_its_release_can(run: Results) -> None:
    for tls in VERSIONS:
        cases = [case for case in CASES if case.tls == tls and case.server != "ktls"]
        ends = [seen for case in cases for seen in run.account.of_port(PORTS[case])["server"]]
        keyed = sum(RX in seen.installed() for seen in ends)
        if OPENSSL[run.guest.openssl, tls] == "tx-only":
            assert keyed == 0
        else:
            assert keyed > len(ends) / 2


def disagreements(run: Results, case: Case, way: str) -> list[str]:
    """Return what a report says of a case that is not what the kernel did."""
    connections = run.within(way, case.name)
    found = []
    wanted_codes = {"KT205"} if refuses_a_rekey(case, run.guest) else set()
    for side, wants in expected(case, run).items():
        here = [c for c in connections if c.role == side]
        got = [Want(c.outcome, c.ordering, c.tls_version, c.cipher) for c in here]
        if got != wants:
            found.append(f"{side}: {got}, not {wants}")
        words = {word for want in wants for word in astuple(want)}
        wanted_codes |= {FINDING[word] for word in words if word in FINDING}
    if {c.role for c in connections} != set(SIDES):
        found.append(f"roles {[c.role for c in connections]}")
    if (codes := run.codes(way, connections)) != wanted_codes:
        found.append(f"findings {codes}, not {wanted_codes}")
    return found


@pytest.mark.parametrize("way", WAYS)
@each_case
def test_ktrace_says_what_the_kernel_did(run: Results, case: Case, way: str) -> None:
    """A capture that lost events may say something else; how often is judged below."""
    found = disagreements(run, case, way)
    assert not found or run.report(way).trace.lost_events, found


@pytest.mark.parametrize("way", WAYS)
def test_what_was_lost_is_said_and_gives_no_false_all_clear(run: Results, way: str) -> None:
    report = run.report(way)
    lost = report.trace.lost_events
    assert any(finding.code == "KT901" for finding in report.findings) == (lost > 0)
    assert sum(bool(disagreements(run, case, way)) for case in CASES) <= lost
    for case in CASES:
        clients = [c for c in run.within(way, case.name) if c.role == "client"]
        assert case.client not in EARLY or all(c.ordering != "safe" for c in clients), case
        really = Counter(seen.outcome() for seen in run.account.of_port(PORTS[case])["client"])
        assert sum(c.outcome == "offloaded" for c in clients) <= really["offloaded"], case


@each_case
def test_the_counters_of_tls_agree(run: Results, case: Case) -> None:
    told = run.traffic[case.name]
    ends = run.account.of_port(PORTS[case])
    for name, way in (("TlsTxSw", TX), ("TlsRxSw", RX)):
        rise = {side: told["after"][side][name] - told["before"][side][name] for side in SIDES}
        keyed = {side: sum(way in seen.installed() for seen in ends[side]) for side in SIDES}
        if LINKS[case.link] is None:  # both ends are in one namespace
            keyed = {"client": 0, "server": sum(keyed.values())}
        assert rise == keyed, name


@pytest.mark.parametrize("case", HELD, ids=[case.name for case in HELD])
def test_ss_shows_the_same_while_it_is_open(run: Results, case: Case) -> None:
    port = PORTS[case]
    shown = [one for text in run.traffic[case.name]["ss"].values() for one in sockets(text)]
    for side, ends in run.account.of_port(port).items():
        held = ends[1:] if case.link == "full" else ends
        found = [ulp for local, _, ulp in shown if (local == port) == (side == "server")]
        got = sorted(map(str, ((u.version, u.cipher, u.tx, u.rx) if u else None for u in found)))
        assert got == sorted(map(str, map(_as_ss, held))), side


def _as_ss(seen: Seen) -> tuple[str | None, str | None, bool, bool] | None:
    if not any(one.result == 0 for one in seen.ulp):
        return None
    tls, cipher = keys_of(seen)
    ways = seen.installed()
    named = cipher if cipher != "CHACHA20_POLY1305" else None  # ss has no name for it
    return tls.removeprefix("TLS ") if tls else None, named, TX in ways, RX in ways


def judged(run: Results, way: str) -> list[tuple[Connection, Seen]]:
    """Return the connections with an attempt, each with what the kernel had of it."""
    pairs = []
    for case in CASES:
        ends = run.account.of_port(PORTS[case])
        found = run.within(way, case.name)
        for side in SIDES:
            here = [c for c in found if c.role == side]
            if run.report(way).trace.lost_events and len(here) != len(ends[side]):
                continue
            pairs += [(c, s) for c, s in zip(here, ends[side], strict=True) if s.ulp]
    return pairs


def test_every_link_gives_the_race_it_is_for(run: Results) -> None:
    orders: dict[str, list[str | None]] = {}
    for case in CASES:
        if case.client == "early":
            wants = expected(case, run)["client"]
            orders.setdefault(case.link, []).extend(w.ordering for w in wants if w.ordering)
    assert set(orders["200ms"]) == {"raced"}
    assert set(orders["full"]) == {"raced"}
    assert "raced" in orders["20ms"]
    assert "unordered" in orders["lo"]


def test_the_account_lost_nothing(run: Results) -> None:
    told = (run.folder / "tracefs.lost").read_text()
    rings = re.findall(r"^(?:overrun|commit overrun|dropped events): (\d+)$", told, re.MULTILINE)
    probes = re.findall(r"^ *kt_\w+ +\d+ +(\d+)$", told, re.MULTILINE)
    assert len(rings) >= 3 and len(probes) == 2
    assert {*rings, *probes} == {"0"}


def test_another_recorder_saw_nothing_else(run: Results) -> None:
    """bpftrace may have missed something, but what it has is in the account."""
    for ports, seen in run.second.seen.items():
        first = run.account.seen[ports]
        assert not _states(seen) - _states(first), ports
        assert not _installs(seen) - _installs(first), ports
    assert len(run.second.state_ns) > 0.9 * len(run.account.state_ns)


def _states(seen: Seen) -> Counter[int]:
    return Counter(one.state for one in seen.ulp)


def _installs(seen: Seen) -> Counter[tuple[int, int, int]]:
    return Counter((one.way, one.version, one.cipher) for one in seen.installs)


@pytest.mark.parametrize("way", WAYS)
def test_ktrace_lost_next_to_nothing(run: Results, way: str) -> None:
    """The kernel skips a run of a probe that meets another recorder's: few."""
    trace = run.report(way).trace
    assert trace.not_understood == 0
    preempted = any("can preempt a run of the probe" in warning for warning in trace.warnings)
    assert preempted == (way == "live-bcc" and run.guest.preempts)
    if not preempted:
        assert trace.lost_events <= trace.events // 100
