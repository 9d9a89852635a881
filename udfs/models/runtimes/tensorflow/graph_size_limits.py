"""Which operators make tensors of which sizes, and how large each of these may be.

Most kernels look at their numbers first, and ask TensorFlow's allocator for their results, which refuses what
there is no room for: the call fails. Those in the table do not, and end the process, or never come back.
Lists of tensors are C++ vectors, and a vector without room ends the process. So do Fourier transforms of no
length, convolutions transposed to sizes that no tensor has, and windows into pictures whose corner overflows.
What is bounded was found by calling each operator that models may hold with numbers that hurt.

Results that a record's number makes huge are refused too: the allocator hands out half of all memory first,
and then waits for ten seconds before it refuses, which is longer than a call may take. A tensor without an
element takes no memory, whatever its sides: some kernels multiply them, and end the process where the product
is beyond 63 bits. So what makes a tensor of a shape counts each side as 1 at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from udfs.models.runtimes.tensorflow.graph_walk import INT, LONG, attribute, input_type

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
_TOO_LARGE = f"more than {MAX_ELEMENTS:,} elements are asked for"


@dataclass(frozen=True, slots=True)
class Limit:
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
_NUMBER = Limit("most", -_BELOW, MAX_LIST + 1, _LISTS, known=False)
_PLACE = Limit("most", 0, MAX_LIST + 1, _LISTS, known=False)
_SIZE = Limit("most", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE)
_EXTENT = Limit("each", 0, MAX_ELEMENTS + 1, f"a size below 0 or {_TOO_LARGE}")
_LENGTH = Limit("each", 1, MAX_ELEMENTS + 1, f"a length below 1 or {_TOO_LARGE}")
_PRODUCT = Limit("all", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, whole=True)
_RESULT = Limit("result", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, whole=True, after=True)
_PADDING = Limit("padding", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, whole=True, of="rows", after=True)
_SEGMENTS = Limit("segments", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, after=True)
_FIRST = Limit(
    "first", 0, MAX_ROWS + 1, f"more than {MAX_ROWS:,} rows, or below 0, are asked for", of="first"
)
_CELLS = Limit("all", -_BELOW, MAX_CELLS + 1, f"more than {MAX_CELLS:,} cells are asked for", whole=True)
_ROWS = Limit("each", 0, MAX_ROWS + 1, f"a count in more than {MAX_ROWS:,} rows, or below 0, is asked for")
_SPLITS = Limit("each", 0, MAX_ELEMENTS + 1, f"rows end below 0, or beyond {MAX_ELEMENTS:,}")
_PAST = Limit("past", -_BELOW, 1, "rows end beyond the values that there are", of="past")
_INDEX = Limit("each", 0, _BELOW, "an index below 0 is given")
_WINDOW = Limit("each", 0, MAX_ELEMENTS + 1, "a window of a picture that no picture has is asked for")
_BETWEEN = Limit("most", -MAX_ELEMENTS, MAX_ELEMENTS + 1, _TOO_LARGE)
_SOME = Limit("rank", 1, _HIGHEST_RANK, "a number is given where a list of them is taken", of="rank")
_SIDE = Limit("side", 0, MAX_ROWS + 1, f"a tensor has a side of more than {MAX_ROWS:,}", of="sizes")
_WIDE = Limit("side", 0, MAX_ELEMENTS + 1, f"a tensor has a side of more than {MAX_ELEMENTS:,}", of="sizes")
_SIDES = Limit(
    "sides", 0, MAX_COUNTED + 1, f"a tensor's sides come to more than {MAX_COUNTED:,}", whole=True, of="sizes"
)
_MATRICES = Limit("all", 0, MAX_ELEMENTS + 1, _TOO_LARGE, whole=True, of="sizes")
_SINGLE = Limit("single", 1, 2, "several numbers are given where one is taken", of="sizes")
_STATE = Limit("state", 3, 4, "a generator has a state of other than 3 numbers", of="variable")
_AXIS = Limit("axis", -_HIGHEST_RANK, _HIGHEST_RANK, "an axis that no tensor has is given")
_STEPS = Limit("steps", -_BELOW, MAX_ELEMENTS + 1, _TOO_LARGE, of="steps")
_TURN = Limit("each", -MAX_TURNS, MAX_TURNS, f"a hue is to turn {MAX_TURNS:,} times or more")

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

Limits = tuple[tuple[int, Limit], ...]

_SHAPED = ((0, _EXTENT), (0, _PRODUCT))
_BLOCK = ((1, _RESULT),)

_LIMITS: dict[str, Limits] = {
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

_GROWING: dict[str, Limits] = dict.fromkeys(
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


def limits_of(node: Any, grows: bool) -> Limits:  # noqa: PLR0911
    """The limits of a node's inputs, by its operator and what its attributes say. `grows`: the graph has a
    list that was made with `dynamic_size`."""
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


def _part(count: int) -> Limit:
    """Of the sizes of so many parts, which are added up in 31 bits; -1: the rest.

    There are few such limits, whatever the counts are: a row that many operators read is looked through once
    for each limit.
    """
    most = min(MAX_ELEMENTS, _HIGHEST >> (count - 1).bit_length())
    return Limit("each", -1, most + 1, f"a part of more than {most:,}, or below 0, is asked for")


def _each(node: Any, first: int, limit: Limit) -> Limits:
    """The same of the shapes of all its sparse tensors, which begin at the input number `first`."""
    count = min(attribute(node, "N").i, len(node.input))
    return tuple((first + n, limit) for n in range(count))
