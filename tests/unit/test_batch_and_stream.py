"""One rule for what an event is, in a stream and in history: NaN, infinity, nulls, impossible times."""

from __future__ import annotations

import io
import json
import math
import time
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from pyarrow.fs import LocalFileSystem

from schemas.codecs.factory import make_codec
from schemas.errors import FeatureError
from schemas.features.arrow_events import EventReader
from schemas.features.declarations import Column, Declarations, FeatureType, Source
from schemas.features.rules import check
from schemas.features.time_units import TimeUnit
from schemas.micro_batch import MicroBatch
from schemas.results.records import DeadLetter
from udfs.features.events.acceptable import untimely
from udfs.features.events.decode_spec import DecodeSpec
from udfs.features.expressions import Expressions
from udfs.features.loading import load_declarations
from udfs.io.s3 import S3Options
from udfs.stores.history.events import HistorySpec
from udfs.stores.history.files import read_batches

NOW = time.time_ns() // 1_000_000
YEAR = 365 * 86_400_000
DECLARED = """
[[sources]]
name = "signals"
topic = "signals"
history = "{history}"
codec = {{ kind = "avro", schema = "{schema}" }}
event_time = "at"
columns = [
    {{ name = "account", type = "string" }},
    {{ name = "at", type = "timestamp" }},
    {{ name = "amount", type = "float64", nullable = true }},
    {{ name = "must", type = "float64" }},
    {{ name = "many", type = "float64_list", nullable = true }},
]

[[views]]
name = "spend"
version = 1
entity = ["account"]
source = "signals"
ttl = "30 d"
owner = "tests"
description = "As of each event."

[[views.features]]
feature = "value"
name = "amount"
"""
SCHEMA: dict[str, Any] = {
    "type": "record", "name": "Signal", "fields": [
        {"name": "account", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": "double"},
        {"name": "must", "type": "double"},
        {"name": "many", "type": {"type": "array", "items": "double"}},
    ]}  # fmt: skip
NAN, INF = math.nan, math.inf
EVENTS = [
    {"account": "a", "at": NOW - 5, "amount": 1.0, "must": 1.0, "many": [1.0]},
    {"account": "b", "at": NOW - 4, "amount": NAN, "must": 1.0, "many": []},
    {"account": "c", "at": NOW - 3, "amount": INF, "must": 1.0, "many": [2.0, 3.0]},
    {"account": "d", "at": NOW - 2, "amount": 1.0, "must": NAN, "many": [1.0]},
    {"account": "e", "at": NOW - 1, "amount": 1.0, "must": -INF, "many": [1.0]},
    {"account": "f", "at": NOW - 1, "amount": 1.0, "must": 1.0, "many": [1.0, NAN]},
    {"account": "g", "at": NOW + 10 * YEAR, "amount": 1.0, "must": 1.0, "many": [1.0]},
    {"account": "h", "at": -3000 * YEAR, "amount": 1.0, "must": 1.0, "many": [1.0]},
    {"account": "i", "at": NOW, "amount": 3.0, "must": 2.0, "many": [4.0]},
    {"account": "j", "at": NOW // 1000, "amount": 1.0, "must": 1.0, "many": [1.0]},
    {"account": "k", "at": NOW * 1000, "amount": 1.0, "must": 1.0, "many": [1.0]},
]


def test_stream_and_history_take_the_same_events_and_refuse_the_same(tmp_path: Path) -> None:
    history, schema = tmp_path / "history", tmp_path / "signal.avsc"
    history.mkdir()
    schema.write_text(json.dumps(SCHEMA))
    columns = {name: [e[name] for e in EVENTS] for name in EVENTS[0]}
    types = [pa.string(), pa.timestamp("ms", "UTC"), pa.float64(), pa.float64(), pa.list_(pa.float64())]
    arrays = [
        pa.array(values, pa.int64()).cast(kind) if name == "at" else pa.array(values, kind)
        for (name, values), kind in zip(columns.items(), types, strict=True)
    ]
    pq.write_table(pa.table(arrays, names=list(columns)), history / "part.parquet")
    file = tmp_path / "views.toml"
    file.write_text(DECLARED.format(history=history, schema=schema))
    declared = load_declarations(file)

    expressions = Expressions()
    decoder = DecodeSpec(declared, ("signals",), 1, 0).decoder("signals", lambda: NOW, expressions, 1)
    payloads = []
    for event in EVENTS:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, fastavro.parse_schema(SCHEMA), event)
        payloads.append(stream.getvalue())
    count = len(payloads)
    decoded = decoder.decode(
        MicroBatch("signals", "signals", payloads, [0] * count, [*range(count)], [0] * count)
    )
    expressions.close()
    reader = HistorySpec(declared, "signals", S3Options()).reader()
    found = list(reader.read(str(history / "part.parquet")))
    reader.close()

    letters = [f for f in found if isinstance(f, DeadLetter)]
    assert sorted((d.offset, d.code) for d in letters) == sorted((d.offset, d.code) for d in decoded.dead)
    assert sorted((d.offset, d.code) for d in letters) == [
        (3, "null"), (4, "null"), (5, "wrong_type"), (6, "future"), (7, "out_of_range"),
        (9, "out_of_range"), (10, "future"),
    ]  # fmt: skip

    told = {d.offset: d.reason for d in [*letters, *decoded.dead] if "declare the unit" in d.reason}
    assert sorted(told) == [9, 10]
    assert told[9].startswith(f"'at' is {NOW // 1000} epoch milliseconds, before 2000-01-01: if these are")

    def rows(batches: list[pa.RecordBatch]) -> list[dict[str, Any]]:
        names = ["account", "at", "amount", "must", "many"]
        return sorted((r for b in batches for r in b.select(names).to_pylist()), key=lambda r: r["account"])

    batch = rows([f[3] for f in found if not isinstance(f, DeadLetter)])
    assert batch == rows([events for _, _, events in decoded.parts])
    assert [r["amount"] for r in batch] == [1.0, None, None, 3.0]


@pytest.mark.parametrize(
    ("unit", "at"),
    [("s", NOW // 1000), ("ms", NOW), ("us", NOW * 1000), ("ns", NOW * 10**6)],
    ids=["s", "ms", "us", "ns"],
)
def test_bare_integers_are_of_the_unit_that_is_declared(tmp_path: Path, unit: TimeUnit, at: int) -> None:
    columns = (
        Column(name="account", type=FeatureType.STRING),
        Column(name="at", type=FeatureType.TIMESTAMP, unit=unit),
        Column(name="until", type=FeatureType.TIMESTAMP, unit=unit, nullable=True),
    )
    source = Source(name="signals", columns=columns, event_time="at", history=str(tmp_path))
    file = tmp_path / "part.parquet"
    late = -(2**63) + 1
    table = {"account": ["a", "b"], "at": [at, at], "until": [None, late]}
    pq.write_table(
        pa.table(table, pa.schema([("account", pa.string()), ("at", pa.int64()), ("until", pa.int64())])),
        file,
    )
    lines = [json.dumps(row).encode() for row in pa.table(table).to_pylist()]
    streamed = EventReader(source, make_codec(source.codec)).read(lines).batch
    types, units = {c.name: c.type for c in columns}, {c.name: c.unit for c in columns}
    (stored,) = read_batches(LocalFileSystem(), str(file), types, (), units)
    assert stored.to_pylist() == streamed.to_pylist()
    expected = NOW // 1000 * 1000 if unit == "s" else NOW
    assert stored.column("at").to_pylist() == [expected, expected]
    none, first = stored.column("until").to_pylist()
    assert none is None and first < -(10**12)


def test_the_first_day_of_a_source_is_its_own_and_units_are_of_times_only() -> None:
    columns = (Column(name="n", type=FeatureType.INT64), Column(name="at", type=FeatureType.TIMESTAMP))
    source = Source(name="signals", columns=columns, event_time="at")
    check(Declarations(sources=(source,)))
    times = pa.array([0, 946_684_800_000 - 1, 946_684_800_000], pa.int64())
    assert [at for at, *_ in untimely(times, source, NOW)] == [0, 1]
    assert [at for at, *_ in untimely(times, replace(source, since="1970-01-01"), NOW)] == []
    assert [at for at, *_ in untimely(times, replace(source, since=""), NOW)] == []
    with pytest.raises(FeatureError, match="'1st' is no day: write it as 2000-01-01"):
        check(Declarations(sources=(replace(source, since="1st"),)))
    with pytest.raises(FeatureError, match="source signals: 'n' has a unit and is no timestamp"):
        check(Declarations(sources=(replace(source, columns=(replace(columns[0], unit="s"), columns[1])),)))
