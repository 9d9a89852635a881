"""Small ONNX models, made on the spot, for tests that need real ones or bad ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.base import Artifact, PartialInput, WantedSignature
from udfs.models.runtimes.onnx.runtime import OnnxRuntime, load

Shape = Sequence[int | str | None] | None


def tensor(name: str, shape: Shape = (None, 2), dtype: str = "float32") -> Any:
    """An input or output as a graph declares it."""
    from onnx import TensorProto, helper

    number = TensorProto.STRING if dtype == "str" else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, number, shape)


def constant(name: str, values: Any, dtype: str = "float32") -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array(values, object if dtype == "str" else dtype), name)


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], ml: bool = False, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(op, inputs, outputs, domain="ai.onnx.ml" if ml else "", **attributes)


def onnx_model(
    nodes: Sequence[Any],
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    weights: Sequence[Any] = (),
    functions: Sequence[Any] = (),
) -> Any:
    """A ModelProto; by default `x` of `(n, 2)` to `y` of `(n, 2)`."""
    from onnx import helper

    graph = helper.make_graph(nodes, "g", inputs or [tensor("x")], outputs or [tensor("y")], list(weights))
    domains = {"": 17, "ai.onnx.ml": 3} | {f.domain: 1 for f in functions}
    opsets = [helper.make_opsetid(name, version) for name, version in domains.items()]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)


def dense(weights: NDArray, name: str = "x") -> bytes:
    """`name` of `(n, k)` to `y` of `(n, m)` = x @ weights."""
    inputs, outputs = [tensor(name, (None, weights.shape[0]))], [tensor("y", (None, weights.shape[1]))]
    made = onnx_model([node("MatMul", [name, "w"], ["y"])], inputs, outputs, [constant("w", weights)])
    return made.SerializeToString()


def loaded(model: Any, *inputs: PartialInput, fields: Sequence[str] = (), **more: Any) -> OnnxRuntime:
    data = model if isinstance(model, bytes) else model.SerializeToString()
    asked = WantedSignature(inputs, more.pop("outputs", ()), fields, deadline_ms=more.pop("deadline_ms", 0))
    return load(Artifact(data, None, Path("/nowhere")), asked, **more)
