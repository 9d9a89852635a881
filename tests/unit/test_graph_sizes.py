"""Numbers that a record says, of operators that end the process, or never come back, for some of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import PredictError
from tests.models import graph, save
from udfs.models.runtimes.base import Artifact, PartialInput, Runtime, WantedSignature
from udfs.models.runtimes.tensorflow import frozen_graph, graph_known_sizes, saved_model
from udfs.models.runtimes.tensorflow.graph_size_guards import bound_numbers
from udfs.models.runtimes.tensorflow.graph_size_limits import (
    MAX_ELEMENTS,
    MAX_LIST,
    MAX_ROWS,
    MAX_TURNS,
)
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
_SAID = "a list of more than 1,000,000 tensors|negative|>= 0|expects num_elements"
BEYOND = [MAX_LIST + 2, 2_000_000_000, -2_000_000_000, -5]


def empty() -> Any:
    return tf.zeros([0], tf.int32)


def listed(number: Any) -> Any:
    return tf.raw_ops.TensorListReserve(element_shape=empty(), num_elements=number, element_dtype=tf.float32)


def reserved(number: Any) -> Any:
    return tf.raw_ops.TensorListLength(input_handle=listed(number))


def resized(number: Any) -> Any:
    return tf.raw_ops.TensorListLength(
        input_handle=tf.raw_ops.TensorListResize(input_handle=listed(1), size=number)
    )


def array(number: Any) -> Any:
    handle, flow = tf.raw_ops.TensorArrayV3(size=number, dtype=tf.float32)
    return tf.raw_ops.TensorArraySizeV3(handle=handle, flow_in=flow)


def one_longer(made: Any) -> Any:
    return tf.raw_ops.TensorListLength(input_handle=made) - 1


def set_item(number: Any) -> Any:
    of = {"input_handle": listed(1), "item": 1.0, "resize_if_index_out_of_bounds": True}
    return one_longer(tf.raw_ops.TensorListSetItem(index=number, **of))


def scattered(number: Any) -> Any:
    of = {"tensor": tf.ones([1]), "element_shape": empty()}
    return one_longer(tf.raw_ops.TensorListScatter(indices=tf.reshape(number, [1]), **of))


def scattered_into(number: Any) -> Any:
    of = {"input_handle": listed(1), "tensor": tf.ones([1])}
    return one_longer(tf.raw_ops.TensorListScatterIntoExistingList(indices=tf.reshape(number, [1]), **of))


def scattered_to_a_number(number: Any) -> Any:
    of = {"tensor": tf.ones([1]), "indices": [0], "element_shape": empty()}
    return tf.raw_ops.TensorListLength(input_handle=tf.raw_ops.TensorListScatterV2(num_elements=number, **of))


def scattered_at_a_place(number: Any) -> Any:
    of = {"tensor": tf.ones([1]), "num_elements": -1, "element_shape": empty()}
    return one_longer(tf.raw_ops.TensorListScatterV2(indices=tf.reshape(number, [1]), **of))


def written(number: Any) -> Any:
    handle, flow = tf.raw_ops.TensorArrayV3(size=1, dtype=tf.float32, dynamic_size=True)
    flow = tf.raw_ops.TensorArrayWriteV3(handle=handle, index=number, value=1.0, flow_in=flow)
    return tf.raw_ops.TensorArraySizeV3(handle=handle, flow_in=flow) - 1


def array_scattered(number: Any) -> Any:
    handle, flow = tf.raw_ops.TensorArrayV3(size=1, dtype=tf.float32, dynamic_size=True)
    of = {"handle": handle, "value": tf.ones([1]), "flow_in": flow}
    flow = tf.raw_ops.TensorArrayScatterV3(indices=tf.reshape(number, [1]), **of)
    return tf.raw_ops.TensorArraySizeV3(handle=handle, flow_in=flow) - 1


KINDS = [
    reserved, resized, array, set_item, scattered, scattered_into, scattered_to_a_number,
    scattered_at_a_place, written, array_scattered,
]  # fmt: skip


def score(length: Callable[[Any], Any], x: Any) -> Any:
    number = tf.cast(tf.reduce_max(x), tf.int32)
    return x + tf.cast(length(number), x.dtype)


@pytest.fixture(params=KINDS, ids=lambda made: made.__name__)
def length(request: pytest.FixtureRequest) -> Any:
    return request.param


def check(runtime: Runtime) -> None:
    assert runtime.predict({"x": [[1], [3]]})["y"].tolist() == [[4], [6]]
    assert runtime.predict({"x": [[MAX_LIST]]})["y"].tolist() == [[2 * MAX_LIST]]
    for number in BEYOND:
        with pytest.raises(PredictError, match=_SAID):
            runtime.predict({"x": [[number]]})
    assert runtime.predict({"x": [[2]]})["y"].tolist() == [[4]]
    runtime.close()


def test_in_a_frozen_graph(length: Any) -> None:
    def build(x: Any) -> None:
        tf.identity(score(length, tf.cast(x, tf.float64)), name="y")

    made = graph(build, width=1)
    check(frozen_graph.load(Artifact(made, None, Path("/nonexistent")), WantedSignature()))


def test_in_a_loop_of_the_old_kind() -> None:
    """Constants would stand outside of the loop's frame."""

    def build(x: Any) -> None:
        rounds = tf.compat.v1.while_loop(
            lambda n, _: n < 2, lambda n, at: (n + 1, score(reserved, at)), [0, tf.cast(x, tf.float64)]
        )
        tf.identity(rounds[1], name="y")

    tf.compat.v1.disable_control_flow_v2()
    try:
        made = graph(build, width=1)
    finally:
        tf.compat.v1.enable_control_flow_v2()
    runtime = frozen_graph.load(Artifact(made, None, Path("/nonexistent")), WantedSignature())
    assert runtime.predict({"x": [[1], [3]]})["y"].tolist() == [[10], [12]]
    with pytest.raises(PredictError, match="a list of more than"):
        runtime.predict({"x": [[600_000]]})  # beyond in the second round
    runtime.close()


def test_in_a_function_of_a_saved_model(tmp_path: Path, length: Any) -> None:
    def served(x: Any) -> dict[str, Any]:
        return {"y": tf.cond(tf.reduce_all(x > -3e9), lambda: score(length, x), lambda: x)}

    folder = save(
        tmp_path / "model", tf.Module(), {"serving_default": (served, {"x": ((None, 1), "float64")})}
    )
    check(saved_model.load(Artifact(None, folder, tmp_path), WantedSignature()))


def test_a_constant_that_is_fed_is_bounded() -> None:
    """Who publishes a model says which of its tensors records give."""

    def build(x: Any) -> None:
        places = tf.constant([0], tf.int32, name="places")
        made = tf.raw_ops.TensorListScatter(
            tensor=tf.ones_like(places, tf.float32), indices=places, element_shape=empty()
        )
        length = tf.raw_ops.TensorListLength(input_handle=made)
        tf.identity(x[:, 0] + tf.cast(length, x.dtype), name="y")

    wanted = WantedSignature(inputs=[PartialInput("places", None, ()), PartialInput("x")])
    runtime = frozen_graph.load(Artifact(graph(build, width=1), None, Path("/nonexistent")), wanted)
    x = np.array([[1]], "float32")
    assert runtime.predict({"x": x, "places": np.array([3], "int32")})["y"].tolist() == [5]
    for number in BEYOND:
        with pytest.raises(PredictError, match="a list of more than"):
            runtime.predict({"x": x, "places": np.array([number], "int32")})
    runtime.close()


def test_a_list_of_a_known_length_stays_as_it_is() -> None:
    data = graph(lambda x: tf.identity(x + tf.cast(reserved(5), x.dtype), name="y"))
    graph_def = tf.compat.v1.GraphDef.FromString(data)
    bound_numbers(graph_def)
    assert graph_def == tf.compat.v1.GraphDef.FromString(data)


def transformed(number: Any) -> Any:
    return tf.abs(tf.raw_ops.RFFT(input=tf.ones([4]), fft_length=[number]))


def transformed_back(number: Any) -> Any:
    return tf.raw_ops.IRFFT2D(input=tf.ones([4, 4], tf.complex64), fft_length=[4, number])


def transposed(number: Any) -> Any:
    sides = {"filter": tf.ones([2, 2, 1, 1]), "out_backprop": tf.ones([1, 2, 2, 1])}
    of = {"strides": [1, 2, 2, 1], "padding": "VALID"}
    return tf.raw_ops.Conv2DBackpropInput(input_sizes=[1, number, 4, 1], **sides, **of)


def cropped(number: Any) -> Any:
    picture = tf.io.encode_jpeg(tf.zeros([8, 8, 3], tf.uint8))
    height = tf.maximum(number // 2**20, 1)  # added to the corner, it is below 0
    return tf.raw_ops.DecodeAndCropJpeg(contents=picture, crop_window=[number, 0, height, 1])


def suppressed(number: Any) -> Any:
    boxes = {"boxes": [[0.0, 0.0, 1.0, 1.0]], "scores": [0.5], "iou_threshold": 0.5, "score_threshold": 0.1}
    of = {"max_output_size": number, "pad_to_max_output_size": True}
    return tf.raw_ops.NonMaxSuppressionV4(**boxes, **of)[0]


def filled(number: Any) -> Any:
    rows, nrows = tf.zeros([1], tf.int64), tf.cast(number, tf.int64)
    return tf.raw_ops.RaggedFillEmptyRows(value_rowids=rows, values=rows, nrows=nrows, default_value=rows[0])[
        0
    ]


def counted(number: Any) -> Any:
    size = tf.cast(number, tf.int64) ** 2
    return tf.raw_ops.DenseBincount(input=tf.zeros([2, 1], tf.int64), size=size, weights=tf.zeros([0]))


def summed(number: Any) -> Any:
    return tf.raw_ops.UnsortedSegmentSum(data=[1.0], segment_ids=[0], num_segments=number)


def turned(number: Any) -> Any:
    return tf.raw_ops.AdjustHue(images=tf.ones([1, 1, 3]), delta=tf.cast(number, tf.float32))


def padded(number: Any) -> Any:
    parts = [tf.cast(number, tf.int64), tf.zeros([1], tf.int64)]
    of = {"values": [1.0], "default_value": 0.0, "row_partition_types": ["FIRST_DIM_SIZE", "VALUE_ROWIDS"]}
    return tf.raw_ops.RaggedTensorToTensor(shape=[1, 1], row_partition_tensors=parts, **of)


def counted_in_rows(number: Any) -> Any:
    of = {
        "indices": tf.zeros([1, 2], tf.int64),
        "values": [0],
        "weights": tf.zeros([0]),
        "binary_output": True,
    }
    shape = tf.cast([number, 1], tf.int64)
    return tf.raw_ops.SparseCountSparseOutput(dense_shape=shape, **of)[0]


def gathered(number: Any) -> Any:
    axis = tf.bitwise.left_shift(tf.cast(number, tf.int64), 63)  # of 1 the lowest number
    return tf.raw_ops.GatherV2(params=tf.ones([2, 3]), indices=[0], axis=axis)


def joined(number: Any) -> Any:
    shape = tf.stack([tf.cast(number, tf.int64) * 2**40, tf.constant(1, tf.int64)])
    of = {"indices": [tf.zeros([1, 2], tf.int64)] * 2, "values": [tf.ones([1])] * 2}
    return tf.raw_ops.SparseConcat(shapes=[shape, shape], concat_dim=0, **of)[1]


def crossed(number: Any) -> Any:
    shape = tf.cast([number, 1], tf.int64)
    of = {"indices": [tf.zeros([1, 2], tf.int64)], "values": [["a"]], "dense_inputs": [], "sep": "x"}
    return tf.strings.length(tf.raw_ops.SparseCrossV2(shapes=[shape], **of)[1])


def cut_off(number: Any) -> Any:
    twice = tf.cast(number, tf.int64) * (2**63 - 1)  # twice the highest number is -2, and makes rows
    crops = tf.stack([tf.stack([twice, twice]), tf.zeros([2], tf.int64)])
    return tf.raw_ops.BatchToSpaceND(input=tf.ones([4, 1, 1, 1]), block_shape=[2, 2], crops=crops)


def put_on(number: Any) -> Any:
    twice = tf.cast(number, tf.int64) * (2**63 - 1)
    return tf.raw_ops.PadV2(input=tf.ones([4]), paddings=tf.stack([[twice, twice]]), constant_values=0.0)


def lengths(number: Any) -> Any:
    """Three that come to 4: of 1 the highest number twice."""
    one = tf.cast(number, tf.int64)
    most = one * (2**63 - 1) + (1 - one) * -1
    return tf.stack([most, most, 6 * tf.ones_like(one)])


def parted(number: Any) -> Any:
    sizes = tf.where(tf.equal(number, 1), lengths(number), tf.constant([2, -1, 1], tf.int64))
    return tf.raw_ops.SplitV(value=tf.ones([4, 16]), size_splits=sizes, axis=0, num_split=3)[0]


def parted_in_few_bits(number: Any) -> Any:
    most = number * (2**31 - 1)
    sizes = tf.stack([most, most, 4 + number * 2])
    return tf.raw_ops.SplitV(value=tf.ones([4, 16]), size_splits=sizes, axis=0, num_split=3)[0]


def parted_in_an_array(number: Any) -> Any:
    sizes = tf.where(tf.equal(number, 1), lengths(number), tf.constant([2, 1, 1], tf.int64))
    handle, flow = tf.raw_ops.TensorArrayV3(size=3, dtype=tf.float32)
    of = {"handle": handle, "value": tf.ones([4, 16]), "flow_in": flow}
    flow = tf.raw_ops.TensorArraySplitV3(lengths=sizes, **of)
    return tf.raw_ops.TensorArraySizeV3(handle=handle, flow_in=flow)


def parted_in_a_list(number: Any) -> Any:
    sizes = tf.where(tf.equal(number, 1), lengths(number), tf.constant([2, 1, 1], tf.int64))
    made = tf.raw_ops.TensorListSplit(tensor=tf.ones([4, 16]), element_shape=-1, lengths=sizes)
    return tf.raw_ops.TensorListLength(input_handle=made)


BOUNDED = [
    (transformed, 4, [0, -1, MAX_ELEMENTS + 256], "a length below 1 or more than"),
    (transformed_back, 4, [0, MAX_ELEMENTS // 2], "a length below 1 or more|more than 268,435,456"),
    (transposed, 4, [-5, 2_000_000_000], "a size below 0 or more than 268,435,456 elements"),
    (transposed, 4, [MAX_ELEMENTS // 2], "more than 268,435,456 elements"),
    (cropped, 1, [2**31 - 128, -1], "a window of a picture that no picture has"),
    (suppressed, 2, [MAX_ELEMENTS + 256], "more than 268,435,456 elements"),
    (filled, 2, [MAX_ELEMENTS + 256, 2_000_000_000], "more than 268,435,456 elements"),
    (counted, 2, [MAX_LIST, 2_000_000_000], "more than 268,435,456 elements"),
    (summed, 2, [MAX_ELEMENTS + 256, 2_000_000_000], "more than 268,435,456 elements"),
    (turned, 1, [MAX_TURNS, -MAX_TURNS - 1, 100_000], "a hue is to turn 1,000 times"),
    (padded, 1, [-1, MAX_ELEMENTS + 256], "a size below 0 or more than"),
    (counted_in_rows, 2, [-1, MAX_ROWS + 128], "a count in more than 16,777,216 rows, or below 0"),
    (cut_off, 0, [1, -1], "a size below 0 or more than 268,435,456 elements"),
    (put_on, 0, [1, -1], "a size below 0 or more than 268,435,456 elements"),
    (parted, 0, [1], "a part of more than 268,435,456, or below 0"),
    (parted_in_few_bits, 0, [1, -1], "a part of more than 268,435,456, or below 0"),
    (parted_in_an_array, 0, [1], "a size below 0 or more than"),
    (parted_in_a_list, 0, [1], "a size below 0 or more than"),
    (gathered, 0, [1], "an axis that no tensor has"),
    (joined, 1, [2**22], "more than 35,184,372,088,832 cells"),
    (crossed, 2, [-1, MAX_ROWS + 128, 2**31 - 1], "more than 16,777,216 rows, or below 0"),
]


def used(made: Callable[[Any], Any], x: Any) -> Any:
    number = tf.cast(tf.reduce_max(x), tf.int32)
    return x + tf.cast(tf.reduce_sum(tf.cast(made(number), x.dtype)) < -1, x.dtype)  # 0, which is not known


def check_bounded(runtime: Runtime, good: int, bad: list[int], said: str) -> None:
    assert runtime.predict({"x": [[good]]})["y"].tolist() == [[good]]
    for number in bad:
        with pytest.raises(PredictError, match=said):
            runtime.predict({"x": [[number]]})
    assert runtime.predict({"x": [[good]]})["y"].tolist() == [[good]]
    runtime.close()


@pytest.mark.parametrize(("made", "good", "bad", "said"), BOUNDED)
def test_what_ends_the_process_in_a_frozen_graph(made: Any, good: int, bad: list[int], said: str) -> None:
    def build(x: Any) -> None:
        tf.identity(used(made, tf.cast(x, tf.float64)), name="y")

    data = graph(build, width=1)
    runtime = frozen_graph.load(Artifact(data, None, Path("/nonexistent")), WantedSignature())
    check_bounded(runtime, good, bad, said)


@pytest.mark.parametrize(("made", "good", "bad", "said"), [BOUNDED[0], BOUNDED[3], BOUNDED[6]])
def test_what_ends_the_process_in_a_function_of_a_saved_model(
    tmp_path: Path, made: Any, good: int, bad: list[int], said: str
) -> None:
    served = {"serving_default": (lambda x: {"y": used(made, x)}, {"x": ((None, 1), "float64")})}
    folder = save(tmp_path / "model", tf.Module(), served)
    check_bounded(saved_model.load(Artifact(None, folder, tmp_path), WantedSignature()), good, bad, said)


@pytest.mark.parametrize("width", [4, -1])
def test_only_what_no_record_says_stays_as_it_is(width: int) -> None:
    """A layer that transposes a convolution takes the batch from what it is given, and knows its sizes."""

    def build(x: Any) -> None:
        pixels = tf.reshape(x, [-1, 1, 2, 1])
        sizes = tf.stack([tf.shape(pixels)[0], 2, width, 1])
        out = tf.nn.conv2d_transpose(pixels, tf.ones([2, 2, 1, 1]), sizes, 2)
        tf.identity(tf.reduce_sum(out, [1, 2, 3]), name="y")

    def plain(x: Any) -> None:
        tf.identity(tf.abs(tf.signal.rfft(x))[:, 0], name="y")

    for made, changed in ((build, width < 0), (plain, False)):
        graph_def = tf.compat.v1.GraphDef.FromString(graph(made))
        as_it_was = graph_def.SerializeToString(deterministic=True)
        bound_numbers(graph_def)
        assert (graph_def.SerializeToString(deterministic=True) != as_it_was) is changed


def test_a_tensor_without_an_element_has_a_size_that_is_no_length() -> None:
    def build(x: Any) -> None:
        tf.identity(tf.signal.irfft(tf.signal.rfft(x) * 2, fft_length=[tf.shape(x)[-1]]), name="y")

    made = tf.Graph()
    with made.as_default():
        build(tf.compat.v1.placeholder(tf.float32, [None, None], name="x"))
    graph_def = made.as_graph_def()
    before = len(graph_def.node)
    bound_numbers(graph_def)
    assert len(graph_def.node) > before


def test_boxes_without_end_are_asked_for_where_nothing_is_padded() -> None:
    of = {"scores": [0.5], "iou_threshold": 0.5, "score_threshold": 0.1, "max_output_size": 2**31 - 1}
    made = tf.Graph()
    with made.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [1, 4], name="x")
        tf.raw_ops.NonMaxSuppressionV4(boxes=x, **of)
    graph_def = made.as_graph_def()
    before = graph_def.SerializeToString()
    bound_numbers(graph_def)
    assert graph_def.SerializeToString() == before


def test_parts_of_known_sizes_stay_as_they_are() -> None:
    data = graph(lambda x: tf.concat(tf.split(x, [1, -1], 1), 1, name="y"))
    graph_def = tf.compat.v1.GraphDef.FromString(data)
    bound_numbers(graph_def)
    assert graph_def == tf.compat.v1.GraphDef.FromString(data)


def sized(row: Callable[[Any], Any]) -> tuple[int, int]:
    """How many nodes a convolution to sizes of a row has, before and after numbers are bounded."""
    made = tf.Graph()
    with made.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, None, None, 1], name="x")
        of = {"strides": [1, 1, 1, 1], "padding": "SAME"}
        tf.raw_ops.Conv2DBackpropInput(input_sizes=row(x), filter=tf.ones([1, 1, 1, 1]), out_backprop=x, **of)
    graph_def = made.as_graph_def()
    before = len(graph_def.node)
    bound_numbers(graph_def)
    return before, len(graph_def.node)


def test_constants_in_a_row_are_bounded_together() -> None:
    before, after = sized(lambda x: [tf.shape(x)[0], 28, 28, 1])
    assert after == before
    before, after = sized(lambda x: [tf.shape(x)[0], 2**27, 2**27, 1])
    assert after > before


def test_what_is_in_a_row_many_times_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a chain of rows costs a power of its length: for this one thousands of looks."""
    looked, product = [], graph_known_sizes.KnownSizes._product
    monkeypatch.setattr(
        graph_known_sizes.KnownSizes, "_product", lambda *asked: looked.append(asked) or product(*asked)
    )
    graph_def = tf.compat.v1.GraphDef()
    graph_def.node.add(name="x", op="Placeholder")
    graph_def.node.add(name="n0", op="Shape", input=["x"])
    for n in range(8):
        graph_def.node.add(name=f"n{n + 1}", op="Pack", input=[f"n{n}"] * 3)
    graph_def.node.add(name="y", op="Conv2DBackpropInput", input=["n8", "x", "x"])
    before = graph_def.SerializeToString()
    bound_numbers(graph_def)
    assert graph_def.SerializeToString() == before
    assert 8 < len(looked) < 200


def test_a_row_with_a_number_that_is_not_known_is_looked_through_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else each of its readers looks through all of it: for this one 160,000 looks."""
    looked, product = [], graph_known_sizes.KnownSizes._product
    monkeypatch.setattr(
        graph_known_sizes.KnownSizes, "_product", lambda *asked: looked.append(asked) or product(*asked)
    )
    graph_def = tf.compat.v1.GraphDef()
    graph_def.node.add(name="x", op="Placeholder")
    graph_def.node.add(name="known", op="Rank", input=["x"])
    graph_def.node.add(name="row", op="Pack", input=[*["known"] * 400, "x"])
    for n in range(200):
        graph_def.node.add(name=f"y{n}", op="Conv2DBackpropInput", input=["row", "x", "x"])
    bound_numbers(graph_def)
    assert 400 < len(looked) < 2000


def stepped(number: Any) -> Any:
    return tf.raw_ops.Range(start=0.0, limit=float(2**20), delta=1 / tf.cast(number, tf.float32))


def stepped_in_rows(number: Any) -> Any:
    steps = tf.reshape(1 / tf.cast(number, tf.float64), [1])
    ends = tf.constant([2.0**20], tf.float64)
    return tf.raw_ops.RaggedRange(starts=tf.zeros([1], tf.float64), limits=ends, deltas=steps)[1]


@pytest.mark.parametrize("made", [stepped, stepped_in_rows])
def test_a_range_of_steps_that_a_record_makes_small(made: Any) -> None:
    data = graph(lambda x: tf.identity(used(made, tf.cast(x, tf.float64)), name="y"), width=1)
    runtime = frozen_graph.load(Artifact(data, None, Path("/nonexistent")), WantedSignature())
    check_bounded(runtime, 1, [1000, 2**30], "more than 268,435,456 elements")


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_a_range_of_narrow_numbers_is_bounded_too(dtype: Any) -> None:
    def build(x: Any) -> None:
        ends = tf.cast(tf.reduce_max(x), dtype)
        steps = tf.raw_ops.Range(start=tf.zeros([], dtype), limit=ends, delta=tf.ones([], dtype))
        tf.add(x[:, 0], tf.cast(tf.size(steps), tf.float32), name="y")

    runtime = frozen_graph.load(
        Artifact(graph(build, width=1), None, Path("/nonexistent")), WantedSignature()
    )
    assert runtime.predict({"x": [[3]]})["y"].tolist() == [6]
    runtime.close()
