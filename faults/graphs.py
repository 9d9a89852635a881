"""TensorFlow graphs that end a process, hang it, fill it, or read what others left in it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from faults.inputs import TRIGGER, Hostile, model
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

_CALL = "PartitionedCall"


def hostile(folder: Path) -> Iterator[Hostile]:
    """Each as a frozen graph of `x` (n, 2) to `y`, but for those that are SavedModels."""
    tf = configured_tensorflow()
    for op in (_CALL, "StatefulPartitionedCall", "f"):
        yield model(f"recursion by {op}", _calling({"f": [(op, "f")]}))
    yield model("recursion in a circle", _calling({"f": [(_CALL, "g")], "g": [(_CALL, "f")]}))
    yield model("recursion in a branch", _branching())
    yield model("calls nested deep", _calling(_chain(3000, 1)))
    yield model("calls that multiply", _calling(_chain(40, 2)))
    yield model("constant that fills memory", _constant_bomb())
    yield model("loop that never ends", _looping(-1e9))
    yield model("loop that never ends later", _looping(TRIGGER))
    yield replace(model("memory that grows later", _growing()), kernels=True)
    yield model("fills memory at once", frozen(lambda x: tf.reduce_sum(tf.fill([1 << 31], 1.0)) + x[:, 0]))
    yield model(
        "memory nobody wrote",
        frozen(lambda x: x[:, 0] + tf.raw_ops.Empty(shape=tf.shape(x)[:1], dtype=tf.float32, init=False)),
    )
    yield model("reads a file", frozen(lambda x: tf.strings.to_number(tf.io.read_file("/etc/hostname"))))
    yield model("chain of identities", frozen(_long_chain))
    yield model("not finite", frozen(lambda x: x[:, 0] / 0.0))
    good = frozen(lambda x: x[:, 0])
    yield model("cut", good[:-7])
    yield model("empty library entry", good + b"\x12\x02\x0a\x00")
    noise = random.Random(14)
    for n in range(3):
        flipped = bytearray(good)
        for _ in range(8):
            flipped[noise.randrange(len(flipped))] = noise.randrange(256)
        yield model(f"flipped bytes {n}", bytes(flipped))
    yield model("noise", noise.randbytes(100_000))
    yield from _saved(folder)


def frozen(build: Callable[[Any], Any]) -> bytes:
    tf = configured_tensorflow()
    made = tf.Graph()
    with made.as_default():
        tf.identity(build(tf.compat.v1.placeholder(tf.float32, (None, 2), name="x")), name="y")
    return bytes(made.as_graph_def().SerializeToString())


def _long_chain(x: Any) -> Any:
    tf = configured_tensorflow()
    for _ in range(3000):
        x = tf.identity(x)
    return x[:, 0]


def _looping(at: float) -> bytes:
    """The sum of `x`; where an `x` is at least `at`, it never comes."""
    tf = configured_tensorflow()

    def build(x: Any) -> Any:
        stays = tf.reduce_any(x >= at)
        begin = (tf.constant(0), tf.reduce_sum(x, 1))
        return tf.while_loop(lambda i, y: tf.logical_or(i < 1, stays), lambda i, y: (i + 1, y), begin)[1]

    return frozen(build)


def _growing() -> bytes:
    """Where an `x` is TRIGGER, 24 GB are asked for."""
    tf = configured_tensorflow()

    def build(x: Any) -> Any:
        count = tf.where(tf.reduce_any(x >= TRIGGER), 6_000_000_000, 1)
        return x[:, 0] + 0.0 * tf.reduce_sum(tf.fill(tf.reshape(tf.cast(count, tf.int64), [1]), 1.0))

    return frozen(build)


def _constant_bomb() -> bytes:
    tf = configured_tensorflow()
    made = tf.compat.v1.GraphDef.FromString(frozen(lambda x: x[:, 0] + 1.0))
    one = next(n for n in made.node if n.op == "Const" and n.attr["value"].tensor.float_val)
    one.attr["value"].tensor.tensor_shape.dim.add(size=5_000_000_000)
    return bytes(made.SerializeToString())


def _chain(length: int, width: int) -> dict[str, list[tuple[str, str]]]:
    calls = {"f" if not n else f"f{n}": [(_CALL, f"f{n + 1}")] * width for n in range(length)}
    return calls | {f"f{length}": []}


def _calling(functions: dict[str, list[tuple[str, str]]]) -> bytes:
    """x -> f -> y. Each function calls others, one after another: (operator, callee)."""
    tf = configured_tensorflow()
    number = tf.float32.as_datatype_enum
    made = tf.compat.v1.GraphDef.FromString(frozen(lambda x: x))

    def call(op: str, callee: str, nodes: Any, name: str, of: str) -> str:
        node = nodes.add(name=name, op=op, input=[of])
        if op != callee:
            node.attr["f"].func.name = callee
            node.attr["Tin"].list.type.append(number)
            node.attr["Tout"].list.type.append(number)
        return f"{name}:{'o' if op == callee else 'output'}:0"

    for name, calls in functions.items():
        function = made.library.function.add()
        function.signature.name = name
        function.signature.input_arg.add(name="a", type=number)
        function.signature.output_arg.add(name="o", type=number)
        last = "a"
        for n, (op, callee) in enumerate(calls):
            last = call(op, callee, function.node_def, f"c{n}", last)
        if last == "a":
            function.node_def.add(name="i", op="Identity", input=["a"]).attr["T"].type = number
            last = "i:output:0"
        function.ret["o"] = last
    call(_CALL, "f", made.node, "call", "x")
    next(n for n in made.node if n.name == "y").input[0] = "call"
    return bytes(made.SerializeToString())


def _branching() -> bytes:
    tf = configured_tensorflow()
    made = tf.compat.v1.GraphDef.FromString(_calling({"f": []}))
    branch = made.library.function[0].node_def.add(name="b", op="If", input=["a", "a"])
    branch.attr["then_branch"].func.name = branch.attr["else_branch"].func.name = "f"
    made.library.function[0].ret["o"] = "b:output:0"
    return bytes(made.SerializeToString())


def _saved(folder: Path) -> Iterator[Hostile]:
    """SavedModels whose restoring is what hurts."""
    import io  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415

    made = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta = made.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    for n in range(30):  # each is called twice by the next: checks must not follow each call
        function = meta.graph_def.library.function.add()
        function.signature.name = f"f{n}"
        function.signature.input_arg.add(name="a", type=7)
        for k in range(2 if n else 0):
            node = function.node_def.add(name=f"c{k}", op="StatefulPartitionedCall", input=["a"])
            node.attr["Tin"].list.type.append(7)
            node.attr["f"].func.name = f"f{n - 1}"
        if not n:
            function.node_def.add(name="r", op="RestoreV2", input=["a", "a", "a"])
    graph = meta.graph_def
    graph.node.add(name="fn", op="Placeholder").attr["dtype"].type = 7
    restore = graph.node.add(name="restore", op="StatefulPartitionedCall", input=["fn"])
    restore.attr["Tin"].list.type.append(7)
    restore.attr["f"].func.name = "f29"
    meta.saver_def.restore_op_name, meta.saver_def.filename_tensor_name = "restore", "fn:0"
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    graph.node.add(name="y", op="Identity", input=["x"]).attr["T"].type = 1
    signature = meta.signature_def["serving_default"]
    signature.inputs["x"].name, signature.outputs["y"].name = "x:0", "y:0"
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("saved_model.pb", made.SerializeToString())
        archive.writestr("variables/variables.index", b"")
    yield model("restoring that multiplies", held.getvalue(), "TENSORFLOWSAVED")
