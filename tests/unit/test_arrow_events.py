"""Records as events: types, nulls and text in all encodings; what does not fit, and why."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codecs.factory import CodecSpec, make_codec
from schemas.features.arrow_events import EventReader
from schemas.features.declarations import Column, FeatureType, Source

COLUMNS = (
    Column(name="a key", type=FeatureType.STRING),
    Column(name="at", type=FeatureType.TIMESTAMP),
    Column(name="n", type=FeatureType.INT64, nullable=True),
    Column(name="x", type=FeatureType.FLOAT64, nullable=True),
    Column(name="flag", type=FeatureType.BOOL, nullable=True),
    Column(name="parts", type=FeatureType.FLOAT64_LIST, nullable=True),
    Column(name="tags", type=FeatureType.STRING_LIST, nullable=True),
)
NAMES = [c.name for c in COLUMNS]


def reader(max_bytes: int = 10_000) -> EventReader:
    codec = CodecSpec(max_bytes=max_bytes)
    return EventReader(Source(name="s", columns=COLUMNS, event_time="at", codec=codec), make_codec(codec))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
floats = st.floats(allow_nan=False, allow_infinity=False)
int64 = st.integers(-(2**63), 2**63 - 1)
event = st.fixed_dictionaries(
    {"a key": texts, "at": int64},
    optional={
        "n": st.none() | int64,
        "x": st.none() | floats,
        "flag": st.none() | st.booleans(),
        "parts": st.none() | st.lists(floats, max_size=3),
        "tags": st.none() | st.lists(texts, max_size=3),
        "else": st.recursive(st.none() | texts, lambda inner: st.lists(inner, max_size=2)),
    },
)


@given(st.lists(event, max_size=8), st.booleans())
def test_what_was_written_is_read(events: list[dict[str, Any]], pretty: bool) -> None:
    option = orjson.OPT_INDENT_2 if pretty else None
    read = reader().read([orjson.dumps(e, option=option) for e in events])
    assert not read.bad and list(read.rows) == list(range(len(events)))
    assert read.batch.to_pylist() == [{name: e.get(name) for name in NAMES} for e in events]


GOOD = b'{"a key": "k", "at": 1}'
BAD = {
    b"": "unparsable",
    b" \n ": "unparsable",
    b"{": "unparsable",
    GOOD + b"," + GOOD: "unparsable",
    GOOD + b"\n" + GOOD: "unparsable",
    b"\xff": "unparsable",
    b"[]": "not_an_object",
    b"null": "not_an_object",
    b'{"a key": "k"}': "missing_field",
    b'{"a key": null, "at": 1}': "null",
    b'{"a key": "k", "at": "1"}': "wrong_type",
    b'{"a key": "k", "at": 1.5}': "wrong_type",
    b'{"a key": "k", "at": true}': "wrong_type",
    b'{"a key": "k", "at": 9223372036854775808}': "wrong_type",
    b'{"a key": 1, "at": 1}': "wrong_type",
    b'{"a key": "k", "at": 1, "parts": [1, null]}': "wrong_type",
    b'{"a key": "k", "at": 1, "x": NaN}': "not_finite",
    b'{"a key": "k", "at": 1, "else": ' + b"[" * 2000 + b"]" * 2000 + b"}": "too_deep",
    b'{"a key": "' + b"k" * 2000 + b'", "at": 1}': "too_large",
}


@pytest.mark.parametrize("payload", BAD, ids=lambda p: repr(p[:40]))
def test_a_bad_record_costs_its_neighbours_nothing(payload: bytes) -> None:
    read = reader(1900 if len(payload) < 3000 else 10_000).read([GOOD, payload, GOOD])
    assert list(read.rows) == [0, 2] and read.batch.num_rows == 2
    [bad] = read.bad
    assert (bad.row, bad.code) == (1, BAD[payload]) and bad.reason


@given(st.lists(st.binary(max_size=12) | st.sampled_from([GOOD, b'"', b"{", b"}", b"\n", b","]), max_size=6))
def test_whatever_comes_each_record_is_good_or_bad(payloads: list[bytes]) -> None:
    read = reader().read(payloads)
    assert sorted([*read.rows, *(b.row for b in read.bad)]) == list(range(len(payloads)))
    assert all(payloads[row].strip() == GOOD for row in read.rows)


def test_avro_records_are_read_alike(tmp_path: Path) -> None:
    fields = [
        {"name": "key", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "x", "type": ["null", "double"]},
        {"name": "parts", "type": {"type": "array", "items": "double"}},
    ]
    schema = {"type": "record", "name": "e", "fields": fields}
    file = tmp_path / "e.avsc"
    file.write_text(json.dumps(schema))
    columns = (
        Column(name="key", type=FeatureType.STRING),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="x", type=FeatureType.FLOAT64, nullable=True),
        Column(name="parts", type=FeatureType.FLOAT64_LIST),
    )
    codec = CodecSpec("avro", schema=str(file))
    source = Source(name="s", columns=columns, event_time="at", codec=codec)
    wanted = [
        {"key": "a", "at": 1_700_000_000_000 + i, "x": x, "parts": [0.1]} for i, x in enumerate([None, 0.3])
    ]
    payloads = []
    for one in wanted:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, one)
        payloads.append(out.getvalue())
    read = EventReader(source, make_codec(source.codec)).read([payloads[0], b"\x01", b"", payloads[1]])
    assert read.batch.to_pylist() == wanted and list(read.rows) == [0, 3]
    assert [(b.row, b.code) for b in read.bad] == [(1, "unparsable"), (2, "unparsable")]
