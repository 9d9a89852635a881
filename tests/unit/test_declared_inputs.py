"""Declared readings of record fields: what a model gets, what is refused and why, in every encoding."""

from __future__ import annotations

import base64
import datetime
import json
import math

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.inputs_file import read_inputs
from schemas.codecs.field_reading import FieldReading, Form, parse_path, path_text
from schemas.codecs.json_codec import JsonCodec
from schemas.codecs.reading_plan import check_readings, read_fields
from schemas.errors import DescriptorError, InputsError, SettingsError
from schemas.tensors import LIST, DType, Input
from tests.protoc import descriptor_set
from udfs.models.descriptor import build, parse
from udfs.models.smoke_test import bounded, generated

CODEC = JsonCodec()


def reading(path: str = "f", name: str = "f", **said) -> FieldReading:
    return FieldReading(name, parse_path(path), **said)


def field(dtype=DType.FLOAT64, shape=(), optional=False) -> Input:
    return Input("x", dtype, shape, ("f",), optional)


def read(record, one: FieldReading, wanted: Input):
    """The value that the model gets, or code and reason of the dead letter; neighbours are not touched."""
    payload = json.dumps(record).encode()
    decoded = CODEC.decode([payload, b"no", payload], (wanted,), (one,))
    codes = {b.row: (b.code, b.reason) for b in decoded.bad}
    assert codes[1][0] == "unparsable"
    if 0 in codes:
        assert decoded.count == 0 and codes[0] == codes[2]
        assert decoded.columns["x"].shape[0] == 0
        return codes[0]
    column = decoded.columns["x"]
    assert decoded.count == 2 and column.shape == (2, *(() if wanted.shape == LIST else wanted.shape))
    assert column.dtype in (wanted.dtype.numpy, np.dtype(object))
    return column[0].tolist() if isinstance(column[0], np.ndarray | np.generic) else column[0]


OBJECT = "field 'payload.after.amount' holds a float where an object belongs"
DEEP = {"payload": {"after": {"amount": 1.5, "items": [{"price": 7}, {"price": None}], "a.b": 3}}, "n": None}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("payload.after.amount", 1.5),
        ("payload.after.items[0].price", 7.0),
        ('payload.after."a.b"', 3.0),
        ("payload.after.items[1].price", ("null", "field 'payload.after.items[1].price' is null")),
        ("n[2].x", ("null", "field 'n[2].x' is null")),
        ("payload.after.items[2]", ("missing_field", "field 'payload.after.items[2]' is missing")),
        ("payload.before.amount", ("missing_field", "field 'payload.before.amount' is missing")),
        ("n.amount", ("null", "field 'n.amount' is null")),
        ("payload.after.amount.x", ("wrong_type", OBJECT)),
        ("payload.after[0]", ("wrong_type", "field 'payload.after' holds an object where a list belongs")),
    ],
)  # fmt: skip
def test_paths_lead_into_objects_and_lists(path, value):
    assert read(DEEP, reading(path), field()) == value
    if isinstance(value, tuple) and value[0] in ("missing_field", "null"):
        assert read(DEEP, reading(path, default=-1), field()) == -1.0
        assert math.isnan(read(DEEP, reading(path, default=math.nan), field()))
        assert math.isnan(read(DEEP, reading(path, missing=True), field()))


@pytest.mark.parametrize("text", ["a", "a.b", "a[0]", "a[0][1].b", '"a.b"[2].c d'])
def test_a_path_is_written_as_it_is_read(text):
    assert path_text(parse_path(text)) == text


@pytest.mark.parametrize("text", ["", ".", "a.", "a..b", "[0]", "a[x]", "a[0", "a]b", 'a."', "a[-1]"])
def test_what_is_no_path_is_said(text):
    with pytest.raises(ValueError, match="is no path"):
        parse_path(text)


AT = "2024-01-02T03:04:05.678901+00:00"
AT_US = 1704164645678901
AT_NS = AT_US * 1000
F4 = base64.b64encode(np.array([1.5, -2], "<f4").tobytes()).decode()
BIG = base64.b64encode((123456789012345678901).to_bytes(10, "big", signed=True)).decode()
NEGATIVE = base64.b64encode((-150).to_bytes(2, "big", signed=True)).decode()


@pytest.mark.parametrize(
    ("said", "wanted", "value", "expected"),
    [
        ({"form": Form.TEXT}, field(), "1.50", 1.5),
        ({"form": Form.TEXT}, field(), " +7 ", 7.0),
        ({"form": Form.TEXT}, field(), 2, 2.0),
        ({"form": Form.TEXT}, field(DType.INT64), "9007199254740993", 9007199254740993),
        ({"form": Form.TEXT}, field(DType.INT64), "5.0", 5),
        ({"form": Form.TEXT}, field(DType.INT64), "00000000000000009007199254740993", 9007199254740993),
        ({"form": Form.TEXT}, field(DType.INT64), "-9007199254740993.0", -9007199254740993),
        ({"form": Form.TEXT}, field(DType.INT64), "9.007199254740993e15", 9007199254740993),
        ({"form": Form.TEXT}, field(DType.INT64), "-9223372036854775808", -(2**63)),
        ({"form": Form.TEXT}, field(DType.INT64), "9223372036854775808", "wrong_type"),
        ({"form": Form.TEXT}, field(DType.INT64), "0" * 9000 + "7", 7),
        ({"form": Form.TEXT}, field(DType.INT64), "1e999999", "not_finite"),
        ({"form": Form.TEXT}, field(DType.FLOAT64), "9007199254740993", 9007199254740992.0),
        ({"form": Form.TEXT}, field(DType.FLOAT64), "-0.0", -0.0),
        ({"form": Form.TEXT}, field(DType.INT64), "5.5", "wrong_type"),
        ({"form": Form.TEXT}, field(), "1_000", "wrong_type"),
        ({"form": Form.TEXT}, field(), "nan", "wrong_type"),
        ({"form": Form.TEXT}, field(), "1e999", "not_finite"),
        ({"form": Form.TEXT}, field(), True, "wrong_type"),
        ({"form": Form.TEXT}, field(DType.FLOAT64, (2,)), ["1", 2], [1.0, 2.0]),
        ({"form": Form.NUMBER}, field(DType.TEXT), 5, "5"),
        ({"form": Form.NUMBER}, field(DType.TEXT), 0.1, "0.1"),
        ({"form": Form.NUMBER}, field(DType.TEXT), True, "true"),
        ({"form": Form.NUMBER}, field(DType.TEXT), 2**64 - 1, "18446744073709551615"),
        ({"form": Form.NUMBER}, field(DType.TEXT), 12345678901234567890123, "wrong_type"),
        ({"form": Form.NUMBER}, field(DType.TEXT), -(2**63) - 1, "wrong_type"),
        ({"form": Form.NUMBER}, field(DType.TEXT), 1e18, "1e+18"),
        ({"form": Form.NUMBER}, field(DType.TEXT), "x", "x"),
        ({"form": Form.NUMBER}, field(DType.TEXT), [], "wrong_type"),
        ({"form": Form.FLAG}, field(DType.BOOL), 1, True),
        ({"form": Form.FLAG}, field(DType.BOOL), 0.0, False),
        ({"form": Form.FLAG}, field(DType.BOOL), "True", True),
        ({"form": Form.FLAG}, field(DType.BOOL), 2, "wrong_type"),
        ({"form": Form.FLAG}, field(DType.FLOAT32), True, 1.0),
        ({"form": Form.FLAG}, field(DType.INT32), "no", "wrong_type"),
        ({"form": Form.BASE64}, field(DType.TEXT), "/wA=", b"\xff\x00"),
        ({"form": Form.BASE64}, field(DType.TEXT), "not base64", "wrong_type"),
        ({"form": Form.BASE64}, field(DType.FLOAT32, (2,)), F4, [1.5, -2.0]),
        ({"form": Form.BASE64}, field(DType.FLOAT32, (3,)), F4, "wrong_shape"),
        ({"form": Form.BASE64}, field(DType.FLOAT32, (1, 2)), F4, [[1.5, -2.0]]),
        ({"form": Form.TIMESTAMP, "unit": "us"}, field(DType.INT64), AT, AT_US),
        ({"form": Form.TIMESTAMP}, field(DType.INT64), AT, AT_US // 1000),
        ({"form": Form.TIMESTAMP, "unit": "s"}, field(), "2024-01-02T03:04:05.5Z", 1704164645.5),
        ({"form": Form.TIMESTAMP, "unit": "d"}, field(DType.INT32), "1969-12-31", -1),
        ({"form": Form.TIMESTAMP, "unit": "s", "record_unit": "ms"}, field(), 1704164645678, 1704164645.678),
        ({"form": Form.TIMESTAMP, "unit": "ns", "record_unit": "us"}, field(DType.INT64), AT_US, AT_NS),
        ({"form": Form.TIMESTAMP, "unit": "s"}, field(), 1704164645678, "wrong_type"),
        ({"form": Form.TIMESTAMP, "unit": "s"}, field(), "yesterday", "wrong_type"),
        ({"form": Form.TIMESTAMP, "unit": "d", "record_unit": "s"}, field(), 253402214400, 2932896.0),
        ({"form": Form.TIMESTAMP, "record_unit": "s"}, field(), 1764315845678, "wrong_type"),
        ({"form": Form.TIMESTAMP, "record_unit": "s"}, field(), -1e300, "wrong_type"),
        ({"form": Form.DECIMAL, "scale": 2}, field(), 12345, 123.45),
        ({"form": Form.DECIMAL, "scale": 2}, field(), NEGATIVE, -1.5),
        ({"form": Form.DECIMAL, "scale": 0}, field(), BIG, 123456789012345678901.0),
        ({"form": Form.DECIMAL, "scale": 2}, field(DType.INT64), 500, 5),
        ({"form": Form.DECIMAL, "scale": 2}, field(DType.INT64), 550, "wrong_type"),
        ({"form": Form.DECIMAL, "scale": 2}, field(), 1.5, "wrong_type"),
        ({"constant": 7}, field(), "whatever", 7.0),
        ({"constant": True}, field(DType.BOOL), None, True),
        ({"constant": 3}, field(DType.FLOAT32, (2, 1)), 0, [[3.0], [3.0]]),
        ({"default": (1, 2)}, field(DType.FLOAT32, (2,)), None, [1.0, 2.0]),
        ({"default": "none"}, field(DType.TEXT), None, "none"),
        ({"default": 5}, field(), "text", "wrong_type"),
        ({"pad": 0}, field(DType.INT64, (4,)), [1, 2], [1, 2, 0, 0]),
        ({"pad": 0, "pad_at": "start"}, field(DType.INT64, (4,)), [1, 2], [0, 0, 1, 2]),
        ({"pad": 0}, field(DType.INT64, (2,)), [1, 2, 3], "wrong_shape"),
        ({"pad": 0, "keep": "first"}, field(DType.INT64, (2,)), [1, 2, 3], [1, 2]),
        ({"keep": "last"}, field(DType.INT64, (2,)), [1, 2, 3], [2, 3]),
        ({"keep": "last"}, field(DType.INT64, (2,)), [1], "wrong_shape"),
        ({"pad": -1}, field(DType.FLOAT32, (2, 2)), [[1, 2]], [[1.0, 2.0], [-1.0, -1.0]]),
        ({"pad": ""}, field(DType.TEXT, (2,)), ["a"], ["a", ""]),
        ({}, field(DType.INT64, LIST), [1, 2, 3], [1, 2, 3]),
        ({}, field(DType.FLOAT32, (2,)), [1, None], "null"),
        ({"default": 5}, field(DType.FLOAT32, (2,)), [1, None], [1.0, 5.0]),
        ({"default": 5}, field(DType.INT64, LIST), [1, None, 2], [1, 5, 2]),
        ({"default": 5}, field(DType.FLOAT32, (2, 2)), [None, [None, 2]], [[5.0, 5.0], [5.0, 2.0]]),
        ({"default": "?", "form": Form.NUMBER}, field(DType.TEXT, (2,)), [None, 2], ["?", "2"]),
        ({"default": (1, 2)}, field(DType.FLOAT32, (2,)), [1, None], "null"),
        ({"default": 5}, field(DType.FLOAT32, (2,)), [1, "x"], "wrong_type"),
        ({"pad": 0, "default": 5}, field(DType.FLOAT32, (3,)), [None, 1], [5.0, 1.0, 0.0]),
        ({"default": (5,)}, field(DType.INT64, LIST), None, [5]),
        ({}, field(DType.INT64, (), True), None, None),
        ({"form": Form.TEXT}, field(DType.INT64, (), True), "4", 4),
        ({"missing": True}, field(DType.TEXT, (), True), None, None),
    ],
)  # fmt: skip
def test_values_become_what_the_model_takes_or_are_refused_by_name(said, wanted, value, expected):
    one = reading(**said)
    check_readings((wanted,), (one,))
    found = read({"f": value}, one, wanted)
    if isinstance(expected, str) and expected in ("null", "wrong_type", "wrong_shape", "not_finite"):
        assert found[0] == expected and "field 'f'" in found[1]
    else:
        assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("said", "wanted", "reason"),
    [
        ({"default": "x"}, field(), "the value given for 'f' does not fit"),
        ({"constant": (1, 2, 3)}, field(DType.FLOAT32, (2,)), "the value given for 'f' does not fit"),
        ({"pad": 0.5}, field(DType.INT64, (2,)), "the padding of 'f' does not fit"),
        ({"missing": True}, field(DType.INT64), "takes no missing value"),
        ({"missing": True}, field(DType.INT64, (2,)), "takes no missing value"),
        ({"keep": "last"}, field(DType.FLOAT32, LIST), "is a list of any length: pad and keep are for lists"),
        ({"pad": 0}, field(DType.FLOAT32, LIST), "is a list of any length: pad and keep are for lists"),
        ({"keep": "first"}, field(), "is one float64: pad and keep are for lists of a fixed length"),
        ({"form": Form.TEXT}, field(DType.TEXT), "leave out from = 'text'"),
        ({"form": Form.TIMESTAMP}, field(DType.BOOL), "a timestamp makes a number"),
        ({"name": "other"}, field(), "no input reads the declared field 'other'"),
    ],
)
def test_a_declaration_that_does_not_fit_the_model_is_refused(said, wanted, reason):
    with pytest.raises(InputsError, match=reason):
        check_readings((wanted,), (reading(**said),))


@pytest.mark.parametrize("shape", [(2,), (2, 2), LIST])
def test_a_null_in_a_list_is_missing_to_the_model_as_one_of_several_fields_is(shape):
    wanted = field(DType.FLOAT32, shape)
    rows = [[1, None], [None, 2]] if shape == (2, 2) else [1, None]
    payloads = [json.dumps({"f": value}).encode() for value in (rows, None)] + [b"{}"]
    found = CODEC.decode(payloads, (wanted,), (reading(missing=True),))
    assert not found.bad
    got = found.columns["x"]
    np.testing.assert_array_equal(got[0], np.array(rows, "f"))
    for absent in got[1:]:
        np.testing.assert_array_equal(absent, [] if shape == LIST else np.full(shape, np.nan, "f"))


def test_a_number_beyond_a_double_is_no_text():
    found = CODEC.decode([b'{"f":1e400}', b'{"f":1e22}'], (field(DType.TEXT),), (reading(form=Form.NUMBER),))
    assert [(b.row, b.code) for b in found.bad] == [(0, "not_finite"), (1, "wrong_type")]


def test_several_fields_make_one_vector_and_neighbours_are_scored():
    inputs = (
        Input("x", DType.FLOAT32, (3,), ("a", "w", "k")),
        Input("t", DType.TEXT, (), ("t",)),
        Input("l", DType.FLOAT64, (2,), ("l",)),
    )
    readings = (
        FieldReading("w", ("p", "width"), Form.DECIMAL, scale=1),
        FieldReading("k", ("k",), constant=9),
        FieldReading("l", ("l",), pad=0),
    )
    good = {"a": 1, "p": {"width": 25}, "t": "x", "l": [4]}
    bad = [{**good, "p": {"width": "!"}}, {**good, "a": None}, {**good, "t": 5}, {**good, "l": [1, 2, 3]}, {}]
    batch = [orjson.dumps(r) for r in (good, *bad, good)]
    decoded = CODEC.decode(batch, inputs, readings)
    assert decoded.columns["x"].tolist() == [[1.0, 2.5, 9.0]] * 2
    assert decoded.columns["l"].tolist() == [[4.0, 0.0]] * 2 and decoded.columns["t"].tolist() == ["x"] * 2
    assert [(b.row, b.code) for b in decoded.bad] == [
        (1, "wrong_type"), (2, "null"), (3, "wrong_type"), (4, "wrong_shape"), (5, "missing_field")
    ]  # fmt: skip
    assert "'p.width'" in decoded.bad[0].reason
    assert decoded.rows.tolist() == [0, 6]
    assert read_fields(inputs, readings) == {"a", "p", "t", "l"}


values = (
    st.none()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.text(max_size=3)
)


@given(
    batch=st.lists(st.dictionaries(st.sampled_from("abc"), values | st.lists(values, max_size=3)), max_size=6)
)
@settings(max_examples=300)
def test_a_reading_that_changes_nothing_reads_as_none_does(batch):
    """A plan with one trivial declaration gives what the fast way gives, for columns and for dead letters."""
    inputs = (
        Input("x", DType.FLOAT32, (2,), ("a", "b")),
        Input("c", DType.INT64, (), ("c",)),
        Input("o", DType.FLOAT64, (), ("b",), True),
    )
    payloads = [json.dumps(record).encode() for record in batch]
    plain = CODEC.decode(payloads, inputs)
    declared = CODEC.decode(payloads, inputs, (FieldReading("a", ("a",)),))
    assert declared.bad == plain.bad
    for name, column in plain.columns.items():
        np.testing.assert_array_equal(declared.columns[name], column)
        assert declared.columns[name].dtype == column.dtype


TOML = """
[inputs.x]
dtype = "float32"
shape = [2]
fields = ["height", { path = "payload.after.width", default = 1.5, range = [1, 5] }]

[inputs.when]
path = "at"
from = "timestamp"
unit = "s"

[inputs.again]
path = "at"

[inputs.flags]
pad = 0
keep = "last"

[inputs.n]
path = "m"
default = nan
"""


def test_a_file_declares_inputs_which_travel_in_the_descriptor(tmp_path):
    (tmp_path / "i.toml").write_text(TOML)
    said = read_inputs(tmp_path / "i.toml")
    assert [(i.name, i.dtype, i.shape, i.fields) for i in said.inputs] == [
        ("x", "float32", (2,), ("height", "payload.after.width")),
        ("when", None, None, ("at#2",)),
        ("again", None, None, ("at",)),
        ("flags", None, None, ("flags",)),
        ("n", None, None, ("m",)),
    ]
    descriptor = build(data_type="t", data=b"m", inputs=said.inputs, readings=said.readings)
    published = parse(descriptor)
    assert published.inputs == said.inputs
    for sent, given_ in zip(published.readings, said.readings, strict=True):
        assert repr(sent) == repr(given_)  # NaN is not equal to itself
    assert build(data_type="t", data=b"m", inputs=said.inputs, readings=published.readings) == descriptor
    as_json = {"inputs": {"x": {"path": "a.b", "default": 1, "pad": [0]}}, "fields": {"y": {"from": "flag"}}}
    (tmp_path / "i.json").write_text(json.dumps(as_json))
    said = read_inputs(tmp_path / "i.json")
    assert said.inputs[0].fields == ("a.b",)
    assert [(r.name, r.path, r.form.value, r.default) for r in said.readings] == [
        ("y", ("y",), "flag", None), ("a.b", ("a", "b"), "", 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has neither"),
        ("[inputs.x]\npth = 'a'", "pth"),
        ("[inputs.x]\nfrom = 'words'", "words"),
        ("[inputs.x]\npath = 'a..b'", "is no path"),
        ("[inputs.x]\nscale = 2", "give from = 'decimal'"),
        ("[inputs.x]\nunit = 's'", "give from = 'timestamp'"),
        ("[inputs.x]\nfrom = 'timestamp'\nunit = 'sec'", "unit is 'sec'; known are"),
        ("[inputs.x]\nfields = ['a']\ndefault = 1", "stands with each of them"),
        ("[inputs.x]\nfields = [{default = 1}]", "needs a path or a constant"),
        ("[inputs.x]\ndefault = 1\nmissing = true", "not both"),
        ("[inputs.x", "declares no inputs"),
    ],
)
def test_a_file_that_cannot_be_understood_is_said(tmp_path, text, said):
    (tmp_path / "i.toml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        read_inputs(tmp_path / "i.toml")


def test_a_descriptor_with_contradicting_fields_is_refused():
    for readings, said in (
        ((reading(), reading()), "twice"),
        ((reading(scale=2),), "decimal"),
        ((reading(bounds=(5, 1)),), "nothing"),
        ((reading(keep="middle"),), "keep is 'middle'"),
    ):
        with pytest.raises(DescriptorError, match=said):
            build(data_type="t", data=b"m", readings=readings)


def test_made_up_rows_keep_to_declared_bounds_and_constants():
    inputs = (
        Input("x", DType.FLOAT32, (2,), ("a", "b")),
        Input("n", DType.INT64, (), ("n",)),
        Input("t", DType.TEXT, (), ("t",)),
    )
    readings = (
        FieldReading("b", ("b",), bounds=(10, 20)),
        FieldReading("n", ("n",), bounds=(None, -5)),
        FieldReading("t", ("t",), constant="k"),
    )
    rows = bounded(inputs, generated(inputs, 100), readings)
    assert ((rows["x"][:, 0] >= 0) & (rows["x"][:, 0] < 1)).all()
    assert ((rows["x"][:, 1] >= 10) & (rows["x"][:, 1] <= 20)).all()
    assert set(rows["n"].tolist()) == {-6, -5} and set(rows["t"]) == {"k"}


def test_times_of_parsed_records_need_no_unit():
    at = datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)
    from schemas.codecs.conversions import converter

    convert = converter(reading(form=Form.TIMESTAMP, unit="d"), DType.FLOAT64, "f")
    assert convert(at) == convert(at.date()) == 19724.0


SCHEMA = {
    "type": "record",
    "name": "Change",
    "fields": [
        {"name": "op", "type": "string"},
        {
            "name": "after",
            "type": ["null", {"type": "record", "name": "Row", "fields": [
                {"name": "amount", "type": ["null", "double"]},
                {"name": "tags", "type": {"type": "array", "items": "long"}},
                {"name": "image", "type": "bytes"},
                {"name": "prices", "type": {"type": "map", "values": "double"}},
            ]}],
        },
    ],
}  # fmt: skip
INPUTS = (
    Input("amount", DType.FLOAT64, (), ("after.amount",)),
    Input("tags", DType.INT64, (3,), ("after.tags",)),
    Input("image", DType.FLOAT32, (2,), ("after.image",)),
    Input("eur", DType.FLOAT64, (), ("after.prices.eur",)),
)
READINGS = tuple(
    FieldReading(i.fields[0], parse_path(i.fields[0]), **more)
    for i, more in zip(
        INPUTS, ({"default": -1}, {"pad": 0}, {"form": Form.BASE64}, {"default": 0}), strict=True
    )
)
ROW = {"amount": 2.5, "tags": [7], "image": base64.b64decode(F4), "prices": {"eur": 3.5}}
CHANGES = [
    {"op": "c", "after": ROW},
    {"op": "c", "after": {**ROW, "amount": None, "prices": {}}},
    {"op": "d", "after": None},
    {"op": "c", "after": {**ROW, "tags": [1, 2, 3, 4]}},
]


def avro_codec(folder):
    import io

    import fastavro

    from schemas.codecs.avro_codec import AvroCodec

    (folder / "c.avsc").write_text(json.dumps(SCHEMA))
    payloads = []
    for change in CHANGES:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), change)
        payloads.append(out.getvalue())
    return AvroCodec(str(folder / "c.avsc")), payloads


def protobuf_codec(folder):
    from schemas.codecs.protobuf_codec import ProtobufCodec

    (folder / "c.proto").write_text(
        'syntax = "proto3"; message Row { optional double amount = 1; repeated int64 tags = 2; '
        "bytes image = 3; map<string, double> prices = 4; } message Change { string op = 1; Row after = 2; }"
    )
    codec = ProtobufCodec(str(descriptor_set(folder / "c.proto")), "Change")
    payloads = []
    for change in CHANGES:
        message = codec.message(op=change["op"])
        if change["after"] is not None:
            row = {k: v for k, v in change["after"].items() if v is not None and k != "prices"}
            message.after.MergeFrom(type(message.after)(**row))
            message.after.prices.update(change["after"]["prices"])
        payloads.append(message.SerializeToString())
    return codec, payloads


def json_codec(folder):
    return CODEC, [
        json.dumps(change, default=lambda b: base64.b64encode(b).decode()).encode() for change in CHANGES
    ]


@pytest.mark.parametrize("make", [json_codec, avro_codec, protobuf_codec])
def test_one_declaration_reads_every_encoding(tmp_path, make):
    codec, payloads = make(tmp_path)
    decoded = codec.decode(payloads, INPUTS, READINGS)
    assert {n: c.tolist() for n, c in decoded.columns.items()} == {
        "amount": [2.5, -1.0],
        "tags": [[7, 0, 0]] * 2,
        "image": [[1.5, -2.0]] * 2,
        "eur": [3.5, 0.0],
    }
    assert [(b.row, b.code) for b in decoded.bad] == [
        (2, "missing_field" if make is protobuf_codec else "null"),
        (3, "wrong_shape"),
    ]
    assert "'after.tags'" in decoded.bad[0].reason


nested = st.none() | values | st.dictionaries(st.sampled_from("ab"), values)
PATHS = (
    Input("x", DType.FLOAT32, (3,), ("a", "n.a", "n.b")),
    Input("i", DType.INT64, (), ("i",)),
    Input("o", DType.FLOAT64, (), ("m.o",), True),
    Input("t", DType.BOOL, (), ("t",)),
)
DEFAULTS = (
    FieldReading("n.a", ("n", "a"), default=-1),
    FieldReading("n.b", ("n", "b"), default=math.nan),
    FieldReading("i", ("i",), default=7),
    FieldReading("m.o", ("m", "n", "o")),
    FieldReading("t", ("t",), default=True),
)


ONE = {"a": st.just(1) | values, "n": nested, "m": nested, "i": values, "t": values}


@given(batch=st.lists(st.fixed_dictionaries({}, optional=ONE), max_size=5))
@settings(max_examples=500)
def test_the_fast_way_of_a_declaration_is_its_slow_way(batch):
    payloads = [json.dumps(record).encode() for record in batch]
    fast = CODEC.decode(payloads, PATHS, DEFAULTS)
    slow = CODEC._by_record(payloads, PATHS, DEFAULTS)
    assert fast.bad == slow.bad and fast.count == slow.count
    for name, column in slow.columns.items():
        np.testing.assert_array_equal(fast.columns[name], column)
        assert fast.columns[name].dtype == column.dtype


def test_the_fast_way_is_in_use_and_takes_what_is_absent():
    from schemas.codecs.typed_paths import PathReader

    reader = PathReader(PATHS, DEFAULTS)
    columns = reader.columns(
        [b'{"a":1}', b'{"a":2,"n":{"a":3,"b":null},"m":{"n":{"o":4}},"i":null,"t":false}']
    )
    np.testing.assert_array_equal(columns["x"], [[1, -1, math.nan], [2, 3, math.nan]])
    assert columns["i"].tolist() == [7, 7] and columns["t"].tolist() == [True, False]
    np.testing.assert_array_equal(columns["o"], [math.nan, 4])
    for reading_ in (reading(form=Form.TEXT), reading("f[0]"), reading(constant=1), reading(pad=0)):
        with pytest.raises(ValueError, match="more than a path"):
            PathReader((field(),), (reading_,))


@pytest.mark.parametrize("scale", [0, 2, -30])
@pytest.mark.parametrize("dtype", [DType.INT64, DType.FLOAT64])
def test_a_decimal_too_long_to_be_written_out_is_a_dead_letter(dtype: DType, scale: int):
    """Python refuses to write out an integer of more than 4,300 digits, also for a message."""
    digits = base64.b64encode(b"\x7f" * 2_000).decode()
    code, _ = read({"f": digits}, reading(form=Form.DECIMAL, scale=scale), field(dtype))
    assert code == "not_finite"
