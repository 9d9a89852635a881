"""No operator that a model may hold hands out memory as it finds it, with what other records left there.

Buffers of the size that the operator gives are filled with a pattern and freed, as those of another record
are; then the operator runs with inputs that are empty or degenerate, and the pattern must not be in what it
gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from udfs.models.runtimes.tensorflow.graph_ops import ALLOWED, UNWRITTEN
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
R = tf.raw_ops
PATTERN = 0x41424344
FOUND = PATTERN.to_bytes(4, "little") * 2
TRIES = 5
NAN, INF = float("nan"), float("inf")
ONE = [1, 1, 1, 1]
NO_PADDING = [[0, 0]] * 4
LONG = tf.int64


def values(given: Any) -> list[Any]:
    given = given if isinstance(given, list | tuple) else [given]
    return [v for v in given if isinstance(v, tf.Tensor) and v.dtype not in (tf.string, tf.variant)]


def hands_out(build: Callable[[], Any]) -> bool:
    """Whether the pattern is in what the operator gives. Raises `tf.errors.OpError`, `ValueError` where it
    refuses its inputs."""
    with tf.Graph().as_default() as graph:
        made = values(build())
        pattern = tf.compat.v1.placeholder(tf.int32, [1])
        count = tf.compat.v1.placeholder(tf.int32, [1])
        planted = [tf.tile(pattern, count) for _ in range(12)]
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    config.graph_options.optimizer_options.opt_level = -1  # nothing is computed once and kept
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    with tf.compat.v1.Session(graph=graph, config=config) as session:
        sizes = {max(v.nbytes // 4, 1) for v in session.run(made)}
        for _ in range(TRIES):
            for size in sizes:
                session.run(planted, {pattern: [PATTERN], count: [size]})
            if any(FOUND in v.tobytes() for v in session.run(made)):
                return True
    return False


def sparse(indices: int = 0) -> Any:
    return R.DenseToCSRSparseMatrix(dense_input=tf.zeros([64, 64]), indices=tf.zeros([indices, 2], LONG))


def dense(of: Any) -> Any:
    return R.CSRSparseMatrixToDense(sparse_input=of, type=tf.float32)


def reserved() -> Any:
    return R.TensorListReserve(element_shape=[1024], num_elements=2, element_dtype=tf.int32)


def norm(op: Any, training: bool, rows: int) -> Any:
    """What a model may read of it: the rest is for gradients, and without oneDNN, which TensorFlow uses on
    some processors only, nothing writes it."""
    given = [] if training else tf.ones([1024])
    return op(
        x=tf.zeros([rows, 4, 4, 1024]),
        scale=tf.ones([1024]),
        offset=tf.ones([1024]),
        mean=given,
        variance=given,
        is_training=training,
    )[:3]


def solved(op: Any, fast: bool, *rows: int) -> Any:
    nothing = tf.zeros([*rows, 0, 64])
    return op(matrix=nothing, rhs=nothing, l2_regularizer=tf.constant(0.0, tf.float64), fast=fast)


def fused(op: Any, **more: Any) -> Any:
    return op(
        input=tf.zeros([1, 8, 8, 1]),
        paddings=NO_PADDING,
        filter=tf.ones([0, 0, 1, 64]),
        mode="REFLECT",
        strides=ONE,
        padding="SAME",
        **more,
    )


def complexes(*shape: int) -> Any:
    return tf.complex(tf.ones(shape), tf.ones(shape))


LEAKING: dict[str, Callable[[], Any]] = {
    "Empty": lambda: R.Empty(shape=[4096], dtype=tf.int32, init=False),
    "MatrixSolveLs": lambda: solved(R.MatrixSolveLs, True),
    "MatrixSolveLs of many": lambda: solved(R.MatrixSolveLs, False, 4),
    "FusedPadConv2D": lambda: fused(R.FusedPadConv2D),
    "FusedResizeAndPadConv2D": lambda: fused(R.FusedResizeAndPadConv2D, size=[8, 8]),
    "QuantizedMatMul": lambda: R.QuantizedMatMul(
        a=tf.zeros([64, 0], tf.quint8),
        b=tf.zeros([0, 64], tf.quint8),
        min_a=0.0,
        max_a=1.0,
        min_b=0.0,
        max_b=1.0,
    ),
}
TAKEN: dict[str, Callable[[], Any]] = {
    "AccumulateNV2": lambda: R.AccumulateNV2(inputs=[tf.ones([1024])], shape=[1024]),
    "ApproxTopK": lambda: R.ApproxTopK(input=tf.fill([2, 64], NAN), k=32),
    "AvgPool": lambda: R.AvgPool(
        value=tf.ones([1, 32, 32, 4]), ksize=ONE, strides=[1, 5, 5, 1], padding="SAME"
    ),
    "AvgPool3D": lambda: R.AvgPool3D(
        input=tf.ones([1, 8, 8, 8, 1]), ksize=[1] * 5, strides=[1, 3, 3, 3, 1], padding="SAME"
    ),
    "BandedTriangularSolve": lambda: R.BandedTriangularSolve(matrix=tf.ones([1, 64]), rhs=tf.ones([64, 1])),
    "BatchMatMulV2": lambda: R.BatchMatMulV2(x=tf.zeros([2, 64, 0]), y=tf.zeros([2, 0, 64])),
    "BatchMatMulV3": lambda: R.BatchMatMulV3(x=tf.zeros([2, 64, 0]), y=tf.zeros([2, 0, 64]), Tout=tf.float32),
    "CSRSparseMatrixComponents": lambda: R.CSRSparseMatrixComponents(
        csr_sparse_matrix=sparse(), index=0, type=tf.float32
    ),
    "CTCGreedyDecoder": lambda: R.CTCGreedyDecoder(
        inputs=tf.zeros([4, 1024, 3]), sequence_length=tf.zeros([1024], tf.int32)
    ),
    "CombinedNonMaxSuppression": lambda: R.CombinedNonMaxSuppression(
        boxes=tf.zeros([1, 1, 1, 4]),
        scores=tf.ones([1, 1, 1]),
        max_output_size_per_class=1024,
        max_total_size=1024,
        iou_threshold=0.5,
        score_threshold=0.1,
    ),
    "Conv2D": lambda: R.Conv2D(
        input=tf.zeros([1, 8, 8, 0]), filter=tf.zeros([1, 1, 0, 64]), strides=ONE, padding="SAME"
    ),
    "Conv2D without a filter": lambda: R.Conv2D(
        input=tf.zeros([1, 8, 8, 1]), filter=tf.ones([0, 0, 1, 64]), strides=ONE, padding="SAME"
    ),
    "Conv3D": lambda: R.Conv3D(
        input=tf.zeros([1, 8, 8, 8, 0]), filter=tf.zeros([1, 1, 1, 0, 64]), strides=[1] * 5, padding="SAME"
    ),
    "Conv3D without a filter": lambda: R.Conv3D(
        input=tf.zeros([1, 8, 8, 8, 1]), filter=tf.ones([0, 0, 0, 1, 64]), strides=[1] * 5, padding="SAME"
    ),
    "CropAndResize": lambda: R.CropAndResize(
        image=tf.ones([1, 4, 4, 1]), boxes=[[NAN, 0, INF, 1]], box_ind=[7], crop_size=[32, 32]
    ),
    "DecodePaddedRaw": lambda: R.DecodePaddedRaw(input_bytes=["a"], fixed_length=4096, out_type=tf.int32),
    "DenseBincount": lambda: R.DenseBincount(
        input=tf.zeros([0], tf.int32), size=tf.constant(1024), weights=tf.zeros([0])
    ),
    "Conv2DBackpropInput": lambda: R.Conv2DBackpropInput(
        input_sizes=[1, 8, 8, 64],
        filter=tf.zeros([1, 1, 64, 0]),
        out_backprop=tf.zeros([1, 8, 8, 0]),
        strides=ONE,
        padding="SAME",
    ),
    "Conv3DBackpropInputV2": lambda: R.Conv3DBackpropInputV2(
        input_sizes=[1, 4, 4, 4, 64],
        filter=tf.zeros([0, 0, 0, 64, 1]),
        out_backprop=tf.zeros([1, 4, 4, 4, 1]),
        strides=[1] * 5,
        padding="SAME",
    ),
    "DepthwiseConv2dNative": lambda: R.DepthwiseConv2dNative(
        input=tf.zeros([1, 8, 8, 0]), filter=tf.zeros([1, 1, 0, 64]), strides=ONE, padding="SAME"
    ),
    "DepthwiseConv2dNative without a filter": lambda: R.DepthwiseConv2dNative(
        input=tf.zeros([1, 8, 8, 1]), filter=tf.ones([0, 0, 1, 64]), strides=ONE, padding="SAME"
    ),
    "Dilation2D": lambda: R.Dilation2D(
        input=tf.ones([1, 32, 32, 1]), filter=tf.zeros([0, 0, 1]), strides=ONE, rates=ONE, padding="SAME"
    ),
    "DynamicStitch": lambda: R.DynamicStitch(indices=[tf.constant([4095])], data=[tf.constant([1])]),
    "Eig": lambda: R.Eig(input=tf.fill([8, 8], NAN), Tout=tf.complex64, compute_v=True),
    "Einsum": lambda: R.Einsum(inputs=[tf.zeros([64, 0]), tf.zeros([0, 64])], equation="ij,jk->ik"),
    "ExtractGlimpse": lambda: R.ExtractGlimpse(
        input=tf.ones([1, 4, 4, 1]), size=[32, 32], offsets=[[9.0, 9.0]], uniform_noise=False, noise="zero"
    ),
    "FFTND": lambda: R.FFTND(input=complexes(4, 3), fft_length=[64, 64], axes=[0, 1]),
    "FractionalAvgPool": lambda: R.FractionalAvgPool(
        value=tf.ones([1, 64, 64, 1]), pooling_ratio=[1, 1.5, 1.5, 1]
    ),
    "FusedBatchNorm": lambda: norm(R.FusedBatchNorm, False, 1),
    "FusedBatchNormV3": lambda: norm(R.FusedBatchNormV3, False, 1),
    "FusedBatchNormV3 without rows": lambda: norm(R.FusedBatchNormV3, True, 0),
    "GRUBlockCell": lambda: R.GRUBlockCell(
        x=tf.ones([1, 1]),
        h_prev=tf.ones([1, 64]),
        w_ru=tf.ones([65, 128]),
        w_c=tf.ones([65, 64]),
        b_ru=tf.ones([128]),
        b_c=tf.ones([64]),
    ),
    "IRFFT": lambda: R.IRFFT(input=complexes(4, 3), fft_length=[64]),
    "IRFFT2D": lambda: R.IRFFT2D(input=complexes(4, 3), fft_length=[64, 64]),
    "IRFFT3D": lambda: R.IRFFT3D(input=complexes(2, 4, 3), fft_length=[16, 16, 16]),
    "IRFFTND": lambda: R.IRFFTND(input=complexes(4, 3), fft_length=[64, 64], axes=[0, 1]),
    "ImageProjectiveTransformV3": lambda: R.ImageProjectiveTransformV3(
        images=tf.ones([1, 4, 4, 1]),
        transforms=[[NAN] * 8],
        output_shape=[32, 32],
        fill_value=0.0,
        interpolation="NEAREST",
    ),
    "LSTMBlockCell": lambda: R.LSTMBlockCell(
        x=tf.ones([1, 1]),
        cs_prev=tf.ones([1, 64]),
        h_prev=tf.ones([1, 64]),
        w=tf.ones([65, 256]),
        wci=tf.ones([64]),
        wcf=tf.ones([64]),
        wco=tf.ones([64]),
        b=tf.ones([256]),
    ),
    "LogMatrixDeterminant": lambda: R.LogMatrixDeterminant(input=tf.zeros([64, 0, 0])),
    "LowerBound": lambda: R.LowerBound(sorted_inputs=tf.zeros([4, 0]), values=tf.zeros([4, 256])),
    "Lu": lambda: R.Lu(input=tf.zeros([64, 64])),
    "MatMul": lambda: R.MatMul(a=tf.zeros([64, 0]), b=tf.zeros([0, 64])),
    "MatrixDeterminant": lambda: R.MatrixDeterminant(input=tf.zeros([64, 0, 0])),
    "MatrixDiagPartV3": lambda: R.MatrixDiagPartV3(input=tf.ones([4, 4]), k=[-3, 3], padding_value=0.0),
    "MatrixSolve": lambda: R.MatrixSolve(matrix=tf.zeros([2, 0, 0]), rhs=tf.zeros([2, 0, 64])),
    "MaxPool": lambda: R.MaxPool(
        input=tf.ones([1, 32, 32, 4]), ksize=ONE, strides=[1, 5, 5, 1], padding="SAME"
    ),
    "MaxPool3D": lambda: R.MaxPool3D(
        input=tf.ones([1, 8, 8, 8, 1]), ksize=[1] * 5, strides=[1, 3, 3, 3, 1], padding="SAME"
    ),
    "MaxPoolWithArgmax": lambda: R.MaxPoolWithArgmax(
        input=tf.fill([1, 64, 64, 1], NAN), ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID"
    ),
    "Mean": lambda: R.Mean(input=tf.zeros([64, 0]), axis=1),
    "NonMaxSuppressionV5": lambda: R.NonMaxSuppressionV5(
        boxes=tf.zeros([1, 4]),
        scores=[1.0],
        max_output_size=1024,
        iou_threshold=0.5,
        score_threshold=0.1,
        soft_nms_sigma=0.0,
        pad_to_max_output_size=True,
    ),
    "NthElement": lambda: R.NthElement(input=tf.fill([2, 64], NAN), n=3),
    "Qr": lambda: R.Qr(input=tf.zeros([3, 64, 0]), full_matrices=True),
    "QuantizedAvgPool": lambda: R.QuantizedAvgPool(
        input=tf.zeros([1, 32, 32, 4], tf.quint8),
        min_input=0.0,
        max_input=1.0,
        ksize=ONE,
        strides=[1, 5, 5, 1],
        padding="SAME",
    ),
    "QuantizedResizeBilinear": lambda: R.QuantizedResizeBilinear(
        images=tf.zeros([1, 4, 4, 1], tf.quint8), size=[32, 32], min=0.0, max=1.0
    ),
    "RFFT": lambda: R.RFFT(input=tf.ones([4, 3]), fft_length=[64]),
    "RFFT2D": lambda: R.RFFT2D(input=tf.ones([4, 3]), fft_length=[64, 64]),
    "RFFTND": lambda: R.RFFTND(input=tf.ones([4, 3]), fft_length=[64, 64], axes=[0, 1]),
    "RaggedBincount": lambda: R.RaggedBincount(
        splits=tf.constant([0, 0, 0], LONG),
        values=tf.zeros([0], tf.int32),
        size=tf.constant(1024),
        weights=tf.zeros([0]),
    ),
    "RaggedTensorToTensor": lambda: R.RaggedTensorToTensor(
        shape=tf.constant([4, 1024], LONG),
        values=tf.ones([3]),
        default_value=0.0,
        row_partition_tensors=[tf.constant([0, 1, 3], LONG)],
        row_partition_types=["ROW_SPLITS"],
    ),
    "RandomGamma": lambda: R.RandomGamma(shape=[1024], alpha=tf.constant([NAN])),
    "ResizeNearestNeighbor": lambda: R.ResizeNearestNeighbor(images=tf.ones([1, 4, 4, 1]), size=[32, 32]),
    "ReverseSequence": lambda: R.ReverseSequence(
        input=tf.ones([2, 1024]), seq_lengths=tf.constant([0, 0], LONG), seq_dim=1, batch_dim=0
    ),
    "ScaleAndTranslate": lambda: R.ScaleAndTranslate(
        images=tf.ones([1, 4, 4, 1]), size=[32, 32], scale=[0.0001, 0.0001], translation=[1000.0, 1000.0]
    ),
    "SegmentMean": lambda: R.SegmentMean(data=tf.ones([2, 1024]), segment_ids=[3, 5]),
    "SegmentSum": lambda: R.SegmentSum(data=tf.ones([2, 1024]), segment_ids=[0, 5]),
    "SelfAdjointEigV2": lambda: R.SelfAdjointEigV2(input=tf.fill([8, 8], NAN), compute_v=True),
    "SoftmaxCrossEntropyWithLogits": lambda: R.SoftmaxCrossEntropyWithLogits(
        features=tf.zeros([64, 0]), labels=tf.zeros([64, 0])
    ),
    "SparseMatMul": lambda: R.SparseMatMul(a=tf.zeros([64, 0]), b=tf.zeros([0, 64])),
    "SparseMatrixOrderingAMD": lambda: R.SparseMatrixOrderingAMD(input=sparse()),
    "SparseMatrixSoftmax": lambda: dense(R.SparseMatrixSoftmax(logits=sparse(), type=tf.float32)),
    "SparseReduceSum": lambda: R.SparseReduceSum(
        input_indices=tf.zeros([0, 2], LONG),
        input_values=tf.zeros([0]),
        input_shape=tf.constant([64, 64], LONG),
        reduction_axes=[1],
    ),
    "SparseSegmentMeanWithNumSegments": lambda: R.SparseSegmentMeanWithNumSegments(
        data=tf.ones([2, 1024]), indices=[0], segment_ids=[2], num_segments=5
    ),
    "SparseSegmentSum": lambda: R.SparseSegmentSum(
        data=tf.ones([2, 1024]), indices=[0, 1], segment_ids=[3, 5]
    ),
    "SparseSegmentSumWithNumSegments": lambda: R.SparseSegmentSumWithNumSegments(
        data=tf.ones([2, 1024]),
        indices=tf.zeros([0], tf.int32),
        segment_ids=tf.zeros([0], tf.int32),
        num_segments=4,
    ),
    "SparseTensorDenseMatMul": lambda: R.SparseTensorDenseMatMul(
        a_indices=tf.zeros([0, 2], LONG),
        a_values=tf.zeros([0]),
        a_shape=tf.constant([64, 64], LONG),
        b=tf.ones([64, 64]),
    ),
    "Svd": lambda: R.Svd(input=tf.zeros([64, 0]), compute_uv=True, full_matrices=True),
    "Svd of no row": lambda: R.Svd(input=tf.zeros([0, 64]), compute_uv=True, full_matrices=True),
    "TensorListConcatV2": lambda: R.TensorListConcatV2(
        input_handle=reserved(),
        element_shape=[1024],
        leading_dims=tf.constant([1024, 1024], LONG),
        element_dtype=tf.int32,
    ),
    "TensorListGather": lambda: R.TensorListGather(
        input_handle=reserved(), indices=[0, 1], element_shape=[1024], element_dtype=tf.int32
    ),
    "TensorListStack": lambda: R.TensorListStack(
        input_handle=reserved(), element_shape=[1024], element_dtype=tf.int32, num_elements=-1
    ),
    "TridiagonalSolve": lambda: R.TridiagonalSolve(
        diagonals=tf.zeros([3, 64]), rhs=tf.ones([64, 2]), partial_pivoting=False
    ),
    "UnsortedSegmentMax": lambda: R.UnsortedSegmentMax(
        data=tf.ones([1, 1024]), segment_ids=[-1], num_segments=3
    ),
    "UpperBound": lambda: R.UpperBound(sorted_inputs=tf.zeros([4, 0]), values=tf.zeros([4, 256])),
}


@pytest.mark.parametrize("op", LEAKING)
def test_what_hands_out_memory_is_seen_and_no_model_may_hold_it(op: str) -> None:
    assert hands_out(LEAKING[op])
    assert op.partition(" ")[0] in UNWRITTEN - ALLOWED


@pytest.mark.parametrize("case", TAKEN)
def test_what_a_model_may_hold_writes_what_it_gives(case: str) -> None:
    assert case.partition(" ")[0] in ALLOWED
    try:
        assert not hands_out(TAKEN[case])
    except (tf.errors.OpError, ValueError) as e:
        assert "NodeDef" not in str(e)  # the inputs are refused, not how the case is written
