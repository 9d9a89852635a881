"""What an output is made of: an input that is taken for idle is zeros in place of the record's value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.tensorflow import frozen_graph
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
FLOAT = tf.float32.as_datatype_enum


def function_of_two(graph_def: Any, name: str, results: dict[str, str]) -> Any:
    """A function of a and b, both float. `results`: name -> what it is in the function."""
    function = graph_def.library.function.add()
    function.signature.name = name
    for argument in ("a", "b"):
        function.signature.input_arg.add(name=argument, type=FLOAT)
    for result, tensor in results.items():
        function.signature.output_arg.add(name=result, type=FLOAT)
        function.ret[result] = tensor
    return function


def copy(nodes: Any, name: str, of: str) -> Any:
    node = nodes.add(name=name, op="Identity", input=[of])
    node.attr["T"].type = FLOAT
    return node


def test_a_result_that_is_called_output_is_not_taken_for_the_first() -> None:
    """Functions of TensorFlow 1 are called by their own names, and their results as the tensors in them."""
    graph_def = tf.compat.v1.GraphDef()
    graph_def.versions.producer = tf.version.GRAPH_DEF_VERSION
    pair = function_of_two(graph_def, "pair", {"first": "i:output:0", "output": "j:output:0"})
    copy(pair.node_def, "i", "a")
    copy(pair.node_def, "j", "b")
    outer = function_of_two(graph_def, "outer", {"o": "p:output:0"})
    outer.node_def.add(name="p", op="pair", input=["a", "b"])
    for name in ("a", "b"):
        node = graph_def.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = FLOAT
        node.attr["shape"].shape.dim.add(size=-1)
    call = graph_def.node.add(name="call", op="PartitionedCall", input=["a", "b"])
    call.attr["f"].func.name = "outer"
    call.attr["Tin"].list.type.extend([FLOAT, FLOAT])
    call.attr["Tout"].list.type.append(FLOAT)
    copy(graph_def.node, "y", "call")
    artifact = Artifact(graph_def.SerializeToString(), None, Path("/nonexistent"))
    runtime = frozen_graph.load(artifact, WantedSignature())
    columns = {"a": np.array([1.0, 2.0], "float32"), "b": np.array([3.0, 4.0], "float32")}
    assert [i.name for i in runtime.inputs] == ["a", "b"]
    assert runtime.predict(columns)["y"].tolist() == [3, 4]
    runtime.close()
