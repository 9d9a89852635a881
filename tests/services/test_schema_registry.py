"""A real schema registry, and jobs whose records name their schemas."""

from __future__ import annotations

import io
import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from devservices.kafka import KafkaBroker
from devservices.process import ROOT, Process
from devservices.schema_registry import LocalSchemaRegistry
from schemas.codecs.factory import CodecSpec, RegistrySpec
from schemas.codecs.field_reading import FieldReading
from schemas.tensors import DType, Input
from tests import models
from tests.small_registry import SmallRegistry
from tests.streams import Sent, Streams
from udfs.io.record_codecs import open_codec
from udfs.models.descriptor import build

X = (Input("x", DType.FLOAT64, (2,), ("a", "b")),)
FIRST: dict[str, Any] = {
    "type": "record",
    "name": "Wine",
    "fields": [{"name": "n", "type": "string"}, {"name": "x", "type": {"type": "array", "items": "double"}}],
}
SECOND = {
    **FIRST,
    "fields": [{"name": "grape", "type": ["null", "string"], "default": None}, *FIRST["fields"]],
}


def avro(number: int, schema: dict, record: dict) -> bytes:
    stream = io.BytesIO(struct.pack(">bI", 0, number))
    stream.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
    return stream.getvalue()


@pytest.fixture(scope="module")
def registry() -> Iterator[LocalSchemaRegistry]:
    with LocalSchemaRegistry() as server:
        yield server


def test_a_real_registry_in_each_format(registry: LocalSchemaRegistry) -> None:
    size = {
        "type": "record",
        "name": "Size",
        "namespace": "shop",
        "fields": [{"name": "a", "type": "double"}],
    }
    order = {
        "type": "record", "name": "Order", "namespace": "shop",
        "fields": [{"name": "size", "type": "shop.Size"}, {"name": "b", "type": "double"}],
    }  # fmt: skip
    registry.register("size", {"schema": json.dumps(size)})
    reference = {"name": "shop.Size", "subject": "size", "version": 1}
    number = registry.register("order", {"schema": json.dumps(order), "references": [reference]})
    codec = open_codec(CodecSpec("avro", schema_registry=RegistrySpec(registry.url)))
    stream = io.BytesIO()
    named: dict[str, Any] = {}
    fastavro.parse_schema(size, named)
    fastavro.schemaless_writer(stream, fastavro.parse_schema(order, named), {"size": {"a": 1.5}, "b": 2.0})
    nested = (FieldReading("a", ("size", "a")),)
    head = struct.pack(">bI", 0, number)
    decoded = codec.decode([head + stream.getvalue(), struct.pack(">bI", 0, 4711) + b"\0"], X, nested)
    assert decoded.columns["x"].tolist() == [[1.5, 2]]
    assert [b.code for b in decoded.bad] == ["unknown_schema"]

    text = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'
    number = registry.register("plain", {"schema": text, "schemaType": "JSON"})
    codec = open_codec(CodecSpec("json", schema_registry=RegistrySpec(registry.url)))
    payload = struct.pack(">bI", 0, number) + b'{"a": 3, "b": 4}'
    assert codec.decode([payload], X).columns["x"].tolist() == [[3, 4]]

    text = 'syntax = "proto3"; package shop; message Size { double a = 1; }'
    registry.register("size-proto", {"schema": text, "schemaType": "PROTOBUF"})
    text = (
        'syntax = "proto3"; package shop; import "size.proto"; import "google/protobuf/timestamp.proto";'
        "message Other {} message Order { Size size = 1; google.protobuf.Timestamp b = 2; }"
    )
    reference = {"name": "size.proto", "subject": "size-proto", "version": 1}
    schema = {"schema": text, "schemaType": "PROTOBUF", "references": [reference]}
    number = registry.register("order-proto", schema)
    codec = open_codec(CodecSpec("protobuf", schema_registry=RegistrySpec(registry.url)))
    body = b"\x0a\x09\x09" + struct.pack("<d", 5.5) + b"\x12\x02\x08\x06"  # size {a: 5.5}, b {seconds: 6}
    payload = struct.pack(">bI", 0, number) + bytes([2, 2]) + body  # the message at [1]
    assert codec.decode([payload], X, nested).columns["x"].tolist() == [[5.5, 6000]]


def test_a_job_waits_for_its_registry_and_takes_a_new_schema(kafka: KafkaBroker, tmp_path: Path) -> None:
    weights = models.layers(5, (2, 3, 1))
    server = SmallRegistry()
    server.schemas[1] = {"schema": json.dumps(FIRST)}
    streams = Streams(kafka)
    now = time.time_ns() // 1_000_000

    def send(number: int, schema: dict, names: range) -> None:
        records = ({"n": f"n{i}", "x": [i / 10, 1.0]} for i in names)
        streams.send(
            Sent(avro(number, schema, r), partition=i % 4, timestamp=now) for i, r in enumerate(records)
        )

    send(1, FIRST, range(200))
    data = models.zipped(models.saved_model(tmp_path / "wine", weights))
    streams.publish(build(data_type="wine", model_type="TENSORFLOWSAVED", version=1, data=data))
    codec = {"kind": "avro", "schema_registry": {"url": server.url}}
    command = [sys.executable, ROOT / "jobs" / "serve.py"]
    arguments = streams.arguments(codec=json.dumps(codec))
    job = Process("serve.py", [*command, *arguments], tmp_path / "job.out", {"FLINK_LOG_DIR": str(tmp_path)})

    def log() -> str:
        return "\n".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log")) + job.tail(
            10_000
        )

    try:
        job.wait_ready(lambda: f"schema registry {server.url[7:]}" in log(), 240)
        assert streams.count("results") == streams.count("dead-letters") == 0
        server.start()
        job.wait_ready(lambda: streams.count("results") >= 200, 120)
        server.schemas[2] = {"schema": json.dumps(SECOND)}
        send(2, SECOND, range(200, 300))
        streams.send([Sent(avro(9, FIRST, {"n": "", "x": []}), timestamp=now)])
        job.wait_ready(lambda: streams.count("results") + streams.count("dead-letters") >= 301, 120)
    finally:
        job.stop(5)
        server.stop()
    results = streams.results()
    assert sorted(r.record["n"] for r in results) == sorted(f"n{i}" for i in range(300))
    for r in results:
        want = models.expected(weights, models.np.asarray([r.record["x"]], "float32"))[0]
        models.np.testing.assert_allclose(r.scores["y"], want, rtol=1e-4, atol=1e-5)
    assert [letter.code for letter in streams.dead_letters()] == ["unknown_schema"]
