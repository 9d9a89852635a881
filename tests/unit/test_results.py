"""Results: the record's own bytes, a stamp after them, and everything readable back."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.results.records import Outcome
from schemas.results.results import Identity, Scored, Stamp, read_result, write_results

STAMP = Stamp('wi"ne', "naïve", 3, "0123456789abcdef" * 4, Outcome.SCORED, 1.23456)


def identity(n: int) -> Identity:
    return Identity("t,[]", [1] * n, list(range(10, 10 + n)), [1_700_000_000_000 + k for k in range(n)])


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
records = st.dictionaries(st.text("ab{}, ", max_size=4), plain, max_size=4)
dumps = st.sampled_from([
    orjson.dumps,
    lambda r: json.dumps(r, indent=2).encode(),
    lambda r: b" \r\n" + json.dumps(r).encode() + b" \t\n",
])  # fmt: skip


@given(
    rows=st.lists(
        st.tuples(records, dumps, st.floats(width=32, allow_nan=False, allow_infinity=False)), max_size=12
    )
)
@settings(max_examples=200)
def test_every_part_is_read_back(rows: list):
    raw = [dump(record) for record, dump, _ in rows]
    scores = np.array([score for *_, score in rows], dtype="f4")
    results = write_results(raw, STAMP, identity(len(rows)), {"quality": scores})
    assert len(results) == len(rows)
    for k, (result, (record, _, score)) in enumerate(zip(results, rows, strict=True)):
        back = read_result(result)
        assert np.float32(back.scores["quality"]) == np.float32(score)
        assert back == Scored(
            data_type='wi"ne', outcome=Outcome.SCORED, model="naïve", version=3, digest="0123456789abcdef",
            ms=1.235, scores=back.scores, source="t,[]", partition=1, offset=10 + k,
            event_time=1_700_000_000_000 + k, record=record,
        )  # fmt: skip


@pytest.mark.parametrize(
    "column",
    [
        np.array([1.5, -0.1, 3e38], dtype="f4"),
        np.array([0.1, 1e-300, 3.0]),
        np.array([1, -2, 2**62]),
        np.array([True, False, True]),
        np.array(["a,b", '"],["', "é\n"], dtype=object),
        np.array([["a", "],["], ["", ","], ["b", "c"]], dtype=object),
        np.arange(6, dtype="f4").reshape(3, 2),
        np.arange(3, dtype="i4").reshape(3, 1),
        np.arange(24, dtype="f8").reshape(3, 2, 4),
        np.arange(12, dtype="f4").reshape(2, 6).T[:3],
        np.arange(6, dtype="f4")[::2],
        np.zeros((3, 0), dtype="f4"),
    ],
    ids=lambda c: f"{c.dtype}{c.shape}",
)
def test_columns_of_every_type_and_shape_keep_their_rows(column: np.ndarray):
    results = write_results([b"{}", b'{"a":1}', b"{ }"], STAMP, identity(3), {"o": column, "again": column})
    back = [read_result(r).scores for r in results]
    assert [list(scores) for scores in back] == [["o", "again"]] * 3
    for scores, row in zip(back, column, strict=True):
        for value in scores.values():
            found = np.array(value, dtype=column.dtype)
            assert found.shape == np.shape(row)
            assert np.array_equal(found, row)


def test_a_float32_is_written_in_its_shortest_form():
    (result,) = write_results([b"{}"], STAMP, identity(1), {"q": np.array([0.1], dtype="f4")})
    assert b'"scores":{"q":0.1}' in result


def test_the_record_s_bytes_are_kept():
    raw = b'{"b": 1.000, "a":"\\u00e9"}'
    (result,) = write_results([raw], STAMP, identity(1))
    assert result.startswith(raw[:-1] + b',"millrace":{')


def test_chosen_rows_take_their_own_identity():
    raw = [b'{"k":%d}' % k for k in range(4)]
    scores = {"q": np.array([1.0, 2.0])}
    back = [read_result(r) for r in write_results(raw, STAMP, identity(4), scores, np.array([1, 3]))]
    assert [(b.record, b.offset, b.scores) for b in back] == [
        ({"k": 1}, 11, {"q": 1}),
        ({"k": 3}, 13, {"q": 2}),
    ]


def test_a_record_without_a_model_has_no_scores():
    stamp = Stamp("wine", "", 0, "", Outcome.NO_MODEL, 0.0)
    (result,) = write_results([b"{}"], stamp, identity(1))
    back = read_result(result)
    assert (back.outcome, back.scores, back.record) == (Outcome.NO_MODEL, {}, {})


@pytest.mark.parametrize(
    "record",
    [
        b'{"millrace":{"model":"mine","outcome":"scored"},"a":1}',
        b'{"a":1,"millrace":1} ',
        b'{"\\u006dillrace":{"model":"mine"},"a":1,"millrace":2}',
        b'{"mill\\u0072ace":null,"a":1}',
    ],
)
def test_a_record_brings_no_stamp_of_its_own(record: bytes):
    other = b'{"b":{"millrace":1},"c":"millrace","n":123456789012345678901234567890,"x":1.50}'
    results = write_results([record, other, b"{}"], STAMP, identity(3), {"q": np.array([1.0, 2.0, 3.0])})
    keys = json.loads(results[0], object_pairs_hook=lambda pairs: pairs)
    assert [name for name, _ in keys] == ["a", "millrace"], "once, whatever a reader takes of two"
    assert read_result(results[0]).model == STAMP.model
    assert results[1].startswith(other[:-1] + b',"millrace":'), "deeper down it is the record's own"
    alone = write_results([b'{"millrace":1}'], STAMP, identity(1))
    assert read_result(alone[0]).record == {}


def test_values_beside_such_a_field_stay_as_they_are_to_the_last_digit():
    record = b'{"millrace":1,"n":123456789012345678901234567890,"x":1.50,"deep":[1e400,"\\u00e9"]}'
    (result,) = write_results([record], STAMP, identity(1))
    assert result.startswith(
        b'{"n":123456789012345678901234567890,"x":1.50,"deep":[1e400,"\\u00e9"],"millrace":'
    )


def test_a_result_scored_again_shows_the_last_stamp():
    (first,) = write_results([b'{"a":1}'], STAMP, identity(1))
    again = Stamp("wine", "second", 9, "f" * 64, Outcome.SCORED, 1.0)
    (second,) = write_results([first], again, identity(1))
    assert read_result(second).model == "second"


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="'q' has 1 rows for 2 results"):
        write_results([b"{}", b"{}"], STAMP, identity(2), {"q": np.zeros(1)})
    with pytest.raises(ValueError, match="identity"):
        write_results([b"{}", b"{}"], STAMP, identity(1))
    with pytest.raises(ValueError, match="JSON object"):
        write_results([b"[1]"], STAMP, identity(1))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"millrace":1}', b'{"millrace":{}}', b'{"millrace":{"outcome":"scored"}}']
)
def test_what_is_no_result_is_refused(data: bytes):
    with pytest.raises(ValueError, match=r".+"):
        read_result(data)


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("event_time", "soon"),
        ("digest", 5),
        ("version", "1"),
        ("ms", "fast"),
        ("scores", [1]),
        ("data_type", ["wine"]),
        ("partition", None),
        ("experiments", {"e": 1}),
        ("experiments", {"e": {"arm": 1, "step": 0}}),
    ],
)
def test_what_has_something_else_in_a_stamp_is_no_result(field: str, other: object):
    """It ended `millrace tail`: whoever may write the topic of results wrote it."""
    (line,) = write_results([b"{}"], STAMP, identity(1), {"q": np.array([1.0])})
    record = json.loads(line)
    record["millrace"][field] = other
    with pytest.raises(ValueError, match="not a result"):
        read_result(json.dumps(record).encode())
