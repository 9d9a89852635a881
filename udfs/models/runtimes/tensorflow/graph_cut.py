"""A graph cut at the tensors that are fed: what stands behind them is neither judged nor loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from schemas.errors import LoadError
from udfs.models.runtimes.tensorflow.graph_walk import add_node, node_of, type_at

_MOST_DIGITS = 9  # of the number of an output
_SHAPE_ATTRS = ("_output_shapes", "output_shapes", "shape")


def cut(graph_def: Any, fed: Collection[str]) -> dict[str, str]:
    """Put a placeholder for each tensor of `fed` that is not one, in place; tensor -> tensor to feed.

    Raises `LoadError` for a tensor that the graph does not have.
    """
    nodes = {n.name: n for n in graph_def.node}
    functions = {f.signature.name: f.signature for f in reversed(graph_def.library.function)}
    renamed: dict[str, str] = {}
    for tensor in fed:
        name, _, index = tensor.partition(":")
        known = not index or (index.isdecimal() and len(index) <= _MOST_DIGITS)
        at = int(index) if index and known else 0
        node = nodes.get(name)
        if node is None or not known:
            raise LoadError(f"the graph has no tensor {tensor!r}, which is given as an input")
        if node.op == "Placeholder" and at == 0:
            continue
        dtype = _dtype(functions, node, at)
        if dtype is None:
            raise LoadError(f"the graph has no tensor {tensor!r}, which is given as an input")
        free = _free(nodes, f"{name}_{at}_fed")
        nodes[free] = stand_in = add_node(graph_def.node, free, "Placeholder", (), dtype=dtype)
        shape = _shape(node, at)
        if shape is None:
            stand_in.attr["shape"].shape.unknown_rank = True
        else:
            stand_in.attr["shape"].shape.CopyFrom(shape)
        renamed[f"{name}:{at}"] = f"{stand_in.name}:0"
    if renamed:
        for node in graph_def.node:
            for n, reference in enumerate(node.input):
                if full(reference) in renamed:
                    node.input[n] = renamed[full(reference)]
    return {tensor: renamed.get(full(tensor), full(tensor)) for tensor in fed}


def fetched(graph_def: Any, fetches: Mapping[str, str], fed: Mapping[str, str]) -> dict[str, str]:
    """Output -> tensor to fetch: that of `fetches`, or a copy where it is `fed`, since it cannot be both.

    Outputs that are the same input share a copy.
    """
    taken = set(fed.values())
    nodes: dict[str, Any] = {}
    copies: dict[str, str] = {}
    found: dict[str, str] = {}
    for output, wish in fetches.items():
        tensor = full(wish)
        given = fed.get(tensor) or fed.get(tensor.removesuffix(":0")) or (tensor if tensor in taken else None)
        if given is None:
            found[output] = tensor
            continue
        if given not in copies:
            nodes = nodes or {n.name: n for n in graph_def.node}
            name = _free(nodes, f"{node_of(given)}_fetched")
            dtype = nodes[node_of(given)].attr["dtype"].type
            nodes[name] = add_node(graph_def.node, name, "Identity", [given], T=dtype)
            copies[given] = f"{name}:0"
        found[output] = copies[given]
    return found


def full(tensor: str) -> str:
    """`x` as `x:0`; control edges as they are."""
    return tensor if ":" in tensor or tensor.startswith("^") else f"{tensor}:0"


def _free(nodes: Collection[str], wish: str) -> str:
    while wish in nodes:
        wish += "_"
    return wish


def _dtype(functions: Mapping[str, Any], node: Any, at: int) -> int | None:
    """The element type of a node's output number `at`, by what TensorFlow, or the graph's function, says."""
    from tensorflow.python.framework import op_def_registry  # noqa: PLC0415

    signature = op_def_registry.get(node.op)
    if signature is None and node.op in functions:  # each of its results is one tensor, see `check_graph`
        called = functions[node.op]
        return type_at(node, called, called.output_arg[at : at + 1], 0) or None
    if signature is None:
        return None
    return type_at(node, signature, signature.output_arg, at) or None


def _shape(node: Any, at: int) -> Any:
    """The shape that a node itself says of an output, or None."""
    for name in _SHAPE_ATTRS:
        if name in node.attr:
            value = node.attr[name]
            if value.HasField("shape") and at == 0:
                return value.shape
            if len(value.list.shape) > at:
                return value.list.shape[at]
    return None
