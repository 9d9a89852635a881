"""`python -m bench.feature_steps`: processor time of SQL steps and of references, without Flink, and of the
engine of a view with and without a reference."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
from rich.table import Table

from bench import report
from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Declarations,
    Enrichment,
    Expression,
    FeatureType,
    FeatureView,
    Reference,
    Source,
    Step,
    Sum,
    Trailing,
    Value,
)
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME, marked_reference
from udfs.features.base import no_state
from udfs.features.engine import ViewEngine
from udfs.features.expressions import Expressions
from udfs.features.versions import Versions

_BLOCKS = (1, 100, 2500, 10_000)
_STEPS = (
    Expression(name="x", sql="amount * 2 + 1", type=FeatureType.FLOAT64),
    Expression(name="y", sql="upper(place)", type=FeatureType.STRING),
    Expression(name="z", sql="n // 1000", type=FeatureType.INT64),
)
_TYPES = {"amount": FeatureType.FLOAT64, "place": FeatureType.STRING, "n": FeatureType.INT64}
_ZIPS = Reference(
    name="zips",
    key="zip",
    event_time="at",
    columns=(
        Column(name="zip", type=FeatureType.INT64),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="town", type=FeatureType.STRING),
        Column(name="factor", type=FeatureType.FLOAT64),
    ),
)
_SIGNALS = Source(
    name="signals",
    event_time="at",
    columns=(
        Column(name="account", type=FeatureType.STRING),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="zip", type=FeatureType.INT64),
        Column(name="amount", type=FeatureType.FLOAT64),
    ),
)
_ENRICH = Enrichment(reference="zips", on="zip", columns={"factor": "factor"})


def main() -> None:
    expressions = Expressions()
    try:
        report.console.print(_sql(expressions), _lookups(), _engines(expressions))
    finally:
        expressions.close()


def _sql(expressions: Expressions) -> Table:
    table = Table(
        "events of a chunk", "one: ms", "us an event", "three: ms", "us an event", title="SQL steps"
    )
    queries = [expressions.query(_STEPS[:count], _TYPES) for count in (1, 3)]
    for rows in _BLOCKS:
        place, n = [f"p{i % 50}" for i in range(rows)], range(rows)
        chunk = pa.record_batch({"amount": pa.array(map(float, n)), "place": place, "n": pa.array(n)})
        shown = []
        for query in queries:
            spent = _seconds(partial(query, chunk), 50)
            shown += [f"{spent * 1e3:.2f}", f"{spent / rows * 1e6:.2f}"]
        table.add_row(str(rows), *shown)
    return table


def _lookups() -> Table:
    table = Table("keys", "us a row taken", "bytes of state", *(f"us an event of {n}" for n in _BLOCKS[1:]))
    table.title = "References"
    for keys in (1000, 100_000):
        versions, rows = Versions(_ZIPS, ("factor", "town")), _rows(keys)
        began = time.process_time()
        versions.take(rows)
        taken = (time.process_time() - began) / keys
        state = versions.changes(10).items()
        size = sum(len(key) + len(packed) for key, packed in state if packed) / keys
        choose, shown = random.Random(0), []
        for events in _BLOCKS[1:]:
            wanted = pa.array([choose.randrange(keys) for _ in range(events)])
            at = np.full(events, 5)
            spent = _seconds(partial(versions.as_of, wanted, at), 10)
            shown.append(f"{spent / events * 1e6:.2f}")
        table.add_row(str(keys), f"{taken * 1e6:.1f}", f"{size:.0f}", *shown)
    return table


def _engines(expressions: Expressions) -> Table:
    table = Table("view of a count, a sum and a value", "provisional rows", "us an event", title="Engine")
    worth = Expression(name="worth", sql="amount * factor", type=FeatureType.FLOAT64)
    for provisional in (True, False):
        for name, steps, column in (
            ("plain", (), "amount"),
            ("reference and SQL", (_ENRICH, worth), "worth"),
        ):
            spent = _run(_view(steps, column, provisional), expressions)
            table.add_row(name, "yes" if provisional else "no", f"{spent * 1e6:.2f}")
    return table


def _view(steps: Sequence[Step], column: str, provisional: bool) -> FeatureView:
    window = Trailing(span="1 h", tile="1 min")
    return FeatureView(
        name="bench",
        version=1,
        entity=("account",),
        source="signals",
        steps=tuple(steps),
        features=(
            Aggregate(name="count", of=Count(), window=window),
            Aggregate(name="total", of=Sum(column=column), window=window),
            Value(name="last", column=column),
        ),
        ttl="1 d",
        owner="bench",
        description="What the engine takes.",
        online_provisional=provisional,
    )


def _run(view: FeatureView, expressions: Expressions, size: int = 2500, chunks: int = 40) -> float:
    """Processor seconds an event: added in chunks of a second of event time, final a chunk later."""
    declared = Declarations(sources=(_SIGNALS,), references=(_ZIPS,), views=(view,))
    engine = ViewEngine(view, declared, no_state, expressions)
    if view.steps:
        engine.add(_rows(1000))
    choose, sent = random.Random(0), []
    for chunk in range(chunks):
        columns = {
            "account": [f"account {choose.randrange(1000)}" for _ in range(size)],
            "zip": pa.array([choose.randrange(1000) for _ in range(size)]),
            "amount": pa.array([choose.random() for _ in range(size)]),
            EVENT_TIME: pa.array([10 + chunk * 1000 + i % 1000 for i in range(size)]),
            EVENT_ID: [f"{chunk}/{i}" for i in range(size)],
        }
        sent.append(pa.record_batch(columns))
    began = time.process_time()
    for chunk, events in enumerate(sent):
        engine.add(events)
        engine.advance(10 + (chunk - 1) * 1000, 0)
    return (time.process_time() - began) / size / chunks


def _rows(keys: int) -> pa.RecordBatch:
    rows = {
        "zip": pa.array(range(keys)),
        "factor": pa.array([1.5] * keys),
        "town": [f"town {i}" for i in range(keys)],
        EVENT_TIME: pa.array([1] * keys),
        EVENT_ID: [str(i) for i in range(keys)],
    }
    return marked_reference(pa.record_batch(rows), "zips")


def _seconds(call: Callable[[], object], times: int) -> float:
    """Processor seconds of a call, the least of five rounds."""
    call()
    rounds = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(times):
            call()
        rounds.append((time.process_time() - began) / times)
    return min(rounds)


if __name__ == "__main__":
    main()
