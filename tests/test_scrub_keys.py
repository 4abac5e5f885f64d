"""Any key, in any form, behind any damage: no four bytes of it stay, and nothing else goes."""

import contextlib
import html
import io
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrace.cli import main
from ktrace.cli.output import FILES
from ktrace.errors import KtraceError
from ktrace.scrub.job import scrub_file
from ktrace.scrub.options import Wanted
from tests.marked import MARK, RUN, octets, plain
from tests.programs.damage import HARMFUL, HARMLESS, Damage, Lines
from tests.test_scrub import BEFORE, FORMS, both, hard_wrapped, quoted_printable

MORE = [
    "674 1.000001 setsockopt(5<TCPv6:[[::1]:1->[::1]:2]>, 0x11a, 0x2 /* TLS_RX */, {}..., 56) = 0",
    "674 setsockopt(5, SOL_TLS, TLS_TX, {}, 40) = ? ERESTARTSYS (To be restarted)",
    "674 setsockopt(5, SOL_TLS, TLS_TX, {}..., 40) = 0\n > /lib/libc.so.6(setsockopt+0xa) [0x12]",
    "674 setsockopt(5, SOL_TLS, TLS_TX, {} <unfinished ...>\n675 close(3) = 0\n"
    "674 <... setsockopt resumed>, 40) = 0",
    '674 setsockopt(5</a,"b>, SOL_TLS, TLS_TX, {}, 40) = -1 EINVAL (Invalid) (INJECTED)',
    "setsockopt(0x5, 0x11a, 0x1, {}, 0x28) = 0",
]
ALL = [form for form in FORMS if "284" not in form] + MORE  # 284 is no SOL_TLS
INFO = [b"\3\3\x33\0", b"\4\3\x34\0", b"\4\3\x39\0", b"\3\4\0\x33", b"\1\2\x33\0"]
# What quotes, wraps, tags, entities, results and other records are made of.
SPECIAL = b"\"\\\n\r\t\0(),.<>[]{}=;&'`X3~ 0123456789abcdefip/\x1b\xc2\xa0\xff"
AFTER = f"\n{BEFORE}674 close(5) = 0\n"
keys = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.lists(st.sampled_from(SPECIAL), min_size=1, max_size=60).map(bytes),
    st.sampled_from([b"<b", b"</a ", b"<p>1", b"&lt;", b"1234: ", b"...", b'", 40) = 0\n', b"=3D"])
    .flatmap(lambda begin: st.binary(min_size=4, max_size=40).map(lambda rest: begin + rest))
    .map(lambda key: key + b">"),
)  # fmt: skip


def spelled(data: bytes, how: str, rng: random.Random) -> str:
    """Print bytes as strace does by default, with -xx, or each in a way of its own."""
    if how == "mixed":
        each = (rng.choice(("\\x{:02x}", "\\{:03o}")).format(octet) for octet in data)
        return "".join(each)
    return octets(data, how == "hex")


def runs(data: bytes) -> set[bytes]:
    return {data[at : at + RUN] for at in range(len(data) - RUN + 1)}


def shown(data: bytes) -> set[bytes]:
    """Return every run of bytes that a reader of `data` can see, or put together."""
    found: set[bytes] = set()
    text = html.unescape(data.decode("utf-8", "surrogateescape"))
    for view in (data, text.encode("utf-8", "surrogateescape")):
        decoded = plain(view)
        found |= runs(view) | runs(decoded) | runs(re.sub(rb"\s+(?:>\s*)*", b"", decoded))
    return found


def secret(key: bytes, *logs: str) -> set[bytes]:
    """Return the runs of a key that mean something: no filler, and not in its log without it."""
    other = set().union(*(shown(log.encode()) for log in logs))
    return {run for run in runs(key) if not set(run) & set(b"X\0")} - other


def nothing(lines: Lines, rng: random.Random) -> Lines:
    return lines


def damaged(body: str, form: str, damage: Damage, seed: int) -> str:
    lines = (BEFORE + form.replace("{}", f'"{body}"') + AFTER).splitlines()
    return "\n".join(damage(lines, random.Random(seed))) + "\n"


@pytest.mark.parametrize("how", ["octal", "hex"])
@settings(max_examples=150, deadline=None)
@given(key=keys, info=st.sampled_from(INFO), form=st.sampled_from(ALL))
def test_the_key_becomes_filler_and_nothing_else_changes(
    tmp_path_factory: pytest.TempPathFactory, how: str, key: bytes, info: bytes, form: str
) -> None:
    folder = tmp_path_factory.mktemp("log")
    key = key.replace(b"&", b"+")  # `&lt;` may be an entity: it becomes one byte of filler
    body = spelled(info + key, how, random.Random(0))
    (folder / "log").write_text(BEFORE + form.replace("{}", f'"{body}"') + AFTER)
    scrub_file(str(folder / "log"), str(folder / "out"), Wanted())
    if set(key) <= set(b"X\0"):
        return
    filler = ("\\x58" if how == "hex" else "X") * len(key)
    # how many digits strace gives to the last of the four bytes depends on what comes behind it
    kept = body[: len(body) - len(spelled(key, how, random.Random(0)))]
    expected = BEFORE + form.replace("{}", f'"{kept}{filler}"') + AFTER
    assert (folder / "out").read_text() == expected


@pytest.mark.parametrize("how", ["octal", "hex", "mixed"])
@settings(max_examples=200, deadline=None)
@given(
    key=keys,
    info=st.sampled_from(INFO),
    form=st.sampled_from(ALL),
    damage=st.sampled_from([*HARMLESS, hard_wrapped, quoted_printable, both, *HARMFUL]),
    seed=st.integers(0, 999),
)
def test_no_damage_lets_a_key_through(
    tmp_path_factory: pytest.TempPathFactory,
    how: str, key: bytes, info: bytes, form: str, damage: Damage, seed: int,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("log")
    log, out = folder / "log", folder / "out"
    body = spelled(info + key, how, random.Random(seed))
    log.write_text(damaged(body, form, damage, seed), newline="")
    blank = spelled(info + b"X" * len(key), how, random.Random(seed))
    left = secret(key, damaged(blank, form, nothing, seed), damaged(blank, form, damage, seed))
    try:
        scrub_file(str(log), str(out), Wanted())
    except KtraceError as error:
        assert damage not in HARMLESS, error.message
        assert not left & shown(error.message.encode()), error.message
        return
    assert not left & shown(out.read_bytes()), (log.read_bytes(), out.read_bytes())


def said(command: list[str]) -> bytes:
    """Run a command and return what it printed."""
    printed = io.BytesIO()
    terminal = io.TextIOWrapper(printed, encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        main(command)
    return printed.getvalue()


def written(folder: Path) -> Iterator[bytes]:
    for path in folder.iterdir():
        if path.name != "log":
            yield path.read_bytes()


@settings(max_examples=12, deadline=None)
@given(key=keys, info=st.sampled_from(INFO), form=st.sampled_from(ALL), seed=st.integers(0, 999))
def test_no_command_shows_a_key(
    tmp_path_factory: pytest.TempPathFactory, key: bytes, info: bytes, form: str, seed: int
) -> None:
    """All that one call gets out of any command: what it prints, and every file it writes."""
    folder = tmp_path_factory.mktemp("log")
    log = str(folder / "log")
    rng = random.Random(seed)
    how = rng.choice(("octal", "hex", "mixed"))
    damage: Damage = rng.choice((*HARMLESS, *HARMFUL, nothing))
    Path(log).write_text(damaged(spelled(info + key, how, rng), form, damage, seed), newline="")
    outputs = [w for name in FILES if name != "parquet" for w in (f"--{name}", f"{log}.{name}")]
    commands = (
        ["parse", log, *outputs],
        ["check", log, "--junit", f"{log}.junit", "--sarif", f"{log}.sarif"],
        ["scrub", log, "-o", f"{log}.clean", "--payload", "--addresses", "--force"],
    )
    seen = [said(command) for command in commands] + list(written(folder))
    # what is there without the key, in a log that has filler in its place
    blank = spelled(info + b"X" * len(key), how, rng)
    Path(log).write_text(damaged(blank, form, damage, seed), newline="")
    others = [said(command) for command in commands]
    same = set().union(*(shown(data) for data in [*others, *written(folder)]))
    left = secret(key) - same
    for data in seen:
        assert not left & shown(data)


PAYLOAD = f'"{octets(bytes((9, 9, 9, 9)) + MARK[:30])}"'


def cleaned(folder: Path, text: str) -> str:
    (folder / "log").write_text(text)
    scrub_file(str(folder / "log"), str(folder / "out"), Wanted())
    return (folder / "out").read_text()


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(KtraceError) as caught:
        cleaned(folder, text)
    assert caught.value.slug == "not-scrubbed"
    return caught.value.message


@pytest.mark.parametrize("head", ["{} ", "[pid {}] ", "[pid   {}] 12:00:00 ", "{}<nginx> "])
def test_each_thread_gets_its_own_second_half(tmp_path: Path, head: str) -> None:
    """No key in no form that `like` would know: only the thread tells whose bytes these are."""
    text = BEFORE + "".join(
        f"{head.format(tid)}{call}\n"
        for tid, call in (
            (674, "getsockopt(5, SOL_TCP, TCP_INFO,  <unfinished ...>"),
            (675, "getsockopt(5, SOL_TLS, TLS_TX,  <unfinished ...>"),
            (674, f"<... getsockopt resumed>{PAYLOAD}, [104]) = 0"),
            (675, f"<... getsockopt resumed>{PAYLOAD}, [40]) = 0"),
            (675, "getsockopt(5, SOL_TCP, TCP_INFO,  <unfinished ...>"),
            (675, f"<... getsockopt resumed>{PAYLOAD}, [104]) = 0"),
        )
    )
    clean = cleaned(tmp_path, text)
    changed = [
        (old, new)
        for old, new in zip(text.splitlines(), clean.splitlines(), strict=True)
        if old != new
    ]
    assert len(changed) == 1 and "[40]" in changed[0][0]
    assert not secret(MARK[:30], "") & shown(changed[0][1].encode())


@pytest.mark.parametrize("before", ['write(3, "ab', "sendto(3,", "ioctl(3, X, arg=", "send("])
@pytest.mark.parametrize("quote", ["", "> "])
def test_a_wrapped_record_of_another_call_stays(tmp_path: Path, before: str, quote: str) -> None:
    """Its second line looks like the end of a payload that lost its beginning."""
    text = f'674 {before}\n{quote}cd\\1", 40) = 40\n'.replace("arg=\n", 'arg=\n"')
    if not before.endswith("ab"):
        text = text.replace("cd", '"cd')
    text = f"{quote}674 close(4) = 0\n{quote}{text}{quote}674 close(3) = 0\n"
    assert cleaned(tmp_path, text) == text


@pytest.mark.parametrize(
    "words",
    [
        'write(1, "use SOL_TLS and more\\n", 23) = 23',
        'write(1, "a \\"b\\" SOL_TLS c\\n", 18) = 18',
        'write(1, "x", 1) = 1\n674 write(1, "SOL_TLS, TLS_TX\\n", 17) = 17',
        "close(3) = 0 # SOL_TLS is next",
    ],
)
def test_data_that_mentions_the_option_stays(tmp_path: Path, words: str) -> None:
    text = f"{BEFORE}674 {words}\n{BEFORE}"
    assert cleaned(tmp_path, text) == text


@pytest.mark.parametrize(
    "words",
    [
        'write(1, "x", 1) = 1\n674 write(1, "SOL_TLS \\1\\2\\3", 17) = 17',
        'write(1, "a \\"b\\" SOL_TLS \\1\\2\\3", 18) = 18',
        "setsockopt(5, SOL_TLS, TLS_TX, {'\\1\\2'}, 40) = 0",
        "setsockopt(5, \\1\\2\\3\\4abc, 40) = 0",
        'setsockopt(0x5, 0x11a,,0x1, "\\1\\2\\3\\4abc", 40) = 0',
        'setsockopt(5, SOL_TLS, TLS_TX, [1], "\\1\\2\\3\\4abc", 40) = 0',
    ],
)
def test_what_may_be_a_key_is_refused(tmp_path: Path, words: str) -> None:
    line = 2 + words.count("\n")
    assert f":{line}: " in refusal(tmp_path, f"{BEFORE}674 {words}\n{BEFORE}")


@pytest.mark.parametrize(
    ("key", "shows"),
    [
        ("<b>\\1\\2", '"\\3\\0033\\0XXXXX"'),
        ("<p>07\\1\\2", '"\\3\\0033\\0XXXXXXX"'),  # `\0`, tag, `07` reads as `\007`
        ("ab<br>cd", '"\\3\\0033\\0XXXXXXXX"'),
        ("ab<br>\ncd", '"\\3\\0033\\0XX<br>\nXX"'),  # a web page's own
        ("ab\x1b[1mcd", '"\\3\\0033\\0XX\x1b[1mXX"'),  # a terminal's
    ],
)
def test_key_bytes_that_look_like_a_tag(tmp_path: Path, key: str, shows: str) -> None:
    text = f'{BEFORE}674 setsockopt(5, SOL_TLS, TLS_TX, "\\3\\0033\\0{key}", 40) = 0\n{BEFORE}'
    assert shows in cleaned(tmp_path, text)


def test_html_that_a_program_sent_is_data(tmp_path: Path) -> None:
    page = '<html>\\r\\n<a href=\\"/secret\\">hello</a><br>&amp;<p>'
    (tmp_path / "log").write_text(f'{BEFORE}674 write(3, "{page}", 90) = 90\n')
    scrub_file(str(tmp_path / "log"), str(tmp_path / "out"), Wanted(payload=True))
    assert re.search(r'write\(3, "X+", 90\)', (tmp_path / "out").read_text())
