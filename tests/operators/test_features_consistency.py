"""A hundred thousand events through the operators of the stream, and from files: every row is the same.

State, timers and watermarks are in memory here; tests/services runs the same on Flink, Kafka, Redis and S3.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from operators.features import decode_events
from tests.feature_harness import FeatureHarness
from tests.feature_streams import VIEWS, declare, events, write_history
from udfs.io.s3 import S3Options
from udfs.stores.history.compute import compute_rows
from udfs.stores.history.consistency import comparable, compare_history, rows_of
from udfs.stores.stored_views import stored_views

COUNT, BATCH = 100_000, 2_000
START = 1_700_000_000_000


def test_every_row_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(START + 10**9, START + 10**12, 200))
    monkeypatch.setattr(decode_events, "_now", lambda: next(clock))
    sent = events(COUNT, START, 9)
    late_in_order = sum(a["at"] > b["at"] for a, b in pairwise(sent))
    assert late_in_order > COUNT * 0.04
    declared = declare(tmp_path / "views.toml", history=str(tmp_path / "events"))
    write_history([*sent[:500], *reversed(sent)], str(tmp_path / "events"), S3Options())

    harness = FeatureHarness(declared, partitions=3)  # the third never says a word, and becomes idle
    for at, start in enumerate(range(0, COUNT, BATCH)):
        batch = sent[start : start + BATCH]
        for partition in (0, 1):
            harness.send(batch[partition::2], partition)
        harness.send(batch[:10], 0)  # once more
        harness.beat()
        if at % 20 == 10:
            harness.restart()
    final_before = sum(batch.num_rows for batch in harness.rows["spend_v1"])
    assert final_before > COUNT // 2, "the idle partition holds nobody back"
    harness.end()

    letters = [letter for letter in harness.dead if letter.code in ("late", "duplicate")]
    assert len(letters) == len(harness.dead) == 3 * 10 * (COUNT // BATCH)
    stored = stored_views(declared, "history")
    for view in declared.views:
        computed = rows_of(compute_rows(declared, view, S3Options()), stored[view.id])
        streamed = rows_of(harness.rows[view.id], stored[view.id])
        found = compare_history(computed, streamed, stored[view.id], set())
        assert (found.mismatched, found.missing, found.extra) == (0, 0, 0), (view.id, found.examples)
        assert found.equal == len(computed) == len(streamed) > 1000 or view.id == "busy_v1"
    assert len(harness.rows) == len(VIEWS)
    # the job sends to Redis what is provisional, and not the same again when it is final
    for name in ("spend_v1", "peak_v1"):
        assert last_rows(harness.provisional[name]) == last_rows(harness.rows[name]), name


def last_rows(batches: list[pa.RecordBatch]) -> dict[str, tuple[Any, ...]]:
    """Account -> what an online store holds after these, but for `created`."""
    last: dict[str, tuple[Any, ...]] = {}
    for batch in batches:
        for row in zip(*batch.drop_columns(["created"]).to_pydict().values(), strict=True):
            if row[0] not in last or row[-1] >= last[row[0]][-1]:
                last[row[0]] = comparable(row)
    return last
