"""Variables of another type, or of rows of another width, than an operator counts on: the call fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import PredictError
from tests.models import save
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature
from udfs.models.runtimes.tensorflow import saved_model
from udfs.models.runtimes.tensorflow.graph_variables import guard_variables
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
R = tf.raw_ops
DOUBLE = tf.float64


def loaded(folder: Path, used: Callable[[Any, Any], Any]) -> Runtime:
    """A model that uses a variable of 2 rows of 3, with a number that a record says."""
    module = tf.Module()
    module.v, module.other = tf.Variable(tf.ones([2, 3])), tf.Variable(tf.ones([2], DOUBLE))

    def served(x: Any) -> dict[str, Any]:
        number = tf.cast(tf.reduce_max(x), tf.int32)
        made = used(number, module.v)
        with tf.control_dependencies([made]):
            return {"y": x[:, 0] + tf.reduce_sum(module.v) + tf.cast(module.other[0], tf.float32) - 1}

    save(folder / "model", module, {"serving_default": (served, {"x": ((None, 1), "float32")})})
    return saved_model.load(Artifact(None, folder / "model", folder), WantedSignature())


@pytest.mark.parametrize("op", ["Add", "Max", "Min", "Mul", "Sub", "Update"])
def test_rows_of_another_width_fail_the_call(tmp_path: Path, op: str) -> None:
    def used(width: Any, v: Any) -> Any:
        updates = tf.ones(tf.stack([1, width]))
        return getattr(R, f"ResourceScatter{op}")(resource=v.handle, indices=[1], updates=updates)

    runtime = loaded(tmp_path, used)
    for width in (2, 4, 500_000):
        with pytest.raises(PredictError, match=r"(?i)incompatible shapes|broadcast"):
            runtime.predict({"x": [[width]]})
    before = {"Add": 9, "Sub": 3}.get(op, 6)
    assert runtime.predict({"x": [[3]]})["y"].tolist() == [3 + before]
    runtime.close()


def test_one_number_for_all_rows_is_taken(tmp_path: Path) -> None:
    runtime = loaded(
        tmp_path,
        lambda n, v: R.ResourceScatterUpdate(
            resource=v.handle, indices=[0, 1], updates=tf.cast(n, tf.float32)
        ),
    )
    assert runtime.predict({"x": [[2]]})["y"].tolist() == [2 + 12]
    runtime.close()


def of_another_type(number: Any, used: Callable[[Any, Any], Any], handle: Any) -> Any:
    """Only where the number is 7; behind a loop, so that TensorFlow does not know of what type it is."""
    takes = tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.resource)
    body = tf.function(lambda i, h: (i + 1, tf.identity(h))).get_concrete_function(*takes)
    cond = tf.function(lambda i, _: i < 1).get_concrete_function(*takes)
    _, hidden = R.While(input=[0, handle], cond=cond, body=body)

    def used_then() -> Any:
        made = used(hidden, number)
        if isinstance(made, tf.Tensor):
            return tf.cast(tf.size(made), tf.int32)
        with tf.control_dependencies([made]):
            return tf.identity(number)

    return tf.cond(tf.equal(number, 7), used_then, lambda: tf.constant(0))


def unknown(value: Any, number: Any) -> Any:
    """The value, of a shape that TensorFlow does not know."""
    value = tf.convert_to_tensor(value)
    return tf.reshape(value, tf.boolean_mask(value.shape.as_list(), tf.fill([len(value.shape)], number > 0)))


def places(number: Any) -> Any:
    return unknown([[0]], number)


def row(number: Any) -> Any:
    return unknown(tf.ones([1, 3], DOUBLE), number)


TYPED: dict[str, Callable[[Any, Any], Any]] = {
    "ResourceGather": lambda h, n: R.ResourceGather(resource=h, indices=[0], dtype=DOUBLE),
    "ResourceGatherNd": lambda h, n: R.ResourceGatherNd(resource=h, indices=places(n), dtype=DOUBLE),
    "ResourceScatterNdAdd": lambda h, n: R.ResourceScatterNdAdd(ref=h, indices=places(n), updates=row(n)),
    "ResourceScatterNdMax": lambda h, n: R.ResourceScatterNdMax(ref=h, indices=places(n), updates=row(n)),
    "ResourceScatterNdMin": lambda h, n: R.ResourceScatterNdMin(ref=h, indices=places(n), updates=row(n)),
    "ResourceScatterNdSub": lambda h, n: R.ResourceScatterNdSub(ref=h, indices=places(n), updates=row(n)),
    "ResourceScatterNdUpdate": lambda h, n: R.ResourceScatterNdUpdate(
        ref=h, indices=places(n), updates=row(n)
    ),
    "ResourceStridedSliceAssign": lambda h, n: R.ResourceStridedSliceAssign(
        ref=h, begin=[0], end=[1], strides=[1], value=row(n)
    ),
}


@pytest.mark.parametrize("op", TYPED)
def test_a_variable_of_another_type_fails_the_call(tmp_path: Path, op: str) -> None:
    runtime = loaded(tmp_path, lambda n, v: of_another_type(n, TYPED[op], v.handle))
    assert runtime.predict({"x": [[2]]})["y"].tolist() == [2 + 6]
    with pytest.raises(PredictError, match="wrong dtype"):
        runtime.predict({"x": [[7]]})
    assert runtime.predict({"x": [[2]]})["y"].tolist() == [2 + 6]
    runtime.close()


def test_where_all_variables_are_of_one_type_nothing_is_added() -> None:
    made = tf.Graph()
    with made.as_default():
        handle = R.VarHandleOp(dtype=tf.float32, shape=[2, 3])
        R.ResourceGather(resource=handle, indices=[0], dtype=tf.float32)
    graph_def = made.as_graph_def()
    before = graph_def.SerializeToString(deterministic=True)
    guard_variables(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before


def test_a_variable_is_of_the_type_of_its_first_value() -> None:
    """Which may be another than its handle says, where the handle has gone through a loop."""
    graph_def = tf.compat.v1.GraphDef()
    for name, op, inputs, dtype in (
        ("v", "VarHandleOp", [], tf.float32),
        ("value", "Placeholder", [], DOUBLE),
        ("hidden", "Placeholder", [], tf.resource),
        ("assign", "AssignVariableOp", ["hidden", "value"], DOUBLE),
        ("place", "Placeholder", [], tf.int32),
        ("rows", "ResourceGather", ["v", "place"], tf.float32),
    ):
        node = graph_def.node.add(name=name, op=op, input=inputs)
        node.attr["dtype"].type = dtype.as_datatype_enum
    guard_variables(graph_def)
    read = next(n for n in graph_def.node if n.op == "ReadVariableOp")
    assert read.attr["dtype"].type == tf.float32.as_datatype_enum
    assert graph_def.node[5].input[-1].startswith("^rows/")
