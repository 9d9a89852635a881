"""Sizes that a record may say are bounded where TensorFlow does not bound them.

Most kernels ask TensorFlow's allocator for their results, which refuses what there is no room for: the call
fails. Lists of tensors are C++ vectors, and a vector without room ends the process.
"""

from __future__ import annotations

from typing import Any

from udfs.models.runtimes.tensorflow.graph_walk import node_of

MAX_LIST = 1_000_000
"""Tensors in a list: an empty one takes 32 bytes."""

_NUMBERS: dict[str, tuple[int, ...]] = {
    "TensorArray": (0,),
    "TensorArrayV2": (0,),
    "TensorArrayV3": (0,),
    "TensorListReserve": (1,),
    "TensorListResize": (1,),
    "TensorListScatterV2": (3,),
}
"""Operators that make such lists, and which of their inputs is the number of tensors."""

_PLACES: dict[str, tuple[int, ...]] = {
    "TensorListScatter": (1,),
    "TensorListScatterIntoExistingList": (2,),
    "TensorListScatterV2": (1,),
}
"""They make a list as long as a place in it wants: the input that says where. None looks for one below 0."""

_GROWING: dict[str, tuple[int, ...]] = {
    "TensorArrayScatter": (1,),
    "TensorArrayScatterV2": (1,),
    "TensorArrayScatterV3": (1,),
    "TensorArrayWrite": (1,),
    "TensorArrayWriteV2": (1,),
    "TensorArrayWriteV3": (1,),
}
"""So do these, where the list was made with `dynamic_size`."""

_FLOAT, _INT, _BOOL = 1, 3, 10  # DT_FLOAT, DT_INT32, DT_BOOL
_BELOW = 2.0**32
_MESSAGE = f"a list of more than {MAX_LIST:,} tensors, or a place below 0, is asked for"


def bound_lists(graph_def: Any) -> None:
    """Change `graph_def` in place: a call fails where it asks for a list of more than `MAX_LIST` tensors, or
    for a place in one below 0.

    The number goes through operators that fail for what is more. They have no constants: in a loop of the
    old kind each of these would have to be handed into its frame. The graph has been cut: constants that are
    fed are none any more.
    """
    scopes = [(graph_def.node, "{}"), *((f.node_def, "{}:{}:0") for f in graph_def.library.function)]
    every = (node for nodes, _ in scopes for node in nodes)
    grows = any("dynamic_size" in node.attr and node.attr["dynamic_size"].b for node in every)
    for nodes, reference in scopes:
        small = {n.name for n in nodes if n.op == "Const" and _is_small(n)}
        for node in list(nodes):
            for at, place in _unbounded(node, grows):
                if at < len(node.input) and node_of(node.input[at]) not in small:
                    _bound(node, at, place, nodes, reference)


def _unbounded(node: Any, grows: bool) -> list[tuple[int, bool]]:
    """Inputs, and whether each is a place."""
    places = _PLACES.get(node.op, ())
    if node.op == "TensorListSetItem" and node.attr["resize_if_index_out_of_bounds"].b:
        places = (1,)
    elif grows:
        places = _GROWING.get(node.op, places)
    return [*((at, False) for at in _NUMBERS.get(node.op, ())), *((at, True) for at in places)]


def _is_small(node: Any) -> bool:
    value = node.attr["value"].tensor
    return len(value.int_val) == 1 and 0 <= value.int_val[0] <= MAX_LIST


def _bound(node: Any, at: int, place: bool, nodes: Any, reference: str) -> None:
    """`reference`: how a result is named, by its node and its name in the operator."""
    number = str(node.input[at])
    if number.startswith("^"):
        return  # TensorFlow refuses the node

    def add(op: str, result: str, *inputs: str, **types: int) -> tuple[str, Any]:
        made = nodes.add(name=f"{node.name}/most_{at}_{op}_{types.get('DstT', '')}", op=op, input=inputs)
        for name, dtype in types.items():
            made.attr[name].type = dtype
        return reference.format(made.name, result), made

    # 0 below, 1 in, 2 beyond; of numbers, whose signs the kernels look at, nothing is below
    found, bucketize = add("Bucketize", "output", number, T=_INT)
    bucketize.attr["boundaries"].list.f.extend([0 if place else -_BELOW, MAX_LIST + 1])
    one, _ = add("OnesLike", "y", found, T=_INT)
    away, _ = add("Sub", "z", found, one, T=_INT)
    off, _ = add("Abs", "y", away, T=_INT)
    fits, _ = add("Less", "z", off, one, T=_INT)
    as_float, _ = add("Cast", "y", fits, SrcT=_BOOL, DstT=_FLOAT)
    inverse, _ = add("Reciprocal", "y", as_float, T=_FLOAT)
    checked, check = add("CheckNumerics", "output", inverse, T=_FLOAT)
    check.attr["message"].s = _MESSAGE.encode()
    factor, _ = add("Cast", "y", checked, SrcT=_FLOAT, DstT=_INT)
    bounded, _ = add("Mul", "z", number, factor, T=_INT)
    node.input[at] = bounded
