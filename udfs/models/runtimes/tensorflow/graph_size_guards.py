"""Guards in a graph: numbers that a record may say are bounded where TensorFlow does not bound them.

A guard is a row of operators in front of the one that takes the number. It measures what is bounded, compares
it with the limit, and fails the call where it is beyond.
"""

from __future__ import annotations

from typing import Any

from udfs.models.runtimes.tensorflow.graph_known_sizes import KnownSizes
from udfs.models.runtimes.tensorflow.graph_size_limits import Limit, limits_of
from udfs.models.runtimes.tensorflow.graph_walk import (
    BOOL,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    add_node,
    input_type,
    scopes,
)

_COMPARED = (FLOAT, DOUBLE, INT, LONG)  # by Bucketize
_VALUES = 1  # of RaggedTensorToTensor


def bound_numbers(graph_def: Any) -> None:
    """Change `graph_def` in place: a call fails where its records ask an operator for what ends the process.

    The number goes through operators that fail for what is more. They have no constants: in a loop of the
    old kind each of these would have to be handed into its frame. The graph has been cut: constants that are
    fed are none any more. What is a constant within the limits, or the size of a tensor that there is, is
    left as it is, and costs nothing.
    """
    parts = scopes(graph_def)
    every = (node for nodes, _ in parts for node in nodes)
    grows = any("dynamic_size" in node.attr and node.attr["dynamic_size"].b for node in every)
    for nodes, reference in parts:
        wanted = [(node, at, limit) for node in nodes for at, limit in limits_of(node, grows)]
        if not wanted:
            continue
        known = KnownSizes(nodes)
        for node, at, limit in wanted:
            if at < len(node.input) and not known.fits(str(node.input[at]), limit):
                _Guard(nodes, reference, node, at).add(limit)


class _Guard:
    """Puts what fails between an operator and its input number `at`.

    `reference`: how a result is named, by its node and its name in the operator.
    """

    def __init__(self, nodes: Any, reference: str, node: Any, at: int) -> None:
        self._nodes, self._reference, self._node, self._at = nodes, reference, node, at
        self._count = 0

    def add(self, limit: Limit) -> None:
        number = str(self._node.input[self._at])
        if number.startswith("^"):
            return  # TensorFlow refuses the node
        dtype = input_type(self._node, self._at)
        measured, measure = self._measured(limit, number, dtype)
        if limit.whole:
            measured, measure = self._product(limit, measured, measure), FLOAT
        elif measure not in _COMPARED:
            measured, measure = self._made(limit, "Cast", "y", measured, SrcT=measure, DstT=FLOAT)[0], FLOAT
        # 0 below, 1 in, 2 beyond
        found, bucketize = self._made(limit, "Bucketize", "output", measured, T=measure)
        bucketize.attr["boundaries"].list.f.extend([limit.low, limit.end])
        one, _ = self._made(limit, "OnesLike", "y", found, T=INT)
        away, _ = self._made(limit, "Sub", "z", found, one, T=INT)
        off, _ = self._made(limit, "Abs", "y", away, T=INT)
        fits, _ = self._made(limit, "Less", "z", off, one, T=INT)
        as_float, _ = self._made(limit, "Cast", "y", fits, SrcT=BOOL, DstT=FLOAT)
        # exactly 1, or no number; a reciprocal of eight numbers at once is an estimate, a bit below 1
        same, _ = self._made(limit, "RealDiv", "z", as_float, as_float, T=FLOAT)
        checked, check = self._made(limit, "CheckNumerics", "output", same, T=FLOAT)
        check.attr["message"].s = limit.message.encode()
        if limit.of or limit.after:
            self._node.input.append(f"^{check.name}")
            return
        factor, _ = self._made(limit, "Cast", "y", checked, SrcT=FLOAT, DstT=dtype)
        bounded, _ = self._made(limit, "Mul", "z", number, factor, T=dtype)
        self._node.input[self._at] = bounded

    def _measured(self, limit: Limit, number: str, dtype: int) -> tuple[str, int]:  # noqa: PLR0911
        """What is bounded, and its element type."""
        if limit.of == "rank":
            return self._made(limit, "Rank", "output", number, T=dtype)[0], INT
        if limit.of == "sizes":
            return self._made(limit, "Shape", "output", number, T=dtype, out_type=LONG)[0], LONG
        if limit.of == "variable":
            return self._made(limit, "VariableShape", "output", number, out_type=LONG)[0], LONG
        if limit.of == "first":
            return self._first(limit, number, dtype), dtype
        if limit.of == "rows":
            as_float, _ = self._made(limit, "Cast", "y", number, SrcT=dtype, DstT=FLOAT)
            rank, _ = self._made(limit, "Rank", "output", number, T=dtype)
            second, _ = self._made(limit, "OnesLike", "y", rank, T=INT)
            return self._made(limit, "Sum", "output", as_float, second, T=FLOAT, Tidx=INT)[0], FLOAT
        if limit.of == "steps":
            start, end = (str(i) for i in self._node.input[:2])
            way, _ = self._made(limit, "Sub", "z", end, start, T=dtype)
            return self._made(limit, "RealDiv", "z", way, number, T=dtype)[0], dtype
        if limit.of == "past":
            of_values = {"T": input_type(self._node, _VALUES), "out_type": dtype}
            sizes, _ = self._made(limit, "Shape", "output", str(self._node.input[_VALUES]), **of_values)
            return self._made(limit, "Sub", "z", number, self._first(limit, sizes, dtype), T=dtype)[0], dtype
        return number, dtype

    def _first(self, limit: Limit, numbers: str, dtype: int) -> str:
        length, _ = self._made(limit, "Shape", "output", numbers, T=dtype)
        begin, _ = self._made(limit, "ZerosLike", "y", length, T=INT)
        one, _ = self._made(limit, "OnesLike", "y", length, T=INT)
        return self._made(limit, "Slice", "output", numbers, begin, one, T=dtype, Index=INT)[0]

    def _product(self, limit: Limit, number: str, dtype: int) -> str:
        as_float, _ = self._made(limit, "Cast", "y", number, SrcT=dtype, DstT=FLOAT)
        ones, _ = self._made(limit, "OnesLike", "y", as_float, T=FLOAT)
        counted, _ = self._made(limit, "Maximum", "z", as_float, ones, T=FLOAT)
        rank, _ = self._made(limit, "Rank", "output", as_float, T=FLOAT)
        first, _ = self._made(limit, "ZerosLike", "y", rank, T=INT)
        step, _ = self._made(limit, "OnesLike", "y", rank, T=INT)
        axes, _ = self._made(limit, "Range", "output", first, rank, step, Tidx=INT)
        product, _ = self._made(limit, "Prod", "output", counted, axes, T=FLOAT, Tidx=INT)
        return product

    def _made(self, limit: Limit, op: str, result: str, *inputs: str, **types: int) -> tuple[str, Any]:
        self._count += 1
        name = f"{self._node.name}/{limit.name}_{self._at}_{self._count}"
        node = add_node(self._nodes, name, op, inputs, **types)
        return self._reference.format(node.name, result), node
