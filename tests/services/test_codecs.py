"""Records in protobuf and Avro, and several data types at once, by topic and by header."""

from __future__ import annotations

import io
import json
import struct
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastavro
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from devservices.kafka import KafkaBroker
from schemas.results.records import EventKind
from schemas.results.results import Scored
from tests import models
from tests.streams import Sent, Streams
from udfs.models.descriptor import build

NOW = time.time_ns() // 1_000_000
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Wine",
    "fields": [
        {"name": "name", "type": "string"},
        {"name": "x", "type": {"type": "array", "items": "double"}},
    ],
}
OLDER = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "gone", "type": "int"}]}
WEIGHTS = models.layers(5, (2, 3, 1))


def descriptor(folder: Path, data_type: str = "wine", version: int = 1) -> bytes:
    data = models.zipped(models.saved_model(folder / f"{data_type}-{version}", WEIGHTS))
    return build(data_type=data_type, model_type="TENSORFLOWSAVED", version=version, data=data)


def row(i: int) -> dict[str, Any]:
    return {"name": f"n{i}", "x": [i / 10, 1.0]}


def check(results: Sequence[Scored], count: int) -> None:
    assert sorted(r.record["name"] for r in results) == sorted(f"n{i}" for i in range(count))
    for r in results:
        assert r.record == row(int(r.record["name"][1:]))
        want = models.expected(WEIGHTS, models.np.asarray([r.record["x"]], "float32"))[0]
        models.np.testing.assert_allclose(r.scores["y"], want, rtol=1e-4, atol=1e-5)


def test_protobuf_and_data_types_by_topic_and_by_header(kafka: KafkaBroker, tmp_path: Path) -> None:
    file = FileDescriptorProto(name="wine.proto", package="test", syntax="proto3")
    message = file.message_type.add(name="Wine")
    kinds = FieldDescriptorProto
    message.field.add(name="name", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    message.field.add(name="x", number=2, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_REPEATED)
    (tmp_path / "wine.desc").write_bytes(FileDescriptorSet(file=[file]).SerializeToString())
    pool = DescriptorPool()
    pool.Add(file)
    made = GetMessageClass(pool.FindMessageTypeByName("test.Wine"))

    streams = Streams(kafka, records=("wine", *(f"type{n}" for n in range(6))))
    values = [made(**row(i)).SerializeToString() for i in range(300)]
    streams.send(Sent(v, partition=i % 4, timestamp=NOW) for i, v in enumerate([*values, b"\xff\xff"]))
    streams.publish(descriptor(tmp_path))
    sent = []
    for i in range(600):
        headers = (("kind", b"special"),) if i % 5 == 0 else ()
        value, topic = made(name=str(i), x=[1, 2]).SerializeToString(), f"type{i % 6}"
        sent.append(Sent(value, headers=headers, partition=i % 4, timestamp=NOW, topic=topic))
    streams.send(sent)
    served = {f"type{n}": n + 1 for n in range(5)} | {"special": 40}  # type5 has no model
    for data_type, version in served.items():
        data = models.zipped(models.constant_saved_model(tmp_path / data_type, version))
        streams.publish(build(data_type=data_type, model_type="TENSORFLOWSAVED", version=version, data=data))
    codec = {"kind": "protobuf", "message": "test.Wine", "descriptor_set": str(tmp_path / "wine.desc")}
    done = streams.run_bounded("serve.py", codec=json.dumps(codec), kafka__data_type_header="kind")
    assert done.returncode == 0, done.stderr[-3000:]

    found = streams.results()
    check([r for r in found if r.data_type == "wine"], 300)
    assert [letter.code for letter in streams.dead_letters()] == ["unparsable"]
    results = [r for r in found if r.data_type != "wine"]
    assert Counter(int(r.record["name"]) for r in results) == Counter(range(600))
    for r in results:
        i = int(r.record["name"])
        assert r.source == streams.topic(f"type{i % 6}")
        assert r.data_type == ("special" if i % 5 == 0 else f"type{i % 6}")
        if r.data_type == "type5":
            assert (r.outcome, r.model, r.scores) == ("no_model", "", {}) and r.reason
        else:
            assert (r.version, r.scores["y"]) == (served[r.data_type], served[r.data_type])
    events = [(e.kind, e.data_type, e.version) for e in streams.events()]
    wanted = {**served, "wine": 1}
    assert sorted(events) == sorted((EventKind.SERVED, t, v) for t, v in wanted.items())


def test_avro_with_the_header_of_a_registry(kafka: KafkaBroker, tmp_path: Path) -> None:
    def written(i: int) -> bytes:
        schema, number, record = (OLDER, 7, row(i) | {"gone": 1}) if i % 3 == 0 else (SCHEMA, 8, row(i))
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), record)
        return struct.pack(">bI", 0, number) + stream.getvalue()

    (tmp_path / "wine.avsc").write_text(json.dumps(SCHEMA))
    (tmp_path / "older.avsc").write_text(json.dumps(OLDER))
    streams = Streams(kafka)
    values = [*map(written, range(300)), struct.pack(">bI", 0, 9) + written(0)[5:], b"\x00"]
    streams.send(Sent(v, partition=i % 4, timestamp=NOW) for i, v in enumerate(values))
    streams.publish(descriptor(tmp_path))
    writers = {"7": str(tmp_path / "older.avsc"), "8": str(tmp_path / "wine.avsc")}
    done = streams.run_bounded(
        "serve_partitioned.py",
        codec=json.dumps(
            {
                "kind": "avro",
                "schema": str(tmp_path / "wine.avsc"),
                "registry_header": True,
                "writers": writers,
            }
        ),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    check(streams.results(), 300)
    assert [letter.code for letter in streams.dead_letters()] == ["unparsable"] * 2
