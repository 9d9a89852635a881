"""Purchases, returns and users end to end: declared views against DuckDB, which computes the same windows."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Declarations,
    Emission,
    Feature,
    FeatureType,
    FeatureView,
    Max,
    Mean,
    Min,
    OnEvent,
    OnWindowEnd,
    Quantile,
    Session,
    Sliding,
    Source,
    Sum,
    Trailing,
    Tumbling,
    Variance,
    Window,
    duration_ms,
)
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME
from udfs.features.base import END, no_state
from udfs.features.engine import ViewEngine
from udfs.features.rows import rows_as_events

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "chronon"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the shared data {DATA.name} is absent")

TABLES = {"purchases": ("purchase_id", "purchase_price"), "returns": ("return_id", "refund_amt")}
LATE = duration_ms("2 h")


def read(table: str) -> pa.Table:
    """Columns user_id, x, __event_time, __event_id; users are joined for what they have verified."""
    ident, value = TABLES[table]
    events = csv.read_csv(DATA / f"{table}.csv")
    users = csv.read_csv(DATA / "users.csv")
    query = f"""
        SELECT e.user_id, e.{value}::BIGINT AS x, e.ts AS {EVENT_TIME}, e.{ident} AS {EVENT_ID},
               max(u.email_verified) = 1 AS verified
        FROM events e LEFT JOIN users u USING (user_id) GROUP BY ALL
    """
    return sql(query, events=events, users=users)


def sql(query: str, **tables: pa.Table) -> pa.Table:
    with duckdb.connect() as database:
        for name, table in tables.items():
            database.register(name, table)
        return database.sql(query).arrow().read_all()


def declare(table: str, features: tuple[Feature, ...], emit: Emission) -> tuple[FeatureView, Declarations]:
    source = Source(
        name=table,
        columns=(
            Column(name="user_id", type=FeatureType.INT64),
            Column(name="x", type=FeatureType.INT64),
            Column(name="verified", type=FeatureType.BOOL, nullable=True),
            Column(name="ts", type=FeatureType.TIMESTAMP),
        ),
        event_time="ts",
        out_of_orderness="2 h",
    )
    view = FeatureView(
        name=f"{table}_of_users", version=1, entity=("user_id",), source=table, features=features, emit=emit,
        ttl="30 d", owner="o", description="d",
    )  # fmt: skip
    return view, Declarations(sources=(source,), views=(view,))


def over(window: Window) -> tuple[Feature, ...]:
    of: dict[str, Any] = {
        "n": Count(),
        "total": Sum(column="x"),
        "mean": Mean(column="x"),
        "least": Min(column="x"),
        "most": Max(column="x"),
        "variance": Variance(column="x"),
        "median": Quantile(column="x", q=0.5),
    }
    plain = tuple(Aggregate(name=name, of=f, window=window) for name, f in of.items())
    return (*plain, Aggregate(name="verified_n", of=Count(), window=window, where="verified"))


MEASURES = """count(*) AS n, sum(x)::BIGINT AS total, avg(x) AS mean, min(x) AS least, max(x) AS most,
    var_pop(x) AS variance, quantile_disc(x, 0.5)::DOUBLE AS median,
    count(*) FILTER (WHERE verified) AS verified_n"""

NAMES = (
    "user_id",
    "event_timestamp",
    "n",
    "total",
    "mean",
    "least",
    "most",
    "variance",
    "median",
    "verified_n",
)


def run(engine: ViewEngine, events: pa.Table) -> pa.Table:
    """In an order that is up to two hours wrong, in uneven batches."""
    choose = random.Random(5)
    times = events.column(EVENT_TIME).to_numpy()
    order = np.argsort(times + np.array([choose.uniform(0, LATE) for _ in times]))
    shuffled = events.take(pa.array(order)).combine_chunks()
    batches, at, highest = [], 0, 0
    while at < len(shuffled):
        size = choose.randint(1, 40)
        (batch,) = shuffled.slice(at, size).combine_chunks().to_batches()
        out = engine.add(batch)
        assert not out.refused
        highest = max(highest, int(batch.column(EVENT_TIME).to_numpy().max()))
        batches += engine.advance(highest - LATE - 1, 0).batches
        at += size
    batches += engine.advance(END, 0).batches
    return pa.Table.from_batches([b.rows for b in batches]).drop_columns(["created"])


def agree(found: pa.Table, events: pa.Table, query: str) -> None:
    """The same rows, of which floating-point values agree to 12 digits."""
    wanted = sql(query, events=events)
    rows = [sorted(zip(*(t.column(n).to_pylist() for n in NAMES), strict=True)) for t in (found, wanted)]
    assert len(rows[0]) == len(rows[1]) > 100
    assert [r[:4] for r in rows[0]] == [r[:4] for r in rows[1]]
    for ours, theirs in zip(*rows, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(("span", "tile"), [("7 d", "1 h"), ("24 h", "5 min"), ("36 h", "")])
def test_trailing_windows(table: str, span: str, tile: str) -> None:
    events = read(table)
    view, declared = declare(table, over(Trailing(span=span, tile=tile)), OnEvent())
    length, part = duration_ms(span), duration_ms(tile) if tile else 1
    measures = MEASURES.replace("(x", "(b.x").replace("verified)", "b.verified)")
    first = f"(a.t - {length}) // {part} * {part} + {0 if tile else 1}"
    agree(run(ViewEngine(view, declared, no_state), events), events, f"""
        WITH e AS (SELECT *, {EVENT_TIME} AS t, {EVENT_ID} AS id FROM events)
        SELECT a.user_id, a.t AS event_timestamp, {measures}
        FROM e a JOIN e b ON a.user_id = b.user_id AND b.t >= {first} AND (b.t, b.id) <= (a.t, a.id)
        GROUP BY a.user_id, a.t, a.id""")  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(("size", "step"), [("24 h", "24 h"), ("12 h", "3 h")])
def test_tumbling_and_sliding_windows(table: str, size: str, step: str) -> None:
    events = read(table)
    window = Tumbling(size=size) if size == step else Sliding(size=size, step=step)
    view, declared = declare(table, over(window), OnWindowEnd())
    length, part = duration_ms(size), duration_ms(step)
    agree(run(ViewEngine(view, declared, no_state), events), events, f"""
        WITH e AS (SELECT *, ({EVENT_TIME} // {part} - unnest(range({length // part}))) * {part} AS begins
                   FROM events)
        SELECT user_id, begins + {length} - 1 AS event_timestamp, {MEASURES}
        FROM e GROUP BY user_id, begins""")  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_sessions(table: str) -> None:
    events = read(table)
    view, declared = declare(table, over(Session(gap="8 h")), OnWindowEnd())
    gap = duration_ms("8 h")
    agree(run(ViewEngine(view, declared, no_state), events), events, f"""
        WITH gaps AS (SELECT *, coalesce({EVENT_TIME} - lag({EVENT_TIME}) OVER w >= {gap}, true) AS opens
                      FROM events WINDOW w AS (PARTITION BY user_id ORDER BY {EVENT_TIME}, {EVENT_ID})),
             e AS (SELECT *, sum(opens::INT) OVER w AS s
                   FROM gaps WINDOW w AS (PARTITION BY user_id ORDER BY {EVENT_TIME}, {EVENT_ID}))
        SELECT user_id, max({EVENT_TIME}) + {gap} - 1 AS event_timestamp, {MEASURES}
        FROM e GROUP BY user_id, s""")  # fmt: skip


def test_a_view_of_a_view_is_what_sql_computes_in_two_steps() -> None:
    """The most that a user has spent on one of the last seven days: days first, then the week over them."""
    events = read("purchases")
    day, declared = declare("purchases", over(Tumbling(size="1 d")), OnWindowEnd())
    week = FeatureView(
        name="best_day", version=1, entity=("user_id",), source=day.id, ttl="30 d", owner="o",
        description="d",
        features=(
            Aggregate(name="best", of=Max(column="total"), window=Trailing(span="7 d", tile="1 d")),
        ),
    )  # fmt: skip
    both = Declarations(sources=declared.sources, views=(day, week))
    below = ViewEngine(day, both, no_state)
    above = ViewEngine(week, both, no_state)
    for batch in events.combine_chunks().to_batches():
        below.add(batch)
    found = []
    for at in range(1_699_000_000_000, 1_702_000_000_000, 86_400_000):
        for batch in below.advance(at, 0).batches:
            assert not above.add(rows_as_events(batch, ("user_id",))).refused
        found += above.advance(at, 0).batches
    for batch in below.advance(END, 0).batches:
        above.add(rows_as_events(batch, ("user_id",)))
    found += above.advance(END, 0).batches
    rows = pa.Table.from_batches([b.rows for b in found])
    wanted = sql(f"""
        WITH d AS (SELECT user_id, {EVENT_TIME} // 86400000 AS day, sum(x)::BIGINT AS total
                   FROM events GROUP BY ALL)
        SELECT a.user_id, (a.day + 1) * 86400000 - 1, max(b.total)
        FROM d a JOIN d b ON a.user_id = b.user_id AND b.day BETWEEN a.day - 7 AND a.day
        GROUP BY ALL""", events=events)  # fmt: skip
    ours = zip(*(rows.column(n).to_pylist() for n in ("user_id", "event_timestamp", "best")), strict=True)
    theirs = zip(*(column.to_pylist() for column in wanted.columns), strict=True)
    assert sorted(ours) == sorted(theirs)
    assert len(wanted) > 100
