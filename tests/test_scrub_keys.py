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
from tests.marked import RUN, octets, plain
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
