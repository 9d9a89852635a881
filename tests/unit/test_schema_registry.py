"""Records behind ids of a schema registry: looked up when they come, in each format, and while it is away."""

from __future__ import annotations

import base64
import io
import json
import logging
import struct
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codecs.base import Code
from schemas.codecs.factory import CodecSpec, RegistrySpec, make_codec
from schemas.codecs.field_reading import FieldReading
from schemas.codecs.registered.lookup import RegisteredSchema
from schemas.codecs.registered.protobuf_records import protobuf_parser
from schemas.errors import CodecError, SchemaRegistryError, SettingsError
from schemas.tensors import DType, Input
from tests.small_registry import Certificate, SmallRegistry
from udfs.io.proto_compiler import descriptor_of
from udfs.io.record_codecs import open_codec
from udfs.io.schema_registry import SchemaRegistry

X = (Input("x", DType.FLOAT64, (2,), ("a", "b")),)
FIRST: dict[str, Any] = {
    "type": "record",
    "name": "Reading",
    "fields": [{"name": "a", "type": "double"}, {"name": "b", "type": "double"}],
}
SECOND = {**FIRST, "fields": [FIRST["fields"][1], {"name": "new", "type": "string"}, FIRST["fields"][0]]}
THIRD = {**FIRST, "fields": [FIRST["fields"][0]]}


def avro(number: int, schema: dict, record: dict) -> bytes:
    stream = io.BytesIO(struct.pack(">bI", 0, number))
    stream.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
    return stream.getvalue()


def as_json(number: int, record: Any) -> bytes:
    return struct.pack(">bI", 0, number) + orjson.dumps(record)


def spec(url: str, kind: str = "avro", **more: Any) -> CodecSpec:
    own = {k: more.pop(k) for k in tuple(more) if k in ("schema", "message", "descriptor_set", "max_bytes")}
    return CodecSpec(kind, schema_registry=RegistrySpec(url, **more), **own)


@pytest.fixture
def registry() -> Iterator[SmallRegistry]:
    with SmallRegistry() as server:
        server.schemas[1] = {"schema": json.dumps(FIRST)}
        server.schemas[2] = {"schema": json.dumps(SECOND), "schemaType": "AVRO"}
        server.schemas[3] = {"schema": json.dumps(THIRD)}
        server.schemas[10] = {"schema": "{}", "schemaType": "JSON"}
        yield server


def test_an_id_is_asked_for_when_it_comes_and_once(registry: SmallRegistry) -> None:
    codec = open_codec(spec(registry.url))
    assert registry.asked == []
    record = {"a": 1.5, "b": -2.0}
    for _ in range(3):
        decoded = codec.decode([avro(1, FIRST, record)] * 5, X)
        assert decoded.columns["x"].tolist() == [[1.5, -2.0]] * 5
    assert registry.asked == ["/schemas/ids/1"]
    assert json.loads(codec.to_json(avro(1, FIRST, record)) or b"") == record


def test_a_new_writers_schema_is_taken_while_records_flow(registry: SmallRegistry, tmp_path: Path) -> None:
    reader = tmp_path / "reader.avsc"
    reader.write_text(
        json.dumps({**FIRST, "fields": [FIRST["fields"][0], {"name": "b", "type": "double", "default": 7.0}]})
    )
    codec = open_codec(spec(registry.url, schema=str(reader)))
    payloads = [
        avro(1, FIRST, {"a": 1.0, "b": 2.0}),
        avro(2, SECOND, {"a": 3.0, "b": 4.0, "new": "x"}),
        avro(3, THIRD, {"a": 5.0}),
    ]
    assert codec.decode(payloads, X).columns["x"].tolist() == [[1, 2], [3, 4], [5, 7]]
    later = {**FIRST, "fields": [{"name": "a", "type": "float"}, {"name": "b", "type": "int"}]}
    registry.schemas[4] = {"schema": json.dumps(later)}
    decoded = codec.decode([avro(4, later, {"a": 0.5, "b": 9}), *payloads], X)
    assert decoded.columns["x"].tolist() == [[0.5, 9], [1, 2], [3, 4], [5, 7]]


def test_a_schema_that_the_readers_cannot_be_resolved_with_is_told(
    registry: SmallRegistry, tmp_path: Path
) -> None:
    at = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}
    micros = {**FIRST, "fields": [*FIRST["fields"], at]}
    no_time = {**FIRST, "fields": [*FIRST["fields"], {**at, "type": "long"}]}
    reader = tmp_path / "reader.avsc"
    reader.write_text(json.dumps(no_time))
    registry.schemas[5] = {"schema": json.dumps(micros)}
    codec = open_codec(spec(registry.url, schema=str(reader)))
    good = avro(5, micros, {"a": 1.0, "b": 2.0, "at": 5})
    decoded = codec.decode([good, avro(1, FIRST, {"a": 1.0, "b": 2.0})], X)
    assert [b.code for b in decoded.bad] == ["unparsable", "unparsable"]
    said = "'at' is a time in the schema of id 5 and of no logical type in the reader's"
    assert said in decoded.bad[0].reason
    assert "SchemaResolutionError" in decoded.bad[1].reason  # no 'at', and no default for it
    alone = open_codec(spec(registry.url))
    column = (Input("at", DType.INT64, (), ("at",)),)
    assert alone.decode([avro(5, micros, {"a": 1.0, "b": 2.0, "at": 5_000})], column).columns["at"] == [5]


def test_unknown_ids_and_other_types_are_dead_letters_beside_good_neighbours(registry: SmallRegistry) -> None:
    now = [0.0]
    asks = SchemaRegistry(RegistrySpec(registry.url, unknown_s=30.0), clock=lambda: now[0])
    codec = make_codec(spec(registry.url), asks.schema)
    good = avro(1, FIRST, {"a": 1.0, "b": 2.0})
    bad = [avro(99, FIRST, {"a": 1.0, "b": 2.0}), as_json(10, {}), b"\x01" + good[1:], b"\0\0\0", b""]
    decoded = codec.decode([good, *bad, good], X)
    assert decoded.count == 2
    assert [b.code for b in decoded.bad] == [Code.UNKNOWN_SCHEMA] + ["unparsable"] * 4
    assert decoded.bad[0].reason == "the schema registry knows no schema of id 99"
    assert decoded.bad[1].reason == "schema 10 is of type JSON, and records here are AVRO"
    codec.decode(bad[:1] * 3, X)
    assert registry.asked.count("/schemas/ids/99") == 1  # it is not asked for each record
    registry.schemas[99] = {"schema": json.dumps(FIRST)}
    now[0] = 31.0
    assert codec.decode(bad[:1], X).count == 1


def _always(found: RegisteredSchema, number: int) -> RegisteredSchema:
    return found


@given(data=st.binary(max_size=40))
@settings(max_examples=200)
def test_any_bytes_leave_their_neighbours_alone(data: bytes) -> None:
    for kind, schema, good in (
        ("avro", json.dumps(FIRST), avro(1, FIRST, {"a": 1.0, "b": 2.0})),
        ("json", "{}", as_json(10, {"a": 1, "b": 2})),
    ):
        found = RegisteredSchema(kind.upper(), schema)
        codec = make_codec(spec("http://unused", kind), partial(_always, found))
        decoded = codec.decode([good, good[:5] + data, data, good], X)
        assert decoded.columns["x"][[0, -1]].tolist() == [[1, 2]] * 2
        assert decoded.count + len(decoded.bad) == 4


def test_json_behind_an_id(registry: SmallRegistry) -> None:
    codec = open_codec(spec(registry.url, "json"))
    payloads = [as_json(10, {"a": 1, "b": 2}), as_json(1, {"a": 1, "b": 2}), as_json(10, [1]), b'{"a": 1}']
    payloads += [as_json(10, {"a": 5, "b": 6})]
    decoded = codec.decode(payloads, X)
    assert decoded.columns["x"].tolist() == [[1, 2], [5, 6]]
    assert decoded.rows is not None and decoded.rows.tolist() == [0, 4]
    assert [(b.row, b.code) for b in decoded.bad] == [
        (1, "unparsable"),
        (2, "not_an_object"),
        (3, "unparsable"),
    ]
    assert codec.decode([payloads[0]] * 3, X).rows is None
    assert codec.to_json(payloads[0]) == b'{"a":1,"b":2}'
    assert codec.to_json(payloads[3]) is None


def test_referenced_avro_schemas_are_put_in_their_place(registry: SmallRegistry) -> None:
    size = {
        "type": "record",
        "name": "Size",
        "namespace": "shop",
        "fields": [{"name": "a", "type": "double"}],
    }
    order = {
        "type": "record", "name": "Order", "namespace": "shop",
        "fields": [
            {"name": "size", "type": "Size"},
            {"name": "others", "type": {"type": "array", "items": "shop.Size"}},
            {"name": "b", "type": ["null", "double"]},
        ],
    }  # fmt: skip
    registry.schemas[6] = {
        "schema": json.dumps(order),
        "references": [{"name": "shop.Size", "subject": "shop/size", "version": 3}],
    }
    registry.subjects["shop/size", 3] = {"schema": json.dumps(size), "id": 60, "version": 3}
    stream = io.BytesIO()
    named: dict[str, Any] = {}
    fastavro.parse_schema(size, named)
    parsed = fastavro.parse_schema(order, named)
    record = {"size": {"a": 1.0}, "others": [{"a": 2.0}], "b": 3.0}
    fastavro.schemaless_writer(stream, parsed, record)
    codec = open_codec(spec(registry.url))
    payload = struct.pack(">bI", 0, 6) + stream.getvalue()
    reading = FieldReading("a", ("size", "a"))
    assert codec.decode([payload], X, (reading,)).columns["x"].tolist() == [[1, 3]]
    assert json.loads(codec.to_json(payload) or b"") == record
    assert registry.asked == ["/schemas/ids/6", "/subjects/shop%2Fsize/versions/3"]


ENVELOPE: dict[str, Any] = {
    "type": "record", "name": "Envelope", "namespace": "db.orders",
    "fields": [
        {"name": "before", "default": None, "type": ["null", {
            "type": "record", "name": "Value", "fields": [
                {"name": "a", "type": "double"},
                {"name": "b", "type": {
                    "type": "bytes", "scale": 2, "precision": 8, "logicalType": "decimal",
                    "connect.name": "org.apache.kafka.connect.data.Decimal"}},
            ], "connect.name": "db.orders.Value"}]},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": ["null", "long"], "default": None},
    ],
    "connect.name": "db.orders.Envelope",
}  # fmt: skip


def test_debezium_in_avro_is_as_in_json(registry: SmallRegistry) -> None:
    registry.schemas[20] = {"schema": json.dumps(ENVELOPE)}
    codec = open_codec(spec(registry.url, "debezium"))
    row = {"a": 1.5, "b": (1234).to_bytes(2, "big")}
    inserted = avro(20, ENVELOPE, {"before": None, "after": row, "op": "c", "ts_ms": 1})
    deleted = avro(20, ENVELOPE, {"before": row, "after": None, "op": "d", "ts_ms": 1})
    in_json = as_json(10, {"before": None, "after": {"a": 2, "b": 3}, "op": "r"})
    decoded = codec.decode([inserted, deleted, b"", in_json], X)
    assert decoded.columns["x"].tolist() == [[1.5, 12.34], [2, 3]]
    assert [(b.row, b.code) for b in decoded.bad] == [(1, "deleted"), (2, "deleted")]
    assert json.loads(codec.to_json(inserted) or b"") == {"a": 1.5, "b": 12.34}


@pytest.fixture(scope="module")
def reading() -> tuple[FileDescriptorProto, FileDescriptorProto]:
    """`Outer` with `Outer.Inner` in it, and `Reading`, which uses a message of another file and a
    Timestamp."""
    kinds = FieldDescriptorProto
    size = FileDescriptorProto(name="size.proto", package="shop", syntax="proto3")
    made = size.message_type.add(name="Size")
    made.field.add(name="a", number=1, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_OPTIONAL)
    file = FileDescriptorProto(
        name="", package="shop", syntax="proto3",
        dependency=["size.proto", "google/protobuf/timestamp.proto"],
    )  # fmt: skip
    outer = file.message_type.add(name="Outer")
    inner = outer.nested_type.add(name="Inner")
    for number, name in enumerate("ab", 1):
        inner.field.add(name=name, number=number, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_OPTIONAL)
    record = file.message_type.add(name="Reading")
    one = {"label": kinds.LABEL_OPTIONAL, "type": kinds.TYPE_MESSAGE}
    record.field.add(name="size", number=1, type_name=".shop.Size", **one)
    record.field.add(name="b", number=2, type_name=".google.protobuf.Timestamp", **one)
    return file, size


def test_protobuf_messages_are_those_that_their_indexes_name(
    registry: SmallRegistry, reading: tuple[FileDescriptorProto, FileDescriptorProto], tmp_path: Path
) -> None:
    from google.protobuf import timestamp_pb2

    file, size = reading
    for name, proto in (("main", file), ("size", size)):
        registry.serialized[f"text of {name}"] = base64.b64encode(proto.SerializeToString()).decode()
    registry.schemas[30] = {
        "schema": "text of main",
        "schemaType": "PROTOBUF",
        "references": [{"name": "size.proto", "subject": "size", "version": 1}],
    }
    registry.subjects["size", 1] = {"schema": "text of size", "schemaType": "PROTOBUF"}
    pool = DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(size)
    named = FileDescriptorProto.FromString(file.SerializeToString())
    named.name = "main.proto"
    pool.Add(named)

    def message(name: str, **fields: Any) -> bytes:
        return GetMessageClass(pool.FindMessageTypeByName(name))(**fields).SerializeToString()

    head = struct.pack(">bI", 0, 30)
    inner = head + bytes([4, 0, 0]) + message("shop.Outer.Inner", a=1.5, b=2.5)  # [0, 0], two indexes
    record = head + bytes([2, 2]) + message("shop.Reading", size={"a": 4.0}, b={"seconds": 6})  # [1]
    first = head + bytes([0]) + message("shop.Outer")  # short for [0]
    codec = open_codec(spec(registry.url, "protobuf"))
    assert codec.decode([inner], X).columns["x"].tolist() == [[1.5, 2.5]]
    readings = (FieldReading("a", ("size", "a")),)
    assert codec.decode([record], X, readings).columns["x"].tolist() == [[4, 6000]]
    assert json.loads(codec.to_json(record) or b"") == {"size": {"a": 4.0}, "b": 6000}
    assert codec.to_json(first) == b"{}"
    bad = [head + bytes([2, 18]) + b"x", head + bytes([0x80]), head, head + bytes([1]), inner[:-1]]
    decoded = codec.decode([*bad, inner], X)
    assert decoded.count == 1
    assert [b.code for b in decoded.bad] == ["unparsable"] * 5
    assert "no message at index 9" in decoded.bad[0].reason
    everything = FileDescriptorSet(file=[size, named])
    everything.file.insert(0, FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb))
    (tmp_path / "own.desc").write_bytes(everything.SerializeToString())
    own = open_codec(
        spec(registry.url, "protobuf", message="shop.Outer.Inner", descriptor_set=str(tmp_path / "own.desc"))
    )
    assert own.decode([inner], X).columns["x"].tolist() == [[1.5, 2.5]]


def test_protobuf_schemas_that_refer_to_others_without_end_are_refused() -> None:
    found = RegisteredSchema("PROTOBUF", "")
    for n in range(3000):
        file = FileDescriptorProto(dependency=[f"{n}.proto"] if n else [])
        text = base64.b64encode(file.SerializeToString()).decode()
        found = RegisteredSchema("PROTOBUF", text, {f"{n}.proto": found})
    with pytest.raises(CodecError, match="schema 4 cannot be used: maximum recursion"):
        protobuf_parser(4, found, None)


def test_records_wait_for_a_registry_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    server = SmallRegistry()
    server.schemas[1] = {"schema": json.dumps(FIRST)}
    now, waits = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds
        if len(waits) == 12:
            server.start()

    asks = SchemaRegistry(RegistrySpec(server.url, wait_s=1000), lambda: now[0], sleep)
    with caplog.at_level(logging.WARNING):
        codec = make_codec(spec(server.url), asks.schema)
        decoded = codec.decode([avro(1, FIRST, {"a": 1.0, "b": 2.0})], X)
    server.stop()
    assert decoded.columns["x"].tolist() == [[1, 2]]
    assert waits == sorted(waits) and max(waits) == 5.0
    said = [record.message for record in caplog.records]
    assert "cannot be reached" in said[0] and "records wait" in said[0] and server.url[7:] in said[0]
    assert len(said) == 3 and said[-1].endswith("answers again; records go on")  # at 0 s, after 30 s, at last


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ((500, b"oops"), "answers HTTP 500"),
        ((401, b"no"), "check the user and the password"),
        ((404, b"<html>no such page</html>"), "check the url"),
        ((200, b"[]"), "check the url"),
        ((200, b"{}"), "no schema"),
        ((503, b" " * (9 << 20)), "more than"),
        ((200, b"[" * 100_000), "check the url"),
        ((200, b'{"schema":"{}","references":5}'), "no schema"),
        ((200, b'{"schema":"{}","references":[5]}'), "names no schema"),
        ((200, b'{"schema":"{}","references":[{"subject":"s","version":"last"}]}'), "names no schema"),
    ],
)
def test_a_registry_that_stays_away_ends_the_attempt(broken: tuple[int, bytes], said: str) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += max(seconds, 1e-3)

    with SmallRegistry() as server:
        server.broken = broken
        asks = SchemaRegistry(RegistrySpec(server.url, wait_s=3), lambda: now[0], sleep)
        with pytest.raises(SchemaRegistryError, match=said):
            make_codec(spec(server.url), asks.schema).decode([avro(1, FIRST, {"a": 1.0, "b": 2.0})], X)
        assert now[0] == pytest.approx(3, abs=0.1)
        server.broken = None
        server.schemas[1] = {"schema": json.dumps(FIRST)}
        assert asks.schema(1).type == "AVRO"


def test_an_answer_that_is_packed_is_not_unpacked() -> None:
    """A megabyte of zstd may be terabytes: nobody asked for any of it."""
    import zstandard

    packed = zstandard.ZstdCompressor().compress(bytes(1 << 30))
    with SmallRegistry() as server:
        server.headers, server.broken = {"Content-Encoding": "zstd"}, (200, packed)
        tracemalloc.start()
        with pytest.raises(SchemaRegistryError, match="packs its answers"):
            SchemaRegistry(RegistrySpec(server.url, wait_s=0)).schema(1)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 16 << 20


def test_a_schema_that_cannot_be_used_costs_its_own_records_only(registry: SmallRegistry) -> None:
    """Whoever may register a schema stopped the job: it waited for a registry that was there."""
    many = [{"name": f"r{n}", "subject": "other", "version": 1} for n in range(201)]
    registry.subjects["other", 1] = {"schema": json.dumps(FIRST)}
    registry.schemas[50] = {"schema": json.dumps(FIRST), "references": many}
    registry.schemas[51] = {"schema": json.dumps({**FIRST, "doc": "x" * (9 << 20)})}
    record = {"a": 1.0, "b": 2.0}
    codec = open_codec(spec(registry.url, wait_s=0))
    for number, said in ((50, "refers to more than 200 others"), (51, "has more than 8,388,608 bytes")):
        for _ in range(2):
            decoded = codec.decode([avro(number, FIRST, record), avro(1, FIRST, record)], X)
            assert decoded.count == 1 and decoded.bad[0].code == Code.UNPARSABLE
            assert f"id {number}" in decoded.bad[0].reason and said in decoded.bad[0].reason
    assert registry.asked.count("/schemas/ids/51") == 1


def test_an_id_beyond_those_of_registries_is_not_asked_for(registry: SmallRegistry) -> None:
    codec = open_codec(spec(registry.url, wait_s=0))
    decoded = codec.decode([avro(2**32 - 1, FIRST, {"a": 1.0, "b": 2.0})], X)
    assert decoded.bad[0].code == Code.UNKNOWN_SCHEMA and registry.asked == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (name, "import os\nos.mkdir(PLACE)")
        for name in ("grpc_tools/__init__.py", "google/__init__.py", "pkg_resources.py")
    ],
)
def test_what_a_schema_refers_to_is_no_program(tmp_path: Path, name: str, text: str) -> None:
    """It ran in the task manager: protoc was looked for where its files are."""
    place = tmp_path / "ran"
    imports = {name: text.replace("PLACE", repr(str(place)))}
    file = FileDescriptorProto.FromString(descriptor_of("syntax = 'proto3'; message M {}", imports))
    assert [message.name for message in file.message_type] == ["M"]
    assert not place.exists()


@pytest.mark.parametrize(
    "imports",
    [
        {"a" * 300: ""},
        {"a/" * 2000 + "b": ""},
        {"a": "", "a/b": ""},
        {"a/b": "", "a": ""},
        {"schema.proto/b": ""},
        {"a.proto": "\ud800"},
        {"../a": ""},
        {"/a": ""},
    ],
)
def test_names_and_texts_that_no_file_can_have_are_told(imports: dict[str, str]) -> None:
    """They ended the job, which came back to the same record."""
    with pytest.raises(SchemaRegistryError, match=r"cannot be written|no name of a file"):
        descriptor_of("syntax = 'proto3'; message M {}", imports)


def test_tls_and_a_password(tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    with SmallRegistry("job", "pass:wörd", certificate) as server:
        server.schemas[1] = {"schema": json.dumps(FIRST)}
        good = RegistrySpec(server.url, "job", "pass:wörd", str(certificate.file))
        assert SchemaRegistry(good).schema(1).text == json.dumps(FIRST)
        for wrong, said in (
            (RegistrySpec(server.url, "job", "other", str(certificate.file), wait_s=0), "password"),
            (RegistrySpec(server.url, "job", "pass:wörd", wait_s=0), "CERTIFICATE_VERIFY_FAILED"),
        ):
            with pytest.raises(SchemaRegistryError, match=said):
                SchemaRegistry(wrong).schema(1)
    assert "pass:w" not in repr(good)


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    for url in ("registry:8081", "http://user:secret@registry", "ftp://registry"):
        with pytest.raises(SettingsError, match="is an address such as"):
            open_codec(spec(url))
    with pytest.raises(SettingsError, match="certificates"):
        open_codec(spec("https://registry", ca_file=str(tmp_path / "none.pem")))
    with pytest.raises(CodecError, match="both message and descriptor_set"):
        open_codec(spec("https://registry", "protobuf", message="shop.Outer"))
    with pytest.raises(CodecError, match="both say what ids mean"):
        open_codec(CodecSpec("avro", registry_header=True, schema_registry=RegistrySpec("http://registry")))
    with pytest.raises(CodecError, match="unknown codec"):
        open_codec(spec("https://registry", "xml"))
