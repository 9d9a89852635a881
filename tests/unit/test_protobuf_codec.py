"""Protobuf batches by a descriptor set made here."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import numpy as np
import orjson
import pytest
from google.protobuf import any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codecs.factory import CodecSpec, make_codec
from schemas.codecs.field_reading import FieldReading, parse_path
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


def own_types() -> FileDescriptorSet:
    """A message `own.R` with fields of protobuf's own types, and of maps by several kinds of key."""
    file = FileDescriptorProto(name="own.proto", package="own", syntax="proto3")
    inner = file.message_type.add(name="In")
    inner.field.add(name="x", number=1, type=Field.TYPE_DOUBLE, label=Field.LABEL_OPTIONAL)
    inner.field.add(
        name="any", number=2, type=Field.TYPE_MESSAGE, type_name=".google.protobuf.Any",
        label=Field.LABEL_OPTIONAL,
    )  # fmt: skip
    row = file.message_type.add(name="R")
    row.field.add(name="a", number=1, type=Field.TYPE_DOUBLE, label=Field.LABEL_OPTIONAL)
    own = {
        "any": "Any",
        "st": "Struct",
        "va": "Value",
        "lv": "ListValue",
        "ts": "Timestamp",
        "du": "Duration",
    }
    for number, (name, kind) in enumerate(own.items(), start=2):
        row.field.add(
            name=name, number=number, type=Field.TYPE_MESSAGE, type_name=f".google.protobuf.{kind}",
            label=Field.LABEL_OPTIONAL,
        )  # fmt: skip
    keys = {"texts": Field.TYPE_STRING, "numbers": Field.TYPE_INT32, "flags": Field.TYPE_BOOL}
    for number, (name, key) in enumerate(keys.items(), start=10):
        entry = row.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=key, label=Field.LABEL_OPTIONAL)
        kind = {"type": Field.TYPE_MESSAGE, "type_name": ".google.protobuf.DoubleValue"}
        entry.field.add(name="value", number=2, label=Field.LABEL_OPTIONAL, **kind)
        row.field.add(
            name=name, number=number, type=Field.TYPE_MESSAGE, type_name=f".own.R.{entry.name}",
            label=Field.LABEL_REPEATED,
        )  # fmt: skip
    row.oneof_decl.add(name="pick")
    for number, (name, plain) in enumerate((("d", Field.TYPE_DOUBLE), ("f", Field.TYPE_BOOL)), start=20):
        row.field.add(name=name, number=number, type=plain, label=Field.LABEL_OPTIONAL, oneof_index=0)
    files = []
    for module in (any_pb2, struct_pb2, timestamp_pb2, duration_pb2, wrappers_pb2):
        files.append(FileDescriptorProto())
        module.DESCRIPTOR.CopyToProto(files[-1])
        file.dependency.append(files[-1].name)
    return FileDescriptorSet(file=[*files, file])


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> ProtobufCodec:
    path = tmp_path_factory.mktemp("protobuf") / "own.binpb"
    path.write_bytes(own_types().SerializeToString())
    return ProtobufCodec(str(path), "own.R")


TYPE = "type.googleapis.com/"
IN = b"\x09" + struct.pack("<d", 1.5)
DEFAULT = -1.0


def at(codec: ProtobufCodec, path: str, **fields: object) -> object:
    """What a path gives of a record behind one that is none; a default is declared for what is missing."""
    wanted, reading = (
        Input("z", DType.FLOAT64, (), ("z",)),
        FieldReading("z", parse_path(path), default=DEFAULT),
    )
    bad = codec.message(a=1, **fields).SerializeToString()
    decoded = codec.decode([b"\x0f", bad], [wanted], (reading,))
    assert decoded.bad[0].code == "unparsable"
    return decoded.columns["z"].tolist()[0] if decoded.count else (decoded.bad[1].code, decoded.bad[1].reason)


def in_json(codec: ProtobufCodec, name: str, **fields: object) -> object:
    return orjson.loads(codec.to_json(codec.message(a=1, **fields).SerializeToString()) or b"")[name]


def test_an_any_is_the_message_in_it(own: ProtobufCodec):
    known = {"type_url": f"{TYPE}own.In", "value": IN}
    assert at(own, "any.x", any=known) == 1.5
    assert in_json(own, "any", any=known) == {"@type": f"{TYPE}own.In", "x": 1.5}
    number = {"type_url": f"{TYPE}google.protobuf.DoubleValue", "value": IN}
    assert at(own, "any.value", any=number) == 1.5
    assert in_json(own, "any", any=number) == {"@type": number["type_url"], "value": 1.5}
    assert at(own, "any.x") == DEFAULT


@pytest.mark.parametrize(
    ("url", "value", "said"),
    [
        (f"{TYPE}own.Unknown", IN, f"its type '{TYPE}own.Unknown' is not in the descriptor set"),
        ("", b"", "its type '' is not in the descriptor set"),
        (f"{TYPE}own.In", b"\xff", "its bytes are no own.In"),
    ],
)
@pytest.mark.parametrize("field", ["x", "value"])
def test_for_an_any_that_cannot_be_read_no_default_stands(
    own: ProtobufCodec, url: str, value: bytes, said: str, field: str
):
    found = at(own, f"any.{field}", any={"type_url": url, "value": value})
    assert found == ("wrong_type", f"field {field!r} is in an Any that cannot be read: {said}")
    text = base64.b64encode(value).decode()
    assert in_json(own, "any", any={"type_url": url, "value": value}) == {"type_url": url, "value": text}


def test_messages_within_any_number_of_others_are_told(own: ProtobufCodec):
    value = IN
    for _ in range(2000):
        inner = any_pb2.Any(type_url=f"{TYPE}own.In", value=value).SerializeToString()
        value = own.message(any={"value": inner}).any.SerializeToString()  # field 2 of In is an Any, too
    depth, found = 0, in_json(own, "any", any={"type_url": f"{TYPE}own.In", "value": value})
    while isinstance(found, dict) and "any" in found:
        depth, found = depth + 1, found["any"]
    assert 5 < depth < 20


def test_what_says_its_own_type_is_what_it_says(own: ProtobufCodec):
    struct_ = {"k": 1.5, "n": None, "l": [1.0, {"q": 2.0}], "b": True}
    assert in_json(own, "st", st=struct_) == struct_
    assert at(own, "st.k", st=struct_) == 1.5
    assert at(own, "st.l[1].q", st=struct_) == 2.0
    assert at(own, "st.n", st=struct_) == DEFAULT
    assert at(own, "st.b", st=struct_)[0] == "wrong_type"  # type: ignore[index]
    assert at(own, "va", va={"number_value": 4}) == 4
    assert at(own, "va", va={}) == DEFAULT
    assert at(own, "lv[1]", lv=[1, 2]) == 2
    assert in_json(own, "lv", lv=[1, None]) == [1, None]


def test_a_map_is_read_by_its_keys_as_texts(own: ProtobufCodec):
    record = own.message(a=1)
    record.texts["k"].value = record.numbers[-5].value = record.flags[True].value = 2
    record.flags[False].SetInParent()
    maps = {name: getattr(record, name) for name in ("texts", "numbers", "flags")}
    for path in ("texts.k", "numbers.-5", "flags.true"):
        assert at(own, path, **maps) == 2
    assert at(own, "flags.True", **maps) == DEFAULT
    assert in_json(own, "flags", **maps) == {"true": 2, "false": 0}
    assert in_json(own, "numbers", **maps) == {"-5": 2}


@pytest.mark.parametrize(
    ("field", "seconds", "nanos", "wanted"),
    [
        ("ts", -62_135_596_800, 0, -62_135_596_800_000),
        ("ts", 253_402_300_799, 999_999_999, 253_402_300_799_999),
        ("ts", -1, 999_000_000, -1),
        ("ts", 253_402_300_800, 0, None),
        ("ts", 1, -5, None),
        ("ts", 1, 2_000_000_000, None),
        ("ts", -(2**63), 0, None),
        ("du", -1, -500_000_000, -1500),
        ("du", 1, -5, None),
        ("du", 2**62, 0, None),
    ],
)
def test_what_is_no_time_is_refused(
    own: ProtobufCodec, field: str, seconds: int, nanos: int, wanted: int | None
):
    value = {"seconds": seconds, "nanos": nanos}
    kind = {"ts": "Timestamp", "du": "Duration"}[field]
    assert in_json(own, field, **{field: value}) == wanted
    found = at(own, field, **{field: value})
    said = f"field {field!r} holds a {kind} of {seconds} s and {nanos} ns, which there is none of"
    assert found == (("wrong_type", said) if wanted is None else wanted)


def test_of_a_oneof_only_what_is_set_is_there(own: ProtobufCodec):
    assert at(own, "d", d=0) == 0
    assert at(own, "d", f=True) == DEFAULT
    decoded = own.decode(
        [own.message(a=1, f=True).SerializeToString()], [Input("d", DType.FLOAT64, (), ("d",))]
    )
    assert [(b.code, b.reason) for b in decoded.bad] == [("missing_field", "field 'd' is missing")]
    assert at(own, "pick.d", d=1) == at(own, "pick", d=1) == DEFAULT  # the name of a oneof is no field
    last = own.message(a=1, d=1).SerializeToString() + own.message(f=False).SerializeToString()
    assert {"d", "f"} & orjson.loads(own.to_json(last) or b"").keys() == {"f"}
