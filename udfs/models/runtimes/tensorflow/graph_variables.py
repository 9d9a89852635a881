"""Variables are looked at where an operator's kernel does not look at them.

TensorFlow works out the type and shape behind a handle when a graph is built, unless the handle has gone
through a loop or a branch. These kernels count on it: for a variable of another type they end the process,
and rows of another width are read and written beyond where they end.
"""

from __future__ import annotations

from typing import Any

from udfs.models.runtimes.tensorflow.graph_walk import (
    FLOAT,
    INT,
    LONG,
    add_node,
    attribute,
    input_type,
    scopes,
)

_UPDATES = 2  # of _BY_ROW, after the handle and the indices
_MAKERS = frozenset({"AssignVariableOp", "VarHandleOp"})  # a variable is of the type of its first value

_TYPED = {
    "ResourceGather": "dtype",
    "ResourceGatherNd": "dtype",
    "ResourceScatterNdAdd": "T",
    "ResourceScatterNdMax": "T",
    "ResourceScatterNdMin": "T",
    "ResourceScatterNdSub": "T",
    "ResourceScatterNdUpdate": "T",
    "ResourceStridedSliceAssign": "T",
}
"""Operators, and the attribute that says the type of their variables."""

_BY_ROW = frozenset(
    {
        "ResourceScatterAdd",
        "ResourceScatterMax",
        "ResourceScatterMin",
        "ResourceScatterMul",
        "ResourceScatterSub",
        "ResourceScatterUpdate",
    }
)
"""They take a row of the variable for each index."""


def guard_variables(graph_def: Any) -> None:
    """Change `graph_def` in place: a call fails where a variable is of another type, or its rows of another
    width, than an operator counts on.

    Where all variables of the graph are of one type, as most often, those of that type cost nothing.
    """
    parts = scopes(graph_def)
    types = {n.attr["dtype"].type for nodes, _ in parts for n in nodes if n.op in _MAKERS}
    for nodes, reference in parts:
        for node in list(nodes):
            if node.op in _TYPED and len(node.input):
                dtype = attribute(node, _TYPED[node.op]).type
                if types != {dtype}:
                    _Added(nodes, reference, node).read_as(dtype)
            elif node.op in _BY_ROW and len(node.input) > _UPDATES:
                node.input[_UPDATES] = _Added(nodes, reference, node).rows()


class _Added:
    """What is added in front of a node."""

    def __init__(self, nodes: Any, reference: str, node: Any) -> None:
        self._nodes, self._reference, self._node = nodes, reference, node

    def read_as(self, dtype: int) -> None:
        """Read the variable first, which fails for another type. TensorFlow leaves out reads that nothing
        needs, but no check of a number."""
        read = self._made("read", "ReadVariableOp", "value", str(self._node.input[0]), dtype=dtype)
        size = self._made("size", "Size", "output", read, T=dtype, out_type=INT)
        number = self._made("number", "Cast", "y", size, SrcT=INT, DstT=FLOAT)
        self._made("checked", "CheckNumerics", "output", number, T=FLOAT)
        self._nodes[-1].attr["message"].s = b"a variable has another type"
        self._node.input.append(f"^{self._nodes[-1].name}")

    def rows(self) -> str:
        """The updates as one row of the variable for each index, where they can be that."""
        handle, indices, updates = (str(i) for i in self._node.input[: _UPDATES + 1])
        of_indices = {"T": input_type(self._node, 1), "out_type": LONG}
        counted = self._made("indices", "Shape", "output", indices, **of_indices)
        whole = self._made("shape", "VariableShape", "output", handle, out_type=LONG)
        rank = self._made("rank", "Shape", "output", whole, T=LONG, out_type=INT)
        second = self._made("second", "OnesLike", "y", rank, T=INT)
        to_the_end = self._made("rest", "Neg", "y", second, T=INT)
        row = self._made("row", "Slice", "output", whole, second, to_the_end, T=LONG, Index=INT)
        one = self._made("one", "Rank", "output", whole, T=LONG)
        axis = self._made("axis", "Sub", "z", one, one, T=INT)
        wanted = self._made("wanted", "ConcatV2", "output", counted, row, axis, T=LONG, Tidx=INT)
        self._nodes[-1].attr["N"].i = 2
        dtype = input_type(self._node, _UPDATES)
        return self._made("updates", "BroadcastTo", "output", updates, wanted, T=dtype, Tidx=LONG)

    def _made(self, name: str, op: str, result: str, *inputs: str, **types: int) -> str:
        node = add_node(self._nodes, f"{self._node.name}/variable_{name}", op, inputs, **types)
        return self._reference.format(node.name, result)
