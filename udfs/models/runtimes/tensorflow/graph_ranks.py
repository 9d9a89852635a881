"""Ranks of what an operator takes are looked at where its kernel does not look.

TensorFlow works out ranks when a graph is built, where they are known. Those here count on it when they run:
given a tensor of another rank, which a shape that a record says may make, they end the process. Found by
calling each operator that models may hold with tensors of all ranks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from udfs.models.runtimes.tensorflow.graph_size_guards import bound_numbers
from udfs.models.runtimes.tensorflow.graph_variables import guard_variables
from udfs.models.runtimes.tensorflow.graph_walk import (
    add_node,
    attribute,
    input_type,
    named_functions,
    node_of,
    scopes,
)

_ANY = None
_ONE, _LIST, _MATRIX, _PICTURES, _VOLUMES = (), (-1,), (-1,) * 2, (-1,) * 4, (-1,) * 5
_Shape = tuple[int, ...] | None

_SHAPES: dict[str, tuple[_Shape, ...]] = {
    "AvgPool3D": (_VOLUMES,),
    "CombinedNonMaxSuppression": (_PICTURES, (-1,) * 3),
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
    "TensorListGetItem": (_ANY, _ONE),
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

_GIVES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        ("AvgPool", "Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "MaxPool"), _PICTURES
    ),
    **dict.fromkeys(("AvgPool3D", "Conv3D", "Conv3DBackpropInputV2", "MaxPool3D"), _VOLUMES),
}
"""What operators give that fail, or are made to fail, for anything else."""

_ACTIVATIONS = frozenset({"Elu", "LeakyRelu", "Relu", "Relu6", "Selu"})
_Y = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Sigmoid", "Tanh"})
_AS_FIRST = _ACTIVATIONS | _Y | {"BiasAdd", "Identity", "MirrorPad", "Pad", "PadV2"}
"""Their first results have the rank of their first inputs."""

_SUMS = frozenset({"Add", "AddV2", "Sub"})
_RESULTS = {
    **dict.fromkeys(_Y, "y"),
    **dict.fromkeys(_ACTIVATIONS, "activations"),
    **dict.fromkeys(_SUMS, "z"),
}
"""How first results are called that are not called output."""

_LOOPS = frozenset({"StatelessWhile", "While"})
_MOST_ARGS = 256  # of a loop, that are looked at
_DEEPEST = 20
_MOST_RANK = 254  # of a tensor; a file may say any number
_PARTITIONS_AT = 3  # of RaggedTensorToTensor, the first of the lists that part its values into rows


def guard_kernels(graph_def: Any) -> None:
    """Change `graph_def` in place: a call fails where it would hand a kernel what ends the process, or never
    comes back: numbers, sizes, ranks, or variables of another type. The graph has been cut, see
    `bound_numbers`."""
    bound_numbers(graph_def)
    hold_ranks(graph_def)
    guard_variables(graph_def)


def hold_ranks(graph_def: Any) -> None:
    """Change `graph_def` in place: a call fails where one of these operators is given another shape.

    What is known to be of the right shape is left as it is, and costs nothing.
    """
    scalars: list[dict[str, Any]] | None = None
    for place, (nodes, reference) in enumerate(scopes(graph_def)):
        wanted = [(node, at, shape) for node in nodes for at, shape in enumerate(_shapes(node))]
        named = {n.name: n for n in nodes} if wanted else {}
        if any(shape == _ONE for _, _, shape in wanted):
            scalars = _loop_scalars(graph_def) if scalars is None else scalars
            named = {**scalars[place], **named}
        known = _KnownShapes(named)
        for node, at, shape in wanted:
            if shape is None or at >= len(node.input) or node.input[at].startswith("^"):
                continue
            if not _fits(known.shape(node.input[at]), shape):
                node.input[at] = _held(nodes, reference, node, at, shape)


def _loop_scalars(graph_def: Any) -> list[dict[str, Any]]:
    """For each scope, arguments that are one number in each turn of its loop: each with a node that is such.

    A counter begins as a number and goes on as one, where nothing else calls what the loop runs.
    """
    functions = {f.signature.name: n for n, f in enumerate(graph_def.library.function, 1)}
    named = [{n.name: n for n in nodes} for nodes, _ in scopes(graph_def)]
    loops, calls = [], Counter[str]()
    for place, nodes in enumerate(named):
        for node in nodes.values():
            calls.update(f for f in (*named_functions(node), node.op) if f in functions)
            if node.op in _LOOPS and node.attr["body"].func.name in functions:
                loops.append((place, node, functions[node.attr["body"].func.name]))
    found: list[dict[str, Any]] = [{} for _ in named]
    for place, loop, body in loops:
        function = graph_def.library.function[body - 1]
        if calls[function.signature.name] > 1:
            continue
        args = [a.name for a in function.signature.input_arg]
        ends = [function.ret[o.name] for o in function.signature.output_arg if o.name in function.ret]
        if not len(args) == len(ends) <= len(loop.input):
            continue
        begin = [*map(_KnownShapes(named[place]).shape, loop.input[: min(len(args), _MOST_ARGS)])]
        numbers: dict[int, Any] = {}
        kept = {n: _number(graph_def, args[n]) for n, shape in enumerate(begin) if shape == []}
        while len(numbers) != len(kept):
            numbers = kept
            known = _KnownShapes({node.name: node for node in numbers.values()} | named[body])
            kept = {n: node for n, node in numbers.items() if known.shape(ends[n]) == []}
        found[body] = {node.name: node for node in numbers.values()}
    return found


def _number(graph_def: Any, name: str) -> Any:
    node = type(graph_def)().node.add(name=name, op="Const")
    node.attr["value"].tensor.SetInParent()
    return node


def _shapes(node: Any) -> Sequence[_Shape]:  # noqa: PLR0911
    if node.op in _SHAPES:
        return _SHAPES[node.op]
    if node.op == "Conv":
        return [(-1,) * len(attribute(node, "strides").list.i)] * 2
    if node.op == "RaggedGather":
        before = attribute(node, "PARAMS_RAGGED_RANK").i
        rank = attribute(node, "OUTPUT_RAGGED_RANK").i - before + 1
        return (
            [_ANY] * (before + 1) + [(-1,) * min(rank, _MOST_RANK)] if 0 <= before < len(node.input) else ()
        )
    if node.op == "RaggedTensorToTensor":
        kinds = attribute(node, "row_partition_types").list.s
        return [_ANY] * _PARTITIONS_AT + [_ONE if kind == b"FIRST_DIM_SIZE" else _LIST for kind in kinds]
    if node.op in _LAST:
        count = sum(not i.startswith("^") for i in node.input)
        return [_ANY] * (count - len(_LAST[node.op])) + [*_LAST[node.op]]
    if node.op in _KEYS:
        start, counts = _KEYS[node.op]
        return [_ANY] * start + [_ONE] * min(sum(attribute(node, n).i for n in counts), len(node.input))
    if node.op.startswith("Quantized"):
        return next((shapes for name, shapes in _QUANTISED.items() if node.op.startswith(name)), ())
    return ()


def _fits(found: Sequence[int] | None, shape: Sequence[int]) -> bool:
    return (
        found is not None
        and len(found) == len(shape)
        and all(want in (-1, size) for size, want in zip(found, shape, strict=True))
    )


class _KnownShapes:
    """What the nodes of a scope say of shapes before they run."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._found: dict[tuple[str, int], Sequence[int] | None] = {}  # a node may be an input many times

    def shape(self, reference: str, depth: int = _DEEPEST) -> Sequence[int] | None:
        """The shape of a result, as far as it is certain; -1: any size, None: any shape."""
        asked = reference, depth
        if asked not in self._found:
            self._found[asked] = self._look(reference, depth)
        return self._found[asked]

    def _look(self, reference: str, depth: int) -> Sequence[int] | None:  # noqa: PLR0911
        node = self._named.get(node_of(reference))
        if node is None or not depth or reference not in _firsts(node):
            return None
        data = [i for i in node.input if not i.startswith("^")]
        if node.op == "Const":
            dims = node.attr["value"].tensor.tensor_shape.dim
            return [d.size for d in dims] if len(dims) <= _MOST_RANK else None
        if node.op == "Placeholder":  # records are given in the shape that it says
            shape = attribute(node, "shape").shape
            return [-1] * len(shape.dim) if 0 < len(shape.dim) <= _MOST_RANK else None
        if node.op in _GIVES:
            return _GIVES[node.op]
        if node.op in _SUMS:
            parts = [self.shape(i, depth - 1) for i in data]
            return parts[0] if parts and all(part == [] for part in parts) else None
        if node.op in _AS_FIRST and data:
            found = self.shape(data[0], depth - 1)
            return None if found is None else [-1] * len(found)
        if node.op == "Reshape" and len(data) > 1:
            wanted = self._named.get(node_of(data[1]))
            if wanted is not None and wanted.op == "Pack":
                rank = attribute(wanted, "N").i
            else:
                sizes = self.shape(data[1], depth - 1)
                rank = sizes[0] if sizes is not None and len(sizes) == 1 else -1
            return [-1] * rank if 0 <= rank <= _MOST_RANK else None
        return None


def _firsts(node: Any) -> Sequence[str]:
    """How a node's first result is called, in the main graph and in functions."""
    result = _RESULTS.get(node.op, "output")
    return node.name, f"{node.name}:0", f"{node.name}:{result}:0"


def _held(nodes: Any, reference: str, node: Any, at: int, shape: Sequence[int]) -> str:
    """What fails unless the operator's input number `at` is of the shape, and else hands it on."""
    taken = [node.input[at]]
    held = add_node(nodes, f"{node.name}/shape_{at}", "EnsureShape", taken, T=input_type(node, at))
    wanted = held.attr["shape"].shape
    wanted.SetInParent()
    for size in shape:
        wanted.dim.add(size=size)
    return reference.format(held.name, "output")
