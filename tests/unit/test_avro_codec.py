"""Avro batches, bare and behind a registry's header."""

from __future__ import annotations

import io
import json
import math
import struct
import sys
from pathlib import Path

import fastavro
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codecs import avro_logical
from schemas.codecs.avro_codec import AvroCodec
from schemas.codecs.avro_logical import converter
from schemas.codecs.avro_resolution import check_units
from schemas.codecs.avro_schema import avro_schema, read_record
from schemas.codecs.base import UnfitError
from schemas.codecs.factory import CodecSpec, make_codec
from schemas.codecs.registered.avro_records import avro_parser
from schemas.codecs.registered.lookup import RegisteredSchema
from schemas.errors import CodecError
from schemas.tensors import DType, Input

MATRIX = (Input("x", DType.FLOAT32, (3,), ("d", "f", "i")),)
OLD = {
    "type": "record", "name": "Wine", "namespace": "test",
    "fields": [
        {"name": "d", "type": "double"}, {"name": "f", "type": "float"}, {"name": "i", "type": "long"},
    ],
}  # fmt: skip
NEW = {
    **OLD,
    "fields": [
        *reversed(OLD["fields"]),  # type: ignore[call-overload]
        {"name": "s", "type": "string", "default": ""},
        {"name": "maybe", "type": ["null", "double"], "default": None},
        {"name": "many", "type": {"type": "array", "items": "double"}, "default": []},
        {"name": "raw", "type": "bytes", "default": ""},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0},
    ],
}


def save(folder: Path, name: str, schema: object) -> str:
    path = folder / name
    path.write_text(json.dumps(schema))
    return str(path)


def write(schema: dict, **values: object) -> bytes:
    stream = io.BytesIO()
    record = {"d": 1.0, "f": 2.0, "i": 3, "raw": b"", **values}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
    return stream.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("avro")


@pytest.fixture(scope="module")
def bare(folder: Path) -> AvroCodec:
    made = make_codec(CodecSpec(kind="avro", schema=save(folder, "new.avsc", NEW)))
    assert isinstance(made, AvroCodec)
    return made


@pytest.fixture(scope="module")
def registered(folder: Path) -> AvroCodec:
    writers = {7: save(folder, "old.avsc", OLD), 8: save(folder, "new.avsc", NEW)}
    return AvroCodec(writers[8], writers)


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
rows_of = st.tuples(numbers, numbers, st.integers(-(2**63), 2**63 - 1))


@given(rows=st.lists(rows_of, min_size=1, max_size=20))
@settings(max_examples=100)
def test_what_was_written_is_read(bare: AvroCodec, rows: list):
    decoded = bare.decode([write(NEW, d=d, f=f, i=i) for d, f, i in rows], MATRIX)
    assert decoded.bad == ()
    np.testing.assert_array_equal(decoded.columns["x"], np.array(rows, dtype="f4"))


@given(data=st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda b: write(NEW)[:30] + b)))
@settings(max_examples=300)
def test_any_bytes_leave_their_neighbours_alone(bare: AvroCodec, data: bytes):
    good = write(NEW)
    decoded = bare.decode([good, data, good], MATRIX)
    alone = bare.decode([data], MATRIX)
    assert decoded.count == 2 + alone.count
    assert [b.row for b in decoded.bad] == [1] * len(alone.bad)
    assert decoded.columns["x"][[0, -1]].tolist() == [[1, 2, 3]] * 2


def test_cut_or_continued_records_are_bad(bare: AvroCodec):
    whole = write(NEW, s="text", many=[1.0, 2.0], raw=b"\x01")
    batch = [whole[:n] for n in range(len(whole))] + [whole + b"\x00"]
    decoded = bare.decode(batch, MATRIX)
    assert decoded.count == 0
    assert {b.code for b in decoded.bad} == {"unparsable"}


def test_each_record_is_read_by_its_writer_s_schema(registered: AvroCodec):
    head = struct.Struct(">bI").pack
    good = [head(0, 7) + write(OLD), head(0, 8) + write(NEW, d=4.0)]
    bad = [head(0, 9) + write(OLD), head(1, 7) + write(OLD), b"\x00\x00", head(0, 7), b""]
    decoded = registered.decode([*good, *bad], MATRIX)
    assert decoded.columns["x"].tolist() == [[1, 2, 3], [4, 2, 3]]
    assert [(b.row, b.code) for b in decoded.bad] == [(row, "unparsable") for row in range(2, 7)]
    assert decoded.bad[0].reason == "schema id 9 is not among the configured ones: 7, 8"
    assert "header" in decoded.bad[1].reason


@pytest.mark.parametrize(
    ("values", "wanted", "code"),
    [
        ({"d": float("nan")}, MATRIX[0], "not_finite"),
        ({"d": float("inf")}, MATRIX[0], "not_finite"),
        ({"s": "1.5"}, Input("x", DType.FLOAT32, (), ("s",)), "wrong_type"),
        ({}, Input("x", DType.FLOAT32, (), ("maybe",)), "null"),
        ({}, Input("x", DType.FLOAT32, (), ("unknown",)), "missing_field"),
        ({"many": [1.0]}, Input("x", DType.FLOAT32, (2,), ("many",)), "wrong_shape"),
        ({"raw": b"x" * (1 << 20)}, MATRIX[0], "too_large"),
    ],
)
def test_a_bad_record_is_named(bare: AvroCodec, values: dict, wanted: Input, code: str):
    decoded = bare.decode([write(NEW, **values)], [wanted])
    assert [b.code for b in decoded.bad] == [code]
    assert decoded.columns["x"].shape == (0, *wanted.shape)


def test_to_json(bare: AvroCodec):
    found = orjson.loads(
        bare.to_json(write(NEW, s="é", raw=b"\x00", many=[1.0], at=1_700_000_000_000)) or b""
    )
    assert found == {
        "d": 1, "f": 2, "i": 3, "s": "é", "maybe": None, "many": [1], "raw": "AA==", "at": 1_700_000_000_000,
    }  # fmt: skip
    assert bare.to_json(b"\x01") is None


LINK = {"type": "record", "name": "Link", "fields": [{"name": "next", "type": ["null", "Link"]}]}
NOTHING = {"type": "record", "name": "Nothing", "fields": []}


@pytest.mark.parametrize(
    "schema",
    [
        LINK,
        {"type": "record", "name": "R", "namespace": "n", "fields": [{"name": "l", "type": LINK}]},
        {"type": "record", "name": "R", "fields": [{"name": "m", "type": {"type": "map", "values": "R"}}]},
        {
            "type": "record",
            "name": "R",
            "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}],
        },
        {
            "type": "record",
            "name": "R",
            "fields": [{"name": "a", "type": {"type": "array", "items": NOTHING}}],
        },
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "no such type"}]},
        {"type": "array", "items": "double"},
        ["null", "double"],
    ],
)
def test_schemas_that_cannot_be_trusted_with_any_bytes_are_refused(tmp_path: Path, schema: object):
    with pytest.raises(CodecError):
        AvroCodec(save(tmp_path, "s.avsc", schema))


def test_a_named_type_may_be_used_twice(tmp_path: Path):
    pair = {
        "type": "record",
        "name": "Pair",
        "fields": [{"name": "l", "type": OLD}, {"name": "r", "type": "test.Wine"}],
    }
    AvroCodec(save(tmp_path, "s.avsc", pair))


def test_contradictions_are_refused(folder: Path):
    new = save(folder, "new.avsc", NEW)
    for spec in (
        CodecSpec(kind="avro"),
        CodecSpec(kind="avro", schema=new, registry_header=True),
        CodecSpec(kind="avro", schema=new, writers={1: new}),
        CodecSpec(kind="avro", schema="absent"),
    ):
        with pytest.raises(CodecError):
            make_codec(spec)


def doubled(times: int) -> dict:
    """Records of which each holds the one before twice, and no bytes."""
    made: dict = {"type": "record", "name": "R0", "fields": [{"name": "a", "type": "null"}]}
    for n in range(1, times):
        fields = [{"name": "a", "type": made}, {"name": "b", "type": f"R{n - 1}"}]
        made = {"type": "record", "name": f"R{n}", "fields": fields}
    return made


def nested(depth: int) -> dict:
    """Records of which each holds the one before by its name, so that the schema itself is flat."""
    fields = [
        {"name": "f1", "type": {"type": "record", "name": "R1", "fields": [{"name": "a", "type": "long"}]}}
    ]
    for n in range(2, depth):
        inner = {"name": "a", "type": {"type": "array", "items": f"R{n - 1}"} if n % 2 else f"R{n - 1}"}
        fields.append({"name": f"f{n}", "type": {"type": "record", "name": f"R{n}", "fields": [inner]}})
    return {"type": "record", "name": "Deep", "fields": fields}


def of_decimal(scale: int) -> dict:
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale}
    return {"type": "record", "name": "R", "fields": [{"name": "a", "type": kind}]}


def test_a_schema_by_which_no_bytes_are_endless_work_is_refused():
    with pytest.raises(CodecError, match="x has in R6 191 parts that take no bytes"):
        avro_schema(doubled(40), "x")
    wide = [{"name": f"f{n}", "type": "null"} for n in range(101)]
    many = {"type": "record", "name": "W", "fields": [{"name": "l", "type": "long"}, *wide]}
    with pytest.raises(CodecError, match="x has in W 101 parts"):  # of each byte, in a list of such
        avro_schema(many, "x")
    assert read_record(b"", avro_schema(doubled(5), "x"))["b"] is not None
    for depth in (200, 20_000):  # a record of a few bytes ended the process, or the job
        with pytest.raises(CodecError, match=r"x is nested 20[12] deep: flatten it"):
            avro_schema(nested(depth), "x")
    assert read_record(bytes(99), avro_schema(nested(100), "x"))["f1"] == {"a": 0}
    for scale in (10**9, -1):
        with pytest.raises(CodecError, match="a decimal has the scale"):
            avro_schema(of_decimal(scale), "x")


@pytest.mark.parametrize(
    "text",
    ['{"type":"record","name":"R","fields":[{"name":"a"}]}', '{"type":"record","fields":[1]}', "[" * 9999],
)
def test_whatever_a_registry_gives_that_is_no_schema_is_refused(text: str):
    with pytest.raises(CodecError, match="of id 7"):
        avro_parser(7, RegisteredSchema("AVRO", text), None)


CORNERS = {
    "type": "record", "name": "C",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "u", "type": ["null", "long"]},
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["a", "b", "c"]}},
        {"name": "s", "type": "string"},
        {"name": "m", "type": {"type": "map", "values": {"type": "array", "items": "E"}}},
    ],
}  # fmt: skip
FIRST = {"type": "record", "name": "C", "fields": CORNERS["fields"][:1]}


def zigzag(number: int) -> bytes:
    left, made = (number << 1) ^ (number >> 63), b""
    while left >= 0x80:
        made += bytes([left & 0x7F | 0x80])
        left >>= 7
    return made + bytes([left])


def corner(
    n: bytes = zigzag(1), u: bytes = zigzag(0), e: bytes = zigzag(2), s: bytes = b"\2x", m: bytes = b"\0"
) -> bytes:
    return n + u + e + s + m


def map_of(symbol: int) -> bytes:
    """One key, to a block of one symbol that says its bytes."""
    return zigzag(1) + b"\2k" + zigzag(-1) + zigzag(1) + zigzag(symbol) + zigzag(0) + zigzag(0)


@pytest.mark.parametrize("reader", [None, FIRST], ids=["as written", "one field"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (corner(u=zigzag(-1) + zigzag(7)), "below zero"),
        (corner(u=zigzag(-2)), "below zero"),
        (corner(u=zigzag(2)), "not Avro"),
        (corner(n=b"\x80" * 11 + b"\1"), "more than 64 bits"),
        (corner(n=b"\xff" * 9 + b"\2"), "more than 64 bits"),
        (corner(n=b"\xff" * 5000 + b"\1"), "more than 64 bits"),
        (corner(u=zigzag(1) + b"\xff" * 10 + b"\0"), "more than 64 bits"),
        (corner(e=zigzag(1), s=zigzag(20) + b"x"), "not Avro"),
        (corner(s=zigzag(3) + b"x", m=b""), "not Avro|cut short"),
        (corner() + b"\0", "1 bytes are left over"),
        (corner()[:-1], "cut short"),
    ],
)
def test_malformed_bytes_are_refused_and_not_other_values(body: bytes, said: str, reader: dict | None):
    writer = avro_schema(CORNERS, "w")
    with pytest.raises(UnfitError, match=said):
        read_record(body, writer, avro_schema(reader, "r") if reader else None)


@pytest.mark.parametrize("body", [corner(e=zigzag(-1)), corner(e=zigzag(3)), corner(m=map_of(-1))])
def test_a_symbol_that_is_not_there_is_refused(body: bytes):
    with pytest.raises(UnfitError, match=r"below zero|the symbol 3 of an enum of 3"):
        read_record(body, avro_schema(CORNERS, "w"))


@pytest.mark.parametrize("text", ["привет, мир", "数据流处理系统", "\U0001f377" * 30, "x", ""])
@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, -(2**63), 2**40])
def test_extremes_are_read_as_written(text: str, number: int):
    row = {"n": number, "u": -(2**63), "e": "c", "s": text, "m": {text: ["b", "a"], "k": []}}
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(CORNERS), row)
    writer = avro_schema(CORNERS, "w")
    assert read_record(stream.getvalue(), writer) == row
    assert read_record(stream.getvalue(), writer, writer) == row
    assert read_record(stream.getvalue(), writer, avro_schema(FIRST, "r")) == {"n": number}


def test_a_block_that_says_its_bytes_is_read():
    long = zigzag(-(2**63))
    assert read_record(corner(n=long, m=map_of(1)), avro_schema(CORNERS, "w"))["m"] == {"k": ["b"]}


def test_a_number_is_looked_for_behind_every_kind_of_value():
    kinds: list = [
        "null",
        "boolean",
        "int",
        "float",
        "double",
        "bytes",
        {"type": "fixed", "name": "F", "size": 3},
    ]
    kinds += [
        "F",
        {"type": "string"},
        {"type": "record", "name": "I", "fields": [{"name": "i", "type": "int"}]},
    ]
    fields = [{"name": f"f{n}", "type": kind} for n, kind in enumerate(kinds)]
    schema = {"type": "record", "name": "K", "fields": [*fields, {"name": "last", "type": "long"}]}
    row: dict = {"f0": None, "f1": True, "f2": 5, "f3": 1.5, "f4": 2.5, "f5": b"\xff" * 20, "f6": b"abc"}
    row |= {"f7": b"abc", "f8": "x", "f9": {"i": 3}, "last": 0}
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), row)
    known = avro_schema(schema, "w")
    assert read_record(stream.getvalue(), known) == row
    with pytest.raises(UnfitError, match="more than 64 bits"):
        read_record(stream.getvalue()[:-1] + b"\x80" * 10 + b"\0", known)


class Undivided(int):
    def __mod__(self, other: int) -> int:
        raise AssertionError(f"divided by {other}")

    __truediv__ = __floordiv__ = __mod__


@pytest.mark.parametrize("first", [b"\x7f", b"\x80"])
def test_a_decimal_of_a_million_digits_is_infinite_without_being_divided(
    first: bytes, monkeypatch: pytest.MonkeyPatch
):
    convert = converter({"type": "bytes", "logicalType": "decimal", "scale": 2})
    assert convert is not None
    with monkeypatch.context() as patch:
        patch.setattr(avro_logical, "int", Undivided, raising=False)
        assert convert(first + b"\0" * 1_000_000) == (math.inf if first == b"\x7f" else -math.inf)
    assert convert(b"\0" * 1_000_000 + b"\x7b") == 1.23
    top = int(sys.float_info.max)
    assert convert((top * 100).to_bytes(200, "big")) == sys.float_info.max


AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
PRICES = {**AMOUNT, "type": "fixed", "name": "F", "size": 3}
INNER = {
    "type": "record", "name": "I",
    "fields": [{"name": "flag", "type": "boolean"}, {"name": "small", "type": "int"}],
}  # fmt: skip
NARROW = {
    "type": "record", "name": "N",
    "fields": [
        {"name": "x", "type": "double"},
        {"name": "flag", "type": "boolean"},
        {"name": "maybe", "type": ["null", "boolean", "bytes"]},
        {"name": "small", "type": "int"},
        {"name": "either", "type": ["null", "int", "long"]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "amount", "type": AMOUNT},
        {"name": "inner", "type": INNER},
        {"name": "again", "type": {"type": "array", "items": "I"}},
        {"name": "named", "type": {"type": "map", "values": "int"}},
        {"name": "prices", "type": {"type": "map", "values": PRICES}},
    ],
}  # fmt: skip
WIDER = {
    "type": "record", "name": "N",
    "fields": [
        {"name": "x", "type": "double"},
        {"name": "flag", "type": "boolean"},
        {"name": "small", "type": "double"},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "amount", "type": AMOUNT},
        {"name": "more", "type": "boolean", "default": True},
    ],
}  # fmt: skip
ROW = {
    "x": struct.pack("<d", 1.5), "flag": b"\1", "maybe": zigzag(0), "small": zigzag(-7), "either": zigzag(0),
    "day": zigzag(19_000), "amount": zigzag(2) + (1234).to_bytes(2, "big"), "inner": b"\0" + zigzag(1),
    "again": zigzag(2) + b"\1" + zigzag(2) + b"\0" + zigzag(3) + zigzag(0),
    "named": zigzag(1) + zigzag(1) + b"k" + zigzag(4) + zigzag(0), "prices": zigzag(0),
}  # fmt: skip
PRICE = zigzag(1) + zigzag(1) + b"k"
NO_INT = "which is no int of 32 bits"
TOO_MANY_DIGITS = "a decimal of more than the 4 digits that its schema has"


def narrow(**parts: bytes) -> bytes:
    return b"".join((ROW | parts).values())


@pytest.fixture(params=["as written", "by a reader"])
def narrow_codec(request: pytest.FixtureRequest, folder: Path) -> tuple[AvroCodec, bytes]:
    """A codec of `NARROW`, and what stands before its records."""
    writer = save(folder, "narrow.avsc", NARROW)
    if request.param == "as written":
        return AvroCodec(writer), b""
    return AvroCodec(save(folder, "wider.avsc", WIDER), {7: writer}), struct.pack(">bI", 0, 7)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"flag": b"\2"}, "field 'flag' holds a boolean of the byte 2, neither 0 nor 1"),
        ({"flag": b"\xff"}, "field 'flag' holds a boolean of the byte 255, neither 0 nor 1"),
        ({"flag": b"\x80\0"}, "field 'flag' holds a boolean of the byte 128, neither 0 nor 1"),
        ({"flag": b"\x81\x80\0"}, "field 'flag' holds a boolean of the byte 129, neither 0 nor 1"),
        ({"maybe": zigzag(1) + b"\3"}, "field 'maybe' holds a boolean of the byte 3, neither 0 nor 1"),
        ({"inner": b"\x07" + zigzag(1)}, "field 'inner.flag' holds a boolean of the byte 7, neither 0 nor 1"),
        ({"small": zigzag(2**31)}, f"field 'small' holds 2147483648, {NO_INT}"),
        ({"small": zigzag(-(2**31) - 1)}, f"field 'small' holds -2147483649, {NO_INT}"),
        ({"day": zigzag(2**40)}, f"field 'day' holds 1099511627776, {NO_INT}"),
        ({"either": zigzag(1) + zigzag(2**31)}, f"field 'either' holds 2147483648, {NO_INT}"),
        ({"inner": b"\0" + zigzag(2**31)}, f"field 'inner.small' holds 2147483648, {NO_INT}"),
        (
            {"again": zigzag(2) + b"\1" + zigzag(2) + b"\0" + zigzag(2**62) + zigzag(0)},
            f"field 'again[1].small' holds 4611686018427387904, {NO_INT}",
        ),
        (
            {"named": PRICE + zigzag(2**31) + zigzag(0)},
            f"field 'named.k' holds 2147483648, {NO_INT}",
        ),
        ({"amount": zigzag(2) + (10_000).to_bytes(2, "big")}, f"field 'amount' holds {TOO_MANY_DIGITS}"),
        ({"amount": zigzag(2) + b"\x80\0"}, f"field 'amount' holds {TOO_MANY_DIGITS}"),
    ],
)  # fmt: skip
def test_what_is_wider_than_its_type_is_a_dead_letter_of_its_field(
    narrow_codec: tuple[AvroCodec, bytes], parts: dict, reason: str
):
    codec, head = narrow_codec
    good = head + narrow()
    decoded = codec.decode([good, head + narrow(**parts), good], [Input("x", DType.FLOAT64, (), ("small",))])
    assert [(b.row, b.code, b.reason) for b in decoded.bad] == [
        (1, "unparsable", f"not Avro of its schema: {reason}")
    ]
    assert decoded.columns["x"].tolist() == [-7, -7]


def test_a_decimal_in_a_map_that_has_too_many_digits_is_named(folder: Path):
    codec = AvroCodec(save(folder, "narrow.avsc", NARROW))
    good, bad = (narrow(prices=PRICE + n.to_bytes(3, "big") + zigzag(0)) for n in (9999, 10_000))
    decoded = codec.decode([bad, good], [Input("x", DType.FLOAT64, (), ("x",))])
    assert decoded.columns["x"].tolist() == [1.5]
    assert [b.reason for b in decoded.bad] == [
        f"not Avro of its schema: field 'prices.k' holds {TOO_MANY_DIGITS}"
    ]


@pytest.mark.parametrize(
    ("parts", "field", "value"),
    [
        ({"flag": b"\0"}, "flag", False),
        ({"maybe": zigzag(1) + b"\1"}, "maybe", True),
        ({"maybe": zigzag(2) + zigzag(2) + b"\x80\0"}, "maybe", "gAA="),
        ({"small": zigzag(2**31 - 1)}, "small", 2**31 - 1),
        ({"small": zigzag(-(2**31))}, "small", -(2**31)),
        ({"either": zigzag(2) + zigzag(2**40)}, "either", 2**40),
        ({"either": zigzag(1) + zigzag(5)}, "either", 5),
        ({"amount": zigzag(2) + (-9999).to_bytes(2, "big", signed=True)}, "amount", -99.99),
        ({"x": struct.pack("<d", float.fromhex("0x1.0810080p+0"))}, "flag", True),
    ],
)
def test_what_just_fits_is_read(folder: Path, parts: dict, field: str, value: object):
    codec = AvroCodec(save(folder, "narrow.avsc", NARROW))
    assert orjson.loads(codec.to_json(narrow(**parts)) or b"")[field] == value


def test_a_reader_s_own_boolean_and_promotion_are_read(folder: Path):
    codec = AvroCodec(save(folder, "wider.avsc", WIDER), {7: save(folder, "narrow.avsc", NARROW)})
    found = orjson.loads(codec.to_json(struct.pack(">bI", 0, 7) + narrow()) or b"")
    assert found == {"x": 1.5, "flag": True, "small": -7.0, "day": 19_000, "amount": 12.34, "more": True}


def test_a_few_bytes_that_say_any_number_of_values_end_at_once():
    fields = [{"name": "a", "type": {"type": "array", "items": "double"}}]
    schema = avro_schema({"type": "record", "name": "R", "fields": fields}, "x")
    for reader in (None, schema):
        with pytest.raises(UnfitError, match="not Avro of its schema"):
            read_record(zigzag(2**62) + b"\0" * 80, schema, reader)


def test_a_type_that_is_used_many_times_is_made_once():
    made: dict = {"type": "record", "name": "R0", "fields": [{"name": "a", "type": "int"}]}
    for n in range(1, 60):
        fields = [{"name": "a", "type": made}, {"name": "b", "type": f"R{n - 1}"}]
        made = {"type": "record", "name": f"R{n}", "fields": fields}
    with pytest.raises(UnfitError):
        read_record(b"\0" * 80, avro_schema(made, "x"))


def test_a_default_of_the_reader_is_the_same_for_each_record() -> None:
    """fastavro gives one object as the default of all records."""
    moment = {"type": "long", "logicalType": "timestamp-micros"}
    at = {"type": "record", "name": "At", "fields": [{"name": "at", "type": moment}]}
    fields = [
        {"name": "x", "type": "double"},
        {"name": "times", "type": {"type": "map", "values": moment}, "default": {"k": 1_700_000_000_000_000}},
        {"name": "inner", "type": at, "default": {"at": 1_700_000_000_000_000}},
    ]
    writer = avro_schema({"type": "record", "name": "R", "fields": fields[:1]}, "w")
    reader = avro_schema({"type": "record", "name": "R", "fields": fields}, "r")
    for _ in range(3):
        record = read_record(struct.pack("<d", 1.5), writer, reader)
        assert (record["times"]["k"], record["inner"]["at"]) == (1_700_000_000_000, 1_700_000_000_000)


def of(*fields: dict) -> dict:
    return {"type": "record", "name": "R", "fields": list(fields)}


def time_in(unit: str) -> dict:
    return {"type": "long", "logicalType": f"timestamp-{unit}"}


def money(scale: int, size: int = 0, name: str = "") -> dict:
    fixed = {"type": "fixed", "name": name, "size": size}
    return {
        **(fixed if size else {"type": "bytes"}),
        "logicalType": "decimal",
        "precision": 9,
        "scale": scale,
    }


ORDERED = {"type": "record", "name": "Ordered", "fields": [{"name": "at", "type": time_in("micros")}]}
PAID = {"type": "record", "name": "Paid", "fields": [{"name": "at", "type": time_in("millis")}]}
SENT = {"type": "record", "name": "Sent", "fields": [{"name": "to", "type": "string"}]}
NANOS = {"type": "map", "values": time_in("nanos")}
BRANCHES = [
    "null", "int", time_in("micros"), money(2, 4, "Small"), money(4, 8, "Large"), money(3), ORDERED, PAID,
    SENT, NANOS, "Ordered",
]  # fmt: skip
"""More than one of them is a number, bytes or an object to Python."""
VALUES = [
    (b"", None), (zigzag(5_000_000), 5_000_000), (zigzag(1_700_000_000_000_000), 1_700_000_000_000),
    ((100).to_bytes(4, "big"), 1), ((12_500).to_bytes(8, "big"), 1.25), (zigzag(1) + b"\x7b", 0.123),
    (zigzag(2_000_000), {"at": 2_000}), (zigzag(2_000_000), {"at": 2_000_000}), (b"\2x", {"to": "x"}),
    (zigzag(1) + b"\2k" + zigzag(7_000_000) + b"\0", {"k": 7}), (zigzag(3_000), {"at": 3}),
]  # fmt: skip
A = {"name": "a", "type": "double"}
U = {"name": "u", "type": BRANCHES}


@pytest.mark.parametrize("by_a_reader", [False, True], ids=["as written", "by a reader"])
@pytest.mark.parametrize("number", range(len(BRANCHES)))
def test_each_branch_of_a_union_is_converted_as_it_says(number: int, by_a_reader: bool):
    wire, meant = VALUES[number]
    reader = avro_schema(of(U), "r") if by_a_reader else None
    body = struct.pack("<d", 1.5) + zigzag(number) + wire
    assert read_record(body, avro_schema(of(A, U), "w"), reader)["u"] == meant


@pytest.mark.parametrize(
    ("written", "body", "read", "meant"),
    [
        ([{"name": "t", "type": time_in("micros")}], zigzag(5_000),
         [{"name": "when", "aliases": ["t"], "type": time_in("millis")}], {"when": 5}),
        ([{"name": "p", "type": money(2)}], zigzag(1) + b"\x7d",
         [{"name": "p", "type": money(4)}], {"p": 1.25}),
        ([{"name": "t", "type": ["null", time_in("nanos")]}], zigzag(1) + zigzag(5_000_000),
         [{"name": "t", "type": ["null", time_in("millis")]}], {"t": 5}),
        ([A], struct.pack("<d", 1.5), [{"name": "p", "type": money(2), "default": "\u00ff"}], {"p": -0.01}),
        ([A], struct.pack("<d", 1.5), [{"name": "b", "type": "bytes", "default": "\u00ff"}], {"b": b"\xff"}),
        ([A], struct.pack("<d", 1.5), [{"name": "t", "type": [time_in("micros"), "null"], "default": 5_000}],
         {"t": 5}),
        ([A], struct.pack("<d", 1.5),
         [{"name": "i", "type": of({"name": "p", "type": money(1)}) | {"name": "I"},
           "default": {"p": "\u0005"}},
          {"name": "l", "type": {"type": "array", "items": "I"}, "default": [{"p": "\u0006"}]}],
         {"i": {"p": 0.5}, "l": [{"p": 0.6}]}),
    ],
)  # fmt: skip
def test_a_reader_s_own_unit_scale_name_and_default_are_no_other_value(
    written: list, body: bytes, read: list, meant: dict
):
    writer, reader = avro_schema(of(*written), "w"), avro_schema(of(*read), "r")
    check_units(writer.parsed, reader.parsed, "w")
    assert read_record(body, writer, reader) == meant
    assert read_record(body, writer, reader) == meant


def test_what_a_producer_adds_to_a_schema_is_no_type_of_it():
    added = {"connect.parameters": {"logicalType": "decimal", "scale": "2"}}
    assert read_record(struct.pack("<d", 1.5), avro_schema(of(A) | added, "w")) == {"a": 1.5}


def test_a_named_type_is_converted_as_its_writer_has_it_wherever_it_stands_first():
    def pair(first: str, second: str, scale: int) -> dict:
        kind = of({"name": "p", "type": money(scale)}) | {"name": "Price"}
        return of({"name": first, "type": kind}, {"name": second, "type": "Price"})

    body = (zigzag(1) + b"\x7d") * 2
    writer, reader = avro_schema(pair("x", "y", 2), "w"), avro_schema(pair("y", "x", 4), "r")
    check_units(writer.parsed, reader.parsed, "w")
    assert read_record(body, writer, reader) == {"x": {"p": 1.25}, "y": {"p": 1.25}}


@pytest.mark.parametrize(
    ("written", "read", "said"),
    [
        ("long", time_in("micros"), "'f' is of no logical type in w and a time in the reader's"),
        (time_in("micros"), "double", "'f' is a time in w and of no logical type in the reader's"),
        (time_in("millis"), ["null", "long"], "'f' is a time in w and of no logical type"),
        ("string", money(2), "'f' is of no logical type in w and a decimal in the reader's"),
        (money(2), "string", "'f' is a decimal in w and of no logical type"),
        ({"type": "int", "logicalType": "date"}, time_in("millis"), "'f' is a date in w and a time in"),
        ({"type": "map", "values": PAID | {"name": "E"}},
         {"type": "map", "values": of({"name": "at", "type": "long"}) | {"name": "E"}},
         "'f.at' is a time in w"),
    ],
)  # fmt: skip
def test_a_number_that_means_something_to_one_side_only_is_refused(written: object, read: object, said: str):
    writer = avro_schema(of({"name": "f", "type": written}), "w")
    for field in ({"name": "f", "type": read}, {"name": "g", "aliases": ["f"], "type": read}):
        with pytest.raises(CodecError, match=said):
            check_units(writer.parsed, avro_schema(of(field), "r").parsed, "w")
    check_units(writer.parsed, avro_schema(of({"name": "g", "type": read}), "r").parsed, "w")


def test_schemas_of_ids_in_the_settings_are_held_to_units_too(folder: Path):
    time, number = of({"name": "t", "type": time_in("micros")}), of({"name": "t", "type": "long"})
    reader, writer = save(folder, "number.avsc", number), save(folder, "time.avsc", time)
    with pytest.raises(CodecError, match="'t' is a time in the schema of id 7 and of no logical type"):
        AvroCodec(reader, {7: writer})


def test_only_defaults_of_a_reader_must_be_values(folder: Path):
    """ "0.00" are four bytes to Avro, and a number of nine digits: many a writer means zero by it."""
    wrong = of(A, {"name": "p", "type": {**money(2), "precision": 6}, "default": "0.00"})
    reader, writer = save(folder, "reader.avsc", of(A)), save(folder, "wrong.avsc", wrong)
    body, head = struct.pack("<d", 1.5) + zigzag(1) + b"\x64", struct.pack(">bI", 0, 7)
    parse = avro_parser(7, RegisteredSchema("AVRO", json.dumps(wrong)), None)
    assert parse(body) == {"a": 1.5, "p": 1}
    wanted = [Input("a", DType.FLOAT64, (), ("a",))]
    for codec, payload in ((AvroCodec(writer), body), (AvroCodec(reader, {7: writer}), head + body)):
        assert codec.decode([payload], wanted).columns["a"].tolist() == [1.5]
    with pytest.raises(CodecError, match=r"wrong\.avsc is not valid: .* more than the 6 digits"):
        AvroCodec(writer, {7: reader})


def test_a_schema_is_equal_to_itself_read_again():
    """fastavro takes twice the time to read by another schema than by the same."""
    price = {"name": "m", "type": money(2), "default": "\u0005"}
    raw = of(U, price, {"name": "t", "type": time_in("micros"), "default": 5})
    writer, reader = avro_schema(raw, "w", reads=False), avro_schema(raw, "r")
    assert writer.wire.parsed == reader.wire.parsed


@pytest.mark.parametrize("by_a_reader", [False, True], ids=["as written", "by a reader"])
def test_an_int_beyond_its_bits_is_refused_also_where_it_is_converted(by_a_reader: bool):
    raw = of({"name": "t", "type": ["null", {"type": "int", "logicalType": "time-micros"}]})
    schema, reader = avro_schema(raw, "w"), avro_schema(raw, "r") if by_a_reader else None
    assert read_record(b"\2" + zigzag(5_000), schema, reader) == {"t": 5}
    with pytest.raises(UnfitError, match=f"'t' holds {1 << 40}, which is no int of 32 bits"):
        read_record(b"\2" + zigzag(1 << 40), schema, reader)
