"""Made-up scenarios, printed in random forms and damaged at random, against a plain oracle."""

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrace.analysis import Options, analyse
from ktrace.errors import KtraceError
from ktrace.findings import Connection, Report
from tests.programs.damage import HARMFUL, HARMLESS, Damage
from tests.programs.oracle import Verdict, judge
from tests.programs.printer import Form, print_log
from tests.programs.scenario import ACTIONS, Draw, Machine, Scenario, Socket

small = st.integers(0, 15)


def random_draws(seed: int, count: int) -> list[Draw]:
    """Return the first draws of an endless series: fewer are its beginning, so it shrinks."""
    rng = random.Random(seed)
    return [
        (rng.randrange(3), rng.randrange(16), rng.randrange(len(ACTIONS)), rng.randrange(16))
        for _ in range(count)
    ]


draws = st.builds(random_draws, st.integers(0, 2**32), st.integers(1, 60))


def made(tidy: bool) -> st.SearchStrategy[Scenario]:
    return st.builds(
        lambda threads, module, played: Machine(threads, module, tidy).play(played),
        st.integers(1, 3),
        st.booleans(),
        draws,
    )


scenarios = made(tidy=True)
forms = st.builds(
    Form,
    pid=st.sampled_from(["bare", "bracket", "comm"]),
    time=st.sampled_from(["none", "t", "tt", "ttt", "r"]),
    lasted=st.booleans(),
    fds=st.sampled_from(["plain", "y", "yy"]),
    hexed=st.sampled_from(["", "x", "xx"]),
    size=st.sampled_from([0, 1, 3, 4, 8, 32, 64]),
    consts=st.sampled_from(["abbrev", "raw", "verbose"]),
    era=st.sampled_from(["new", "middle", "old"]),
    epoll=st.sampled_from(["new", "bare", "hex"]),
    language=st.sampled_from([0, 1]),
    blank=st.sampled_from(["", " "]),
)
CIPHER_NAMES = {51: "AES_GCM_128", 52: "AES_GCM_256", 53: "AES_CCM_128", 54: "CHACHA20_POLY1305"}
VERSIONS = {0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}


def analysed(lines: list[str], ending: str = "\n") -> Report:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.write_text("".join(line + ending for line in lines), encoding="utf-8", newline="")
        return analyse([str(log)], Options(keep="all"))


def expected(scenario: Scenario, form: Form) -> list[dict[str, object]]:
    """Return what the report must say of each TCP socket that it lists, in the order of opening."""
    told = []
    for sock in scenario.sockets:
        verdict = judge(scenario.facts(sock), form.view())
        if verdict.role != "unknown" or verdict.has_ktls:
            told.append(_told(sock, verdict, form))
    return told


def _told(sock: Socket, verdict: Verdict, form: Form) -> dict[str, object]:
    version, cipher, _ = sock.cipher
    keyed = bool(verdict.tx or verdict.rx)
    return {
        "role": verdict.role,
        "family": sock.family,
        "peer": sock.peer,
        "ordering": verdict.ordering,
        "outcome": verdict.outcome,
        "recovered": verdict.recovered,
        "ulp": verdict.ulp,
        "tx": verdict.tx,
        "rx": verdict.rx,
        "tls_version": VERSIONS[version] if keyed and form.size > 1 else None,
        "cipher": CIPHER_NAMES[cipher] if keyed and form.size > 3 else None,
    }


def found(connection: Connection) -> dict[str, object]:
    return {
        "role": connection.role,
        "family": connection.family,
        "peer": connection.peer,
        "ordering": connection.ordering,
        "outcome": connection.outcome,
        "recovered": connection.recovered,
        "ulp": tuple(attempt.result for attempt in connection.ulp),
        "tx": tuple(key.result for key in connection.tx),
        "rx": tuple(key.result for key in connection.rx),
        "tls_version": connection.tls_version,
        "cipher": connection.cipher,
    }


def listed(report: Report) -> list[dict[str, object]]:
    """Return the connections without the one listener that every scenario opens first."""
    return [found(c) for c in report.connections if c.role != "listener"]


@settings(max_examples=300, deadline=None)
@given(scenario=scenarios, form=forms)
def test_a_scenario_in_any_form_gives_what_the_contract_says(
    scenario: Scenario, form: Form
) -> None:
    lines = print_log(scenario, form)
    report = analysed(lines)
    assert listed(report) == expected(scenario, form), "\n".join(lines)
    assert report.trace.not_understood == 0, "\n".join(lines)


@settings(max_examples=300, deadline=None)
@given(scenario=made(tidy=False), form=forms)
def test_a_call_in_flight_belongs_to_the_socket_it_began_on(scenario: Scenario, form: Form) -> None:
    """A descriptor is closed, and its number given out again, while another thread uses it."""
    lines = print_log(scenario, form)
    report = analysed(lines)
    assert listed(report) == expected(scenario, form), "\n".join(lines)
    assert report.trace.not_understood == 0, "\n".join(lines)


@settings(max_examples=60, deadline=None)
@given(played=draws, module=st.booleans(), form=forms)
def test_one_thread_needs_no_pid_column(played: list[Draw], module: bool, form: Form) -> None:
    scenario = Machine(1, module).play(played)
    bare = Form(**{**vars(form), "pid": "none"})
    lines = print_log(scenario, bare)
    report = analysed(lines)
    assert listed(report) == expected(scenario, bare), "\n".join(lines)
    assert report.trace.not_understood == 0, "\n".join(lines)


@pytest.mark.parametrize("damage", HARMLESS, ids=lambda d: d.__name__)
@settings(max_examples=40, deadline=None)
@given(scenario=scenarios, form=forms, seed=small)
def test_harmless_damage_changes_no_verdict(
    damage: Damage, scenario: Scenario, form: Form, seed: int
) -> None:
    lines = print_log(scenario, form)
    hurt = damage(lines, random.Random(seed))
    report = analysed(hurt)
    assert listed(report) == expected(scenario, form), "\n".join(hurt)
    assert report.trace.not_understood == 0, "\n".join(hurt)


def orderings(told: list[dict[str, object]]) -> dict[object, object]:
    return {one["peer"]: one["ordering"] for one in told if one["peer"]}


@pytest.mark.parametrize("damage", [*HARMFUL, *HARMLESS], ids=lambda d: d.__name__)
@settings(max_examples=40, deadline=None)
@given(scenario=scenarios, form=forms, seeds=st.lists(st.integers(0, 999), min_size=1, max_size=3))
def test_damage_makes_no_raced_connection_safe_in_silence(
    damage: Damage, scenario: Scenario, form: Form, seeds: list[int]
) -> None:
    hurt = print_log(scenario, form)
    for seed in seeds:
        rng = random.Random(seed)
        hurt = (damage if seed == seeds[0] else rng.choice([*HARMFUL, *HARMLESS]))(hurt, rng)
        hurt = hurt or [""]
    try:
        report = analysed(hurt)
    except KtraceError:
        return  # refused as a whole: nothing was called safe
    clean = {peer for peer, o in orderings(expected(scenario, form)).items() if o == "raced"}
    safe = {peer for peer, o in orderings(listed(report)).items() if o == "safe"}
    said = report.trace.not_understood or report.trace.warnings
    assert not clean & safe or said, "\n".join(hurt)
