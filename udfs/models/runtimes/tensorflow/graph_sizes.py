"""Numbers that a record may say are bounded where TensorFlow does not bound them.

Most kernels look at their numbers first, and ask TensorFlow's allocator for their results, which refuses what
there is no room for: the call fails. Those here do not, and end the process, or never come back. Lists of
tensors are C++ vectors, and a vector without room ends the process. So do Fourier transforms of no length,
convolutions transposed to sizes that no tensor has, and windows into pictures whose corner overflows. What is
bounded was found by calling each operator that models may hold with numbers that hurt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from udfs.models.runtimes.tensorflow.graph_walk import attribute, node_of

MAX_LIST = 1_000_000
"""Tensors in a list: an empty one takes 32 bytes."""

MAX_ELEMENTS = 1 << 28
"""Elements of a tensor whose size a record says: 1 GiB of float32."""

MAX_ROWS = 1 << 24
"""Of a count by rows, each of which takes a map, whose shape has columns beside them."""

MAX_TURNS = 1000
"""Of a hue, in either direction: its kernel takes one after the other off."""

_FLOAT, _INT, _LONG, _BOOL = 1, 3, 9, 10  # DT_FLOAT, DT_INT32, DT_INT64, DT_BOOL
_BELOW = 2.0**64
_TOO_LARGE = f"more than {MAX_ELEMENTS:,} elements are asked for"


@dataclass(frozen=True, slots=True)
class _Limit:
    """A number, or each of a tensor of them, is at least `low` and below `end`; `whole`: so is their product,
    in which those below 1 count as 1. `known`: the number is left alone where it is the size of a tensor."""

    name: str
    low: float
    end: float
    message: str
    whole: bool = False
    known: bool = True


_LISTS = f"a list of more than {MAX_LIST:,} tensors, or a place below 0, is asked for"
# of numbers of tensors, whose signs the kernels look at, nothing is below
_NUMBER = _Limit("most", -_BELOW, MAX_LIST + 1, _LISTS, known=False)
_PLACE = _Limit("most", 0, MAX_LIST + 1, _LISTS, known=False)
_SIZE = _Limit("most", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE)
_EXTENT = _Limit("each", 0, MAX_ELEMENTS + 1, f"a size below 0 or {_TOO_LARGE}")
_LENGTH = _Limit("each", 1, MAX_ELEMENTS + 1, f"a length below 1 or {_TOO_LARGE}")
_PRODUCT = _Limit("all", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, whole=True)
_ROWS = _Limit("each", 0, MAX_ROWS + 1, f"a count in more than {MAX_ROWS:,} rows, or below 0, is asked for")
_WINDOW = _Limit("each", 0, MAX_ELEMENTS + 1, "a window of a picture that no picture has is asked for")
_TURN = _Limit("each", -MAX_TURNS, MAX_TURNS, f"a hue is to turn {MAX_TURNS:,} times or more")

_PADDED = ("NonMaxSuppressionV4", "NonMaxSuppressionV5")
"""They make as many boxes as are asked for where they pad, else as many as there are."""

_Limits = tuple[tuple[int, _Limit], ...]

_LIMITS: dict[str, _Limits] = {
    **dict.fromkeys(("TensorArray", "TensorArrayV2", "TensorArrayV3"), ((0, _NUMBER),)),
    **dict.fromkeys(("TensorListReserve", "TensorListResize"), ((1, _NUMBER),)),
    # they make a list as long as a place in it wants, and none looks for one below 0
    "TensorListScatter": ((1, _PLACE),),
    "TensorListScatterIntoExistingList": ((2, _PLACE),),
    "TensorListScatterV2": ((1, _PLACE), (3, _NUMBER)),
    "AdjustHue": ((1, _TURN),),
    "CombinedNonMaxSuppression": ((2, _SIZE), (3, _SIZE)),
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), ((0, _EXTENT), (0, _PRODUCT))),
    "DecodeAndCropJpeg": ((1, _WINDOW),),
    "DenseBincount": ((1, _SIZE),),
    "DepthwiseConv2dNativeBackpropInput": ((0, _EXTENT), (0, _PRODUCT)),
    **dict.fromkeys(
        ("IRFFT", "IRFFT2D", "IRFFT3D", "RFFT", "RFFT2D", "RFFT3D", "FFTND", "IFFTND", "IRFFTND", "RFFTND"),
        ((1, _LENGTH), (1, _PRODUCT)),
    ),
    **dict.fromkeys(_PADDED, ((2, _SIZE),)),
    **dict.fromkeys(("RaggedBincount", "RaggedFillEmptyRows"), ((2, _SIZE),)),
    "SparseBincount": ((3, _SIZE),),
    "SparseCountSparseOutput": ((2, _ROWS),),
    **dict.fromkeys(
        ("UnsortedSegmentMax", "UnsortedSegmentMin", "UnsortedSegmentProd", "UnsortedSegmentSum"),
        ((2, _SIZE),),
    ),
}
"""Operators, and which of their inputs are bounded, in this order."""

_GROWING: dict[str, _Limits] = dict.fromkeys(
    (
        "TensorArrayScatter",
        "TensorArrayScatterV2",
        "TensorArrayScatterV3",
        "TensorArrayWrite",
        "TensorArrayWriteV2",
        "TensorArrayWriteV3",
    ),
    ((1, _PLACE),),
)
"""So do these, where the list was made with `dynamic_size`."""

_SHAPES = frozenset({"Rank", "Shape", "ShapeN", "Size"})
_ALL_INPUTS = frozenset({"ConcatV2", "Pack"})
_FIRST_INPUT = frozenset({"Cast", "ExpandDims", "Identity", "Slice", "Squeeze", "StridedSlice"})
_DEEPEST = 20


def bound_numbers(graph_def: Any) -> None:
    """Change `graph_def` in place: a call fails where its records ask an operator for what ends the process.

    The number goes through operators that fail for what is more. They have no constants: in a loop of the
    old kind each of these would have to be handed into its frame. The graph has been cut: constants that are
    fed are none any more. What is a constant within the limits, or the size of a tensor that there is, is
    left as it is, and costs nothing.
    """
    scopes = [(graph_def.node, "{}"), *((f.node_def, "{}:{}:0") for f in graph_def.library.function)]
    every = (node for nodes, _ in scopes for node in nodes)
    grows = any("dynamic_size" in node.attr and node.attr["dynamic_size"].b for node in every)
    for nodes, reference in scopes:
        wanted = [(node, at, limit) for node in nodes for at, limit in _limits(node, grows)]
        if not wanted:
            continue
        known = _Known(nodes)
        for node, at, limit in wanted:
            if at < len(node.input) and not known.fits(str(node.input[at]), limit):
                _Guard(nodes, reference, node, at).add(limit)


def _limits(node: Any, grows: bool) -> _Limits:
    if node.op == "TensorListSetItem" and attribute(node, "resize_if_index_out_of_bounds").b:
        return ((1, _PLACE),)
    if (
        node.op == "RaggedTensorToTensor"
        and b"FIRST_DIM_SIZE" in attribute(node, "row_partition_types").list.s[:1]
    ):
        return ((3, _EXTENT),)
    if node.op in _PADDED and not attribute(node, "pad_to_max_output_size").b:
        return ()
    return _LIMITS.get(node.op) or (_GROWING.get(node.op, ()) if grows else ())


class _Known:
    """What the nodes of a scope say of numbers before they run."""

    def __init__(self, nodes: Any) -> None:
        self._nodes = {n.name: n for n in nodes}
        self._proven: dict[tuple[str, _Limit], float] = {}  # a node may be an input many times

    def fits(self, reference: str, limit: _Limit) -> bool:
        """Whether a number is a constant within the limit, or a row of such, and of sizes of tensors."""
        return self._product(reference, limit, _DEEPEST) < limit.end

    def _product(self, reference: str, limit: _Limit, depth: int) -> float:
        """Of all constants in a row, in which those below 1 count as 1; infinite where it does not fit."""
        name = node_of(reference)
        node = self._nodes.get(name)
        if (name, limit) in self._proven:
            return self._proven[name, limit]
        if node is None or not depth:
            return math.inf
        if node.op == "Const":
            found = _product_within(limit, _numbers(node))
        elif not limit.known:
            return math.inf
        elif node.op in _SHAPES:
            found = 1.0 if limit.low <= 0 else math.inf  # of a tensor without an element a size is 0
        else:
            data = [str(i) for i in node.input if not i.startswith("^")]
            if node.op in _FIRST_INPUT:
                data = data[:1]
            elif node.op not in _ALL_INPUTS:
                return math.inf
            found = 1.0 if data else math.inf
            for one in data:
                if found == math.inf:
                    return found
                found *= self._product(one, limit, depth - 1)
        if found < math.inf:
            self._proven[name, limit] = found
        return found


def _product_within(limit: _Limit, numbers: Sequence[float] | None) -> float:
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
    if value.dtype not in (_FLOAT, _INT, _LONG) or count > 254:
        return None
    try:
        return list(tensor_util.MakeNdarray(value).ravel().tolist())
    except (TypeError, ValueError):  # TensorFlow refuses the constant
        return None


class _Guard:
    """Puts what fails between an operator and its input number `at`.

    `reference`: how a result is named, by its node and its name in the operator.
    """

    def __init__(self, nodes: Any, reference: str, node: Any, at: int) -> None:
        self._nodes, self._reference, self._node, self._at = nodes, reference, node, at
        self._count = 0

    def add(self, limit: _Limit) -> None:
        number = str(self._node.input[self._at])
        if number.startswith("^"):
            return  # TensorFlow refuses the node
        dtype = _dtype(self._node, self._at)
        measured, measure = (self._product(limit, number, dtype), _FLOAT) if limit.whole else (number, dtype)
        # 0 below, 1 in, 2 beyond
        found, bucketize = self._made(limit, "Bucketize", "output", measured, T=measure)
        bucketize.attr["boundaries"].list.f.extend([limit.low, limit.end])
        one, _ = self._made(limit, "OnesLike", "y", found, T=_INT)
        away, _ = self._made(limit, "Sub", "z", found, one, T=_INT)
        off, _ = self._made(limit, "Abs", "y", away, T=_INT)
        fits, _ = self._made(limit, "Less", "z", off, one, T=_INT)
        as_float, _ = self._made(limit, "Cast", "y", fits, SrcT=_BOOL, DstT=_FLOAT)
        inverse, _ = self._made(limit, "Reciprocal", "y", as_float, T=_FLOAT)
        checked, check = self._made(limit, "CheckNumerics", "output", inverse, T=_FLOAT)
        check.attr["message"].s = limit.message.encode()
        factor, _ = self._made(limit, "Cast", "y", checked, SrcT=_FLOAT, DstT=dtype)
        bounded, _ = self._made(limit, "Mul", "z", number, factor, T=dtype)
        self._node.input[self._at] = bounded

    def _product(self, limit: _Limit, number: str, dtype: int) -> str:
        as_float, _ = self._made(limit, "Cast", "y", number, SrcT=dtype, DstT=_FLOAT)
        ones, _ = self._made(limit, "OnesLike", "y", as_float, T=_FLOAT)
        counted, _ = self._made(limit, "Maximum", "z", as_float, ones, T=_FLOAT)
        rank, _ = self._made(limit, "Rank", "output", number, T=dtype)
        first, _ = self._made(limit, "ZerosLike", "y", rank, T=_INT)
        step, _ = self._made(limit, "OnesLike", "y", rank, T=_INT)
        axes, _ = self._made(limit, "Range", "output", first, rank, step, Tidx=_INT)
        product, _ = self._made(limit, "Prod", "output", counted, axes, T=_FLOAT, Tidx=_INT)
        return product

    def _made(self, limit: _Limit, op: str, result: str, *inputs: str, **types: int) -> tuple[str, Any]:
        self._count += 1
        name = f"{self._node.name}/{limit.name}_{self._at}_{self._count}"
        node = self._nodes.add(name=name, op=op, input=inputs)
        for attr, dtype in types.items():
            node.attr[attr].type = dtype
        return self._reference.format(node.name, result), node


def _dtype(node: Any, at: int) -> int:
    """The element type of an input of one tensor, by what TensorFlow says of its operator."""
    from tensorflow.python.framework import op_def_registry  # noqa: PLC0415

    signature = op_def_registry.get(node.op)
    arg = signature.input_arg[at]
    return int(attribute(node, arg.type_attr, signature).type if arg.type_attr else arg.type)
