"""Tensors at which a kernel of ONNX Runtime ends the process: the call fails, and the process goes on."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

from schemas.errors import LoadError, PredictError
from schemas.onnx_model_pb2 import Model
from tests.onnx_models import constant, loaded, node, onnx_model, tensor
from udfs.models.runtimes.onnx.guards import guard

pytest.importorskip("onnx")

FLOAT, INT64, BFLOAT16 = 1, 7, 16
MEMORY = 8 << 30


def ones(name: str, *sides: int) -> Any:
    return constant(name, np.ones(sides))


def cut(name: str, axis: int, *sides: int) -> tuple[list[Any], list[Any]]:
    """`t`, of which a record says a side, up to `sides[axis]`."""
    weights = [ones("whole", *sides), constant("from", [0], "int64"), constant("axis", [axis], "int64")]
    return [node("Slice", ["whole", "from", "side", "axis"], [name])], weights


def of_rank(name: str) -> tuple[list[Any], list[Any]]:
    """`t`, a 1 of which a record says the rank."""
    shape = node("Expand", ["1", "side"], ["ones"])
    return [shape, node("Expand", ["1.0", "ones"], [name])], [constant("1", 1, "int64"), constant("1.0", 1)]


def recurrent(op: str, gates: int, axis: int) -> Any:
    nodes, weights = cut("t", axis, 2, 2, 1)
    cell = node(op, ["t", "w", "r"], ["h"], hidden_size=1)
    return [*nodes, cell], [*weights, ones("w", 1, gates, 1), ones("r", 1, gates, 1)]


def transposed(axis: int) -> Any:
    nodes, weights = cut("t", axis, 1, 1, 3, 4, 5)
    return [*nodes, node("ConvTranspose", ["t", "k"], ["h"])], [*weights, ones("k", 1, 2, 3, 3, 3)]


def unique() -> Any:
    nodes, weights = cut("t", 1, 3, 2)
    return [*nodes, node("Unique", ["t"], ["h"], axis=0)], weights


def counted(at: int) -> Any:
    """A scalar where a record has 1, and nothing where it has 0."""
    shape = [
        node("Sub", ["one", "side"], ["rank"]),
        node("Slice", ["zero", "zero", "rank", "zero"], ["shape"]),
    ]
    inputs = ["1.0", "1.0", "1.0"]
    inputs[at] = "t"
    narrow = [node("Cast", [name], [f"narrow {i}"], to=BFLOAT16) for i, name in enumerate(inputs)]
    found = [node("Range", [f"narrow {i}" for i in range(3)], ["b"]), node("Cast", ["b"], ["h"], to=FLOAT)]
    weights = [constant("1.0", 1), constant("zero", [0], "int64"), constant("one", [1], "int64")]
    return [*shape, node("Expand", ["1.0", "shape"], ["t"]), *narrow, *found], weights


def reversed_() -> Any:
    nodes, weights = of_rank("t")
    return [*nodes, node("ReverseSequence", ["t", "lengths"], ["h"], time_axis=0, batch_axis=1)], [
        *weights, constant("lengths", [1], "int64"),
    ]  # fmt: skip


def transformed() -> Any:
    nodes, weights = of_rank("t")
    return [*nodes, node("DFT", ["t"], ["h"], axis=1)], weights


def short_time(inputs: str, nodes: list[Any], weights: list[Any]) -> Any:
    length = [node("Squeeze", ["side", "first"], ["length"]), node("STFT", inputs.split(" "), ["h"])]
    more = [
        constant("first", [0], "int64"),
        constant("step", 2, "int64"),
        ones("signal", 1, 8, 1),
        ones("window", 1),
    ]
    return [*nodes, *length], [*weights, *more]


def attention(at: int) -> Any:
    nodes, weights = of_rank("t")
    inputs = ["q", "q", "q", "", "past", "past"]
    inputs[at] = "t"
    return [*nodes, node("Attention", inputs, ["h", "k", "v"])], [
        *weights,
        ones("q", 1, 1, 1, 1),
        ones("past", 1, 1, 1, 1),
    ]


def grid() -> Any:
    sizes = node("Concat", ["two", "side", "side"], ["sizes"], axis=0)
    return [sizes, node("AffineGrid", ["theta", "sizes"], ["h"])], [
        ones("theta", 1, 2, 3), constant("two", [1, 3], "int64"),
    ]  # fmt: skip


# what is made with a number of a record -> its opset, numbers at which the kernel ends the process (or takes
# memory beside all bounds), and those that are right
CASES: dict[str, tuple[Callable[[], Any], int, list[int], list[int]]] = {
    "GRU, steps": (partial(recurrent, "GRU", 3, 0), 11, [0], [1, 2]),
    "GRU, batch": (partial(recurrent, "GRU", 3, 1), 17, [0], [1, 2]),
    "LSTM, batch": (partial(recurrent, "LSTM", 4, 1), 17, [0], [1, 2]),
    "ConvTranspose, depth": (partial(transposed, 2), 17, [0], [1, 3]),
    "ConvTranspose, height": (partial(transposed, 3), 17, [0], [1, 4]),
    "Unique": (unique, 17, [0], [1, 2]),
    "Range, start": (partial(counted, 0), 27, [0], [1]),
    "Range, limit": (partial(counted, 1), 27, [0], [1]),
    "Range, delta": (partial(counted, 2), 27, [0], [1]),
    "ReverseSequence": (reversed_, 11, [0, 1], [2, 3]),
    "DFT": (transformed, 17, [0], [3]),
    "STFT, signal": (lambda: short_time("t step window", *of_rank("t")), 17, [0], [3]),
    "STFT, window": (lambda: short_time("signal step t", *cut("t", 0, 4)), 17, [0], [1, 4]),
    "STFT, length": (lambda: short_time("signal step  length", [], []), 17, [0], [1, 4]),
    "Attention, key": (partial(attention, 4), 23, [0], [4]),
    "Attention, value": (partial(attention, 5), 23, [0], [4]),
    "AffineGrid": (grid, 20, [5_000, 1 << 40], [1, 100]),
}


def made(name: str, change: Callable[[list[Any]], Any] = lambda nodes: (nodes, [])) -> Any:
    """A model that answers what a record holds, as long as the operator answers numbers."""
    operator, opset, *_ = CASES[name]
    nodes, weights = operator()
    nodes, functions = change(nodes)
    before = [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Cast", ["most"], ["whole number"], to=INT64),
        node("Reshape", ["whole number", "row"], ["side"]),
    ]
    after = [
        node("ReduceSum", ["h"], ["sum"], keepdims=0),
        node("Less", ["sum", "least"], ["never"]),
        node("Cast", ["never"], ["nothing"], to=FLOAT),
        node("Add", ["x", "nothing"], ["y"]),
    ]
    more = [constant("row", [1], "int64"), constant("least", -1e30)]
    inputs, outputs = [tensor("x", (None, 1))], [tensor("y", (None, 1))]
    model = onnx_model([*before, *nodes, *after], inputs, outputs, [*weights, *more], functions)
    model.opset_import[0].version = opset
    model.ir_version = 10
    return model


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def scored(model: bytes, numbers: list[int]) -> list[Any]:
    """What a model answers a record of each number, or the error."""
    runtime, answers = loaded(model), []
    for number in numbers:
        try:
            answers.append(runtime.predict({"x": np.array([[number]], np.float32)})["y"].item())
        except PredictError as e:
            answers.append(str(e))
    return answers


@pytest.fixture(scope="module")
def child() -> Iterator[ProcessPoolExecutor]:
    """A process that may end; it has failed the test then."""
    with ProcessPoolExecutor(1, get_context("spawn"), bounded) as pool:
        yield pool


@pytest.mark.parametrize("name", CASES)
def test_a_record_that_makes_such_a_tensor_fails_its_call(name: str, child: ProcessPoolExecutor) -> None:
    *_, wrong, right = CASES[name]
    answers = child.submit(scored, made(name).SerializeToString(), [*right, *wrong, *right]).result()
    failed = answers[len(right) : -len(right)]
    op = name.partition(",")[0]
    assert all(f"the model failed on the micro-batch: operator {op}: its input " in a for a in failed), failed
    assert answers[: len(right)] == answers[-len(right) :] == right


def inside(nodes: list[Any], answers: bool) -> Any:
    """The operator of `nodes` in a branch, or in a function that is called twice."""
    from onnx import helper

    cell = nodes.pop()
    if answers:
        opsets = [helper.make_opsetid("", 17)]
        function = helper.make_function("own", "Cell", list(cell.input), list(cell.output), [cell], opsets)
        calls = [helper.make_node("Cell", cell.input, [name], domain="own") for name in ("h", "again")]
        return [*nodes, *calls], [function]
    branches = {}
    for name, taken in (("then", cell), ("else", node("Identity", ["t"], ["h"]))):
        taken.output[0] = name
        graph = helper.make_graph([taken], name, [], [helper.make_tensor_value_info(name, FLOAT, None)])
        branches[f"{name}_branch"] = graph
    yes = node("Less", ["least", "most"], ["yes"])
    return [*nodes, yes, node("If", ["yes"], ["h"], **branches)], []


@pytest.mark.parametrize("function", [False, True])
def test_in_branches_and_functions(function: bool, child: ProcessPoolExecutor) -> None:
    model = made("GRU, batch", partial(inside, answers=function))
    answers = child.submit(scored, model.SerializeToString(), [1, 0, 2]).result()
    said = "the model failed on the micro-batch: operator GRU: its input 1 needs an element"
    assert answers == [1, said, 2]


def recurrence(*before: Any) -> Any:
    """`y` of `x` by a GRU, behind other operators."""
    nodes = [*before, node("GRU", ["t" if before else "x", "w", "r"], ["", "y"], hidden_size=1)]
    weights = [ones("w", 1, 3, 1), ones("r", 1, 3, 1)]
    return onnx_model(nodes, [tensor("x", (None, 2, 1))], [tensor("y", (1, None, 1))], weights)


@pytest.mark.parametrize(
    "before",
    [[], [node("Transpose", ["x"], ["a"], perm=[1, 0, 2]), node("Add", ["a", "w1"], ["t"])]],
)
def test_what_has_elements_wherever_a_record_has_is_not_guarded(before: list[Any]) -> None:
    model = recurrence(*before)
    model.graph.initializer.append(ones("w1", 1))
    read = Model.FromString(model.SerializeToString())
    assert guard(read, {"x"}) == (False, True)
    assert read.SerializeToString() == Model.FromString(model.SerializeToString()).SerializeToString()
    assert guard(read, set())[0]


def scored_of(model: bytes, columns: Any) -> Any:
    try:
        return {name: column.tolist() for name, column in loaded(model).predict(columns).items()}
    except (LoadError, PredictError) as e:
        return str(e)


def test_a_record_without_an_element_fails_its_call(child: ProcessPoolExecutor) -> None:
    model = recurrence(node("Transpose", ["x"], ["t"], perm=[1, 0, 2]))
    model.graph.node.append(node("Squeeze", ["y", "first"], ["flat"]))
    model.graph.initializer.append(constant("first", [0], "int64"))
    model.graph.output[0].CopyFrom(tensor("flat", (None, 1)))
    data = model.SerializeToString()
    (empty, whole) = (child.submit(scored_of, data, {"x": np.ones((2, n, 1), "f")}).result() for n in (0, 2))
    assert empty == "input 'x' has no element, which the model's operators do not take"
    assert np.shape(whole["flat"]) == (2, 1)


def test_other_models_are_served_as_they_are() -> None:
    model = Model.FromString(onnx_model([node("Neg", ["x"], ["y"])]).SerializeToString())
    assert guard(model, {"x"}) == (False, False)
