"""Protobuf batches by a descriptor set made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codecs.factory import CodecSpec, make_codec
from schemas.codecs.field_reading import FieldReading
from schemas.codecs.protobuf_codec import ProtobufCodec
from schemas.errors import CodecError
from schemas.tensors import DType, Input

MATRIX = (Input("x", DType.FLOAT32, (3,), ("d", "f", "i")),)


@pytest.fixture(scope="module")
def descriptor_set(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = FileDescriptorProto(name="wine.proto", package="test", syntax="proto3")
    wine = file.message_type.add(name="Wine")
    for number, (name, kind) in enumerate(
        [("d", Field.TYPE_DOUBLE), ("f", Field.TYPE_FLOAT), ("i", Field.TYPE_INT64), ("s", Field.TYPE_STRING),
         ("b", Field.TYPE_BYTES), ("maybe", Field.TYPE_DOUBLE), ("many", Field.TYPE_DOUBLE),
         ("inner", Field.TYPE_MESSAGE)], start=1,
    ):  # fmt: skip
        field = wine.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL)
        if name == "maybe":
            wine.oneof_decl.add(name="_maybe")
            field.oneof_index, field.proto3_optional = 0, True
        if name == "many":
            field.label = Field.LABEL_REPEATED
        if name == "inner":
            field.type_name = ".test.Wine"
    path = tmp_path_factory.mktemp("protobuf") / "wine.binpb"
    path.write_bytes(FileDescriptorSet(file=[file]).SerializeToString())
    return str(path)


@pytest.fixture(scope="module")
def codec(descriptor_set: str) -> ProtobufCodec:
    made = make_codec(CodecSpec(kind="protobuf", descriptor_set=descriptor_set, message="test.Wine"))
    assert isinstance(made, ProtobufCodec)
    return made


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(rows=st.lists(st.tuples(numbers, numbers, st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=30))
@settings(max_examples=100)
def test_what_was_written_is_read(codec: ProtobufCodec, rows: list):
    # "s" keeps a message of zeros from being empty, which stands for a deleted key
    batch = [codec.message(d=d, f=f, i=i, s="x").SerializeToString() for d, f, i in rows]
    decoded = codec.decode(batch, MATRIX)
    assert decoded.bad == ()
    np.testing.assert_array_equal(decoded.columns["x"], np.array(rows, dtype="f4"))


@given(data=st.binary(max_size=60))
@settings(max_examples=300)
def test_any_bytes_leave_their_neighbours_alone(codec: ProtobufCodec, data: bytes):
    good = codec.message(d=1, f=2, i=3).SerializeToString()
    decoded = codec.decode([good, data, good], MATRIX)
    alone = codec.decode([data], MATRIX)
    assert decoded.count == 2 + alone.count
    assert [b.row for b in decoded.bad] == [1] * len(alone.bad)
    assert decoded.columns["x"][[0, -1]].tolist() == [[1, 2, 3]] * 2
    assert (codec.to_json(data) is None) == (bool(alone.bad) and alone.bad[0].code == "unparsable")


@pytest.mark.parametrize(
    ("values", "wanted", "code"),
    [
        ({"d": float("nan")}, MATRIX[0], "not_finite"),
        ({"d": 1e39}, MATRIX[0], "not_finite"),
        ({"s": "1.5"}, Input("x", DType.FLOAT32, (), ("s",)), "wrong_type"),
        ({"b": b"1.5"}, Input("x", DType.FLOAT32, (), ("b",)), "wrong_type"),
        ({"d": 1}, Input("x", DType.FLOAT32, (), ("maybe",)), "missing_field"),
        ({"d": 1}, Input("x", DType.FLOAT32, (), ("unknown",)), "missing_field"),
        ({"many": [1]}, Input("x", DType.FLOAT32, (2,), ("many",)), "wrong_shape"),
        ({"inner": {"d": 1}}, Input("x", DType.FLOAT32, (), ("inner",)), "wrong_type"),
        ({"d": 1.5}, Input("x", DType.INT64, (), ("d",)), "wrong_type"),
        ({}, MATRIX[0], "unparsable"),
        ({"b": b"x" * (1 << 20)}, MATRIX[0], "too_large"),
    ],
)
def test_a_bad_record_is_named(codec: ProtobufCodec, values: dict, wanted: Input, code: str):
    decoded = codec.decode([codec.message(**values).SerializeToString()], [wanted])
    assert [b.code for b in decoded.bad] == [code]
    assert decoded.columns["x"].shape == (0, *wanted.shape)


def test_lists_and_fields_with_presence(codec: ProtobufCodec):
    inputs = (Input("m", DType.FLOAT64, (2,), ("many",)), Input("o", DType.FLOAT32, (2,), ("maybe", "d")))
    good = codec.message(many=[1, 2], maybe=0, d=4).SerializeToString()
    decoded = codec.decode([good, codec.message(many=[1, 2], d=4).SerializeToString()], inputs)
    assert [(b.row, b.code) for b in decoded.bad] == [(1, "missing_field")]
    assert decoded.columns["m"].tolist() == [[1, 2]]
    assert decoded.columns["o"].tolist() == [[0, 4]]


def test_to_json_keeps_numbers_as_numbers(codec: ProtobufCodec):
    data = codec.message(d=1.5, i=2**53 + 1, s="é", b=b"\x00", many=[1], inner={"i": 1}).SerializeToString()
    assert orjson.loads(codec.to_json(data) or b"") == {
        "d": 1.5, "f": 0, "i": 2**53 + 1, "s": "é", "b": "AA==", "many": [1],
        "inner": {"d": 0, "f": 0, "i": 1, "s": "", "b": "", "many": []},
    }  # fmt: skip


def test_what_cannot_be_built_is_refused(descriptor_set: str, tmp_path: Path):
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"\xff\xff")
    needs = tmp_path / "needs"
    needs.write_bytes(
        FileDescriptorSet(
            file=[FileDescriptorProto(name="a.proto", dependency=["b.proto"])]
        ).SerializeToString()
    )
    for path, message in (
        (descriptor_set, "test.Beer"),
        (str(damaged), "A"),
        (str(needs), "A"),
        ("absent", "A"),
    ):
        with pytest.raises(CodecError):
            ProtobufCodec(path, message)
    with pytest.raises(CodecError):
        make_codec(CodecSpec(kind="protobuf"))
    with pytest.raises(CodecError):
        make_codec(CodecSpec(kind="xml"))


def test_a_key_that_is_no_utf_8_costs_its_own_record_only(tmp_path: Path):
    """Of proto2, which takes any bytes for a text."""
    file = FileDescriptorProto(name="old.proto", package="test", syntax="proto2")
    old = file.message_type.add(name="Old")
    entry = old.nested_type.add(name="EEntry")
    entry.options.map_entry = True
    for place, name, number, kind in (
        (entry, "key", 1, Field.TYPE_STRING), (entry, "value", 2, Field.TYPE_DOUBLE),
        (old, "s", 1, Field.TYPE_STRING), (old, "e", 2, Field.TYPE_MESSAGE),
    ):  # fmt: skip
        place.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL)
    old.field[1].label, old.field[1].type_name = Field.LABEL_REPEATED, ".test.Old.EEntry"
    path = tmp_path / "old.binpb"
    path.write_bytes(FileDescriptorSet(file=[file]).SerializeToString())
    codec = ProtobufCodec(str(path), "test.Old")
    good = codec.message(s="x", e={"k": 2.0}).SerializeToString()
    bad = good.replace(b"\x0a\x01k", b"\x0a\x01\xff")
    assert bad != good
    decoded = codec.decode(
        [good, bad, good], (Input("v", DType.FLOAT64, (), ("v",)),), (FieldReading("v", ("e", "k")),)
    )
    assert decoded.columns["v"].tolist() == [2.0, 2.0]
    assert [(b.row, b.code) for b in decoded.bad] == [(1, "unparsable")]
    assert codec.to_json(bad) is None and orjson.loads(codec.to_json(good) or b"")["e"] == {"k": 2.0}
