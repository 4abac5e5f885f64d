"""`ktrace scrub`: what goes, what stays to the byte, and what is refused."""

import gzip
import json
import lzma
import os
import quopri
import random
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrace.analysis import Options, analyse
from ktrace.errors import KtraceError
from ktrace.reporters import json as json_report
from ktrace.scrub.job import plan, run, scrub_file
from ktrace.scrub.options import Counts, Wanted
from tests.marked import MARK, crypto_info, left, marked, octets
from tests.programs.damage import HARMFUL, HARMLESS, Damage, Lines
from tests.programs.printer import Form, print_log
from tests.programs.scenario import Scenario
from tests.test_properties import forms, scenarios

FIXTURES = Path(__file__).parent / "fixtures"
LOGS = [
    path
    for path in sorted(FIXTURES.glob("*/*"))
    if path.is_file() and path.name not in ("README", "gt.txt")
]
HEAD = "674 setsockopt(5, "
FORMS = [
    HEAD + "SOL_TLS, TLS_TX, {}, 40) = 0",
    HEAD + "SOL_TLS, TLS_RX, {}..., 40) = -1 EBUSY (Device or resource busy)",
    HEAD + "SOL_TLS, 1, {}, 40) = 0",
    HEAD + "0x11a /* SOL_?? */, 2, {}..., 40) = 0",
    HEAD + "0x11a, 0x1, {}, 40) = 0",
    HEAD + "282, 1, {}, 40) = 0",
    HEAD + "0x11a /* SOL_TLS */, 0x1 /* TLS_TX */, {}, 40) = 0",
    HEAD + "SOL_TLS, 0x1 /* TLS_TX */, {}, 40 <unfinished ...>",
    "674 setsockopt(sockfd=5, level=SOL_TLS, optname=TLS_TX, optval={}, optlen=40) = 0",
    "[pid   674] 12:00:00 setsockopt(5<TCP:[10.1.0.2:4->10.1.0.3:5]>, SOL_TLS, TLS_TX, {}, 40) = 0",
    "> 674 setsockopt(5, SOL_TLS, TLS_TX, {}, 40) = 0",
    "> > setsockopt(5,SOL_TLS,TLS_TX,{},40)= 0",
    "674 getsockopt(5, SOL_TLS, TLS_RX, {}, [40]) = 0",
    "674 setsockopt(5, 284, 1, {}, 40) = 0",
    "5, SOL_TLS, TLS_TX, {}, 40) = 0",
    "TLS_TX, {}..., 40) = 0",
]
Packing = dict[str, Callable[[bytes], bytes]]
BEFORE = "674 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 5\n"
FILLED = "X{36}|(?:\\\\x58){36}"


def scrubbed(tmp_path: Path, text: str | bytes, wanted: Wanted = Wanted()) -> bytes:  # noqa: B008
    log, out = tmp_path / "log", tmp_path / "out"
    log.write_bytes(text.encode() if isinstance(text, str) else text)
    scrub_file(str(log), str(out), wanted)
    return out.read_bytes()


def refused(tmp_path: Path, text: str, wanted: Wanted = Wanted()) -> KtraceError:  # noqa: B008
    with pytest.raises(KtraceError) as caught:
        scrubbed(tmp_path, text, wanted)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["log"], "a draft is left"
    return caught.value


def told(path: Path) -> dict[str, Any]:
    """Return the report of a log without the finding that it shows keys."""
    text = json_report.render(analyse([str(path)], Options(keep="all")))
    report: dict[str, Any] = json.loads(text.replace(str(path).encode(), b"LOG"))
    report["findings"] = [f for f in report["findings"] if f["code"] != "KT904"]
    return report


@pytest.mark.parametrize("hexed", [False, True], ids=["octal", "hex"])
@pytest.mark.parametrize("form", FORMS)
def test_a_payload_in_any_form_loses_its_key_bytes_only(
    tmp_path: Path, form: str, hexed: bool
) -> None:
    line = form.format(crypto_info(hexed))
    clean = scrubbed(tmp_path, BEFORE + line + "\n").decode()
    kept = crypto_info(hexed, 0)[:-1]
    assert left(clean.encode()) == []
    assert (
        clean == BEFORE + form.format(f'{kept}{(chr(92) + "x58" if hexed else "X") * 36}"') + "\n"
    )


@pytest.mark.parametrize("log", LOGS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_log_without_keys_stays_as_it_is(tmp_path: Path, log: Path) -> None:
    scrub_file(str(log), str(tmp_path / "out"), Wanted())
    assert (tmp_path / "out").read_bytes() == log.read_bytes()


@pytest.mark.parametrize("log", LOGS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_blanked_data_changes_no_report(tmp_path: Path, log: Path) -> None:
    """Addresses change it, but not the counts."""
    out = tmp_path / log.name
    scrub_file(str(log), str(out), Wanted(payload=True))
    assert _or_error(out) == _or_error(log)
    scrub_file(str(log), str(out), Wanted(payload=True, addresses=True))
    assert _or_error(out, "summary") == _or_error(log, "summary")


def _or_error(path: Path, *parts: str) -> object:
    try:
        report = told(path)
    except KtraceError as error:
        return error.slug
    return [report[part] for part in parts] if parts else report


@settings(max_examples=150, deadline=None)
@given(scenario=scenarios, form=forms)
def test_the_report_is_the_same_without_the_keys(
    tmp_path_factory: pytest.TempPathFactory, scenario: Scenario, form: Form
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log, out = folder / "log", folder / "out"
    log.write_text("".join(f"{marked(line)}\n" for line in print_log(scenario, form)))
    counts = scrub_file(str(log), str(out), Wanted())
    assert left(out.read_bytes()) == []
    assert told(out) == told(log)
    assert (counts.keys == 0) == (log.read_bytes() == out.read_bytes())
    assert shape(log.read_text()) == shape(out.read_text())


def shape(text: str) -> str:
    """Return a log without what a scrub may change: the bytes of SOL_TLS strings."""
    return re.sub(r'((?:SOL_TLS|0x11a|282)[^"\n]*)"(?:[^"\\\n]|\\.)*"', r'\1""', text)


def hard_wrapped(lines: Lines, rng: random.Random) -> Lines:
    """Break at column 72 wherever that is, also inside a string."""
    return [line[i : i + 72] for line in lines for i in range(0, max(len(line), 1), 72)]


def quoted_printable(lines: Lines, rng: random.Random) -> Lines:
    text = "".join(line + "\n" for line in lines).encode()
    return quopri.encodestring(text, quotetabs=rng.random() < 0.2).decode().splitlines()


def both(lines: Lines, rng: random.Random) -> Lines:
    return ["> " + line for line in hard_wrapped(lines, rng)]


GENTLE: tuple[Damage, ...] = (*HARMLESS, hard_wrapped, quoted_printable, both)


@pytest.mark.parametrize("damage", GENTLE, ids=lambda d: d.__name__)
@settings(max_examples=40, deadline=None)
@given(scenario=scenarios, form=forms, seed=st.integers(0, 99))
def test_damage_of_mail_and_web_hides_no_key(
    tmp_path_factory: pytest.TempPathFactory,
    damage: Damage,
    scenario: Scenario,
    form: Form,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log, out = folder / "log", folder / "out"
    lines = damage([marked(line) for line in print_log(scenario, form)], random.Random(seed))
    log.write_text("\n".join(lines) + "\n", newline="")
    try:
        scrub_file(str(log), str(out), Wanted())
    except KtraceError as error:
        assert damage not in HARMLESS, error.message
        return
    assert left(out.read_bytes()) == [], out.read_text()
    if damage in HARMLESS:
        assert told(out) == told(log)
    assert out.read_bytes().count(b"\n") == log.read_bytes().count(b"\n")


@pytest.mark.parametrize("damage", HARMFUL, ids=lambda d: d.__name__)
@settings(max_examples=60, deadline=None)
@given(scenario=scenarios, form=forms, seed=st.integers(0, 99))
def test_torn_logs_leak_nothing_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory,
    damage: Damage,
    scenario: Scenario,
    form: Form,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log, out = folder / "log", folder / "out"
    lines = damage([marked(line) for line in print_log(scenario, form)], random.Random(seed))
    log.write_text("\n".join(lines) + "\n", newline="")
    try:
        scrub_file(str(log), str(out), Wanted())
    except KtraceError:
        return
    assert left(out.read_bytes()) == [], out.read_text()


def test_scrubbing_twice_changes_nothing(tmp_path: Path) -> None:
    once = scrubbed(tmp_path, BEFORE + FORMS[0].format(crypto_info()) + "\n")
    assert scrubbed(tmp_path, once) == once


@pytest.mark.parametrize("ending", ["\n", "", "\r\n", "\0\0\0"])
def test_the_end_of_the_file_stays(tmp_path: Path, ending: str) -> None:
    clean = scrubbed(tmp_path, BEFORE + FORMS[0].format(crypto_info()) + ending)
    assert clean.endswith(b"= 0" + ending.encode())


def test_a_log_cut_inside_the_key(tmp_path: Path) -> None:
    line = FORMS[0].format(crypto_info())
    for end in range(len(line)):
        assert left(scrubbed(tmp_path, BEFORE + line[:end])) == [], line[:end]


def test_a_log_that_begins_inside_the_key(tmp_path: Path) -> None:
    line = FORMS[0].format(crypto_info()) + "\n"
    for start in range(len(line) - 40):
        assert left(scrubbed(tmp_path, line[start:] + BEFORE)) == [], line[start:]


def test_words_in_place_of_a_key_stay(tmp_path: Path) -> None:
    text = BEFORE + "".join(
        f"{HEAD}SOL_TLS, TLS_TX, {words}, 40) = 0\n"
        for words in ("“...algorithm and key material...”", '"<redacted>"', "...", "0x7ffd", "NULL")
    )
    assert scrubbed(tmp_path, text).decode() == text


def test_the_second_half_of_getsockopt(tmp_path: Path) -> None:
    text = (
        "674 getsockopt(5, SOL_TLS, TLS_TX,  <unfinished ...>\n"
        '675 read(3, "a", 1) = 1\n'
        f'674 <... getsockopt resumed>"{octets(bytes((9, 9, 9, 9)) + MARK[:30])}", [40]) = 0\n'
    )
    assert left(scrubbed(tmp_path, text)) == []
    other = text.replace("SOL_TLS, TLS_TX", "SOL_TCP, TCP_INFO")
    assert scrubbed(tmp_path, other).decode() == other


def dump(row: bytes, offset: int = 0) -> str:
    """Return a line of `-e write=`."""
    digits = [f"{octet:02x} " for octet in row]
    columns = "".join([*digits[:8], " ", *digits[8:]])
    shown = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in row)
    return f" | {offset:05x}  {columns:49} {shown:16} |\n"


def test_a_hex_dump_behind_the_call(tmp_path: Path) -> None:
    info = bytes((3, 3, 51, 0)) + MARK[:28]
    rows = [info[i : i + 16] for i in (0, 16)]
    text = BEFORE + FORMS[0].format(crypto_info()) + "\n"
    for index, row in enumerate(rows):
        text += dump(row, index * 16)
    clean = scrubbed(tmp_path, text + BEFORE)
    assert left(clean) == []
    assert b" | 00000  03 03 33 00 58 58 58 58  58" in clean
    assert clean.count(b"\n") == text.count("\n") + 1


@pytest.mark.parametrize(
    "call",
    [
        "setsockopt(5, SOL_TLS, TLS_TX, {iv=" + crypto_info() + "}, 40) = 0",
        f"setsockopt(5, SOL_TLS, TLS_TX, 0x3 {crypto_info()}, 40) = 0",
        f"setsockopt(5, SOL_TLS, TLS_TX, '{octets(MARK[:20])}', 40) = 0",
        "setsockopt(5, SOL_TLS, TLS_TX, [3, 3, 51, 0, 1, 2, 3, 4, 0x1122334455667788], 40) = 0",
        'write(1, "setsockopt(5, SOL_TLS, TLS_TX, \\"\\\\3\\\\0033\\\\0Qz7#", 60) = 60',
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, call: str) -> None:
    error = refused(tmp_path, f"{BEFORE}674 {call}\n")
    assert f"{tmp_path / 'log'}:2:" in error.message
    assert left(error.message.encode()) == []


def test_data_that_quotes_a_log_goes_with_the_payload(tmp_path: Path) -> None:
    call = 'write(1, "setsockopt(5, SOL_TLS, TLS_TX, \\"\\\\3\\\\0033\\\\0Qz7#", 60) = 60'
    clean = scrubbed(tmp_path, f"{BEFORE}674 {call}\n", Wanted(payload=True))
    assert left(clean) == []


@pytest.mark.parametrize("text", ["", "\n\n", "hello\nworld\n", "\0" * 5000, "key: Qz7#\n" * 9])
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text).slug in ("empty", "no-trace")


DATA = [
    'read(3, "{}", 100) = 12',
    'write(3</a "b", c>, "{}"..., 100) = 12',
    'recvfrom(3, "{}", 100, 0, NULL, NULL) = 12',
    '<... read resumed>"{}", 100) = 12',
    'writev(3, [{{iov_base="{}", iov_len=12}}, {{iov_base="{}", iov_len=12}}], 2) = 24',
    'sendmsg(3, {{msg_name(0)=NULL, msg_iov(1)=[{{"{}", 12}}], msg_controllen=0}}, 0) = 12',
    'execve("/bin/true", ["true", "{}"], ["A={}"]) = 0',
    'execve("/bin/true", ["{}"], 0x7ffd /* 9 vars */) = 0',
    'getrandom("{}", 12, 0) = 12',
]


@pytest.mark.parametrize("hexed", [False, True], ids=["octal", "hex"])
@pytest.mark.parametrize("call", DATA)
def test_payload_blanks_data(tmp_path: Path, call: str, hexed: bool) -> None:
    text = f"674 {call}\n".replace("{}", octets(MARK[:30], hexed))
    text = text.replace("{{", "{").replace("}}", "}")
    clean = scrubbed(tmp_path, BEFORE + text, Wanted(payload=True))
    assert left(clean) == []
    assert left(scrubbed(tmp_path, BEFORE + text)) != [], "only when asked for"
    outside = re.compile(r'"(?:[^"\\]|\\.)*"')
    assert outside.sub("", clean.decode()) == outside.sub("", BEFORE + text)


def test_payload_blanks_dumps(tmp_path: Path) -> None:
    line = dump(b"  Qz7#\1\2")
    clean = scrubbed(tmp_path, BEFORE + line, Wanted(payload=True))
    assert (
        clean
        == (BEFORE + line.replace("20 20 51 7a 37 23 01 02", "58 58 58 58 58 58 58 58"))
        .replace("Qz7#..", "XXXXXX")
        .encode()
    )


ADDRESSES = [
    ('connect(3, {sin_addr=inet_addr("10.9.8.7")}, 16) = 0', 'inet_addr("192.0.2.1")'),
    ("close(3<TCP:[10.9.8.7:80->10.9.8.7:81]>) = 0", "[192.0.2.1:80->192.0.2.1:81]"),
    ('connect(3, {inet_pton(AF_INET6, "fd12::9", &sin6_addr)}, 28) = 0', '"2001:db8::1"'),
    ("close(3<TCPv6:[[fd12::9]:80->[fd12::8]:81]>) = 0", "[[2001:db8::1]:80->[2001:db8::2]:81]"),
    ("close(3<TCPv6:[[::ffff:10.9.8.7]:80->[fd12::8]:81]>) = 0", "[::ffff:192.0.2.1]:80"),
    ('bind(3, {sin_addr="\\x0a\\x09\\x08\\x07"}, 16) = 0', '"\\xc0\\x00\\x02\\x01"'),
    ('bind(3, {sa_family=AF_INET, sa_data="\\0P\\n\\t\\10\\7"}, 16) = 0', "\\xc0\\x00\\x02\\x01"),
    ('write(1, "GET http://10.9.8.7/", 20) = 20', "http://192.0.2.1/"),
    (
        'bind(3, {inet_addr("\\x31\\x30\\x2e\\x39\\x2e\\x38\\x2e\\x37")}, 16) = 0',
        "\\x31\\x39\\x32\\x2e",
    ),
]


@pytest.mark.parametrize(("call", "becomes"), ADDRESSES)
def test_addresses_become_documentation(tmp_path: Path, call: str, becomes: str) -> None:
    clean = scrubbed(tmp_path, f"{BEFORE}674 {call}\n", Wanted(addresses=True)).decode()
    assert becomes in clean
    assert not re.search(r"10\.9\.8\.7|fd12|\\x0a\\x09|\\x31\\x30\\x2e\\x39", clean)


def test_what_only_looks_like_an_address_stays(tmp_path: Path) -> None:
    text = (
        "22:16:45.123456 close(3) = 0\n"
        '22:16:45.123456 bind(3, {sin_addr=inet_addr("0.0.0.0")}, 16) = 0\n'
        " > /usr/lib/libfoo.so.1.2.3.4(connect+0x4f) [0x1]\n"
        " > /usr/lib/x.so(a::b()+0x1) [0x1]\n"
        '22:16:45 write(1, "1.2.3.4.5 1.2.3 999.1.1.1 std::x", 20) = 20\n'
    )
    assert scrubbed(tmp_path, text, Wanted(addresses=True)).decode() == text


def test_more_addresses_than_documentation_has_stay_distinct(tmp_path: Path) -> None:
    text = "".join(
        f'674 connect(3, {{sin_addr=inet_addr("10.0.{i // 200}.{i % 200}")}}, 16) = 0\n'
        for i in range(2000)
    )
    clean = scrubbed(tmp_path, text, Wanted(addresses=True)).decode()
    assert len(set(re.findall(r"inet_addr\(\"([\d.]+)", clean))) == 2000
    assert '"10.' not in clean


def family(folder: Path) -> None:
    folder.mkdir()
    for pid in (674, 675, 676):
        text = FORMS[0].format(crypto_info()).removeprefix("674 ") + "\n"
        (folder / f"log.{pid}").write_text("" if pid == 676 else f"1700000000.{pid} {text}")


@pytest.mark.parametrize(("out", "names"), [("clean", "clean.674"), ("box/", "box/log.674")])
def test_a_family_keeps_its_numbers(tmp_path: Path, out: str, names: str) -> None:
    family(tmp_path / "a")
    (tmp_path / "box").mkdir()
    traces = plan([str(tmp_path / "a/log")], f"{tmp_path}/{out}", False)
    run(traces, Wanted(), lambda done, total: None)
    first = tmp_path / names
    assert left(first.read_bytes()) == []
    for pid in (675, 676):
        assert first.with_suffix(f".{pid}").exists()


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".xz", ""])
def test_compressed_in_and_out(tmp_path: Path, suffix: str) -> None:
    text = (BEFORE + FORMS[0].format(crypto_info()) + "\n").encode()
    pack: Packing = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}
    unpack: Packing = {".gz": gzip.decompress, ".xz": lzma.decompress}
    (tmp_path / "log").write_bytes(pack.get(suffix, bytes)(text))
    out = tmp_path / f"out{suffix}"
    scrub_file(str(tmp_path / "log"), str(out), Wanted())
    data = out.read_bytes()
    if suffix == ".zst":
        clean = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    else:
        clean = unpack.get(suffix, bytes)(data)
    assert clean == scrubbed(tmp_path, text)


KTRACE = [sys.executable, "-c", "import sys; from ktrace.cli import main; sys.exit(main())"]


def ktrace(*args: str, cwd: Path, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*KTRACE, *args], cwd=cwd, capture_output=True, check=False, **more)


def test_the_command_says_what_it_changed(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(BEFORE + FORMS[0].format(crypto_info()) + "\n")
    done = ktrace("scrub", "log", "-o", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"ktrace: blanked 36 key bytes of 1 call in 2 lines\n"
    again = ktrace("scrub", "log", "-o", "out", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stderr.startswith(b"ktrace: out exists\nhelp: ")
    assert ktrace("scrub", "log", "-o", "out", "--force", cwd=tmp_path).returncode == 0


def test_from_a_pipe_into_a_pipe(tmp_path: Path) -> None:
    text = (BEFORE + FORMS[0].format(crypto_info()) + "\n").encode()
    done = ktrace("scrub", "-", "-o", "-", cwd=tmp_path, input=text)
    assert done.stdout == scrubbed(tmp_path, text)
    bad = ktrace("scrub", "-", "-o", "-", cwd=tmp_path, input=b"no trace\n")
    assert (bad.returncode, bad.stdout) == (2, b"")


def test_the_input_is_never_overwritten_by_accident(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(BEFORE + FORMS[0].format(crypto_info()) + "\n")
    (tmp_path / "link").symlink_to(log)
    before = log.read_bytes()
    for out in ("log", "./log", "link"):
        done = ktrace("scrub", "log", "-o", out, "--force", cwd=tmp_path)
        assert (done.returncode, log.read_bytes()) == (2, before)


def test_in_place_keeps_mode_and_compression(tmp_path: Path) -> None:
    log = tmp_path / "log.gz"
    log.write_bytes(gzip.compress((BEFORE + FORMS[0].format(crypto_info()) + "\n").encode()))
    os.chmod(log, 0o640)
    assert ktrace("scrub", "log.gz", "--in-place", cwd=tmp_path).returncode == 0
    assert left(gzip.decompress(log.read_bytes())) == []
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["log.gz"]


def test_in_place_leaves_what_it_refuses(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(BEFORE + "674 setsockopt(5, SOL_TLS, TLS_TX, {iv=" + crypto_info() + "}) = 0\n")
    before = log.read_bytes()
    assert ktrace("scrub", "log", "--in-place", cwd=tmp_path).returncode == 2
    assert (log.read_bytes(), os.listdir(tmp_path)) == (before, ["log"])


def test_a_capture_is_told_from_a_log(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"ktrace capture 1\n")
    done = ktrace("scrub", "run", "-o", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert b"nothing to scrub" in done.stderr


def test_counts_of_all_files_are_added(tmp_path: Path) -> None:
    family(tmp_path / "a")
    counts = run(
        plan([str(tmp_path / "a/log")], str(tmp_path / "clean"), False),
        Wanted(),
        lambda done, total: None,
    )
    assert counts == Counts(keys=2, key_bytes=72, lines=2)
