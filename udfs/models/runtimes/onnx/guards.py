"""Tensors at which a kernel of ONNX Runtime ends the process: the call fails before the kernel sees them.

A guard stands in front of the operator, made of operators: a number that must not be 0 is divided by itself,
which ONNX Runtime refuses for 0. The quotient, 1, multiplies the shape that the tensor is given anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count
from typing import Any

from schemas.onnx_model_pb2 import Attribute, Graph, Model, Node
from udfs.models.runtimes.onnx.document import FLOAT, INT64, ONNX, graphs_in

GUARD = "millrace guard: "
_CELLS = 1 << 24
_ELEMENT, _NUMBER = "needs an element", "must not be 0"
_RANK, _SIZES = "needs a higher rank", f"asks for more than {_CELLS:,} points"
_NEEDS: dict[str, tuple[tuple[int, str, int], ...]] = {
    "AffineGrid": ((1, _SIZES, _CELLS),),
    "Attention": ((4, _RANK, 4), (5, _RANK, 4)),
    "ConvTranspose": ((0, _ELEMENT, 0),),
    "DFT": ((0, _RANK, 1),),
    "GRU": ((0, _ELEMENT, 0),),
    "LSTM": ((0, _ELEMENT, 0),),
    "Range": ((0, _ELEMENT, 0), (1, _ELEMENT, 0), (2, _ELEMENT, 0)),
    "ReverseSequence": ((0, _RANK, 2),),
    "STFT": ((0, _RANK, 1), (2, _RANK, 1), (2, _ELEMENT, 0), (3, _NUMBER, 0)),
    "Unique": ((0, _ELEMENT, 0),),
}
"""Operator -> what it needs of its inputs: which one, the need, and the rank or size in question.

All operators of ONNX Runtime 1.32 were called with sides and numbers of 0 and with other ranks. AffineGrid
takes memory beside the bound of the session, some 40 bytes a point.
"""
_KEEPERS = frozenset(
    {"Add", "BatchNormalization", "Cast", "Concat", "Div", "Dropout", "Elu", "Flatten", "Gather", "Gemm"}
    | {"Identity", "LayerNormalization", "LeakyRelu", "MatMul", "Mul", "Relu", "Sigmoid", "Softmax", "Sub"}
    | {"Tanh", "Transpose"}
)
"""What answers with elements where all that it reads has some."""
_OF_THE_FIRST = frozenset({"GRU", "LSTM", "RNN", "Reshape", "Squeeze", "Unsqueeze"})
"""What does so where its first input has some, and fails for others that do not fit."""


def guard(model: Model, records: Collection[str]) -> tuple[bool, bool]:
    """Put guards into a model whose inputs `records` are filled by records.

    Says whether there are some now, and whether `records` must be looked at by who calls the model: a tensor
    that has elements wherever these have is not guarded.
    """
    guards = _Guards()
    guards.put(model.graph.node, _filled(model.graph, records))
    for function in model.functions:
        guards.put(function.node)
    return guards.added, guards.looks


def _filled(graph: Graph, records: Collection[str]) -> frozenset[str]:
    """The tensors that surely have elements where `records` have."""
    filled = {*records, *(t.name for t in graph.initializer if 0 not in t.dims)}
    for node in graph.node:
        if node.domain not in ONNX:
            continue
        constant = any(a.HasField("t") and 0 not in a.t.dims for a in node.attribute)
        first = node.op_type in _OF_THE_FIRST
        reads = node.input[:1] if first else node.input
        keeps = (first or node.op_type in _KEEPERS) and all(name in filled for name in reads if name)
        if keeps or (constant and node.op_type == "Constant"):
            filled.update(node.output)
    return frozenset(filled)


class _Guards:
    def __init__(self) -> None:
        self.added = self.looks = False
        self._names = map("millrace guarded {}".format, count())

    def put(self, nodes: Any, filled: frozenset[str] = frozenset()) -> None:
        """`filled`: tensors that need none for their elements."""
        at = 0
        for node in list(nodes):
            for inner in graphs_in(node):
                self.put(inner.node)  # the names in it may be others
            for new in self._before(node, filled):
                nodes.insert(at, new)
                at += 1
            at += 1

    def _before(self, node: Node, filled: frozenset[str]) -> Iterator[Node]:
        flat = node.op_type == "Unique" and all(a.name != "axis" for a in node.attribute)
        if node.domain not in ONNX or flat:
            return
        for at, need, least in _NEEDS.get(node.op_type, ()):
            tensor = node.input[at] if at < len(node.input) else ""
            if need == _ELEMENT and tensor in filled:
                self.looks = True
            elif tensor:
                self.added = True
                made = self._guard(tensor, need, least)
                for one in made:
                    one.name = f"{one.output[0]}, {GUARD}{node.op_type}: its input {at + 1} {need}"
                node.input[at] = made[-1].output[0]
                yield from made

    def _guard(self, tensor: str, need: str, least: int) -> list[Node]:
        made: list[Node] = []

        def add(op_type: str, *inputs: str, **attributes: int) -> str:
            made.append(Node(op_type=op_type, input=inputs, output=[next(self._names)]))
            for name, i in attributes.items():
                made[-1].attribute.add(name=name, i=i, type=Attribute.INT)
            return made[-1].output[0]

        shape = add("Shape", tensor)
        if need == _ELEMENT:
            number = add("ReduceProd", shape, keepdims=0)  # Size does not take every type
        elif need == _NUMBER:
            number = add("Cast", tensor, to=INT64)
        elif need == _RANK:  # rank * (rank - 1) ..., which is 0 for each rank below the least
            number = rank = add("Size", shape)
            one = add("Div", rank, rank)
            for _ in range(least - 1):
                rank = add("Sub", rank, one)
                number = add("Mul", number, rank)
        else:  # all sides without those of batch and channels, as float, which does not overflow
            sides = add("Cast", tensor, to=FLOAT)
            points = add("ReduceProd", sides, keepdims=0)
            for i in (0, 1):
                points = add("Div", points, add("Gather", sides, add("Constant", value_int=i)))
            bound = add("Cast", add("Constant", value_int=least), to=FLOAT)
            number = add("Cast", add("Less", points, bound), to=INT64)
        add("Reshape", tensor, add("Mul", shape, add("Div", number, number)))
        return made
