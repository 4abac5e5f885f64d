"""`ktrace doctor`: it always answers, and what it says agrees with the host."""

import json
from pathlib import Path

import pytest

from ktrace.cli import main
from ktrace.doctor import examine
from ktrace.doctor.check import Check, guarded


def test_it_answers_every_question_once() -> None:
    found = examine()
    names = [check.name for check in found]
    assert len(set(names)) == len(names) == 18
    assert all(check.found for check in found)
    assert all(check.todo for check in found if check.status == "missing")


def test_it_agrees_with_the_kernel_about_the_tls_ulp() -> None:
    available = "tls" in Path("/proc/sys/net/ipv4/tcp_available_ulp").read_text().split()
    told = {check.name: check.status for check in examine()}
    assert told["available ULPs"] == ("ok" if available else "missing")


def test_json_and_text_say_the_same_and_the_status_is_0(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert answer["schema"] == "ktrace.doctor/1"
    assert all(check["name"] in text for check in answer["checks"])


def test_what_cannot_be_looked_at_is_an_answer() -> None:
    def _tls_module() -> Check:
        raise PermissionError(13, "Permission denied")

    answer = guarded(_tls_module, "kTLS")
    assert (answer.name, answer.status) == ("tls module", "unknown")
    assert "Permission denied" in answer.found
