"""What reads bytes of strangers: a function each, which lets through nothing but what it documents.

An error that is not documented is a finding, and so is one input that takes seconds or gigabytes.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.errors import ArchiveError, DescriptorError, ModelError, PlanError, StateError

Target = Callable[[bytes], None]


def descriptor(data: bytes) -> None:
    """A message of the model stream, as the job reads it and as its log keeps it."""
    from udfs.models.descriptor import parse  # noqa: PLC0415
    from udfs.models.model_log import ModelLog  # noqa: PLC0415
    from udfs.models.stream_key import stream_key  # noqa: PLC0415

    with contextlib.suppress(ModelError, DescriptorError):
        published = parse(data)
        stream_key(published)
        log = ModelLog()
        log.accept(published, data)
        ModelLog.decode(log.encoded())


def archive(data: bytes) -> None:
    """A SavedModel in a zip or tar."""
    from udfs.models.runtimes.archive import unpack  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(ArchiveError):
        unpack(data, Path(folder), 1 << 20, 100)


def pmml(data: bytes) -> None:
    """A PMML document, compiled, and where that succeeds asked about one record."""
    import numpy as np  # noqa: PLC0415

    from udfs.models.runtimes.base import Artifact, WantedSignature  # noqa: PLC0415
    from udfs.models.runtimes.pmml.runtime import load  # noqa: PLC0415

    with contextlib.suppress(ModelError):
        runtime = load(Artifact(data, None, Path("/nonexistent")), WantedSignature())
        columns: dict[str, Any] = {}
        for one in runtime.inputs:
            columns[one.name] = np.empty(1, object)
            columns[one.name][0] = "1" if one.dtype.value == "text" else 1
            if one.shape:
                columns[one.name][0] = np.array(["1", "a"], object)
        runtime.predict(columns)
        runtime.close()


def graph(data: bytes) -> None:
    """A GraphDef, as far as TensorFlow itself is not asked."""
    from udfs.models.runtimes.tensorflow.graph_plain import make_plain  # noqa: PLC0415
    from udfs.models.runtimes.tensorflow.graph_safety import Served, check_graph, parsed  # noqa: PLC0415
    from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk  # noqa: PLC0415
    from udfs.models.runtimes.tensorflow.session import configured_tensorflow  # noqa: PLC0415

    made = configured_tensorflow().compat.v1.GraphDef()
    with contextlib.suppress(ModelError):
        parsed(made, data, "GraphDef")
        make_plain(made)
        walk = GraphWalk(made)
        reached = walk.reach([f"{node.name}:0" for node in made.node])
        check_graph(walk.pruned(reached), Served(reached))


def onnx(data: bytes) -> None:
    """An ONNX model, as far as ONNX Runtime itself is not asked."""
    from udfs.models.runtimes.base import WantedSignature  # noqa: PLC0415
    from udfs.models.runtimes.onnx.document import answers, categories, keep_only, parsed  # noqa: PLC0415
    from udfs.models.runtimes.onnx.guards import guard  # noqa: PLC0415
    from udfs.models.runtimes.onnx.outputs import chosen  # noqa: PLC0415
    from udfs.models.runtimes.onnx.safety import check  # noqa: PLC0415

    with contextlib.suppress(ModelError):
        model = parsed(data)
        keep_only(model, {c.answer.tensor for c in chosen(answers(model), WantedSignature())})
        check(model, len(data))
        categories(model)
        guard(model, {i.name for i in model.graph.input})


def plan(data: bytes) -> None:
    """A plan, and its rules over records."""
    from schemas.plans.plan import ByRule, read_plan, write_plan  # noqa: PLC0415
    from udfs.ensemble.cel.rules import CelRule  # noqa: PLC0415

    with contextlib.suppress(PlanError):
        found = read_plan(data)
        read_plan(write_plan(found))
        for rule in found.route.rules if isinstance(found.route, ByRule) else ():
            CelRule(rule.when).holds([{"a": 1, "t": "a" * 50}, {"l": [1, 2, 3]}])


def rule(data: bytes) -> None:
    """A rule of a plan, over records."""
    from udfs.ensemble.cel.rules import CelRule  # noqa: PLC0415

    with contextlib.suppress(PlanError):
        CelRule(data.decode(errors="replace")).holds([{"a": 1, "t": "a" * 50}, {"l": [1, 2, 3]}])


def json_record(data: bytes) -> None:
    """A record as JSON: decoded to inputs, and its result read back."""
    _decoded(_codec("json"), data)


def debezium_record(data: bytes) -> None:
    """A change event."""
    _decoded(_codec("debezium"), data)


def avro_record(data: bytes) -> None:
    """A record as Avro, with the header of a registry."""
    _decoded(_codec("avro"), data)


def protobuf_record(data: bytes) -> None:
    """A record as protobuf: a model's log, a message with repeated and nested fields."""
    _decoded(_codec("protobuf"), data)


def messages(data: bytes) -> None:
    """What jobs have written, read again: results, decisions, dead letters; and a micro-batch of state."""
    from millrace.replaying import NotWholeError, original_of  # noqa: PLC0415
    from schemas.micro_batch import decode_micro_batch  # noqa: PLC0415
    from schemas.results.decided import read_decided  # noqa: PLC0415
    from schemas.results.records import DeadLetter, ModelEvent, decode  # noqa: PLC0415
    from schemas.results.results import read_result  # noqa: PLC0415

    for read in (read_result, read_decided, functools.partial(decode, ModelEvent)):
        with contextlib.suppress(ValueError):
            read(data)
    with contextlib.suppress(ValueError, NotWholeError):
        original_of(decode(DeadLetter, data))
    with contextlib.suppress(StateError):
        decode_micro_batch(data)


TARGETS: dict[str, Target] = {
    "descriptor": descriptor,
    "archive": archive,
    "pmml": pmml,
    "graph": graph,
    "onnx": onnx,
    "plan": plan,
    "rule": rule,
    "json": json_record,
    "debezium": debezium_record,
    "avro": avro_record,
    "protobuf": protobuf_record,
    "messages": messages,
}


def _decoded(codec: Any, data: bytes) -> None:
    """A codec never raises for a record, and what it makes of one is written and read again."""
    from schemas.results.records import Outcome  # noqa: PLC0415
    from schemas.results.results import Identity, Stamp, read_result, write_results  # noqa: PLC0415

    neighbour = codec.encoded
    found = codec.decode([neighbour, data, neighbour], codec.inputs)
    good = found.count
    assert good + len(found.bad) == 3 and good >= 2, (good, found.bad)
    assert all(len(column) == good for column in found.columns.values())
    text = codec.to_json(data)
    if text is not None:
        stamp = Stamp("t", "m", 1, "0" * 16, Outcome.SCORED, 1.0)
        (line,) = write_results([text], stamp, Identity("s", [0], [1], [None]))
        read_result(line)


class _Known:
    """A codec with the inputs that are asked of it, and one good record."""

    def __init__(self, codec: Any, inputs: tuple[Any, ...], encoded: bytes) -> None:
        self.decode, self.to_json, self.inputs, self.encoded = codec.decode, codec.to_json, inputs, encoded


@functools.cache
def _codec(kind: str) -> _Known:
    from schemas.codecs.factory import CodecSpec, make_codec  # noqa: PLC0415
    from schemas.tensors import DType, Input  # noqa: PLC0415

    number, text = Input("a", DType.FLOAT64, (), ("a",)), Input("t", DType.TEXT, (), ("t",))
    vector = Input("x", DType.FLOAT32, (2,), ("x",))
    if kind == "json":
        good = b'{"a": 1, "t": "t", "x": [1, 2]}'
        return _Known(make_codec(CodecSpec()), (number, text, vector), good)
    if kind == "debezium":
        good = b'{"before": null, "after": {"a": 1, "t": "t", "x": [1, 2]}, "op": "c"}'
        return _Known(make_codec(CodecSpec("debezium")), (number, text, vector), good)
    if kind == "avro":
        import fastavro  # noqa: PLC0415

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "s.avsc")
            path.write_text(json.dumps(_SCHEMA))
            spec = CodecSpec("avro", schema=str(path), registry_header=True, writers={1: str(path)})
            codec = make_codec(spec)
        held = io.BytesIO()
        record = {"a": 1.0, "t": "t", "x": [1.0, 2.0], "money": b"\1"}
        fastavro.schemaless_writer(held, fastavro.parse_schema(_SCHEMA), record)
        return _Known(codec, (number, text, vector), b"\0\0\0\0\1" + held.getvalue())
    return _protobuf()


def _protobuf() -> _Known:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet  # noqa: PLC0415

    from schemas.codecs.factory import CodecSpec, make_codec  # noqa: PLC0415
    from schemas.model_pb2 import DESCRIPTOR, ModelDescriptor  # noqa: PLC0415
    from schemas.tensors import DType, Input  # noqa: PLC0415

    files = FileDescriptorSet()
    DESCRIPTOR.CopyToProto(files.file.add())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "d.pb")
        path.write_bytes(files.SerializeToString())
        name = ModelDescriptor.DESCRIPTOR.full_name
        codec = make_codec(CodecSpec("protobuf", descriptor_set=str(path), message=name))
    inputs = (Input("v", DType.FLOAT64, (), ("version",)), Input("t", DType.TEXT, (), ("dataType",)))
    return _Known(codec, inputs, ModelDescriptor(dataType="t", version=1).SerializeToString())


_SCHEMA = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "a", "type": ["null", "double"]},
        {"name": "t", "type": "string"},
        {"name": "x", "type": {"type": "array", "items": "float"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0},
        {
            "name": "money",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
            "default": "",
        },
        {"name": "more", "type": {"type": "map", "values": ["int", "string"]}, "default": {}},
    ],
}
