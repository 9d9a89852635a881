"""Serving, features and rules read a record by one rule, and results of it can be read again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.codecs.factory import CodecSpec, make_codec
from schemas.codecs.json_codec import JsonCodec
from schemas.codecs.json_text import LEAST, MOST, parse_object
from schemas.features.arrow_events import EventReader
from schemas.features.declarations import Column, FeatureType, Source
from schemas.results.records import Outcome
from schemas.results.results import Identity, Stamp, read_result, write_results
from schemas.tensors import DType, Input
from udfs.ensemble.routing.record_fields import RecordFields

CODEC = JsonCodec(2000)
TYPES = {
    FeatureType.INT64: DType.INT64,
    FeatureType.FLOAT64: DType.FLOAT64,
    FeatureType.BOOL: DType.BOOL,
    FeatureType.STRING: DType.TEXT,
    FeatureType.TIMESTAMP: DType.INT64,
}
VALUES = [
    b"5", b"5.0", b"-5e0", b"5.5", b"0.1", b"-0", b"-0.0", b"1e400", b"-1e400", b"1e308", b"1e-400", b"true",
    b"false", b"null", b'"x"', b'"5"', b"[]", b"[5]", b"{}", b"9223372036854775807", b"9223372036854775808",
    b"-9223372036854775808", b"-9223372036854775809", b"9223372036854775807.0", b"18446744073709551615",
    b"18446744073709551616", b"-9223372036854775808.0", b"9007199254740993", b"9007199254740993.0",
    b"123456789012345678901234567890", b"NaN", b"Infinity", b"1.", b"01", b"+1", b"",
    b'"\\ud800"', b'"\xc3\xa9"',
    b'"\xff"',
]  # fmt: skip
values = (
    st.sampled_from(VALUES)
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda v: repr(v).encode())
    | st.integers(-(10**25), 10**25).map(lambda v: str(v).encode())
)
members = st.lists(st.tuples(st.sampled_from([b"n", b"m", b"other"]), values), max_size=4)


def record(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"{" + b",".join(b'"%b":%b' % pair for pair in pairs) + b"}"


@pytest.mark.parametrize("kind", TYPES)
@given(pairs=members)
@example(pairs=[(b"n", b"5.0")])
@example(pairs=[(b"n", b'"x"'), (b"n", b"1")])
@example(pairs=[(b"n", b"1"), (b"n", b'"x"')])
@example(pairs=[(b"n", b"1"), (b"other", b"1e400")])
@settings(max_examples=300)
def test_features_take_what_serving_takes_and_nothing_else(
    kind: FeatureType, pairs: list[tuple[bytes, bytes]]
) -> None:
    payload, good = record(pairs), record([(b"n", b'"x"' if kind is FeatureType.STRING else b"1")])
    columns = (Column(name="n", type=kind), Column(name="at", type=FeatureType.INT64, nullable=True))
    source = Source(name="s", columns=columns, event_time="at", codec=CodecSpec(max_bytes=2000))
    if kind is FeatureType.BOOL:
        good = b'{"n":true}'
    served = CODEC.decode([good, payload, good], (Input("n", TYPES[kind], (), ("n",)),))
    events = EventReader(source, make_codec(source.codec)).read([good, payload, good])
    assert [(b.row, b.code) for b in events.bad] == [(b.row, b.code) for b in served.bad]
    assert events.batch["n"].to_pylist() == served.columns["n"].tolist()


@given(pairs=members)
@example(pairs=[(b"n", b"5"), (b"other", b"1e400")])
@example(pairs=[(b"n", b"1e400")])
@example(pairs=[(b"n", b"123456789012345678901234567890")])
@example(pairs=[(b"n", b"[123456789012345678901234567890]")])
@settings(max_examples=500)
def test_rules_see_of_some_fields_what_they_see_of_all(pairs: list[tuple[bytes, bytes]]) -> None:
    payload = record(pairs)
    whole = RecordFields(CODEC, True, None).read([payload])[0]
    few = RecordFields(CODEC, True, ["n", "m"]).read([payload])[0]
    if CODEC.to_json(payload) is None:
        assert whole is None
        return
    assert whole is not None and few is not None
    expected = {name: value for name, value in whole.items() if name in ("n", "m")}
    assert few == expected
    assert {n: type(v) for n, v in few.items()} == {n: type(v) for n, v in expected.items()}
    for value in whole.values():
        assert not isinstance(value, int) or LEAST <= value <= MOST


@given(pairs=members)
@example(pairs=[(b"x", b"1"), (b"other", b"1e400")])
@settings(max_examples=300)
def test_what_was_scored_can_be_read_again(pairs: list[tuple[bytes, bytes]]) -> None:
    payload = record(pairs)
    if CODEC.to_json(payload) is None:
        return
    stamp = Stamp("t", "m", 1, "d" * 64, Outcome.SCORED, 0.1)
    (line,) = write_results([payload], stamp, Identity("s", [0], [7], [5]), {"y": np.array([0.5])})
    result = read_result(line)
    assert (result.scores, result.offset) == ({"y": 0.5}, 7)
    assert result.record == parse_object(payload)


def test_a_number_beyond_a_double_is_infinite_and_a_rule_can_compare_it() -> None:
    (found,) = RecordFields(CODEC, True, None).read([b'{"a":5,"other":1e400}'])
    assert found == {"a": 5, "other": math.inf}


@pytest.mark.parametrize("data", [b"", b"[]", b"1e400", b"{", b'{"millrace":1e400}'])
def test_what_is_no_result_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a result"):
        read_result(data)
