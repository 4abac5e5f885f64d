"""A kept timeline is packed, and nobody who reads it notices."""

import copy
import gc
import pickle
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from ktrace import analysis
from ktrace.analysis import Options
from ktrace.findings import Connection
from ktrace.packed import PackedTimeline, ends
from ktrace.reporters import json as json_report
from ktrace.timelines import Judged
from tests.bench import generate

FIXTURES = Path(__file__).parent / "fixtures"
LOG = str(FIXTURES / "haproxy-before-60-clients" / "trace")


def both(log: str) -> list[tuple[Connection, Connection]]:
    """Return each connection as it ended, and as the report keeps it."""
    ended: dict[str, Connection] = {}

    def remember(judged: Judged) -> None:
        ended[judged.connection.id] = judged.connection

    report = analysis.analyse([log], Options(on_connection=remember))
    return [(ended[kept.id], kept) for kept in report.connections]


def test_a_packed_timeline_is_the_timeline() -> None:
    pairs = both(LOG)
    assert len(pairs) > 60
    for ended, kept in pairs:
        rows = ended.timeline
        packed = kept.timeline
        assert isinstance(rows, tuple) and isinstance(packed, PackedTimeline)
        assert packed == rows and rows == packed and tuple(packed) == rows
        assert len(packed) == len(rows)
        assert packed[0] == rows[0] and packed[-1] == rows[-1] and packed[:2] == rows[:2]
        assert ends(packed) == ends(rows) == (rows[0].time, rows[-1].time)
        assert kept == ended and repr(packed) == repr(rows)
        assert json_report.encode(kept) == msgspec.json.encode(ended)


def test_a_packed_timeline_can_be_copied_and_compared() -> None:
    one, other = (kept.timeline for _, kept in both(LOG)[:2])
    assert one != other
    assert copy.deepcopy(one) == one == pickle.loads(pickle.dumps(one))
    assert len({one, copy.copy(one), other}) == 2


def test_an_empty_timeline() -> None:
    packed = PackedTimeline(())
    assert not packed and packed == () and packed.json == b"[]"
    assert ends(packed) == ends(()) == (None, None)


@pytest.mark.parametrize(("ktls", "most"), [(True, 2400), (False, 700)])
def test_a_kept_connection_is_small(ktls: bool, most: int, tmp_path: Path) -> None:
    """About 2 kB with kTLS calls (17 rows), a third of that without."""
    log = tmp_path / "trace"
    with log.open("w") as out:
        generate.write(out, 20_000)
    analysis.analyse([LOG])  # what is read once for all is not counted
    tracemalloc.start()
    report = analysis.analyse([str(log)])
    kept = [connection for connection in report.connections if connection.has_ktls is ktls]
    del report
    gc.collect()
    with_them, count = tracemalloc.get_traced_memory()[0], len(kept)
    assert count > 100
    del kept
    gc.collect()
    size = (with_them - tracemalloc.get_traced_memory()[0]) / count
    tracemalloc.stop()
    assert size < most
