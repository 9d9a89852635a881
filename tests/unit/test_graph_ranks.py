"""Ranks and sizes that a record makes, of operators whose kernels do not look at them: the call fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import PredictError, UnsafeModelError
from tests.models import graph, save
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature
from udfs.models.runtimes.tensorflow import frozen_graph, graph_ranks, saved_model
from udfs.models.runtimes.tensorflow.graph_ranks import hold_ranks
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
R = tf.raw_ops
FLAT, CUBE = [1] * 4, [1] * 5
STRIDES = {"strides": FLAT, "padding": "VALID"}
LONG = tf.int64


def of_rank(rank: Any) -> Any:
    """A 1 as a tensor whose rank a record says. TensorFlow does not know before that it is one."""
    one = tf.sign(tf.maximum(tf.cast(rank, tf.float32), 1.0))
    return tf.reshape(one, tf.ones(tf.reshape(rank, [1]), tf.int32))


def sized(side: Any) -> Any:
    """A tensor without an element, of which a record says a side."""
    return tf.transpose(tf.math.segment_sum(tf.zeros([1, 0]), tf.reshape(side - 1, [1])))


def ones(*sides: int) -> Any:
    return tf.ones(sides)


def cell(x: Any) -> Any:
    of = {"cs_prev": ones(1, 1), "h_prev": ones(1, 1), "w": ones(2, 4), "b": ones(4)}
    return R.LSTMBlockCell(x=x, wci=ones(1), wcf=ones(1), wco=ones(1), **of)[6]


def gathered(indices: Any) -> Any:
    of = {"params_nested_splits": [tf.constant([0, 1])], "params_dense_values": ones(1)}
    return R.RaggedGather(indices=tf.cast(indices, tf.int32) - 1, OUTPUT_RAGGED_RANK=1, **of)[1]


def got(index: Any) -> Any:
    made = R.TensorListFromTensor(tensor=ones(1), element_shape=tf.zeros([0], tf.int32))
    of = {"element_shape": tf.zeros([0], tf.int32), "element_dtype": tf.float32}
    return R.TensorListGetItem(input_handle=made, index=tf.cast(index, tf.int32) - 1, **of)


def ragged(partition: Any) -> Any:
    of = {"shape": [1, 1], "values": ones(1), "default_value": 0.0, "row_partition_types": ["ROW_SPLITS"]}
    return R.RaggedTensorToTensor(row_partition_tensors=[tf.cast(partition, tf.int32)], **of)


def quantised(x: Any) -> Any:
    a, low, high = R.QuantizeV2(input=x, min_range=-1.0, max_range=1.0, T=tf.quint8)
    b, *_ = R.QuantizeV2(input=ones(1, 1), min_range=-1.0, max_range=1.0, T=tf.qint8)
    of = {"bias": ones(1), "min_a": low, "max_a": high, "min_b": -1.0, "max_b": 1.0}
    return tf.cast(R.QuantizedMatMulWithBias(a=a, b=b, **of)[0], tf.float32)


# what is called with a tensor of a rank, and the rank that it takes
RANKED: dict[str, tuple[Callable[[Any], Any], int]] = {
    "Conv2D": (lambda x: R.Conv2D(input=x, filter=ones(*FLAT), **STRIDES), 4),
    "Conv2D, filter": (lambda x: R.Conv2D(input=ones(*FLAT), filter=x, **STRIDES), 4),
    "Conv3D": (lambda x: R.Conv3D(input=x, filter=ones(*CUBE), strides=CUBE, padding="SAME"), 5),
    "CombinedNonMaxSuppression": (
        lambda x: R.CombinedNonMaxSuppression(
            boxes=ones(1, 1, 1, 4),
            scores=x,
            max_output_size_per_class=1,
            max_total_size=1,
            iou_threshold=0.5,
            score_threshold=0.0,
        )[0],
        3,
    ),
    "DepthwiseConv2dNative": (
        lambda x: R.DepthwiseConv2dNative(input=x, filter=ones(*FLAT), **STRIDES),
        4,
    ),
    "Conv2DBackpropInput": (
        lambda x: R.Conv2DBackpropInput(input_sizes=FLAT, filter=x, out_backprop=x, **STRIDES),
        4,
    ),
    "Conv3DBackpropInputV2": (
        lambda x: R.Conv3DBackpropInputV2(
            input_sizes=CUBE, filter=x, out_backprop=x, strides=CUBE, padding="SAME"
        ),
        5,
    ),
    "MaxPool3D": (lambda x: R.MaxPool3D(input=x, ksize=CUBE, strides=CUBE, padding="SAME"), 5),
    "FakeQuantWithMinMaxVarsPerChannel": (
        lambda x: R.FakeQuantWithMinMaxVarsPerChannel(inputs=ones(1, 1), min=-x, max=x),
        1,
    ),
    "LSTMBlockCell": (cell, 2),
    "QuantizedMatMulWithBias": (quantised, 2),
    "RaggedGather": (gathered, 1),
    "TensorListGetItem": (got, 0),
}


def scored(made: Callable[[Any], Any]) -> Runtime:
    def build(x: Any) -> None:
        number = tf.cast(tf.reduce_max(x), tf.int32)
        never = tf.reduce_sum(made(number)) < -1e30  # which is not known before it runs
        tf.identity(x[:, 0] + tf.cast(never, tf.float32), name="y")

    return frozen_graph.load(Artifact(graph(build, width=1), None, Path("/nonexistent")), WantedSignature())


@pytest.mark.parametrize("name", RANKED)
def test_a_rank_that_a_kernel_does_not_look_at_fails_the_call(name: str) -> None:
    op, right = RANKED[name]
    runtime = scored(lambda rank: op(of_rank(rank)))
    for rank in {*range(7)} - {right}:
        with pytest.raises(PredictError, match="is not compatible with expected shape"):
            runtime.predict({"x": [[rank]]})
    try:
        assert runtime.predict({"x": [[right]]})["y"].tolist() == [right]
    except PredictError as e:  # a kernel of oneDNN's, which TensorFlow uses on some processors only
        assert name == "QuantizedMatMulWithBias" and "Missing 0-th output" in str(e)
    runtime.close()


def test_in_a_function_of_a_saved_model(tmp_path: Path) -> None:
    def served(x: Any) -> dict[str, Any]:
        pixels = of_rank(tf.cast(tf.reduce_max(x), tf.int32))
        convolved = tf.cond(
            tf.reduce_all(x > -3e9),
            lambda: R.Conv2D(input=pixels, filter=ones(*FLAT), **STRIDES),
            lambda: pixels,
        )
        return {"y": x[:, 0] * tf.reduce_sum(convolved)}

    served_as = {"serving_default": (served, {"x": ((None, 1), "float32")})}
    folder = save(tmp_path / "model", tf.Module(), served_as)
    runtime = saved_model.load(Artifact(None, folder, tmp_path), WantedSignature())
    with pytest.raises(PredictError, match="is not compatible with expected shape"):
        runtime.predict({"x": [[2]]})
    assert runtime.predict({"x": [[4]]})["y"].tolist() == [4]
    runtime.close()


@pytest.mark.parametrize("rank", [0, 2])
def test_a_partition_of_another_rank_fails_the_call(rank: int) -> None:
    runtime = scored(lambda number: ragged(of_rank(number)))
    with pytest.raises(PredictError, match="is not compatible with expected shape"):
        runtime.predict({"x": [[rank]]})
    runtime.close()


@pytest.mark.parametrize("op", ["Conv2DBackpropInput", "DepthwiseConv2dNativeBackpropInput"])
def test_sizes_of_another_number_fail_the_call(op: str) -> None:
    def made(count: Any) -> Any:
        sizes = tf.ones(tf.reshape(count, [1]), tf.int32)
        of = {"filter": ones(*FLAT), "out_backprop": ones(*FLAT)}
        return getattr(R, op)(input_sizes=sizes, **of, **STRIDES)

    runtime = scored(made)
    for count in (0, 3, 5):
        with pytest.raises(PredictError, match="is not compatible with expected shape"):
            runtime.predict({"x": [[count]]})
    assert runtime.predict({"x": [[4]]})["y"].tolist() == [4]
    runtime.close()


def test_what_is_known_to_be_of_the_right_shape_is_left_as_it_is() -> None:
    def build(x: Any) -> None:
        pixels = tf.reshape(x, [-1, 2, 2, 1])
        for _ in range(3):
            pixels = tf.nn.relu(
                tf.nn.bias_add(R.Conv2D(input=pixels, filter=ones(*FLAT), **STRIDES), ones(1))
            )
        rows = tf.reshape(pixels, tf.shape(pixels) + 0)
        tf.reduce_sum(R.Conv2D(input=rows, filter=ones(*FLAT), **STRIDES), [1, 2, 3], name="y")

    graph_def = tf.compat.v1.GraphDef.FromString(graph(build, width=4))
    hold_ranks(graph_def)
    held = [n for n in graph_def.node if n.op == "EnsureShape"]
    assert [n.input[0] for n in held] == ["Reshape_1"]


def test_what_is_added_up_many_times_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a chain of sums costs a power of its length: for this one thousands of looks."""
    looked, look = [], graph_ranks._KnownShapes._look
    monkeypatch.setattr(
        graph_ranks._KnownShapes, "_look", lambda *asked: looked.append(asked) or look(*asked)
    )
    graph_def = tf.compat.v1.GraphDef()
    graph_def.node.add(name="n0", op="Const").attr["value"].tensor.SetInParent()
    for n in range(12):
        graph_def.node.add(name=f"n{n + 1}", op="AddV2", input=[f"n{n}"] * 2)
    graph_def.node.add(name="y", op="TensorListGetItem", input=["items", "n12"])
    before = graph_def.SerializeToString()
    hold_ranks(graph_def)
    assert graph_def.SerializeToString() == before
    assert 12 < len(looked) < 50


def test_a_rank_that_a_file_says_is_not_made_before_it_is_looked_at() -> None:
    """Of a list as long as this one the process would end."""
    graph_def = tf.compat.v1.GraphDef()
    graph_def.node.add(name="sides", op="Pack").attr["N"].i = 1 << 62
    graph_def.node.add(name="x", op="Reshape", input=["numbers", "sides"])
    graph_def.node.add(name="y", op="Conv2D", input=["x", "x"])
    ragged = graph_def.node.add(name="z", op="RaggedGather", input=["x", "x", "x"])
    ragged.attr["OUTPUT_RAGGED_RANK"].i = 1 << 62
    hold_ranks(graph_def)
    assert sum(n.op == "EnsureShape" for n in graph_def.node) == 3


def looped(again: Callable[[Any], Any]) -> Any:
    """A graph with a loop over a list, whose counter begins as a number and goes on as `again` says."""

    def build(x: Any) -> None:
        made = R.TensorListFromTensor(tensor=x, element_shape=[4])
        takes = tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.variant), tf.TensorSpec(None)
        of = {"element_shape": [4], "element_dtype": tf.float32}
        body = tf.function(
            lambda i, items, y: (again(i), items, y + R.TensorListGetItem(input_handle=items, index=i, **of))
        ).get_concrete_function(*takes)
        cond = tf.function(lambda i, *_: tf.reduce_max(i) < 3).get_concrete_function(*takes)
        tf.identity(R.While(input=[0, made, 0.0], cond=cond, body=body)[2], name="y")

    return tf.compat.v1.GraphDef.FromString(graph(build, width=4))


@pytest.mark.parametrize(
    ("again", "held"),
    [
        (lambda i: i + 1, 0),
        (lambda i: tf.identity(1 + i), 0),
        (lambda i: tf.reshape(i, tf.boolean_mask([1], [tf.reduce_max(i) > 1])) + 1, 1),
    ],
)
def test_a_counter_of_a_loop_is_looked_at_where_it_may_be_no_number(again: Any, held: int) -> None:
    graph_def = looped(again)
    hold_ranks(graph_def)
    nodes = [n for f in graph_def.library.function for n in f.node_def]
    assert sum(n.op == "EnsureShape" for n in nodes) == held
    assert sum(n.op == "TensorListGetItem" for n in nodes) == 1


def in_variants(tensor: Any) -> Any:
    made = R.RaggedTensorToVariant(rt_nested_splits=[], rt_dense_values=tensor, batched_input=True)
    return tf.cast(tf.size(made), tf.float32)


def listed(tensor: Any) -> Any:
    made = R.TensorListFromTensor(tensor=tensor, element_shape=-1)
    return tf.cast(R.TensorListLength(input_handle=made), tf.float32)


SIZED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "LRN": (lambda n: R.LRN(input=sized(n)[None, None]), "a tensor has a side of more than"),
    "Qr": (lambda n: R.Qr(input=sized(n))[0], "elements are asked for"),
    "Cholesky": (
        lambda n: R.Cholesky(input=tf.reshape(sized(n), tf.stack([n, 0, 0]))),
        "elements are asked for",
    ),
    "TensorListFromTensor": (lambda n: listed(tf.transpose(sized(n))), "a tensor has a side of more than"),
    "RaggedTensorToVariant": (
        lambda n: in_variants(tf.transpose(sized(n))),
        "a tensor has a side of more than",
    ),
    "ScaleAndTranslate": (
        lambda n: R.ScaleAndTranslate(
            images=ones(1, 1, 1, 1), size=tf.stack([1, n]), scale=ones(2), translation=ones(2)
        ),
        "elements are asked for",
    ),
    "Fill": (lambda n: tf.fill(tf.stack([n]), 1.0), "elements are asked for"),
    "SparseBincount": (
        lambda n: R.SparseBincount(
            indices=tf.zeros([1, 2], LONG),
            values=[0],
            dense_shape=tf.cast(tf.stack([n, 1]), LONG),
            size=1,
            weights=tf.zeros([0]),
        ),
        "rows, or below 0, are asked for",
    ),
    "StringNGrams": (
        lambda n: tf.cast(
            R.StringNGrams(
                data=["a", "b"],
                data_splits=tf.cast(tf.stack([0, n]), LONG),
                separator=" ",
                ngram_widths=[1],
                left_pad="",
                right_pad="",
                pad_width=0,
                preserve_short_sequences=True,
            )[1],
            tf.float32,
        ),
        "rows end below 0, or beyond",
    ),
    "SetSize": (
        lambda n: tf.cast(
            R.SetSize(set_indices=tf.cast(tf.stack([[0, 3 - n]]), LONG), set_values=[1], set_shape=[1, 4]),
            tf.float32,
        ),
        "an index below 0 is given",
    ),
    "RaggedTensorToTensor, past its values": (
        lambda n: R.RaggedTensorToTensor(
            shape=[-1, 1],
            values=ones(2),
            default_value=0.0,
            row_partition_tensors=[tf.stack([0, 1, tf.minimum(n, 1_000_000)])],
            row_partition_types=["ROW_SPLITS"],
        ),
        "rows end beyond the values that there are",
    ),
    "RaggedTensorToTensor": (
        lambda n: R.RaggedTensorToTensor(
            shape=[2, 1],
            values=ones(2),
            default_value=0.0,
            row_partition_tensors=[tf.stack([0, 3 - n, 2])],
            row_partition_types=["ROW_SPLITS"],
        ),
        "rows end below 0, or beyond",
    ),
    "BroadcastTo": (lambda n: tf.broadcast_to([1.0], tf.stack([n])), "elements are asked for"),
    "Tile": (lambda n: tf.tile([1.0], tf.stack([n])), "elements are asked for"),
    "OneHot": (lambda n: tf.one_hot([0], n), "elements are asked for"),
    "Range": (lambda n: tf.cast(tf.range(n), tf.float32), "elements are asked for"),
    "LinSpace": (lambda n: tf.linspace(0.0, 1.0, n), "elements are asked for"),
    "Bincount": (
        lambda n: R.Bincount(arr=tf.zeros([1], tf.int32), size=n, weights=tf.zeros([0])),
        "elements are asked for",
    ),
    "ResizeBilinear": (
        lambda n: tf.image.resize(ones(1, 1, 1, 1), tf.stack([n, 1])),
        "elements are asked for",
    ),
    "RandomUniform": (lambda n: tf.random.uniform(tf.stack([n])), "elements are asked for"),
    "SparseFillEmptyRows": (
        lambda n: R.SparseFillEmptyRows(
            indices=tf.zeros([1, 2], LONG),
            values=ones(1),
            dense_shape=tf.cast(tf.stack([n, 1]), LONG),
            default_value=0.0,
        )[1],
        "rows, or below 0, are asked for",
    ),
    "SparseTensorDenseMatMul": (
        lambda n: R.SparseTensorDenseMatMul(
            a_indices=tf.zeros([1, 2], LONG),
            a_values=ones(1),
            a_shape=tf.cast(tf.stack([n, 1]), LONG),
            b=ones(1, 1),
        ),
        "a size below 0 or more than",
    ),
}


@pytest.mark.parametrize("name", SIZED)
def test_a_size_that_a_kernel_does_not_look_at_fails_the_call(name: str) -> None:
    op, said = SIZED[name]
    runtime = scored(lambda number: tf.reduce_sum(op(number)))
    with pytest.raises(PredictError, match=said):
        runtime.predict({"x": [[2**31 - 128]]})
    assert runtime.predict({"x": [[2]]})["y"].tolist() == [2]
    runtime.close()


@pytest.mark.parametrize(("length", "fits"), [(3, True), (5, False)])
def test_a_generator_of_another_state_is_not_asked(tmp_path: Path, length: int, fits: bool) -> None:
    """Its kernel writes the state into room for three numbers."""
    module = tf.Module()
    module.state = tf.Variable(tf.zeros([length], LONG), shape=tf.TensorShape(None))

    def served(x: Any) -> dict[str, Any]:
        drawn = R.RngReadAndSkip(resource=module.state.handle, alg=1, delta=tf.constant(1, tf.uint64))
        return {"y": x[:, 0] + tf.cast(drawn[0] < -1, tf.float32)}

    served_as = {"serving_default": (served, {"x": ((None, 1), "float32")})}
    folder = save(tmp_path / "model", module, served_as)
    runtime = saved_model.load(Artifact(None, folder, tmp_path), WantedSignature())
    if fits:
        assert runtime.predict({"x": [[1]]})["y"].tolist() == [1]
    else:
        with pytest.raises(PredictError, match="a generator has a state of other than 3 numbers"):
            runtime.predict({"x": [[1]]})
    runtime.close()


@pytest.mark.parametrize(
    ("op", "said"),
    [
        (
            lambda x: R.RandomIndexShuffle(
                index=tf.cast(x[:, 0], tf.int32), seed=[1, 2, 3], max_index=[5], rounds=2**31 - 2
            ),
            "has rounds = 2,147,483,646, and 1,000 is the most",
        ),
        (
            lambda x: R.AudioSpectrogram(input=x, window_size=2**31 - 1, stride=1),
            "has window_size = 2,147,483,647",
        ),
        (
            lambda x: R.UniformCandidateSampler(
                true_classes=tf.cast(x, LONG), num_true=1, num_sampled=2**31 - 1, unique=False, range_max=9
            )[1],
            "has num_sampled = 2,147,483,647",
        ),
        (lambda x: tf.strings.length(R.AsString(input=x, width=2**26)), "has width = 67,108,864, and 1,000"),
        (lambda x: tf.strings.length(R.AsString(input=x, precision=2**26)), "has precision = 67,108,864"),
        (
            lambda x: R.StringNGrams(
                data=tf.strings.as_string(x[:, 0]),
                data_splits=tf.constant([0, 1], LONG),
                separator=" ",
                ngram_widths=[2],
                left_pad="left",
                right_pad="right",
                pad_width=2**20,
                preserve_short_sequences=False,
            )[1],
            "has pad_width = 1,048,576",
        ),
    ],
)
def test_attributes_that_end_the_process_are_refused(op: Callable[[Any], Any], said: str) -> None:
    def build(x: Any) -> None:
        tf.identity(x[:, 0] + tf.reduce_sum(tf.cast(op(x), tf.float32)), name="y")

    with pytest.raises(UnsafeModelError, match=said):
        frozen_graph.load(Artifact(graph(build, width=1), None, Path("/nonexistent")), WantedSignature())
