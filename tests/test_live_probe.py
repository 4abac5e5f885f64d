"""The probe's objects and layout: what was built is what is written, in C and in Python."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from ktrace.resources import bpf_dir
from ktrace.sources.live import bcc, hooks, kernel, layout, libbpf, probe
from ktrace.sources.live.ring import STRIDE

BPF = bpf_dir()
HEADER = (BPF / "ktrace.h").read_text()
MACHINES = ("x86_64", "aarch64")
OBJECTS = (
    *(f"probe.{machine}{kind}.o" for machine in MACHINES for kind in ("", ".cast")),
    "probe.x86_64.bycall.o",
)


def constants(prefix: str) -> dict[str, int]:
    """Return the numbers of the header: `KT_X = 1,` and `#define KT_X 0x1`."""
    pattern = rf"(?:#define )?({prefix}\w+)(?: =)? (0x[0-9a-f]+|\d+)"
    return {name: int(number, 0) for name, number in re.findall(pattern, HEADER)}


def test_the_objects_were_built_from_these_sources() -> None:
    lines = (BPF / "SOURCES.sha256").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    sources = {path.name for pattern in ("*.h", "*.bpf.c") for path in BPF.glob(pattern)}
    assert set(listed) == sources
    for name, expected in listed.items():
        actual = hashlib.sha256((BPF / name).read_bytes()).hexdigest()
        assert actual == expected, f"{name} changed: run `make bpf` and commit the objects"
    for name in OBJECTS:
        assert (BPF / name).read_bytes()[:4] == b"\x7fELF"


@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_a_new_build_gives_the_same_programs(tmp_path: Path) -> None:
    for path in BPF.iterdir():
        shutil.copy(path, tmp_path)
    subprocess.run([tmp_path / "build"], check=True)
    clang = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True)
    if "version 14." not in clang.stdout:
        pytest.skip("another compiler writes other code")
    for name in OBJECTS:
        assert (tmp_path / name).read_bytes() == (BPF / name).read_bytes()


def test_every_call_has_the_same_number_on_both_sides() -> None:
    in_header = constants("KT_")
    in_python = {call.symbol: call.number for call in layout.CALLS}
    assert in_python == {name: in_header[name] for name in in_python}
    assert in_header["KT_CALLS"] == len(in_python) + 1


def test_flags_and_sizes_agree() -> None:
    flags = constants("KT_F_")
    for name, value in flags.items():
        assert getattr(layout, name.removeprefix("KT_F_")) == value
    sizes = constants("KT_")
    assert (sizes["KT_STACKS"], sizes["KT_STACK_BYTES"]) == (layout.STACKS, layout.STACK_BYTES)
    assert sizes["KT_LAYOUT"] == layout.LAYOUT


def test_the_record_has_the_size_that_the_compiler_gives_it(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    source = tmp_path / "size.c"
    source.write_text(
        "#include <linux/types.h>\n#include <stdio.h>\n#include <stddef.h>\n"
        f'#include "{BPF / "ktrace.h"}"\n'
        'int main(void) { printf("%zu %zu %zu %zu %zu", sizeof(struct kt_record),'
        " offsetof(struct kt_record, call), offsetof(struct kt_record, family),"
        " sizeof(struct kt_config), sizeof(struct kt_counters));"
        " return 0; }\n"
    )
    subprocess.run(["gcc", "-o", tmp_path / "size", source], check=True)
    told = subprocess.run([tmp_path / "size"], capture_output=True, text=True, check=True).stdout
    before_place = layout.RECORD.size - 16 - layout.PLACE.size
    sizes = (layout.RECORD.size, before_place - 4, before_place)
    expected = (*sizes, probe.CONFIG.size, layout.COUNTERS.size)
    assert told == "{} {} {} {} {}".format(*expected)
    assert STRIDE % 8 == 0 and STRIDE & (STRIDE - 1) == 0, "no record is broken at the ring's end"


def test_every_traced_call_has_a_number_where_the_architecture_has_the_call() -> None:
    lacking = {"x86_64": set(), "aarch64": {"dup2", "epoll_wait", "poll", "select"}}
    for machine, numbers in kernel.SYSCALLS.items():
        missing = {call.name for call in hooks.SYSCALLS} - set(numbers)
        assert missing == lacking[machine]
        assert max(numbers.values()) < constants("KT_")["KT_SYSCALLS"]


def test_the_probe_numbers_its_calls_as_user_space_does() -> None:
    text = (BPF / "numbers.h").read_text()
    for machine, macro in (("x86_64", "KT_X86"), ("aarch64", "KT_ARM64")):
        part = text.partition(f"#ifdef {macro}\n")[2].partition("#endif")[0]
        told = dict(re.findall(r"^#define NR_(\w+) (\w+)$", part, re.MULTILINE))
        assert len(told) > 10
        for name, number in told.items():
            known = kernel.SYSCALLS[machine].get(name.lower(), "NO_CALL")
            assert number == str(known), (machine, name)


@pytest.mark.parametrize(
    ("source", "syscalls"),
    [
        ("probe.bpf.c", libbpf.LibbpfObject.syscalls),
        ("probe.bcc.c", bcc.BccObject.syscalls),
    ],
)
def test_every_traced_call_has_its_programs(
    source: str, syscalls: tuple[hooks.Syscall, ...]
) -> None:
    text = (BPF / source).read_text()
    enters = set(re.findall(r"^ENTER\((\w+),", text, re.MULTILINE))
    exits = set(re.findall(r"^LEAVE\((\w+)\)", text, re.MULTILINE))
    exits |= set(re.findall(r"^int exit_of_(\w+)\(", text, re.MULTILINE))
    assert {call.entry or call.name for call in syscalls} | {"foreign"} == enters
    assert {call.exit_program for call in syscalls if call.exit_program} == exits


def test_a_program_of_its_own_hangs_on_every_traced_call() -> None:
    """The object for kernels that preempt the programs of tracepoints."""
    text = (BPF / "bycall.h").read_text()
    pairs = set(re.findall(r"^PAIR\((\w+), (\w+),", text, re.MULTILINE))
    alone = set(re.findall(r"^ALONE\((\w+),", text, re.MULTILINE))
    calls = (*hooks.SYSCALLS, *libbpf.PEEKS)
    kin = {(c.name, c.exit_program) for c in calls if c.exit_program and c.name != "setsockopt"}
    assert pairs == {*kin, ("setsockopt", "setting")}
    assert alone == {c.name for c in calls if not c.exit_program}
    foreign = set(re.findall(r"^CALLED\((\w+),", text, re.MULTILINE))
    assert {f"call_{name}" for name in foreign} == set(libbpf.FOREIGN)


@pytest.mark.parametrize(
    ("release", "machine", "fentry", "first"),
    [
        ((7, 0), "x86_64", True, "probe.x86_64.bycall.o"),
        ((6, 19), "x86_64", True, "probe.x86_64.cast.o"),
        ((7, 0), "x86_64", False, "probe.x86_64.cast.o"),
        ((7, 0), "aarch64", True, "probe.aarch64.cast.o"),
        ((6, 1), "x86_64", True, "probe.x86_64.o"),
    ],
)
def test_the_kernel_decides_which_object_comes_first(
    monkeypatch: pytest.MonkeyPatch,
    release: tuple[int, int],
    machine: str,
    fentry: bool,
    first: str,
) -> None:
    ways = ("fentry", "kprobe") if fentry else ("kprobe",)
    monkeypatch.setattr(libbpf, "release", lambda: release)
    monkeypatch.setattr(libbpf, "architecture", lambda: machine)
    monkeypatch.setattr(libbpf, "takes_fentry", lambda: fentry)
    monkeypatch.setattr(libbpf, "ways_in", lambda: ways)
    found = list(libbpf.variants())
    assert found[0].file == first and found[0].method == ways[0]
    assert all(bool(one.by_call) == ("bycall" in one.file) for one in found)
    assert found[-1].file == f"probe.{machine}.o" and found[-1].method is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("6.1.0-13-amd64", (6, 1)),
        ("6.18-rc3", (6, 18)),
        ("7.0+", (7, 0)),
        ("6.x", (0, 0)),
        ("unknown", (0, 0)),
    ],
)
def test_the_kernels_version_is_two_numbers(
    monkeypatch: pytest.MonkeyPatch, text: str, version: tuple[int, int]
) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(release=text))
    assert kernel.release() == version
