"""Several events of an entity in one millisecond: each has a row, and readers of history take the last."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.features.declarations import Aggregate, Count, Declarations, FeatureType, FeatureView, Trailing
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME
from tests.feature_cases import SALES
from tests.point_in_time import DuckPointInTime
from udfs.features.base import END, no_state
from udfs.features.engine import ViewEngine
from udfs.stores.online.base import StoredView
from udfs.stores.training.base import WantedFeatures

VIEW = FeatureView(
    name="ties",
    version=1,
    entity=("house",),
    source="sales",
    features=(Aggregate(name="sold", of=Count(), window=Trailing(span="1 h")),),
    ttl="1 h",
    owner="o",
    description="d",
)


def test_of_rows_of_one_time_the_last_is_created_last(tmp_path: Path) -> None:
    engine = ViewEngine(VIEW, Declarations(sources=(SALES,), views=(VIEW,)), no_state)
    events = [("a", 100), ("b", 100), ("a", 200), ("b", 100), ("a", 100), ("a", 300), ("a", 100)]
    columns = {
        "house": pa.array([house for house, _ in events]),
        "district": pa.array([1] * len(events)),
        "at": pa.array([at for _, at in events]),
        "price": pa.array([1.0] * len(events)),
        EVENT_TIME: pa.array([at for _, at in events]),
        EVENT_ID: pa.array([str(n) for n in range(len(events))]),
    }
    engine.add(pa.RecordBatch.from_pydict(columns))
    (made,) = engine.advance(END, 5000).batches
    rows = {(r["house"], r["event_timestamp"], r["created"]): r["sold"] for r in made.rows.to_pylist()}
    assert rows == {
        ("a", 100, 5000): 1,
        ("a", 100, 5001): 2,
        ("a", 100, 5002): 3,
        ("b", 100, 5000): 1,
        ("b", 100, 5001): 2,
        ("a", 200, 5000): 4,
        ("a", 300, 5000): 5,
    }
    history = pa.Table.from_batches([made.rows])
    pq.write_table(history.take(pa.array([*range(len(events))][::-1])), tmp_path / "part-0")  # any order
    at = pa.array([150, 150, 99], pa.timestamp("ms"))
    labels = pa.table({"house": ["a", "b", "a"], "at": at})
    stored = StoredView(
        "ties_v1", (("house", FeatureType.STRING),), (("sold", FeatureType.INT64),), 3_600_000
    )
    wanted = WantedFeatures(stored, ("sold",), ("house",), str(tmp_path))
    assert DuckPointInTime().join(labels, "at", [wanted]).column("sold").to_pylist() == [3, 2, None]
