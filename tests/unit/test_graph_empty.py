"""Tensors without an element, whose sides a record says: the call fails where they are made.

They take no memory, and what puts two of them together multiplies their sides, and ends the process where the
product is beyond 63 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import PredictError
from tests.models import graph, save
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature
from udfs.models.runtimes.tensorflow import frozen_graph, saved_model
from udfs.models.runtimes.tensorflow.graph_size_guards import bound_numbers
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
R, LONG = tf.raw_ops, tf.int64
SAID = "more than 268,435,456 elements"


def none(*sides: int) -> Any:
    return tf.zeros(sides)


def row(*sides: Any) -> Any:
    return tf.stack([tf.cast(side, LONG) for side in sides])


def edges(side: Any) -> Any:
    half = tf.cast(tf.minimum(side, 2**31 - 1), tf.int32)
    return tf.stack([[0, 0], [half, half], [half, half]])


def listed(side: Any) -> Any:
    made = R.TensorListReserve(element_shape=row(side, 0), num_elements=2, element_dtype=tf.float32)
    return R.TensorListStack(input_handle=made, element_shape=[-1, -1], element_dtype=tf.float32)


def joined(side: Any) -> Any:
    made = R.TensorListReserve(
        element_shape=tf.constant([-1, 0], LONG), num_elements=1, element_dtype=tf.float32
    )
    of = {"input_handle": made, "element_shape": tf.constant([-1, 0], LONG), "element_dtype": tf.float32}
    return R.TensorListConcatV2(leading_dims=row(side), **of)[0]


def ragged(side: Any) -> Any:
    parts = [tf.constant([0], LONG)] * 2
    of = {"values": none(0), "default_value": 0.0, "row_partition_types": ["ROW_SPLITS"] * 2}
    return R.RaggedTensorToTensor(shape=row(0, side, side), row_partition_tensors=parts, **of)


def blocks(side: Any) -> Any:
    block = tf.cast(tf.minimum(side, 2**31 - 1), tf.int32)
    of = {"paddings": tf.zeros([2, 2], tf.int32), "block_shape": tf.stack([block, block])}
    return R.SpaceToBatchND(input=none(1, 0, 0, 1), **of)


def cropped(side: Any) -> Any:
    size = tf.cast(tf.minimum(side, 2**31 - 1), tf.int32)
    of = {"image": tf.ones([1, 1, 1, 1]), "boxes": none(0, 4), "box_ind": tf.zeros([0], tf.int32)}
    return R.CropAndResize(crop_size=tf.stack([size, size]), **of)


def diagonal(side: Any) -> Any:
    away = tf.cast(tf.minimum(side, 2**31 - 9), tf.int32)
    return R.MatrixDiagV3(diagonal=none(0, 1), k=away, num_rows=-1, num_cols=-1, padding_value=0.0)


MAKERS: dict[str, Callable[[Any], Any]] = {
    "Reshape": lambda n: tf.reshape(none(0), row(n, 0)),
    "Reshape, the rest": lambda n: tf.reshape(none(0), row(n, -1)),
    "Reshape, 0 first": lambda n: tf.reshape(none(0), row(0, n, n)),
    "Pad": lambda n: tf.pad(none(0, 1, 1), edges(n)),
    "ScatterNd": lambda n: tf.scatter_nd(tf.zeros([0, 1], LONG), none(0, 0), row(n, 0)),
    "SparseToDense": lambda n: tf.sparse.to_dense(
        tf.SparseTensor(tf.zeros([0, 2], LONG), none(0), row(n, 0))
    ),
    "SegmentSum": lambda n: tf.math.segment_sum(none(1, 0), row(n)),
    "CropAndResize": cropped,
    "MatrixDiagV3": diagonal,
    "RaggedTensorToTensor": ragged,
    "SpaceToBatchND": blocks,
    "TensorListReserve": listed,
    "TensorListConcatV2": joined,
}


def held(runtime: Runtime) -> None:
    assert runtime.predict({"x": [[1.0], [2.0]]})["y"].tolist() == [[1.0], [2.0]]
    for bits in (29, 62):
        with pytest.raises(PredictError, match=SAID):
            runtime.predict({"x": [[float(bits)]]})
    assert runtime.predict({"x": [[2.0]]})["y"].tolist() == [[2.0]]
    runtime.close()


def scored(made: Callable[[Any], Any], x: Any) -> Any:
    bits = tf.cast(tf.reduce_max(x), LONG)
    return x + tf.cast(tf.reduce_sum(made(tf.bitwise.left_shift(tf.ones_like(bits), bits))), x.dtype)


@pytest.mark.parametrize("name", MAKERS)
def test_sides_that_a_record_says_are_counted(name: str) -> None:
    data = graph(lambda x: tf.identity(scored(MAKERS[name], x), name="y"), width=1)
    held(frozen_graph.load(Artifact(data, None, Path("/nonexistent")), WantedSignature()))


def test_sides_are_counted_in_a_function_of_a_saved_model(tmp_path: Path) -> None:
    def served(x: Any) -> dict[str, Any]:
        return {"y": tf.cond(tf.reduce_all(x > -3), lambda: scored(MAKERS["Reshape"], x), lambda: x)}

    folder = save(tmp_path / "m", tf.Module(), {"serving_default": (served, {"x": ((None, 1), "float32")})})
    held(saved_model.load(Artifact(None, folder, tmp_path), WantedSignature()))


CONSUMERS: dict[str, Callable[[Any], Any]] = {
    "AddV2": lambda t: t[:, None] + t[None],
    "SelectV2": lambda t: tf.where(t[:, None] > 0, t[:, None], t[None]),
    "ConcatV2": lambda t: tf.concat([t, t, t], 0),
    "Pack": lambda t: tf.stack([t, t, t]),
    "MirrorPad": lambda t: tf.pad(t, [[1, 1], [0, 0]], "SYMMETRIC"),
    "BatchMatMulV2": lambda t: R.BatchMatMulV2(x=t[:, None, :, None], y=t[None, :, None]),
}


@pytest.mark.parametrize("name", CONSUMERS)
def test_what_puts_them_together_is_not_reached(name: str) -> None:
    def made(side: Any) -> Any:
        return CONSUMERS[name](tf.reshape(none(0), row(side, 0)))

    data = graph(lambda x: tf.identity(scored(made, x), name="y"), width=1)
    held(frozen_graph.load(Artifact(data, None, Path("/nonexistent")), WantedSignature()))


def sifted(x: Any) -> Any:
    """What detectors and models of texts do, with nothing to detect and nothing said where x is below 1."""
    many = tf.boolean_mask(x, x[:, 0] >= 1)
    boxes = tf.concat([many, many + 1], 1)
    found = tf.image.non_max_suppression(boxes, many[:, 0], 10)
    chosen = tf.gather(many, found)
    texts = tf.where(x[:, 0] >= 1, tf.fill([tf.shape(x)[0]], "a b"), "")
    words = tf.strings.split(texts)
    lengths = tf.reduce_sum(tf.cast(tf.strings.length(words.to_tensor(shape=[None, 4])), tf.float32), 1)
    dense = tf.sparse.to_dense(words.to_sparse(), "")
    shaped = tf.reshape(many, [tf.shape(many)[0] * 2, tf.size(many) // (tf.shape(many)[0] * 2 + 1) * 0 + 1])
    framed = tf.signal.frame(x[:, 0], 2, 1)
    folded = tf.tensordot(x[:, None], tf.ones([2, 1]), 1)
    return (
        lengths + tf.reduce_sum(chosen) + tf.reduce_sum(shaped) + folded[:, 0, 0]
        + tf.cast(tf.size(dense), tf.float32) + 0 * tf.reduce_sum(framed)
    )  # fmt: skip


def test_nothing_to_detect_and_empty_texts_score_as_they_did() -> None:
    data = graph(lambda x: tf.identity(sifted(x), name="y"), width=2)
    runtime = frozen_graph.load(Artifact(data, None, Path("/nonexistent")), WantedSignature())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        [x, y] = tf.import_graph_def(tf.compat.v1.GraphDef.FromString(data), return_elements=["x:0", "y:0"])
        for rows in ([[0, 0]], [[0, 0], [0, 0]], [[2, 3], [0, 0]], np.zeros((0, 2))):
            given = np.array(rows, "float32")
            assert runtime.predict({"x": given})["y"].tolist() == session.run(y, {x: given}).tolist()
    runtime.close()


def test_sizes_of_tensors_and_what_is_counted_from_them_cost_nothing() -> None:
    def build(x: Any) -> None:
        deep = tf.reshape(x, [tf.shape(x)[0] * 2, -1, 1])
        masked = tf.boolean_mask(deep, deep[:, 0, 0] > 0)
        framed = tf.signal.frame(masked[:, 0, 0], 4, 2)
        folded = tf.tensordot(deep, tf.ones([1, 3]), 1)
        wide = tf.reshape(x[:, :0], [0, 2**29])
        padded = tf.pad(folded, [[0, 0], [1, 1], [500, 500]])
        words = tf.compat.v1.string_split(tf.as_string(x[:, 0]), " ")
        wanted = {"a": tf.io.VarLenFeature(tf.int64), "b": tf.io.VarLenFeature(tf.int64)}
        parsed = tf.io.parse_example(tf.as_string(x[:, 0]), wanted)
        dense = [tf.sparse.to_dense(parsed[name]) for name in wanted]
        rows, columns = tf.unstack(tf.shape(x))
        flat = tf.reshape(x, [rows * columns])
        all_of_them = [padded, framed, flat, wide, *(tf.cast(one, tf.float32) for one in dense)]
        texts = tf.strings.length(tf.sparse.to_dense(words, ""))
        tf.add_n([tf.reduce_sum(one) for one in (*all_of_them, tf.cast(texts, tf.float32))], name="y")

    graph_def = tf.compat.v1.GraphDef.FromString(graph(build, width=4))
    bound_numbers(graph_def)
    assert not [n.name for n in graph_def.node if "/result_" in n.name or "/padding_" in n.name]


def test_what_examples_hold_is_no_size() -> None:
    """Of what is parsed, the shapes are sizes, and the values are what a record says."""

    def build(x: Any) -> None:
        parsed = tf.io.parse_example(tf.as_string(x[:, 0]), {"a": tf.io.VarLenFeature(tf.int64)})
        tf.reduce_sum(tf.reshape(x[:, :0], parsed["a"].values), name="y")

    graph_def = tf.compat.v1.GraphDef.FromString(graph(build, width=4))
    bound_numbers(graph_def)
    assert [n.name for n in graph_def.node if "/result_" in n.name]
