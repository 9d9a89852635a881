"""ONNX models that hang, fill memory, or name files beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from faults.inputs import TRIGGER, Hostile, model


def hostile() -> Iterator[Hostile]:
    """Made with the package onnx, which the development environment has."""
    from onnx import helper, numpy_helper  # noqa: PLC0415

    def named(name: str, data: bytes) -> Hostile:
        return model(name, data, "ONNX")

    node, constant = helper.make_node, numpy_helper.from_array
    identity = _model([node("Identity", ["x"], ["y"])])
    yield named("onnx cut", identity.SerializeToString()[:-9])
    yield named("onnx without a graph", b"\x08\x08")
    outside = _model([node("Add", ["x", "w"], ["y"])], [constant(np.ones(2, "float32"), "w")])
    weight = outside.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = 1
    weight.external_data.add(key="location", value="../../../../etc/passwd")
    yield named("onnx weights of a file", outside.SerializeToString())
    large = [node("ConstantOfShape", ["s"], ["c"]), node("ReduceSum", ["c"], ["t"], keepdims=0)]
    huge = _model([*large, node("Add", ["x", "t"], ["y"])], [constant(np.array([1 << 33]), "s")])
    yield named("onnx that fills memory", huge.SerializeToString())
    yield named("onnx of an unknown operator", _model([node("NoSuchOne", ["x"], ["y"])]).SerializeToString())
    yield named("onnx loop that never ends later", _loop().SerializeToString())


def _model(nodes: Sequence[Any], weights: Sequence[Any] = ()) -> Any:
    """`x` of (n, 2) to `y` of (n, 2)."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 2)) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _loop() -> Any:
    """Goes on while an `x` is at least TRIGGER, which does not change."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    node, info = helper.make_node, helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["go"], ["go_on"]), node("Identity", ["v"], ["v_on"])],
        "body",
        [
            info("i", TensorProto.INT64, ()),
            info("go", TensorProto.BOOL, ()),
            info("v", TensorProto.FLOAT, ("n", 2)),
        ],
        [info("go_on", TensorProto.BOOL, ()), info("v_on", TensorProto.FLOAT, ("n", 2))],
    )
    return _model(
        [
            node("ReduceMax", ["x"], ["most"], keepdims=0),
            node("GreaterOrEqual", ["most", "limit"], ["stays"]),
            node("Loop", ["", "stays", "x"], ["y"], body=body),
        ],
        [numpy_helper.from_array(np.array(TRIGGER, "float32"), "limit")],
    )
