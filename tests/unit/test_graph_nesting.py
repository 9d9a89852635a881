"""Lists in lists, as often as a record says: they end the process when they are given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import UnsafeModelError
from tests.models import graph, save
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.tensorflow import frozen_graph, saved_model
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
R = tf.raw_ops
NOWHERE = Path("/nonexistent")


def empty() -> Any:
    return R.EmptyTensorList(element_shape=-1, max_num_elements=-1, element_dtype=tf.variant)


def of_one(value: Any) -> dict[str, Any]:
    return {"tensor": tf.reshape(value, [1]), "element_shape": -1}


NESTED = {
    "OptionalFromValue": lambda value: R.OptionalFromValue(components=[1.0, value]),
    "TensorListFromTensor": lambda value: R.TensorListFromTensor(**of_one(value)),
    "TensorListPushBack": lambda value: R.TensorListPushBack(input_handle=empty(), tensor=tf.identity(value)),
    "TensorListPushBackBatch": lambda value: R.TensorListPushBackBatch(
        input_handles=tf.reshape(empty(), [1]), tensor=tf.reshape(value, [1])
    )[0],
    "TensorListScatter": lambda value: R.TensorListScatter(indices=[0], **of_one(value)),
    "TensorListScatterIntoExistingList": lambda value: R.TensorListScatterIntoExistingList(
        input_handle=empty(), indices=[0], tensor=tf.reshape(value, [1])
    ),
    "TensorListScatterV2": lambda value: R.TensorListScatterV2(indices=[0], num_elements=1, **of_one(value)),
    "TensorListSetItem": lambda value: R.TensorListSetItem(
        input_handle=R.TensorListReserve(element_shape=-1, num_elements=1, element_dtype=tf.variant),
        index=0,
        item=value,
    ),
    "TensorListSplit": lambda value: R.TensorListSplit(
        tensor=tf.reshape(value, [1]), element_shape=-1, lengths=tf.constant([1], tf.int64)
    ),
    "TensorMapInsert": lambda value: R.TensorMapInsert(input_handle=R.EmptyTensorMap(), key=1, value=value),
}


@pytest.mark.parametrize("op", NESTED)
def test_what_may_hold_itself_is_refused(op: str) -> None:
    def build(x: Any) -> None:
        first = R.OptionalFromValue(components=[1.0]) if op[0] == "O" else empty()
        _, made = tf.while_loop(
            lambda n, _: n < tf.cast(tf.reduce_max(x), tf.int32),
            lambda n, value: (n + 1, NESTED[op](value)),
            [0, first],
        )
        tf.add(x, tf.cast(tf.size(made), x.dtype), name="y")

    with pytest.raises(UnsafeModelError, match=rf"operator {op} .* into another.*side by side"):
        frozen_graph.load(Artifact(graph(build), None, NOWHERE), WantedSignature())


def test_lists_that_double_are_refused() -> None:
    def build(x: Any) -> None:
        made = R.TensorListReserve(element_shape=-1, num_elements=1, element_dtype=tf.float32)
        double = R.TensorListConcatLists(input_a=made, input_b=made, element_dtype=tf.float32)
        tf.add(x, tf.cast(R.TensorListLength(input_handle=double), x.dtype), name="y")

    with pytest.raises(UnsafeModelError, match=r"TensorListConcatLists .* ends the process"):
        frozen_graph.load(Artifact(graph(build), None, NOWHERE), WantedSignature())


def test_a_map_over_ragged_rows_is_served(tmp_path: Path) -> None:
    """It holds each row in a list, as a ragged tensor of its own."""

    def served(words: Any) -> dict[str, Any]:
        letters = tf.strings.unicode_split(words, "UTF-8")
        spec = tf.RaggedTensorSpec([None], tf.string, ragged_rank=0)
        turned = tf.map_fn(lambda row: tf.reverse(row, [0]), letters, fn_output_signature=spec)
        lists = tf.map_fn(
            lambda row: tf.strings.unicode_split(row, "UTF-8"),
            letters,
            fn_output_signature=tf.RaggedTensorSpec([None, None], tf.string),
        )
        count = tf.cast(lists.with_row_splits_dtype(tf.int64).row_lengths(), tf.int32)
        return {"turned": tf.strings.reduce_join(turned, axis=1), "count": count}

    folder = save(tmp_path / "m", tf.Module(), {"serving_default": (served, {"words": ((None,), "string")})})
    runtime = saved_model.load(Artifact(None, folder, tmp_path), WantedSignature())
    answer = runtime.predict({"words": np.array(["abc", "é"], object)})
    assert answer["turned"].tolist() == ["cba", "é"]
    assert answer["count"].tolist() == [3, 1]
    runtime.close()
