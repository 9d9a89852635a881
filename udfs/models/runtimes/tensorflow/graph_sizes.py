"""Sizes that a record may say are bounded where TensorFlow does not bound them.

Most kernels ask TensorFlow's allocator for their results, which refuses what there is no room for: the call
fails. Lists of tensors are C++ vectors, and a vector without room ends the process.
"""

from __future__ import annotations

from typing import Any

from udfs.models.runtimes.tensorflow.graph_walk import node_of

MAX_LIST = 1_000_000
"""Tensors in a list: an empty one takes 32 bytes."""

SIZED = {"TensorArrayV2": 0, "TensorArrayV3": 0, "TensorListReserve": 1, "TensorListResize": 1}
"""Operators of such lists, and which of their inputs is the number of tensors."""

_FLOAT, _INT = 1, 3  # DT_FLOAT, DT_INT32


def bound_lists(graph_def: Any) -> None:
    """Change `graph_def` in place: a call fails where it asks for a list of more than `MAX_LIST` tensors.

    The number goes through operators that fail for what is more. They have no constants: in a loop of the
    old kind each of these would have to be handed into its frame.
    """
    _bound_in(graph_def.node, "{}")
    for function in graph_def.library.function:
        _bound_in(function.node_def, "{}:{}:0")


def _bound_in(nodes: Any, reference: str) -> None:
    small = {n.name for n in nodes if n.op == "Const" and _is_small(n)}
    for node in [n for n in nodes if n.op in SIZED]:
        if not _number(node) or node_of(_number(node)) not in small:
            _bound(node, nodes, reference)


def _number(node: Any) -> str:
    at = SIZED[node.op]
    return str(node.input[at]) if at < len(node.input) else ""


def _is_small(node: Any) -> bool:
    value = node.attr["value"].tensor
    return len(value.int_val) == 1 and 0 <= value.int_val[0] <= MAX_LIST


def _bound(node: Any, nodes: Any, reference: str) -> None:
    """`reference`: how a result is named, by its node and its name in the operator."""
    number = _number(node)
    if not number or number.startswith("^"):
        return  # TensorFlow refuses the node

    def add(op: str, result: str, *inputs: str, **types: int) -> tuple[str, Any]:
        made = nodes.add(name=f"{node.name}/most_{op}_{types.get('DstT', '')}", op=op, input=inputs)
        for name, dtype in types.items():
            made.attr[name].type = dtype
        return reference.format(made.name, result), made

    beyond, bucketize = add("Bucketize", "output", number, T=_INT)
    bucketize.attr["boundaries"].list.f.append(MAX_LIST + 1)
    one, _ = add("OnesLike", "y", beyond, T=_INT)
    fits, _ = add("Sub", "z", one, beyond, T=_INT)
    as_float, _ = add("Cast", "y", fits, SrcT=_INT, DstT=_FLOAT)
    inverse, _ = add("Reciprocal", "y", as_float, T=_FLOAT)
    checked, check = add("CheckNumerics", "output", inverse, T=_FLOAT)
    check.attr["message"].s = f"a list of more than {MAX_LIST:,} tensors is asked for".encode()
    factor, _ = add("Cast", "y", checked, SrcT=_FLOAT, DstT=_INT)
    bounded, _ = add("Mul", "z", number, factor, T=_INT)
    node.input[SIZED[node.op]] = bounded
