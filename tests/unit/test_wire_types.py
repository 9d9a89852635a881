"""What encodings have beyond numbers and texts: logical types, wrappers, change events of a database."""

from __future__ import annotations

import datetime
import io
import json
from decimal import Decimal
from pathlib import Path

import fastavro
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codecs.avro_codec import AvroCodec
from schemas.codecs.avro_logical import converter, marked
from schemas.codecs.factory import CodecSpec, make_codec
from schemas.codecs.field_reading import FieldReading
from schemas.codecs.protobuf_codec import ProtobufCodec
from schemas.features.arrow_events import EventReader
from schemas.features.declarations import Column, FeatureType, Source
from schemas.tensors import DType, Input
from tests.protoc import descriptor_set
from tests.serving_fakes import batch_of
from udfs.serving.scoring import unscored

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2}
SCHEMA = {
    "type": "record", "name": "Order", "namespace": "shop",
    "fields": [
        {"name": "us", "type": MICROS},
        {"name": "ms", "type": MILLIS},
        {"name": "maybe", "type": ["null", MICROS]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "price", "type": MONEY},
        {"name": "fixed", "type": {"type": "fixed", "name": "Rate", "size": 4, "logicalType": "decimal",
                                   "precision": 8, "scale": 3}},
        {"name": "again", "type": ["null", "Rate"]},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}},
        {"name": "either", "type": ["null", "string", MICROS]},
        {"name": "times", "type": {"type": "array", "items": MICROS}},
        {"name": "costs", "type": {"type": "map", "values": ["null", MONEY]}},
        {"name": "inner", "type": {"type": "record", "name": "Inner",
                                   "fields": [{"name": "at", "type": MICROS}]}},
    ],
}  # fmt: skip
AT = datetime.datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)
AT_MS = 1704164645678
ORDER = {
    "us": AT, "ms": AT, "maybe": AT, "day": datetime.date(1970, 1, 11),
    "price": Decimal("12345678901234567890.10"),
    "fixed": Decimal("-1.250"), "again": None, "state": "PAID", "either": AT, "times": [AT, AT],
    "costs": {"a": Decimal("1.50"), "b": None, "c": Decimal("7.00")}, "inner": {"at": AT},
}  # fmt: skip
EXPECTED = {
    "us": AT_MS, "ms": AT_MS, "maybe": AT_MS, "day": 10, "price": 12345678901234567890.10, "fixed": -1.25,
    "again": None, "state": "PAID", "either": AT_MS, "times": [AT_MS, AT_MS],
    "costs": {"a": 1.5, "b": None, "c": 7}, "inner": {"at": AT_MS},
}  # fmt: skip


def avro(schema: dict, record: dict) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return out.getvalue()


@pytest.fixture
def saved(tmp_path: Path) -> str:
    (tmp_path / "o.avsc").write_text(json.dumps(SCHEMA))
    return str(tmp_path / "o.avsc")


def test_avro_s_logical_types_are_numbers_in_milliseconds_and_units(saved: str) -> None:
    codec = AvroCodec(saved)
    payload = avro(SCHEMA, ORDER)
    assert orjson.loads(codec.to_json(payload) or b"") == EXPECTED
    text = avro(SCHEMA, {**ORDER, "either": "soon", "maybe": None, "again": Decimal("2.5")})
    found = orjson.loads(codec.to_json(text) or b"")
    assert (found["either"], found["maybe"], found["again"]) == ("soon", None, 2.5)
    inputs = (
        Input("price", DType.FLOAT64, (), ("price",)),
        Input("state", DType.TEXT, (), ("state",)),
        Input("times", DType.INT64, (2,), ("times",)),
        Input("at", DType.INT64, (), ("inner.at",)),
    )
    decoded = codec.decode([payload], inputs, (FieldReading("inner.at", ("inner", "at")),))
    assert {n: c.tolist() for n, c in decoded.columns.items()} == {
        "price": [12345678901234567890.10], "state": ["PAID"], "times": [[AT_MS, AT_MS]], "at": [AT_MS]
    }  # fmt: skip


def test_times_in_microseconds_are_event_times_of_features(saved: str) -> None:
    columns = (
        Column(name="us", type=FeatureType.TIMESTAMP),
        Column(name="price", type=FeatureType.FLOAT64),
        Column(name="state", type=FeatureType.STRING),
    )
    source = Source(name="s", columns=columns, event_time="us", codec=CodecSpec("avro", schema=saved))
    read = EventReader(source, make_codec(source.codec)).read([avro(SCHEMA, ORDER)])
    assert read.batch.to_pylist() == [{"us": AT_MS, "price": 12345678901234567890.10, "state": "PAID"}]


@given(digits=st.integers(-(2**80), 2**80), scale=st.integers(0, 20))
def test_a_decimal_is_the_number_next_to_it(digits: int, scale: int) -> None:
    convert = converter({"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": scale})
    assert convert is not None
    raw = digits.to_bytes(12, "big", signed=True)
    assert convert(raw) == float(Decimal(digits).scaleb(-scale)) or convert(raw) * 10**scale == digits


def test_a_schema_without_logical_types_costs_nothing() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}
    assert marked(schema) == schema


def test_wrappers_and_timestamps_of_protobuf_are_their_values(tmp_path: Path) -> None:
    from google.protobuf import timestamp_pb2, wrappers_pb2  # noqa: F401

    (tmp_path / "o.proto").write_text(
        'syntax = "proto3"; import "google/protobuf/wrappers.proto";'
        'import "google/protobuf/timestamp.proto";'
        "enum State { NEW = 0; PAID = 1; } message Order { google.protobuf.DoubleValue price = 1;"
        "google.protobuf.Timestamp at = 2; State state = 3; map<string, int64> counts = 4;"
        "repeated google.protobuf.Int64Value many = 5; google.protobuf.BytesValue raw = 6; }"
    )
    codec = ProtobufCodec(str(descriptor_set(tmp_path / "o.proto")), "Order")
    full = codec.message(state=1, counts={"a": 5})
    full.price.value = 2.5
    full.at.seconds, full.at.nanos = 1704164645, 678901234
    full.many.add().value = 7
    full.raw.value = b"\xff"
    payloads = [full.SerializeToString(), codec.message(state=1).SerializeToString()]
    inputs = (
        Input("price", DType.FLOAT64, (), ("price",)),
        Input("at", DType.INT64, (), ("at",)),
        Input("state", DType.INT64, (), ("state",)),
        Input("many", DType.INT64, (1,), ("many",)),
        Input("a", DType.INT64, (), ("counts.a",)),
    )
    reading = (FieldReading("counts.a", ("counts", "a")),)
    decoded = codec.decode(payloads, inputs, reading)
    assert {n: c.tolist() for n, c in decoded.columns.items()} == {
        "price": [2.5], "at": [AT_MS], "state": [1], "many": [[7]], "a": [5]
    }  # fmt: skip
    assert [(b.row, b.code, b.reason) for b in decoded.bad] == [
        (1, "missing_field", "field 'price' is missing")
    ]
    assert orjson.loads(codec.to_json(payloads[0]) or b"") == {
        "price": 2.5, "at": AT_MS, "state": 1, "counts": {"a": 5}, "many": [7], "raw": "/w=="
    }  # fmt: skip


ROW = {"id": 7, "amount": 2.5, "note": "é"}
EVENTS = {
    "a read": ({"op": "r", "before": None, "after": ROW}, None),
    "an insert with its schema": ({"schema": {}, "payload": {"op": "c", "after": ROW}}, None),
    "an update": ({"op": "u", "before": {"amount": 1}, "after": ROW, "source": {"ts_ms": 5}}, None),
    "a deletion": ({"op": "d", "before": ROW, "after": None}, "deleted"),
    "a truncation": ({"op": "t"}, "deleted"),
    "a tombstone with its schema": ({"schema": None, "payload": None}, "deleted"),
    "no event": ({"amount": 5}, "wrong_type"),
    "a row that is none": ({"op": "c", "after": [1]}, "not_an_object"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_the_row_after_a_change_is_the_record(name: str) -> None:
    event, code = EVENTS[name]
    codec = make_codec(CodecSpec("debezium"))
    payload = orjson.dumps(event)
    good = orjson.dumps(EVENTS["a read"][0])
    decoded = codec.decode([good, payload, b"", b"no", good], (Input("x", DType.FLOAT64, (), ("amount",)),))
    said = {b.row: b.code for b in decoded.bad}
    assert said == {2: "deleted", 3: "unparsable"} | ({1: code} if code else {})
    np.testing.assert_array_equal(decoded.columns["x"], [2.5] * (2 if code else 3))
    text = codec.to_json(payload)
    assert (None if text is None else orjson.loads(text)) == (None if code else ROW)


def test_deletions_are_told_apart_where_no_model_serves_and_in_features() -> None:
    payloads = [orjson.dumps(event) for event, _ in EVENTS.values()]
    codes = [code for _, code in EVENTS.values() if code]
    done = unscored(batch_of(payloads), make_codec(CodecSpec("debezium")), False, "no model")
    assert [d.code for d in done.dead] == codes and len(done.lines) == 3
    columns = (Column(name="id", type=FeatureType.INT64), Column(name="amount", type=FeatureType.FLOAT64))
    source = Source(name="s", columns=columns, event_time="id", codec=CodecSpec("debezium"))
    read = EventReader(source, make_codec(source.codec)).read(payloads)
    assert [b.code for b in read.bad] == codes
    assert read.batch.to_pylist() == [{"id": 7, "amount": 2.5}] * 3


def test_a_row_that_could_not_be_written_for_its_result_is_a_dead_letter():
    """It was scored, and its result had none of its fields."""
    codec = make_codec(CodecSpec("debezium"))
    rows = [b'{"op":"c","after":{"id":1,"deep":%b}}' % (b"[" * n + b"]" * n) for n in (200, 300)]
    decoded = codec.decode(rows, (Input("id", DType.INT64, (), ("id",)),))
    assert decoded.count == 1 and [(b.row, b.code) for b in decoded.bad] == [(1, "too_deep")]
    assert codec.to_json(rows[0]) is not None and codec.to_json(rows[1]) is None
