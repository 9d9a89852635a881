"""How large a number of a graph can get, as far as its nodes say so before they run.

A number needs no guard where it is a constant within its limit, or the size of a tensor that there is, or is
made of such in rows, sums, products and parts. A number of which nothing is known needs one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from udfs.models.runtimes.tensorflow.graph_size_limits import Limit
from udfs.models.runtimes.tensorflow.graph_walk import FLOAT, INT, LONG, attribute, node_of

_SHAPES = frozenset({"Rank", "Shape", "ShapeN", "Size", "StringSplit", "StringSplitV2", "Where"})
"""Their numbers are sizes of tensors that there are, or below them."""

_PARSED = {"ParseExample": "Nsparse", "ParseExampleV2": "num_sparse"}
"""The attribute that says how many sparse tensors they give: of each the places, then the values, then the
shapes."""

_ALL_INPUTS = frozenset({"BroadcastArgs", "ConcatV2", "Pack"})
_FIRST_INPUT = frozenset(
    {
        "Cast",
        "ExpandDims",
        "GatherV2",
        "Identity",
        "Reshape",
        "Slice",
        "SplitV",
        "Squeeze",
        "StridedSlice",
        "Unpack",
    }
)
_SUMS = frozenset({"Add", "AddV2", "Sub"})
_PRODUCTS = frozenset({"Maximum", "Minimum", "Mul"})
_PARTS = frozenset({"FloorDiv", "Prod"})
"""Of whole numbers, what comes of them is no more than twice their product, their product, or the first."""

_DEEPEST = 20


class KnownSizes:
    """What the nodes of a scope say of numbers before they run."""

    def __init__(self, nodes: Any) -> None:
        self._nodes = {n.name: n for n in nodes}
        # a node may be an input many times
        self._proven: dict[tuple[str, Limit], float] = {}
        self._unknown: set[tuple[str, Limit, int]] = set()

    def fits(self, reference: str, limit: Limit) -> bool:
        """Whether a number is a constant within the limit, or a row of such, and of sizes of tensors."""
        if limit.of == "steps":
            node = self._nodes.get(node_of(reference))
            steps = _numbers(node) if node is not None and node.op == "Const" else None
            return steps is not None and all(abs(step) >= 1 for step in steps)
        if limit.after:  # what no record changes is tried when the model is loaded
            node = self._nodes.get(node_of(reference))
            if node is not None and node.op == "Const":
                return True
        return limit.of in ("", "first", "rows") and self._product(reference, limit, _DEEPEST) < limit.end

    def _product(self, reference: str, limit: Limit, depth: int) -> float:
        """Of all constants in a row, in which those below 1 count as 1; infinite where it does not fit."""
        name = node_of(reference)
        if (name, limit) in self._proven:
            return self._proven[name, limit]
        if limit.known and limit.low <= 0 and _is_parsed_shape(self._nodes.get(name), reference):
            return 1.0
        if (name, limit, depth) in self._unknown:
            return math.inf
        found = self._look(name, limit, depth)
        if found < math.inf:
            self._proven[name, limit] = found
        else:
            self._unknown.add((name, limit, depth))
        return found

    def _look(self, name: str, limit: Limit, depth: int) -> float:
        node = self._nodes.get(name)
        if node is None or not depth:
            return math.inf
        if node.op == "Const":
            return _product_within(limit, _numbers(node))
        if not limit.known:
            return math.inf
        if node.op in _SHAPES:
            return 1.0 if limit.low <= 0 else math.inf  # of a tensor without an element a size is 0
        data = [str(i) for i in node.input if not i.startswith("^")]
        whole = limit.whole and limit.low < 0 and attribute(node, "T").type in (INT, LONG)
        found = 1.0 if data else math.inf
        if node.op in _FIRST_INPUT or (whole and node.op in _PARTS):
            data = data[:1]
        elif whole and node.op in _SUMS:
            found *= 2
        elif node.op not in _ALL_INPUTS and not (whole and node.op in _PRODUCTS):
            return math.inf
        for one in data:
            found *= self._product(one, limit, depth - 1)
            if found == math.inf:
                break
        return found


def _is_parsed_shape(node: Any, reference: str) -> bool:
    """Whether a result is the shape of a sparse tensor that examples were parsed into."""
    if node is None or node.op not in _PARSED:
        return False
    number = reference.rpartition(":")[2]
    count = attribute(node, _PARSED[node.op]).i
    return ":sparse_shapes:" in reference or (
        reference.count(":") == 1 and number.isdecimal() and 2 * count <= int(number) < 3 * count
    )


def _product_within(limit: Limit, numbers: Sequence[float] | None) -> float:
    if numbers is None or not all(limit.low <= n < limit.end for n in numbers):
        return math.inf
    return math.prod(max(abs(n), 1.0) for n in numbers) if limit.whole else 1.0


def _numbers(node: Any) -> Sequence[float] | None:
    """The numbers of a constant; None where it holds something else, or more than a shape does."""
    from tensorflow.python.framework import tensor_util  # noqa: PLC0415

    value = node.attr["value"].tensor
    count = 1
    for d in value.tensor_shape.dim:
        count *= max(d.size, 0)
    if value.dtype not in (FLOAT, INT, LONG) or count > 254:
        return None
    try:
        return list(tensor_util.MakeNdarray(value).ravel().tolist())
    except (TypeError, ValueError):  # TensorFlow refuses the constant
        return None
