"""Reading a few fields of a record gives what reading all of it gives."""

from __future__ import annotations

import io

import fastavro
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.codecs.avro_codec import AvroCodec
from schemas.codecs.json_codec import JsonCodec
from udfs.ensemble.routing.record_fields import RecordFields

NAMES = ["a", "b", "weird name\n"]
CODEC = JsonCodec(1000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
RECORDS = st.dictionaries(st.sampled_from([*NAMES, "c"]), JSON)


@given(RECORDS, st.sampled_from([NAMES, NAMES[:2]]))
def test_of_a_record_the_named_fields_are_read(record: dict, names: list[str]):
    payload = orjson.dumps(record)
    read = orjson.loads(payload)  # an infinite float is written as null
    few, whole = RecordFields(CODEC, True, names), RecordFields(CODEC, True, None)
    assert few.read([payload]) == [{n: v for n, v in read.items() if n in names}]
    assert whole.read([payload]) == [read]


@pytest.mark.parametrize("names", [NAMES, ["a"], [], None])
@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b"null", b'"a"', b'{"a":1}x', b'{"z":"\xff"}', b'{"a":NaN}']
)
def test_what_is_no_record_is_none(payload: bytes, names: list[str] | None):
    good = b'{"a":1}'
    before, bad, after = RecordFields(CODEC, True, names).read([good, payload, good])
    assert bad is None and before == after == ({} if names == [] else {"a": 1})


@given(st.binary(max_size=12))
@example(b'{"a":1,"a":2}')
@example(b'{"a":18446744073709551616}')
def test_any_bytes_are_read_as_the_whole_record_is_or_are_none(payload: bytes):
    few, whole = (RecordFields(CODEC, True, names).read([payload])[0] for names in (["a"], None))
    if whole is not None:
        assert few == {n: v for n, v in whole.items() if n == "a"}


def test_records_of_other_codecs_are_read_too(tmp_path):
    schema = {"type": "record", "name": "R", "fields": [{"name": n, "type": "double"} for n in "ab"]}
    path = tmp_path / "r.avsc"
    path.write_bytes(orjson.dumps(schema))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, {"a": 1.5, "b": 2.5})
    fields = RecordFields(AvroCodec(str(path)), False, ["b", "c"])
    assert fields.read([out.getvalue(), b"\x00"]) == [{"b": 2.5}, None]
