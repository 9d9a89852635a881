"""Three point-in-time joins over the same history: the Flink batch job, DuckDB, and Feast's."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from devservices.process import ROOT, environment
from tests.feature_cases import DECLARED, DISTRICTS, HOUSES, INPUTS
from tests.point_in_time import DuckPointInTime
from udfs.io.folder_files import visible_files
from udfs.stores.registry.sql import SqlRegistry
from udfs.stores.training.plan import wanted_of

START = 1_760_000_000_000
HOUR, DAY = 3_600_000, 86_400_000
UTC_MS = pa.timestamp("ms", "UTC")


def history(view: str, key: pa.Array, at: np.ndarray, **features: pa.Array) -> pa.Table:
    """Rows in any order, as the job writes them. Event times are different for each entity: where several
    are equal, and `created` decides, Feast does not always keep to it."""
    times = {"event_timestamp": pa.array(at, UTC_MS), "created": pa.array(at + 250, UTC_MS)}
    name = {"districts_v1": "district", "houses_v1": "house"}[view]
    return pa.table({name: key, **features, **times})


def write(table: pa.Table, folder: Path) -> None:
    days = pc.strftime(table.column("event_timestamp"), "%Y-%m-%d")
    for n, day in enumerate(pc.unique(days).to_pylist()):
        part = folder / f"dt={day}"
        part.mkdir(parents=True, exist_ok=True)
        rows = table.filter(pc.equal(days, day))
        if n == 0:  # a file of before a feature was added
            rows = rows.drop_columns([name for name in ("sold",) if name in rows.column_names])
        pq.write_table(rows, part / f"part-{n}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels and two views over 12 days; districts have int64 keys and a TTL of 10 days, houses an hour."""
    root, rng = tmp_path_factory.mktemp("training"), np.random.default_rng(3)
    registry = SqlRegistry(f"sqlite:///{root}/registry.db")
    registry.apply(DECLARED)
    registry.put_model(INPUTS)
    n = 3000
    at = START + np.sort(rng.choice(12 * DAY, n, replace=False))
    prices = pa.array(rng.normal(100, 5, n), mask=rng.random(n) < 0.05)
    keys = rng.integers(0, 20, n)
    sold = pa.array(np.arange(n))
    districts = history("districts_v1", pa.array(keys), at, sold=sold, mean_price=prices)
    write(districts, root / "history" / "districts_v1")
    names = pa.array([f"h{k}" for k in rng.integers(0, 40, n)])
    houses = history("houses_v1", names, at[::-1].copy(), price=pa.array(rng.random(n)))
    write(houses, root / "history" / "houses_v1")

    m = 500
    asked = START + rng.integers(-DAY, 24 * DAY, m)
    exact = rng.permutation(n)[:m]  # Feast gives back labels of one entity and time once
    asked[: m // 4] = at[exact[: m // 4]]  # at the very moment of a row
    asked[m // 4 : m // 2] = at[exact[m // 4 : m // 2]] + 10 * DAY  # at the very end of its TTL
    where = rng.integers(0, 22, m)  # two of them have no history
    where[: m // 2] = keys[exact[: m // 2]]
    labels = pa.table(
        {
            "row": np.arange(m),
            "where": where,
            "house": [f"h{k}" for k in rng.integers(0, 42, m)],
            "event_timestamp": pa.array(asked * 1000, pa.timestamp("us", "UTC")),
            "sold_for": rng.random(m),
        }
    )
    (root / "labels").mkdir()
    pq.write_table(labels.slice(0, 300), root / "labels" / "a.parquet")
    pq.write_table(labels.slice(300), root / "labels" / "b.parquet")
    return root


def run(root: Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "jobs" / "training_set.py"), "--labels", str(root / "labels")]
    command += ["--history", str(root / "history"), "--registry", f"sqlite:///{root}/registry.db"]
    command += ["--out", str(out), "--entities", '{"district": "where"}', "--parallelism", "1", *arguments]
    command += ["--jars", environment()["MILLRACE_JARS"], "--flink", '{"restart-strategy.type": "none"}']
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL
    )


def read(folder: Path) -> pa.Table:
    files = [str(file) for file in visible_files(folder)]
    table = ds.dataset(files, format="parquet").to_table()
    table = table.take(pc.sort_indices(table, [("row", "ascending")]))
    # Flink writes moments without a zone; they are UTC
    at = table.column("event_timestamp").cast(pa.int64()).cast(pa.timestamp("us", "UTC"))
    return table.set_column(table.schema.get_field_index("event_timestamp"), "event_timestamp", at)


def by_duckdb(root: Path, known_at: str = "", **more: Any) -> pa.Table:
    registry = SqlRegistry(f"sqlite:///{root}/registry.db")
    inputs = registry.model("estimate").inputs
    wanted = wanted_of(registry, inputs, {"district": "where"}, str(root / "history"))
    return DuckPointInTime().join(read(root / "labels"), "event_timestamp", wanted, known_at)


def by_feast(root: Path, column: str, feature: str) -> list[float | None]:
    """Feast's file store leaves out the labels of which a view has rows, but none within the TTL; those that
    it gives back it gives back once. The views are asked apart, since it would be for all of them."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64, Int64

    config = RepoConfig(
        project="p",
        provider="local",
        registry=str(root / "feast.db"),
        offline_store={"type": "file"},
        online_store=None,
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    views = []
    for view, key, kind, features in (
        (DISTRICTS, "district", ValueType.INT64, {"sold": Int64, "mean_price": Float64}),
        (HOUSES, "house", ValueType.STRING, {"price": Float64}),
    ):
        source = FileSource(
            name=view.id,
            path=str(root / "history" / view.id / "dt=*" / "*"),
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
        )
        entity = Entity(name=key, join_keys=[key], value_type=kind)
        schema = [Field(name=name, dtype=kind) for name, kind in features.items()]
        ttl = timedelta(milliseconds=view.ttl_ms)
        view_of = FeatureView(name=view.id, entities=[entity], ttl=ttl, schema=schema, source=source)
        store.apply([entity, view_of])
        views.append(view_of)
    labels = read(root / "labels").to_pandas().rename(columns={"where": "district"})
    joined = store.get_historical_features(entity_df=labels, features=[feature]).to_df()
    found = {row: None if pd.isna(v) else v for row, v in zip(joined["row"], joined[column], strict=True)}
    assert len(found) == len(joined) > 50
    return [found.get(row) for row in range(len(labels))]


def test_flink_duckdb_and_feast_agree(made: Path, tmp_path: Path) -> None:
    done = run(made, tmp_path / "set", "--model", "estimate")
    assert done.returncode == 0, done.stderr[-3000:]
    flink, duck = read(tmp_path / "set"), by_duckdb(made)
    assert flink.column_names == ["row", "where", "house", "event_timestamp", "sold_for", "mean", "last"]
    for name in flink.column_names:
        assert flink.column(name).to_pylist() == duck.column(name).to_pylist(), name
    for name in ("mean", "last"):
        nulls = flink.column(name).null_count
        assert 20 < nulls < len(flink) - 20, "some see something, and some nothing"
    before = flink.column("mean").to_pylist()
    for ours, theirs in (("mean", "districts_v1:mean_price"), ("last", "houses_v1:price")):
        assert flink.column(ours).to_pylist() == by_feast(made, theirs.split(":")[1], theirs), ours

    known = run(made, tmp_path / "known", "--model", "estimate", "--known-at", "event_timestamp")
    assert known.returncode == 0, known.stderr[-3000:]
    flink, duck = read(tmp_path / "known"), by_duckdb(made, "event_timestamp")
    assert flink.to_pylist() == duck.to_pylist()
    hidden = [a != b for a, b in zip(flink.column("mean").to_pylist(), before, strict=True)]
    assert sum(hidden) > 20, (
        "rows are created 250 ms after their time, and labels at that time do not see them"
    )

    again = run(made, tmp_path / "set", "--model", "estimate")
    assert again.returncode == 2 and "there are files at" in again.stderr
