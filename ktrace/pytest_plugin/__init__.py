"""A pytest plugin: the fixture `ktrace_record` traces the program under test and gives its report.

pytest imports this module in every run where ktrace is installed, so everything else of ktrace is
imported when a test uses the fixture.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ktrace.pytest_plugin.recorder import Recorder


@pytest.fixture
def ktrace_record(tmp_path: Path) -> "Recorder":
    """Trace a command, or attach to running processes, with strace.

    `report = ktrace_record([...])` runs a command to its end.  `with ktrace_record.attach(pid) as
    recording:` traces what a process does meanwhile; `recording.report` is there after the block.
    `report.raced` and its kin raise NoEvidence where the trace proves nothing, so that
    `assert not report.raced` never holds for want of evidence.
    """
    from ktrace.pytest_plugin.recorder import Recorder

    return Recorder(tmp_path)
