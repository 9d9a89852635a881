"""Numbers that a record may say are bounded where TensorFlow does not bound them.

Most kernels look at their numbers first, and ask TensorFlow's allocator for their results, which refuses what
there is no room for: the call fails. Those here do not, and end the process, or never come back. Lists of
tensors are C++ vectors, and a vector without room ends the process. So do Fourier transforms of no length,
convolutions transposed to sizes that no tensor has, and windows into pictures whose corner overflows. What is
bounded was found by calling each operator that models may hold with numbers that hurt.

Results that a record's number makes huge are refused too: the allocator hands out half of all memory first,
and then waits for ten seconds before it refuses, which is longer than a call may take. A tensor without an
element takes no memory, whatever its sides: some kernels multiply them, and end the process where the product
is beyond 63 bits. So what makes a tensor of a shape counts each side as 1 at least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from udfs.models.runtimes.tensorflow.graph_walk import (
    BOOL,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    add_node,
    attribute,
    input_type,
    node_of,
    scopes,
)

MAX_LIST = 1_000_000
"""Tensors in a list: an empty one takes 32 bytes."""

MAX_ELEMENTS = 1 << 28
"""Elements of a tensor whose size a record says: 1 GiB of float32."""

MAX_ROWS = 1 << 24
"""Of a count by rows, each of which takes a map, whose shape has columns beside them."""

MAX_COUNTED = 1 << 40
"""Elements by the sizes of a tensor that may have none, of which 0 counts as 1."""

MAX_CELLS = 1 << 45
"""Of a sparse tensor, by its shape, in which 0 counts as 1: of some hundred thousand the sum is a number."""

MAX_TURNS = 1000
"""Of a hue, in either direction: its kernel takes one after the other off."""

_BELOW = 2.0**64
_HIGHEST_RANK = 255
_HIGHEST = 2**31 - 1
_COMPARED = (FLOAT, DOUBLE, INT, LONG)  # by Bucketize
_VALUES = 1  # of RaggedTensorToTensor
_TOO_LARGE = f"more than {MAX_ELEMENTS:,} elements are asked for"


@dataclass(frozen=True, slots=True)
class _Limit:
    """A number, or each of a tensor of them, is at least `low` and below `end`; `whole`: so is their product,
    in which those below 1 count as 1. `known`: the number is left alone where it is the size of a tensor.
    `of`: what is meant is the tensor's rank, its sizes, or those of the variable that it is a handle to, the
    first of its numbers alone, by how much each is past the rows of the operator's values, how many of it
    lead from the first input to the second, or what each of its rows comes to. `after`: the numbers reach
    the operator as they are, so that TensorFlow knows of its result what it knew, and it only waits."""

    name: str
    low: float
    end: float
    message: str
    whole: bool = False
    known: bool = True
    of: str = ""
    after: bool = False


_LISTS = f"a list of more than {MAX_LIST:,} tensors, or a place below 0, is asked for"
# of numbers of tensors, whose signs the kernels look at, nothing is below
_NUMBER = _Limit("most", -_BELOW, MAX_LIST + 1, _LISTS, known=False)
_PLACE = _Limit("most", 0, MAX_LIST + 1, _LISTS, known=False)
_SIZE = _Limit("most", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE)
_EXTENT = _Limit("each", 0, MAX_ELEMENTS + 1, f"a size below 0 or {_TOO_LARGE}")
_LENGTH = _Limit("each", 1, MAX_ELEMENTS + 1, f"a length below 1 or {_TOO_LARGE}")
_PRODUCT = _Limit("all", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, whole=True)
_RESULT = _Limit("result", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, whole=True, after=True)
_PADDING = _Limit("padding", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, whole=True, of="rows", after=True)
_SEGMENTS = _Limit("segments", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, after=True)
_FIRST = _Limit(
    "first", 0, MAX_ROWS + 1, f"more than {MAX_ROWS:,} rows, or below 0, are asked for", of="first"
)
_CELLS = _Limit("all", -_BELOW, MAX_CELLS + 1, f"more than {MAX_CELLS:,} cells are asked for", whole=True)
_ROWS = _Limit("each", 0, MAX_ROWS + 1, f"a count in more than {MAX_ROWS:,} rows, or below 0, is asked for")
_SPLITS = _Limit("each", 0, MAX_ELEMENTS + 1, f"rows end below 0, or beyond {MAX_ELEMENTS:,}")
_PAST = _Limit("past", -_BELOW, 1, "rows end beyond the values that there are", of="past")
_INDEX = _Limit("each", 0, _BELOW, "an index below 0 is given")
_WINDOW = _Limit("each", 0, MAX_ELEMENTS + 1, "a window of a picture that no picture has is asked for")
_BETWEEN = _Limit("most", -MAX_ELEMENTS, MAX_ELEMENTS + 1, _TOO_LARGE)
_SOME = _Limit("rank", 1, _HIGHEST_RANK, "a number is given where a list of them is taken", of="rank")
_SIDE = _Limit("side", 0, MAX_ROWS + 1, f"a tensor has a side of more than {MAX_ROWS:,}", of="sizes")
_WIDE = _Limit("side", 0, MAX_ELEMENTS + 1, f"a tensor has a side of more than {MAX_ELEMENTS:,}", of="sizes")
_SIDES = _Limit(
    "sides", 0, MAX_COUNTED + 1, f"a tensor's sides come to more than {MAX_COUNTED:,}", whole=True, of="sizes"
)
_MATRICES = _Limit("all", 0, MAX_ELEMENTS + 1, _TOO_LARGE, whole=True, of="sizes")
_SINGLE = _Limit("single", 1, 2, "several numbers are given where one is taken", of="sizes")
_STATE = _Limit("state", 3, 4, "a generator has a state of other than 3 numbers", of="variable")
_AXIS = _Limit("axis", -_HIGHEST_RANK, _HIGHEST_RANK, "an axis that no tensor has is given")
_STEPS = _Limit("steps", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, of="steps")
_TURN = _Limit("each", -MAX_TURNS, MAX_TURNS, f"a hue is to turn {MAX_TURNS:,} times or more")

_PADS = frozenset({"Pad", "PadV2", "SpaceToBatch", "SpaceToBatchND"})
_BLOCKS = frozenset({"BatchToSpaceND", "SpaceToBatchND"})
"""They go through the places of a block one by one, also where it has no element."""

_SEGMENTED = frozenset({"SegmentMax", "SegmentMean", "SegmentMin", "SegmentProd", "SegmentSum"})
"""They make as many rows as the last number says."""

_EDGES = {
    "BatchToSpace": 1,
    "BatchToSpaceND": 2,
    "MirrorPad": 1,
    "Pad": 1,
    "PadV2": 1,
    "SpaceToBatch": 1,
    "SpaceToBatchND": 2,
}
"""Which input says what is cut off or put on at the edges. Two numbers of 63 bits come to a small one: what
is to be cut off twice is given out instead, and nothing has written it."""

_PADDED = ("NonMaxSuppressionV4", "NonMaxSuppressionV5")
"""They make as many boxes as are asked for where they pad, else as many as there are."""

_Limits = tuple[tuple[int, _Limit], ...]

_SHAPED = ((0, _EXTENT), (0, _PRODUCT))
_BLOCK = ((1, _RESULT),)

_LIMITS: dict[str, _Limits] = {
    **dict.fromkeys(("QuantizedReshape", "Reshape", "SparseToDense"), ((1, _RESULT),)),
    **dict.fromkeys(("ExtractGlimpse", "ExtractGlimpseV2", "QuantizedResizeBilinear"), ((1, _RESULT),)),
    **dict.fromkeys(
        ("ImageProjectiveTransformV2", "ImageProjectiveTransformV3", "ScatterNd"), ((2, _RESULT),)
    ),
    "CropAndResize": ((3, _RESULT),),
    "NonDeterministicInts": ((0, _RESULT),),
    "StatefulStandardNormal": ((1, _RESULT),),
    **dict.fromkeys(
        (
            "StatefulStandardNormalV2",
            "StatefulTruncatedNormal",
            "StatefulUniform",
            "StatefulUniformFullInt",
            "StatefulUniformInt",
        ),
        ((2, _RESULT),),
    ),
    # a list gives zeros of the shape where nothing was put
    "EmptyTensorList": ((0, _RESULT),),
    "TensorListConcatV2": ((1, _RESULT), (2, _RESULT)),
    **dict.fromkeys(("TensorListGather", "TensorListGetItem"), ((2, _RESULT),)),
    **dict.fromkeys(("TensorListPopBack", "TensorListStack"), ((1, _RESULT),)),
    **dict.fromkeys(("DecodePaddedRaw", "SobolSample"), ((1, _SIZE),)),
    "HistogramFixedWidth": ((2, _SIZE),),
    **dict.fromkeys(("MatrixDiagV2", "MatrixDiagV3"), ((1, _BETWEEN), (2, _SIZE), (3, _SIZE))),
    **dict.fromkeys(
        (
            "SparseSegmentMeanWithNumSegments",
            "SparseSegmentSqrtNWithNumSegments",
            "SparseSegmentSumWithNumSegments",
        ),
        ((3, _SIZE),),
    ),
    **dict.fromkeys(("SparseReduceMax", "SparseReduceSum", "SparseTensorToCSRSparseMatrix"), ((2, _CELLS),)),
    "SparseMatrixZeros": ((0, _CELLS),),
    **dict.fromkeys(("TensorArray", "TensorArrayV2", "TensorArrayV3"), ((0, _NUMBER),)),
    "TensorListReserve": ((0, _RESULT), (1, _NUMBER)),
    "TensorListResize": ((1, _NUMBER),),
    # they make a list as long as a place in it wants, and none looks for one below 0
    "TensorListScatter": ((1, _PLACE),),
    "TensorListScatterIntoExistingList": ((2, _PLACE),),
    "TensorListScatterV2": ((1, _PLACE), (3, _NUMBER)),
    # they begin with a C++ vector of as many tensors as the first side says
    "TensorListFromTensor": ((0, _SIDE),),
    # lengths are added up, and come to any small number where one is below 0 or of 63 bits
    "TensorListSplit": ((0, _SIDE), (2, _EXTENT)),
    **dict.fromkeys(("TensorArraySplit", "TensorArraySplitV2", "TensorArraySplitV3"), ((2, _EXTENT),)),
    **dict.fromkeys(("ConjugateTranspose", "FakeQuantWithMinMaxVarsPerChannel"), ((0, _SOME),)),
    # tensors without an element may have sides whose product overflows
    "LRN": ((0, _WIDE), (0, _SIDES)),
    # they go through all matrices one by one, also through those without an element
    **dict.fromkeys(
        (
            "BatchCholesky",
            "BatchMatrixDeterminant",
            "BatchMatrixInverse",
            "BatchMatrixSolve",
            "BatchSelfAdjointEig",
            "BatchSelfAdjointEigV2",
            "BatchSvd",
            "Cholesky",
            "Eig",
            "LogMatrixDeterminant",
            "Lu",
            "MatrixDeterminant",
            "MatrixInverse",
            "MatrixSolve",
            "MatrixSquareRoot",
            "Qr",
            "SelfAdjointEig",
            "SelfAdjointEigV2",
            "Svd",
        ),
        ((0, _MATRICES),),
    ),
    # what they give is as large as a record says, which fills the memory before it fails
    **dict.fromkeys(
        (
            "Fill",
            "ParameterizedTruncatedNormal",
            "RandomGamma",
            "RandomStandardNormal",
            "RandomUniform",
            "RandomUniformInt",
            "StatelessParameterizedTruncatedNormal",
            "StatelessRandomBinomial",
            "StatelessRandomGammaV2",
            "StatelessRandomGammaV3",
            "StatelessRandomNormal",
            "StatelessRandomNormalV2",
            "StatelessRandomUniform",
            "StatelessRandomUniformFullInt",
            "StatelessRandomUniformFullIntV2",
            "StatelessRandomUniformInt",
            "StatelessRandomUniformIntV2",
            "StatelessRandomUniformV2",
            "StatelessTruncatedNormal",
            "StatelessTruncatedNormalV2",
            "TruncatedNormal",
        ),
        _SHAPED,
    ),
    **dict.fromkeys(("BroadcastTo", "Tile"), ((1, _EXTENT), (1, _PRODUCT))),
    **dict.fromkeys(
        ("ResizeArea", "ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor", "ScaleAndTranslate"),
        ((1, _EXTENT), (1, _PRODUCT)),
    ),
    **dict.fromkeys(("Bincount", "Multinomial", "OneHot", "StatelessMultinomial"), ((1, _SIZE),)),
    "LinSpace": ((2, _SIZE),),
    # it writes a state of any length into room for one of 3
    "RngReadAndSkip": ((0, _STATE),),
    "UnsortedSegmentJoin": ((2, _SIZE),),
    "RaggedRange": ((0, _BETWEEN), (1, _BETWEEN)),
    "Range": ((0, _BETWEEN), (1, _BETWEEN)),
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
    "SetSize": ((0, _INDEX), (2, _CELLS)),
    "SparseBincount": ((2, _FIRST), (3, _SIZE)),
    "StringNGrams": ((1, _SPLITS),),
    "SparseCountSparseOutput": ((2, _ROWS),),
    "SparseFillEmptyRows": ((2, _FIRST),),
    "SparseTensorDenseMatMul": ((2, _EXTENT),),
    **dict.fromkeys(
        ("UnsortedSegmentMax", "UnsortedSegmentMin", "UnsortedSegmentProd", "UnsortedSegmentSum"),
        ((2, _SIZE),),
    ),
}
"""Operators, and which of their inputs are bounded, in this order."""

_RANGES = ("RaggedRange", "Range")
"""Of whole numbers they take steps of 1 at least."""

_CROSSES = ("SparseCross", "SparseCrossHashed", "SparseCrossV2")
"""They go through all rows that a sparse tensor's shape says, and keep a number of each."""

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
        wanted = [(node, at, limit) for node in nodes for at, limit in _limits(node, grows)]
        if not wanted:
            continue
        known = _Known(nodes)
        for node, at, limit in wanted:
            if at < len(node.input) and not known.fits(str(node.input[at]), limit):
                _Guard(nodes, reference, node, at).add(limit)


def _limits(node: Any, grows: bool) -> _Limits:  # noqa: PLR0911
    if node.op == "TensorListSetItem" and attribute(node, "resize_if_index_out_of_bounds").b:
        return ((1, _PLACE),)
    if node.op == "RaggedTensorToTensor":
        kinds = attribute(node, "row_partition_types").list.s
        bounds = {b"FIRST_DIM_SIZE": _EXTENT, b"ROW_SPLITS": _SPLITS}
        last = ((2 + len(kinds), _PAST),) if b"ROW_SPLITS" in kinds[-1:] else ()
        parts = tuple((3 + n, bounds[kind]) for n, kind in enumerate(kinds) if kind in bounds)
        return ((0, _RESULT), *parts, *last)
    if node.op == "SplitV":
        return ((1, _part(max(attribute(node, "num_split").i, 1))),)
    if node.op in _CROSSES:
        first = attribute(node, "N").i + len(attribute(node, "sparse_types").list.type)
        return _each(node, first, _FIRST)
    if node.op == "SparseConcat":
        return _each(node, 2 * attribute(node, "N").i, _CELLS)
    if node.op in _EDGES:
        at = _EDGES[node.op]
        each = ((at, _EXTENT),) if input_type(node, at) == LONG else ()
        block = _BLOCK if node.op in _BLOCKS else ()
        return (*block, *each, *(((at, _PADDING),) if node.op in _PADS else ()))
    if node.op in _SEGMENTED:  # the numbers of 31 bits make no more rows than a side may have
        return ((1, _SEGMENTS),) if input_type(node, 1) == LONG else ()
    if node.op == "GatherV2":  # the sign of the lowest int64 cannot be turned, which its kernel does
        return ((2, _AXIS),) if input_type(node, 2) == LONG else ()
    if node.op == "RaggedTensorToVariant" and attribute(node, "batched_input").b:
        return ((0, _SIDE),)  # a variant a row
    if node.op in _RANGES and input_type(node, 0) not in (INT, LONG):
        return (*_LIMITS[node.op], (2, _STEPS))
    if node.op == "QuantizeV2" and ("axis" not in node.attr or node.attr["axis"].i < 0):
        return ((1, _SINGLE), (2, _SINGLE))
    if node.op in _PADDED and not attribute(node, "pad_to_max_output_size").b:
        return ()
    return _LIMITS.get(node.op) or (_GROWING.get(node.op, ()) if grows else ())


def _part(count: int) -> _Limit:
    """Of the sizes of so many parts, which are added up in 31 bits; -1: the rest."""
    most = min(MAX_ELEMENTS, _HIGHEST // count)
    return _Limit("each", -1, most + 1, f"a part of more than {most:,}, or below 0, is asked for")


def _each(node: Any, first: int, limit: _Limit) -> _Limits:
    """The same of the shapes of all its sparse tensors, which begin at the input number `first`."""
    count = min(attribute(node, "N").i, len(node.input))
    return tuple((first + n, limit) for n in range(count))


class _Known:
    """What the nodes of a scope say of numbers before they run."""

    def __init__(self, nodes: Any) -> None:
        self._nodes = {n.name: n for n in nodes}
        # a node may be an input many times
        self._proven: dict[tuple[str, _Limit], float] = {}
        self._unknown: set[tuple[str, _Limit, int]] = set()

    def fits(self, reference: str, limit: _Limit) -> bool:
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

    def _product(self, reference: str, limit: _Limit, depth: int) -> float:
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

    def _look(self, name: str, limit: _Limit, depth: int) -> float:
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
    if value.dtype not in (FLOAT, INT, LONG) or count > 254:
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

    def _measured(self, limit: _Limit, number: str, dtype: int) -> tuple[str, int]:  # noqa: PLR0911
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

    def _first(self, limit: _Limit, numbers: str, dtype: int) -> str:
        length, _ = self._made(limit, "Shape", "output", numbers, T=dtype)
        begin, _ = self._made(limit, "ZerosLike", "y", length, T=INT)
        one, _ = self._made(limit, "OnesLike", "y", length, T=INT)
        return self._made(limit, "Slice", "output", numbers, begin, one, T=dtype, Index=INT)[0]

    def _product(self, limit: _Limit, number: str, dtype: int) -> str:
        as_float, _ = self._made(limit, "Cast", "y", number, SrcT=dtype, DstT=FLOAT)
        ones, _ = self._made(limit, "OnesLike", "y", as_float, T=FLOAT)
        counted, _ = self._made(limit, "Maximum", "z", as_float, ones, T=FLOAT)
        rank, _ = self._made(limit, "Rank", "output", as_float, T=FLOAT)
        first, _ = self._made(limit, "ZerosLike", "y", rank, T=INT)
        step, _ = self._made(limit, "OnesLike", "y", rank, T=INT)
        axes, _ = self._made(limit, "Range", "output", first, rank, step, Tidx=INT)
        product, _ = self._made(limit, "Prod", "output", counted, axes, T=FLOAT, Tidx=INT)
        return product

    def _made(self, limit: _Limit, op: str, result: str, *inputs: str, **types: int) -> tuple[str, Any]:
        self._count += 1
        name = f"{self._node.name}/{limit.name}_{self._at}_{self._count}"
        node = add_node(self._nodes, name, op, inputs, **types)
        return self._reference.format(node.name, result), node
