"""JSON batches: evil payloads cost themselves only, and the fast way agrees with the plain one."""

from __future__ import annotations

import gzip
import json
import math
import time

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.codecs.base import Codec
from schemas.codecs.json_codec import JsonCodec
from schemas.codecs.matrices import MatrixReader
from schemas.codecs.typed import TypedReader
from schemas.tensors import BadRecord, DType, Input

FIELDS = ("a", "b b", "c")
MATRIX = (Input("x", DType.FLOAT32, (3,), FIELDS),)
MIXED = (
    Input("v", DType.FLOAT64, (2,), ("v",)),
    Input("i", DType.INT32, (), ("i",)),
    Input("l", DType.INT64, (1,), ("l",)),
    Input("t", DType.BOOL, (), ("t",)),
)
GOOD = b'{"a":1,"b b":2.5,"c":-3e2,"id":"x"}'
MIXED_GOOD = b'{"v":[1,2.5],"i":3,"l":[4],"t":true}'


def record(value: bytes) -> bytes:
    return b'{"a":1,"b b":2,"c":%b}' % value


EVIL = {
    b"": "unparsable",
    b" \n": "unparsable",
    b"\xef\xbb\xbf" + GOOD: "unparsable",
    GOOD + GOOD: "unparsable",
    GOOD + b"," + GOOD: "unparsable",
    GOOD + b"\n" + GOOD: "unparsable",
    GOOD[:-1]: "unparsable",
    GOOD[:-1] + b',"z":[{"y":"': "unparsable",
    b'"}],' + GOOD: "unparsable",
    b"]" + GOOD + b"[": "unparsable",
    GOOD + b"\x00": "unparsable",
    GOOD[:-1] + b',"z":"\xff"}': "unparsable",
    GOOD[:-1] + b',"\xc3":1}': "unparsable",
    GOOD[:-1] + b',"z":"\\ud800"}': "unparsable",
    GOOD[:-1] + b',"z":01}': "unparsable",
    b"[1,2,3]": "not_an_object",
    b"null": "not_an_object",
    b'"text"': "not_an_object",
    b'{"a":1,"b b":2}': "missing_field",
    b"{}": "missing_field",
    record(b"null"): "null",
    record(b"true"): "wrong_type",
    record(b"false"): "wrong_type",
    record(b'"1.5"'): "wrong_type",
    record(b"{}"): "wrong_type",
    record(b"[1]"): "wrong_type",
    record(b"NaN"): "not_finite",
    record(b"-Infinity"): "not_finite",
    record(b"1e999"): "not_finite",
    record(b"1e39"): "not_finite",
    record(b"9" * 400): "not_finite",
    record(b"[" * 10_000 + b"]" * 10_000): "too_deep",
    record(b'{"n":' * 10_000 + b"1" + b"}" * 10_000): "too_deep",
    record(b"1") + b" " * (1 << 20): "too_large",
    record(b'"' + b"x" * 10_000_000 + b'"'): "too_large",
}


def _no_json(name: str) -> float:
    raise ValueError(name)


def oracle(payload: bytes) -> list[float] | None:
    """The plain way: one record at a time, and no rule that is not written out here."""
    if len(payload) > 1 << 20:
        return None
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as e:
        if "infinity" not in str(e):
            return None
        try:  # RFC 8259 allows numbers beyond a double; orjson does not
            value = json.loads(payload.decode(), parse_int=float, parse_constant=_no_json)
        except ValueError:
            return None
    if not isinstance(value, dict) or not all(type(value.get(f)) in (int, float) for f in FIELDS):
        return None
    with np.errstate(over="ignore"):
        row = [float(np.float32(value[f])) for f in FIELDS]
    return row if all(map(math.isfinite, row)) else None


values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(orjson.dumps),
    st.integers(-(10**30), 10**30).map(lambda v: str(v).encode()),
    st.sampled_from([b"null", b"true", b'"1.5"', b"[1]", b"{}", b"1e999", b"-0", b"1e39",
                     b"3.4028235677973366e38",
                     b"3.4028235677973362e38", b"0.1e-400", b"NaN", b"1.", b".5", b"+1"]),
)  # fmt: skip
keys = st.sampled_from([b'"a"', b'"b b"', b'"c"', b'"\\u0061"', b'"z"', b'"\\ud83d\\ude00"'])
usual = st.tuples(values, values, values).map(lambda v: b'{"a":%b,"b b":%b , "c":%b}' % v)
objects = st.lists(st.tuples(keys, values), max_size=6).map(
    lambda pairs: b"{" + b",".join(k + b":" + v for k, v in pairs) + b"}"
)
payloads = st.one_of(
    st.just(GOOD),
    usual,
    objects,
    st.sampled_from([p for p in EVIL if len(p) < 200]),
    st.builds(lambda a, b: a + b, usual, objects),
    st.builds(
        lambda p, k, junk, cut: p[: k % (len(p) + 1)] + junk + p[k % (len(p) + 1) + cut :],
        usual,
        st.integers(0, 200),
        st.one_of(st.binary(max_size=3), st.sampled_from([b"{", b"}", b'"', b",", b"\\", b"[", b"]"])),
        st.integers(0, 3),
    ),
)


def by_orjson() -> JsonCodec:
    """A codec that has no typed reader, as where msgspec is not installed."""
    codec = JsonCodec()
    codec._plan = lambda inputs: None  # type: ignore[method-assign]
    return codec


@pytest.mark.parametrize("codec", [JsonCodec(), by_orjson()], ids=["typed", "orjson"])
@given(batch=st.lists(payloads, max_size=40))
@example(batch=[GOOD, *(p for p in EVIL if len(p) < 1000), GOOD])
@example(batch=[GOOD] * 70 + [b"{"] + [GOOD] * 70)
@settings(max_examples=400)
def test_a_batch_is_its_records_decoded_one_by_one(codec: JsonCodec, batch: list[bytes]):
    decoded = codec.decode(batch, MATRIX)
    expected = [oracle(p) for p in batch]
    good = [row for row, values in enumerate(expected) if values is not None]
    assert decoded.columns["x"].dtype == np.float32
    assert decoded.columns["x"].shape == (len(good), 3)
    np.testing.assert_array_equal(
        decoded.columns["x"], np.array([expected[r] for r in good], dtype="f4").reshape(-1, 3)
    )
    assert decoded.count == len(good)
    assert [b.row for b in decoded.bad] == [row for row, values in enumerate(expected) if values is None]
    assert (decoded.rows is None) == (len(good) == len(batch))
    if decoded.rows is not None:
        assert decoded.rows.tolist() == good


@given(batch=st.lists(payloads, max_size=12))
@settings(max_examples=300)
def test_both_ways_give_the_same_reasons(batch: list[bytes]):
    assert JsonCodec().decode(batch, MATRIX).bad == by_orjson().decode(batch, MATRIX).bad


GRID = (Input("m", DType.FLOAT32, (2, 3), ("m",)),)
BESIDE = (
    Input("a", DType.FLOAT64, (), ("a",)),
    Input("g", DType.INT64, (2, 1, 2), ("g",)),
    Input("v", DType.FLOAT64, (2,), ("v",)),
    Input("m", DType.FLOAT64, (2, 3), ("m",)),
)
POINTS = b"[[1.5,-2.0,3.5e1],[ 4.5, 5.5,6.5]]"
GRIDS = [b"[[1,2,3],[4,5,6.5]]", b"[[[1,2]],[[3,-4]]]", b" [ [0,1,2] , [3,4,5e0 ] ]\n", POINTS]
ODD_GRIDS = [
    b"[[1,2],[3,4,5,6]]",
    b"[[1,2,3],[4,5]]",
    b"[1,2,3,4,5,6]",
    b"[[1,2,3],[4,5,6],[7,8,9]]",
    b"[]",
    b"[[],[]]",
    b"[[[1,2,3]],[4,5,6]]",
    b"[[1,2,3],[4,5,null]]",
    b'[[1,2,3],[4,5,"6"]]',
    b"[[1,2,3],[4,5,true]]",
    b'["[[1,2,3],[4,5,6]]"]',
    b"[[1,2,3],[4,5,1e999]]",
    b"[[1,2,3],[4,5,1e39]]",
    b"[[1,2,3],[4,5,NaN]]",
    b"[[1,2,3],[4,5 6]]",
    b"[[1,2,3],[4,5,]]",
    b"[[1,2,3],4[5,6]]",
    b"[[1,2,3],[4,5,6]-]",
    b"[[1,2,3],[4,5,01]]",
    b"[[1,2,3],[4,5,.5]]",
    b"[[1,2,3],[4,5,+1]]",
    b"[[1,2,3],[4,5,1e]]",
    b"[[1,2,3],[4,5,--1]]",
    b"null",
    b"7",
    b"[[[1,2]],[[3,9223372036854775808]]]",
    b"[[[1,2]],[[3,4.0]]]",
    b"[[[1,2]],[[3,4.5]]]",
    b'{"m":[[1,2,3]]}',
    b"[[1,2,3],[4,5,123456789012345678901234567890]]",
    b"[[1,2,3],[4,5,-0]]",
    b"[[1,2,3],4[,5,6]]",
    b"[[1.5,2.5,3.5],4.5[,5.5,6.5]]",
    b"[[1.5,2.5,]3.5,[4.5,5.5,6.5]]",
    b"[[1.5,2.5,3.5],[4.5,5.5,6.5]]-1",
    b"[[1.5,2.5,3.5],[4.5,5.5,6 .5]]",
    b"[[1.5,2.5,3.5],[4.5,5.5,6[.5]]",
    POINTS + b"," + POINTS,
    POINTS + b',"m":7',
    POINTS + b',"k":"' + POINTS + b'"',
    b'"' + POINTS + b'"',
    b'{"m":' + POINTS + b"}",
    b'"~","k":' + POINTS,
    b'7,"k":' + POINTS,
]
grids = st.sampled_from(GRIDS * 4 + ODD_GRIDS) | st.builds(
    lambda grid, at, junk, cut: grid[: at % len(grid)] + junk + grid[at % len(grid) + cut :],
    st.sampled_from(GRIDS),
    st.integers(0, 40),
    st.sampled_from([b"", b"[", b"]", b",", b" ", b"1", b"-", b".", b"e", b'"', b"{", b"0", b"\xff"]),
    st.integers(0, 2),
)
gridded = st.builds(
    lambda k, name, x, m, g, v, a: (
        b'{"%b":%b,"g":%b,"z":"\xc3\xa9","%b":%b,"v":%b,"a":%b}' % (k, x, g, name, m, v, a)
    ),
    st.sampled_from([b"m", b"other"]),
    st.sampled_from([b"m", b"m", b"other"]),
    grids,
    grids,
    st.sampled_from([GRIDS[1]] * 3) | grids,
    st.sampled_from([b"[1,2]"] * 5 + [b"[1]", b"[1,[2]]", b"7"]),
    values | st.just(b"1"),
)


@pytest.mark.parametrize("inputs", [GRID, BESIDE], ids=["alone", "beside others"])
@given(batch=st.lists(gridded, max_size=8))
@example(batch=[b'{"a":1,"g":%b,"v":[1,2],"m":%b}' % (GRIDS[1], m) for m in GRIDS + ODD_GRIDS])
@example(batch=[b'{"a":1,"g":%b,"v":[1,2],"m":%b}' % (g, GRIDS[0]) for g in GRIDS + ODD_GRIDS])
@example(batch=[b'{"m":%b,"a":1,"g":%b,"v":[1,2]}' % (m, GRIDS[1]) for m in GRIDS + ODD_GRIDS])
@example(batch=[b'{"a":1,"g":%b,"v":[1,2],"m":%b}' % (GRIDS[1], GRIDS[0])] * 900)
@settings(max_examples=400)
def test_matrices_are_read_the_same_both_ways(inputs: tuple[Input, ...], batch: list[bytes]):
    plain = by_orjson().decode(batch, inputs)
    for large in (500, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("schemas.codecs.matrices._LARGE", large)
            fast = JsonCodec().decode(batch, inputs)
        assert fast.bad == plain.bad
        assert fast.count == plain.count
        for i in inputs:
            assert fast.columns[i.name].dtype == i.dtype.numpy
            np.testing.assert_array_equal(fast.columns[i.name], plain.columns[i.name])
            assert fast.columns[i.name].shape == (fast.count, *i.shape)


def test_a_large_matrix_is_cut_out_of_its_record():
    reader = JsonCodec()._plan(GRID)
    assert reader._cut(b'{"a":"x","m":%b,"b":"]]"}' % POINTS) == POINTS
    assert reader._cut(b'{"a":[[1.5]],"m":%b}' % POINTS) is None


@pytest.mark.parametrize("codec", [JsonCodec(), by_orjson()], ids=["typed", "orjson"])
@pytest.mark.parametrize(("payload", "code"), EVIL.items(), ids=lambda v: repr(v[:30]))
def test_a_bad_record_is_named_and_its_neighbours_are_scored(codec: Codec, payload: bytes, code: str):
    decoded = codec.decode([GOOD, payload, GOOD], MATRIX)
    assert [(b.row, b.code) for b in decoded.bad] == [(1, code)]
    assert 0 < len(decoded.bad[0].reason) < 300
    assert decoded.columns["x"].tolist() == [[1.0, 2.5, -300.0]] * 2


def test_a_reason_names_the_field_and_what_it_holds():
    (bad,) = JsonCodec().decode([record(b'"high"')], MATRIX).bad
    assert bad == BadRecord(0, "wrong_type", "field 'c' holds text ('high') where a float32 belongs")


@pytest.mark.parametrize("codec", [JsonCodec(), by_orjson()], ids=["typed", "orjson"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (b'"v":[1]', "wrong_shape"), (b'"v":[1,2,3]', "wrong_shape"), (b'"v":7', "wrong_shape"),
        (b'"v":null', "null"), (b'"v":[1,null]', "null"), (b'"v":[1,"2"]', "wrong_type"),
        (b'"v":[1,[2]]', "wrong_type"), (b'"v":[1e999,2]', "not_finite"),
        (b'"i":2147483648', "wrong_type"), (b'"i":1.5', "wrong_type"), (b'"i":true', "wrong_type"),
        (b'"i":1e999', "not_finite"), (b'"l":[9223372036854775808]', "wrong_type"),
        (b'"l":[-9223372036854775809]', "wrong_type"), (b'"l":[1e300]', "wrong_type"),
        (b'"l":5', "wrong_shape"), (b'"t":1', "wrong_type"), (b'"t":"true"', "wrong_type"),
    ],
)  # fmt: skip
def test_lists_integers_and_bools_are_held_to_their_type(codec: Codec, change: bytes, code: str):
    payload = MIXED_GOOD[:-1] + b"," + change + b"}"  # a repeated key: the last counts
    decoded = codec.decode([MIXED_GOOD, payload, MIXED_GOOD], MIXED)
    assert [(b.row, b.code) for b in decoded.bad] == [(1, code)]
    assert {n: c.tolist() for n, c in decoded.columns.items()} == {
        "v": [[1.0, 2.5]] * 2,
        "i": [3, 3],
        "l": [[4], [4]],
        "t": [True, True],
    }
    assert [decoded.columns[i.name].dtype for i in MIXED] == [i.dtype.numpy for i in MIXED]


@pytest.mark.parametrize("codec", [JsonCodec(), by_orjson()], ids=["typed", "orjson"])
def test_a_whole_float_is_an_integer_and_the_extremes_fit(codec: Codec):
    batch = [b'{"l":[5.0]}', b'{"l":[9223372036854775807]}', b'{"l":[-9223372036854775808]}']
    decoded = codec.decode(batch, MIXED[2:3])
    assert decoded.bad == ()
    assert decoded.columns["l"].tolist() == [[5], [2**63 - 1], [-(2**63)]]


def test_text_matrices_and_a_field_read_twice():
    inputs = (
        Input("t", DType.TEXT, (), ("t",)),
        Input("m", DType.FLOAT32, (2, 2), ("m",)),
        Input("again", DType.TEXT, (2,), ("t", "u")),
    )
    good = '{"t":"é","u":"","m":[[1,2],[3,4]]}'.encode()
    ragged = b'{"t":"","u":"","m":[[1,2],[3]]}'
    decoded = JsonCodec().decode([good, ragged, b'{"t":1,"u":"","m":[[1,2],[3,4]]}', good], inputs)
    assert [(b.row, b.code) for b in decoded.bad] == [(1, "wrong_shape"), (2, "wrong_type")]
    assert decoded.columns["t"].tolist() == ["é", "é"]
    assert decoded.columns["again"].tolist() == [["é", ""]] * 2
    assert decoded.columns["m"].tolist() == [[[1, 2], [3, 4]]] * 2


def test_nesting_counts_brackets_and_not_text():
    text = record(b"1")[:-1] + b',"z":"' + b"[" * 3000 + b'"'
    decoded = JsonCodec().decode([text + b"}", text], MATRIX)
    assert decoded.count == 1
    assert [(b.row, b.code) for b in decoded.bad] == [(1, "unparsable")]


def test_columns_can_be_written_to():
    # TensorFlow and torch warn about, or copy, arrays that cannot
    assert JsonCodec().decode([GOOD], MATRIX).columns["x"].flags.writeable


def test_to_json_is_the_payload_or_nothing():
    assert JsonCodec().to_json(GOOD) == GOOD
    assert JsonCodec().to_json(b"[1]") is None
    assert JsonCodec().to_json(GOOD + b"x") is None


def test_the_fast_way_is_in_use():
    pytest.importorskip("msgspec")
    assert isinstance(JsonCodec()._plan(MATRIX), TypedReader)
    assert isinstance(JsonCodec()._plan(GRID), MatrixReader)
    assert isinstance(JsonCodec()._plan(BESIDE), TypedReader)


@pytest.mark.parametrize("end", [b"", b"\\"])
def test_a_text_that_does_not_end_is_looked_through_once(end: bytes):
    deep = b"[" * 2000 + b'"' + b'\\"' * 200_000 + end
    started = time.perf_counter()
    (bad,) = JsonCodec().decode([deep], MATRIX).bad
    assert bad.code == "too_deep"
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'\xef\xbb\xbf{"a":1}', "begins with a byte order mark"),
        ('{"a":1}'.encode("utf-16"), "seems to be UTF-16"),
        (gzip.compress(b'{"a":1}', mtime=0), "compressed by gzip: let its producer"),
        (b'\0\0\0\0\x07{"a":1}', "the id of a schema: give codec.schema_registry.url"),
    ],
)
def test_what_is_often_sent_in_the_place_of_json_is_told(payload: bytes, said: str):
    (bad,) = JsonCodec().decode([payload], ()).bad
    assert bad.code == "unparsable" and bad.reason.startswith("not JSON: ") and said in bad.reason
