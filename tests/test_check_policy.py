"""The policy file is read strictly, and says the same as the options."""

import datetime
from pathlib import Path

import pytest

from ktrace.check import policy
from ktrace.check.policy import Limits
from ktrace.errors import KtraceError
from tests.check_runs import CODES, load

WHOLE = """
[check]
max_raced = 1
max_unordered = 2
max_fallback_rate = 0.01
min_attempted = 30
require = ["tx", "rx"]
min_attempt_rate = 0.9
alpha = 0.05
forbid = ["KT203"]
[check.peer."10.1.0.3:4043"]
max_raced = 7
[[check.waive]]
code = "KT301"
peer = "10.1.0.3:4043"
until = 2027-01-31
reason = "OpenSSL 3.0 has no RX for TLS 1.3"
"""


def refusal(toml: str, tmp_path: Path) -> KtraceError:
    with pytest.raises(KtraceError) as caught:
        load(toml, tmp_path)
    assert caught.value.exit_status == 2
    return caught.value


def test_every_key_is_read(tmp_path: Path) -> None:
    read = load(WHOLE, tmp_path)
    assert read.limits == Limits(1, 2, 0.01, 30, ("tx", "rx"), 0.9, 0.05, ("KT203",))
    assert read.peers == {"10.1.0.3:4043": Limits(max_raced=7)}
    (waiver,) = read.waivers
    assert (waiver.code, waiver.until) == ("KT301", datetime.date(2027, 1, 31))


def test_defaults_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read = policy.load(None, Limits(), CODES)
    assert read.limits == Limits(max_raced=0, max_unordered=0, alpha=0.01)
    assert read.origin == "default policy"


def test_the_file_of_the_folder_is_read_without_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ktrace.toml").write_text("[check]\nmax_raced = 4\n")
    read = policy.load(None, Limits(), CODES)
    assert (read.limits.max_raced, read.origin) == (4, "ktrace.toml")


def test_options_come_before_the_file(tmp_path: Path) -> None:
    read = load(WHOLE, tmp_path, max_raced=0, alpha=0.2)
    assert (read.limits.max_raced, read.limits.alpha, read.limits.min_attempted) == (0, 0.2, 30)
    assert read.origin.endswith(" and options")


@pytest.mark.parametrize(
    ("toml", "key", "nearest"),
    [
        ("[check]\nmax_race = 0\n", "check.max_race", "max_raced"),
        ("[check]\nmax-raced = 0\n", "check.max-raced", "max_raced"),
        ("[check]\nminimum_attempted = 3\n", "check.minimum_attempted", "min_attempted"),
        ("[check]\nzzz = 0\n", "check.zzz", ""),
        ("[chek]\nmax_raced = 0\n", "chek", "check"),
        ("max_raced = 0\n", "max_raced", "check"),
        (
            '[check.peer."10.0.0.1:1"]\nmax_rased = 0\n',
            'check.peer."10.0.0.1:1".max_rased',
            "max_raced",
        ),
        ('[check.peer."10.0.0.1:1"]\nwaive = 0\n', 'check.peer."10.0.0.1:1".waive', ""),
        ('[[check.waive]]\nkode = "KT101"\n', "check.waive.kode", "code"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    toml: str, key: str, nearest: str, tmp_path: Path
) -> None:
    error = refusal(toml, tmp_path)
    assert f"unknown key {key};" in error.message
    assert error.message.split("nearest known key is ")[1].startswith(nearest)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[check]\nmax_raced = -1\n", "check.max_raced"),
        ('[check]\nmax_raced = "0"\n', "check.max_raced"),
        ("[check]\nmax_raced = 0.5\n", "check.max_raced"),
        ("[check]\nmax_raced = true\n", "check.max_raced"),
        ("[check]\nmax_fallback_rate = 1.5\n", "check.max_fallback_rate"),
        ("[check]\nmax_fallback_rate = nan\n", "max_fallback_rate"),
        ("[check]\nalpha = 0\n", "check.alpha"),
        ("[check]\nalpha = 1.0\n", "check.alpha"),
        ('[check]\nrequire = ["tx", "both"]\n', "check.require"),
        ('[check]\nforbid = ["KT999"]\n', "nearest known one is KT9"),
        ("check = 3\n", "check"),
        ('[check.peer."backend"]\nmax_raced = 0\n', 'peer "backend"'),
        ('[check.peer."10.0.0.1:99999"]\nmax_raced = 0\n', "10.0.0.1:99999"),
        ('[[check.waive]]\ncode = "KT101"\nreason = "x"\n', "until"),
        ('[[check.waive]]\ncode = "KT101"\nuntil = 2027-01-01\n', "reason"),
        ('[[check.waive]]\ncode = "KT101"\nuntil = 2027-01-01\nreason = ""\n', "reason"),
        ('[[check.waive]]\ncode = "KT901"\nuntil = 2027-01-01\nreason = "x"\n', "cannot be waived"),
        (
            '[[check.waive]]\ncode = "KT100"\nuntil = 2027-01-01\nreason = "x"\n',
            "nearest known one is KT1",
        ),
        ("[check\n", "not a TOML file"),
        ("[check]\nmax_raced = 1\nmax_raced = 2\n", "not a TOML file"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(toml: str, words: str, tmp_path: Path) -> None:
    error = refusal(toml, tmp_path)
    assert words in error.message
    assert str(tmp_path) in error.message and error.help
    assert "\n" not in error.message + error.help


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(b"[check]\nforbid = ['\xff']\n")
    with pytest.raises(KtraceError):
        policy.load(str(file), Limits(), CODES)


def test_a_file_with_a_byte_order_mark_and_crlf_is_read(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_bytes(b"\xef\xbb\xbf[check]\r\nmax_raced = 3\r\n")
    assert policy.load(str(file), Limits(), CODES).limits.max_raced == 3


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("10.1.0.3:4043", "10.1.0.3:4043"),
        ("[2001:DB8::0:1]:443", "[2001:db8::1]:443"),
        ("10.1.0.3", "10.1.0.3"),
        ("[::1]", "::1"),
        ("::1", "::1"),
    ],
)
def test_a_peer_is_named_as_a_trace_names_it(said: str, meant: str, tmp_path: Path) -> None:
    assert list(load(f'[check.peer."{said}"]\nmax_raced = 1\n', tmp_path).peers) == [meant]
