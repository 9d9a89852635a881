"""Checks at loading take time linear in a graph: counted are their steps, for graphs of twice the nodes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import udfs
from schemas.errors import LoadError
from udfs.models.runtimes.base import Artifact, PartialInput, WantedSignature
from udfs.models.runtimes.tensorflow import frozen_graph, graph_ranks
from udfs.models.runtimes.tensorflow.graph_files import FedTensors
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
OURS = str(Path(udfs.__path__[0]))
FEW = 30


def add(nodes: Any, name: str, op: str, inputs: Sequence[str] = (), **types: int) -> Any:
    node = nodes.add(name=name, op=op, input=inputs)
    for attr, dtype in types.items():
        node.attr[attr].type = dtype
    return node


def column(made: Any, name: str) -> str:
    shape = add(made.node, name, "Placeholder", dtype=1).attr["shape"].shape
    shape.dim.add(size=-1)
    shape.dim.add(size=1)
    return name


def function(made: Any, name: str, args: Sequence[str], returned: Sequence[str]) -> Any:
    found = made.library.function.add()
    found.signature.name = name
    for arg in args:
        found.signature.input_arg.add(name=arg, type=1)
    for n, result in enumerate(returned):
        found.signature.output_arg.add(name=f"r{n}", type=1)
        found.ret[f"r{n}"] = result
    return found.node_def


def called(made: Any, name: str, function: str, inputs: Sequence[str], results: int = 1) -> Any:
    node = add(made.node, name, "PartitionedCall", inputs)
    node.attr["Tin"].list.type.extend([1] * len(inputs))
    node.attr["Tout"].list.type.extend([1] * results)
    node.attr["f"].func.name = function
    return node


Names = tuple[Sequence[str], Sequence[str]]


def chain(made: Any, count: int) -> Names:
    last = column(made, "x")
    for n in range(count):
        last = add(made.node, f"n{n}", "AddV2", [last, "x"], T=1).name
    return ["x"], [last]


def sum_of_many(made: Any, count: int) -> Names:
    names = [column(made, f"x{n}") for n in range(count)]
    add(made.node, "y", "AddN", names, T=1).attr["N"].i = count
    return names, ["y"]


def fan(made: Any, count: int) -> Names:
    column(made, "x")
    return ["x"], [add(made.node, f"n{n}", "Relu", ["x"], T=1).name for n in range(count)]


def functions(made: Any, count: int) -> Names:
    last = column(made, "x")
    for n in range(count):
        add(function(made, f"f{n}", ["a"], ["r:activations:0"]), "r", "Relu", ["a"], T=1)
        last = called(made, f"c{n}", f"f{n}", [last]).name
    return ["x"], [last]


def arguments(made: Any, count: int) -> Names:
    names = [column(made, f"x{n}") for n in range(count)]
    add(function(made, "f", [f"a{n}" for n in range(count)], ["r:z:0"]), "r", "AddV2", ["a0", "a1"], T=1)
    called(made, "y", "f", names)
    return names, ["y"]


def inputs_behind_functions(made: Any, count: int) -> Names:
    """Of which none is a placeholder: each is cut off."""
    column(made, "x")
    for n in range(count):
        function(made, f"f{n}", ["a"], ["a"])
        add(made.node, f"c{n}", f"f{n}", ["x"])
    names = [f"c{n}" for n in range(count)]
    add(made.node, "y", "AddN", names, T=1).attr["N"].i = count
    return names, ["y"]


def inputs_of_one_function(made: Any, count: int) -> Names:
    column(made, "x")
    function(made, "f", ["a"], ["a"] * count)
    add(made.node, "c", "f", ["x"])
    names = [f"c:{n}" for n in range(count)]
    add(made.node, "y", "AddN", names, T=1).attr["N"].i = count
    return names, ["y"]


def outputs_that_are_the_input(made: Any, count: int) -> Names:
    column(made, "x")
    add(made.node, "y", "Relu", ["x"], T=1)
    return ["x"], ["y", *["x"] * count]


def split_by_one_row(made: Any, count: int) -> Names:
    """Into parts of which each count has a limit."""
    column(made, "x")
    rank = add(made.node, "rank", "Rank", ["x"], T=1).name
    add(made.node, "row", "Pack", [rank] * count, T=3).attr["N"].i = count
    for n in range(count):
        node = add(made.node, f"s{n}", "SplitV", ["x", "row", rank], T=1, Tlen=3)
        node.attr["num_split"].i = 8 + n
    return ["x"], [f"s{n}" for n in range(count)]


def loops_with_one_body(made: Any, count: int) -> Names:
    column(made, "x")
    args = [f"a{n}" for n in range(count)]
    function(made, "f", args, args)
    for n in range(count):
        node = add(made.node, f"w{n}", "StatelessWhile", ["x"])
        node.attr["cond"].func.name = node.attr["body"].func.name = "f"
    add(made.node, "y", "TensorListGetItem", ["x", "x", "x"], element_dtype=1)
    return ["x"], ["y"]


def counted(call: Callable[[], object]) -> int:
    """How many steps of Python the call takes in the modules that are ours."""
    found = 0

    def seen(frame: Any, event: str, _: Any) -> Any:
        nonlocal found
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        found += event == "opcode"
        return seen

    before = sys.gettrace()
    sys.settrace(seen)
    try:
        call()
    finally:
        sys.settrace(before)
    return found


def steps(kind: Callable[[Any, int], Names], count: int) -> int:
    made = tf.compat.v1.GraphDef()
    inputs, outputs = kind(made, count)
    given = [PartialInput(name, shape=(1,)) for name in inputs]
    wanted = WantedSignature(given, [(name, f"o{n}") for n, name in enumerate(outputs)])
    artifact = Artifact(made.SerializeToString(), None, Path())

    def load() -> None:
        with contextlib.suppress(LoadError):  # TensorFlow does not take some of them, after the checks
            frozen_graph.load(artifact, wanted).close()

    return counted(load)


def followed(count: int) -> int:
    """Steps until it is known what a function is given that a call names once, and many times beside that."""
    made = tf.compat.v1.GraphDef()
    column(made, "x")
    function(made, "f", [f"a{n}" for n in range(count)], ["a0"])
    others = called(made, "y", "f", ["x"] * count).attr["others"].list
    for _ in range(count):
        others.func.add(name="f")
    walk = GraphWalk(made)
    return counted(lambda: FedTensors(walk, walk.reach(["y"]), ["f"], ["x"]))


@pytest.mark.parametrize(
    "kind",
    [
        chain,
        sum_of_many,
        fan,
        functions,
        arguments,
        inputs_behind_functions,
        inputs_of_one_function,
        outputs_that_are_the_input,
        split_by_one_row,
        loops_with_one_body,
    ],
)
def test_twice_the_nodes_cost_twice_the_steps(kind: Callable[[Any, int], Names]) -> None:
    steps(kind, 2)  # what is looked up once
    few, more, most = (steps(kind, FEW * n) for n in (1, 2, 4))
    assert 0 < most - more < 2.2 * (more - few)


def test_a_function_that_a_call_names_many_times() -> None:
    followed(2)
    few, more, most = (followed(FEW * n) for n in (1, 2, 4))
    assert 0 < most - more < 2.2 * (more - few)


def test_no_tensor_has_more_sides_than_tensorflow_takes() -> None:
    """Else each copy of one keeps them all, of which a file may say millions."""
    made = tf.compat.v1.GraphDef()
    shape = add(made.node, "x", "Placeholder", dtype=1).attr["shape"].shape
    constant = add(made.node, "c", "Const").attr["value"].tensor.tensor_shape
    known = graph_ranks._KnownShapes({node.name: node for node in made.node})
    for _ in range(255):
        shape.dim.add(size=1)
        constant.dim.add(size=1)
    assert (known.shape("x"), known.shape("c")) == (None, None)


def test_outputs_that_are_the_same_input() -> None:
    made = tf.compat.v1.GraphDef()
    column(made, "x")
    add(made.node, "y", "Neg", ["x"], T=1)
    wanted = WantedSignature([PartialInput("x")], [("x", "a"), ("y", "b"), ("x", "c"), ("y", "d")])
    runtime = frozen_graph.load(Artifact(made.SerializeToString(), None, Path()), wanted)
    try:
        found = runtime.predict({"x": np.array([1.0, 2.0], np.float32)})
    finally:
        runtime.close()
    assert [np.ravel(v).tolist() for v in found.values()] == [[1, 2], [-1, -2], [1, 2], [-1, -2]]
