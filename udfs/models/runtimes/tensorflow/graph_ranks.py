"""Ranks of what an operator takes are looked at where its kernel does not look.

TensorFlow works out ranks when a graph is built, where they are known. Those here count on it when they run:
given a tensor of another rank, which a shape that a record says may make, they end the process. Found by
calling each operator that models may hold with tensors of all ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from udfs.models.runtimes.tensorflow.graph_sizes import bound_numbers
from udfs.models.runtimes.tensorflow.graph_walk import attribute, input_type, node_of, scopes

_ANY = None
_ONE, _LIST, _MATRIX, _PICTURES, _VOLUMES = (), (-1,), (-1,) * 2, (-1,) * 4, (-1,) * 5
_Shape = tuple[int, ...] | None

_SHAPES: dict[str, tuple[_Shape, ...]] = {
    "AvgPool3D": (_VOLUMES,),
    "Conv2D": (_PICTURES, _PICTURES),
    "Conv2DBackpropInput": ((4,), _PICTURES, _PICTURES),
    "Conv2DBackpropInputV2": (_PICTURES, _PICTURES, _PICTURES),
    "Conv3D": (_VOLUMES, _VOLUMES),
    "Conv3DBackpropInputV2": ((5,), _VOLUMES, _VOLUMES),
    "DepthwiseConv2dNative": (_PICTURES, _PICTURES),
    "DepthwiseConv2dNativeBackpropInput": ((4,), _PICTURES, _PICTURES),
    "FakeQuantWithMinMaxVarsPerChannel": (_ANY, _LIST, _LIST),
    "GRUBlockCell": (_MATRIX, _MATRIX, _MATRIX, _MATRIX, _LIST, _LIST),
    "LSTMBlockCell": (_MATRIX, _MATRIX, _MATRIX, _MATRIX, _LIST, _LIST, _LIST, _LIST),
    "MaxPool3D": (_VOLUMES,),
    "TensorListConcatV2": (_ANY, _ANY, _LIST),
}
"""Operator -> the shape of each of its first inputs; -1: any size, None: any shape."""

_QUANTISED = {
    "QuantizedMatMulWithBias": (_MATRIX, _MATRIX, _LIST),
    "QuantizedConv2D": (_PICTURES, _PICTURES),
    "QuantizedDepthwiseConv2D": (_PICTURES, _PICTURES),
}
"""The same, of all operators whose names begin so."""

_LAST = {"SparseCrossHashed": (_ONE, _ONE, _LIST), "SparseCrossV2": (_ONE,)}
"""The same, of the last inputs."""

_KEYS = {
    "ParseExample": (2, ("Nsparse", "Ndense")),
    "ParseSingleSequenceExample": (
        2,
        ("Ncontext_sparse", "Ncontext_dense", "Nfeature_list_sparse", "Nfeature_list_dense"),
    ),
}
"""Where names of fields begin among the inputs, a tensor each, and the attributes that say how many there
are."""

_PARTITIONS_AT = 3  # of RaggedTensorToTensor, the first of the lists that part its values into rows
_MOST_INPUTS = 100_000


def guard_kernels(graph_def: Any) -> None:
    """Change `graph_def` in place: a call fails where it would hand a kernel what ends the process, or never
    comes back: numbers, sizes or ranks. The graph has been cut, see `bound_numbers`."""
    bound_numbers(graph_def)
    hold_ranks(graph_def)


def hold_ranks(graph_def: Any) -> None:
    """Change `graph_def` in place: a call fails where one of these operators is given another shape.

    What is a constant of the right shape is left as it is.
    """
    for nodes, reference in scopes(graph_def):
        wanted = [(node, at, shape) for node in nodes for at, shape in enumerate(_shapes(node))]
        named = {n.name: n for n in nodes} if wanted else {}
        for node, at, shape in wanted:
            if shape is None or at >= len(node.input) or node.input[at].startswith("^"):
                continue
            if not _fits(_constant_shape(named, node.input[at]), shape):
                node.input[at] = _held(nodes, reference, node, at, shape)


def _shapes(node: Any) -> Sequence[_Shape]:  # noqa: PLR0911
    if node.op in _SHAPES:
        return _SHAPES[node.op]
    if node.op == "Conv":
        return [(-1,) * len(attribute(node, "strides").list.i)] * 2
    if node.op == "RaggedGather":
        before = attribute(node, "PARAMS_RAGGED_RANK").i
        rank = attribute(node, "OUTPUT_RAGGED_RANK").i - before + 1
        return [_ANY] * (before + 1) + [(-1,) * rank] if 0 <= before < len(node.input) else ()
    if node.op == "RaggedTensorToTensor":
        kinds = attribute(node, "row_partition_types").list.s
        return [_ANY] * _PARTITIONS_AT + [_ONE if kind == b"FIRST_DIM_SIZE" else _LIST for kind in kinds]
    if node.op in _LAST:
        count = sum(not i.startswith("^") for i in node.input)
        return [_ANY] * (count - len(_LAST[node.op])) + [*_LAST[node.op]]
    if node.op in _KEYS:
        start, counts = _KEYS[node.op]
        return [_ANY] * start + [_ONE] * min(sum(attribute(node, n).i for n in counts), _MOST_INPUTS)
    if node.op.startswith("Quantized"):
        return next((shapes for name, shapes in _QUANTISED.items() if node.op.startswith(name)), ())
    return ()


def _fits(found: Sequence[int] | None, shape: Sequence[int]) -> bool:
    return (
        found is not None
        and len(found) == len(shape)
        and all(want in (-1, size) for size, want in zip(found, shape, strict=True))
    )


def _constant_shape(named: Mapping[str, Any], reference: str) -> Sequence[int] | None:
    """The shape of a constant, also of one that is handed on; None for anything else."""
    seen = set()
    while (node := named.get(node_of(reference))) is not None and node.name not in seen:
        if node.op == "Const":
            return [d.size for d in node.attr["value"].tensor.tensor_shape.dim]
        if node.op != "Identity" or not node.input:
            return None
        seen.add(node.name)
        reference = node.input[0]
    return None


def _held(nodes: Any, reference: str, node: Any, at: int, shape: Sequence[int]) -> str:
    """What fails unless the operator's input number `at` is of the shape, and else hands it on."""
    held = nodes.add(name=f"{node.name}/shape_{at}", op="EnsureShape", input=[node.input[at]])
    held.attr["T"].type = input_type(node, at)
    wanted = held.attr["shape"].shape
    wanted.SetInParent()
    for size in shape:
        wanted.dim.add(size=size)
    return reference.format(held.name, "output")
