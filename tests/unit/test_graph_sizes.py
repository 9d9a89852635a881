"""Lists of tensors whose length a record says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import PredictError
from tests.models import graph, save
from udfs.models.runtimes.base import Artifact, PartialInput, Runtime, WantedSignature
from udfs.models.runtimes.tensorflow import frozen_graph, saved_model
from udfs.models.runtimes.tensorflow.graph_sizes import MAX_LIST, bound_lists
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
    bound_lists(graph_def)
    assert graph_def == tf.compat.v1.GraphDef.FromString(data)
