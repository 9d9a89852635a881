"""Frozen graphs: inputs and outputs found or given, right answers, named refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import InputsError, LoadError, ModelError, PredictError, UnsafeModelError
from schemas.tensors import DType, Input, Output
from tests.models import constant_frozen_graph, expected, frozen_graph, graph, layers, saved_model
from udfs.models.runtimes.base import Artifact, PartialInput, Runtime, WantedSignature
from udfs.models.runtimes.tensorflow.frozen_graph import load
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
WINE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "wine"
X = np.random.default_rng(1).normal(size=(7, 3)).astype("float32")


def loaded(data: bytes, **wanted: Any) -> Runtime:
    return load(Artifact(data, None, Path("/nonexistent")), WantedSignature(**wanted))


def test_inputs_and_outputs_are_found() -> None:
    runtime = loaded(frozen_graph())
    assert runtime.inputs == (Input("x", DType.FLOAT32, (3,), ("x",)),)
    assert runtime.outputs == (Output("y", DType.FLOAT32, (2,)),)
    for rows in (1, 7, 3):
        result = runtime.predict({"x": X[:rows]})
        np.testing.assert_allclose(result["y"], expected(layers(), X[:rows]), rtol=1e-5)


def test_outputs_are_chosen_and_renamed_and_fields_given() -> None:
    runtime = loaded(
        frozen_graph(),
        inputs=[PartialInput("x:0", "float32", (3,), ("a", "b", "c"))],
        outputs=[("y:0", "score"), ("MatMul", "")],
    )
    assert runtime.inputs == (Input("x", DType.FLOAT32, (3,), ("a", "b", "c")),)
    assert [o.name for o in runtime.outputs] == ["score", "MatMul"]
    result = runtime.predict({"x": X})
    np.testing.assert_allclose(result["MatMul"], X @ layers()[0][0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(result["score"], expected(layers(), X), rtol=1e-5, atol=1e-7)


def test_a_given_tensor_can_stand_for_a_placeholder() -> None:
    runtime = loaded(frozen_graph(), inputs=[PartialInput("Relu")])
    hidden = np.ones((2, 4), "float32")
    np.testing.assert_allclose(
        runtime.predict({"Relu": hidden})["y"], expected(layers()[1:], hidden), rtol=1e-5
    )


def test_a_graph_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(constant_frozen_graph(4.5))
    runtime = load(Artifact(None, path, tmp_path), WantedSignature())
    assert runtime.predict({"x": np.zeros((3, 2), "float32")})["y"].tolist() == [4.5] * 3
    with pytest.raises(LoadError, match="one file"):
        load(Artifact(None, tmp_path, tmp_path), WantedSignature())


def test_a_width_is_read_off_the_weights_or_demanded() -> None:
    def unknown(multiply: bool) -> bytes:
        made = tf.Graph()
        with made.as_default():
            x = tf.compat.v1.placeholder(tf.float32, name="x")
            tf.identity(tf.matmul(x, np.ones((5, 2), "float32")) if multiply else tf.square(x), name="y")
        return made.as_graph_def().SerializeToString()

    assert loaded(unknown(True)).inputs[0].shape == (5,)
    with pytest.raises(InputsError, match="give its shape or its fields"):
        loaded(unknown(False))
    runtime = loaded(unknown(False), fields=["a", "b"])
    assert runtime.inputs == (Input("x", DType.FLOAT32, (2,), ("a", "b")),)
    assert runtime.outputs == (Output("y", DType.FLOAT32, (2,)),)


def test_every_type_and_scalars_arrive_as_they_are() -> None:
    made = tf.Graph()
    with made.as_default():
        values = {
            d: tf.compat.v1.placeholder(d, (None,), name=d) for d in ("float64", "int32", "int64", "bool")
        }
        values["text"] = tf.compat.v1.placeholder(tf.string, (None, 1), name="text")
        for name, value in values.items():
            tf.strings.upper(value, name="o_text") if name == "text" else tf.reverse(
                value, [0], name="o_" + name
            )
    runtime = loaded(made.as_graph_def().SerializeToString())
    assert {i.name: (i.dtype.value, i.shape) for i in runtime.inputs} == {n: (n, ()) for n in values}
    batch = {n: np.array([0, 1, 1], n) for n in values if n != "text"}
    result = runtime.predict(batch | {"text": np.array(["a", "ü", ""], object)})
    assert result["o_text"].tolist() == [["A"], ["ü"], [""]]
    for name, column in batch.items():
        assert result["o_" + name].dtype == column.dtype
        assert result["o_" + name].tolist() == column[::-1].tolist()


def test_long_loops_run_in_the_calling_thread() -> None:
    def build(x: Any) -> None:
        _, y = tf.compat.v1.while_loop(
            lambda i, v: i < 20_000, lambda i, v: (i + 1, tf.matmul(v, np.eye(2, dtype="float32"))), [0, x]
        )
        tf.identity(y, name="y")

    batch = np.ones((4, 2), "float32")
    np.testing.assert_array_equal(loaded(graph(build)).predict({"x": batch})["y"], batch)


def test_a_table_of_constants_is_filled() -> None:
    def build(x: Any) -> None:
        table = tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.float32)
        tf.raw_ops.InitializeTableV2(
            table_handle=table, keys=np.array([1, 2]), values=np.array([10, 20], "float32")
        )
        tf.raw_ops.LookupTableFindV2(
            table_handle=table, keys=tf.cast(x[:, 0], tf.int64), default_value=-1.0, name="y"
        )

    runtime = loaded(graph(build))
    assert runtime.predict({"x": np.array([[2, 0], [1, 0], [9, 0]], "float32")})["y"].tolist() == [20, 10, -1]


@pytest.mark.parametrize(
    ("wanted", "error", "match"),
    [
        ({"inputs": [PartialInput("z")]}, ModelError, "'z'"),
        ({"inputs": [PartialInput("x", "int64")]}, InputsError, "float32 in the model and int64"),
        ({"inputs": [PartialInput("x", None, (4,))]}, InputsError, "the descriptor gives"),
        ({"inputs": [PartialInput("x", None, None, ("a", "b"))]}, InputsError, "is given 2 fields"),
        ({"inputs": [PartialInput("x", None, None, ("a", "a", "b"))]}, InputsError, "a field twice"),
        ({"inputs": [PartialInput("x"), PartialInput("x:0")]}, InputsError, "an input twice"),
        ({"outputs": [("nothing", "")]}, LoadError, "no tensor 'nothing:0'"),
        ({"outputs": [("y:7", "")]}, LoadError, "cannot be called"),
        ({"outputs": [("y", ""), ("MatMul", "y")]}, LoadError, "the same name"),
    ],
)
def test_what_the_descriptor_gets_wrong_is_refused(wanted: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        loaded(frozen_graph(), **wanted)


def test_inputs_that_no_batch_can_fill_are_refused() -> None:
    for shape, dtype, match in (
        ((), "float32", "--constant x=1.0"),
        ((5, 3), "float32", "no dimension for any number of records"),
        ((None, 2), "uint64", "uint64, which no record field holds"),
    ):
        made = tf.Graph()
        with made.as_default():
            tf.identity(tf.compat.v1.placeholder(dtype, shape, name="x"), name="y")
        with pytest.raises(InputsError, match=match):
            loaded(made.as_graph_def().SerializeToString())


def test_an_output_that_is_not_one_row_a_record_is_refused() -> None:
    with pytest.raises(LoadError, match="not one row a record"):
        loaded(graph(lambda x: tf.reduce_sum(x, name="y")))


def test_graphs_that_are_not_frozen_or_compute_nothing_are_refused() -> None:
    with pytest.raises(LoadError, match="freeze it"):
        loaded(graph(lambda x: tf.identity(x + tf.compat.v1.Variable(1.0, use_resource=True), name="y")))
    with pytest.raises(LoadError, match="depends on a placeholder"):
        loaded(graph(lambda x: tf.identity(tf.constant(1.0))))


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    for data in (b"", b"\0" * 100, (saved_model(tmp_path / "m") / "saved_model.pb").read_bytes()):
        with pytest.raises(LoadError):
            loaded(data)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        loaded(data)


def test_a_graph_cut_anywhere_is_refused_or_asked_for_what_it_lost() -> None:
    data = frozen_graph()
    for length in range(0, len(data) - 30, 11):
        with pytest.raises(ModelError):
            loaded(data[:length], outputs=[("y", "")])


@settings(max_examples=100)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_raises_nothing_but_model_errors(at: float, bit: int) -> None:
    data = bytearray(frozen_graph())
    data[int(at * len(data))] ^= 1 << bit
    try:
        runtime = loaded(bytes(data))
        runtime.predict({i.name: np.ones((2, *i.shape), i.dtype.numpy) for i in runtime.inputs})
        runtime.close()
    except ModelError:
        pass


def test_a_constant_of_another_type_than_it_says_is_refused() -> None:
    """TensorFlow takes it for a fact, and ends the process."""
    intact = tf.compat.v1.GraphDef.FromString(frozen_graph())
    constants = [at for at, node in enumerate(intact.node) if node.op == "Const"]
    assert len(constants) == 4
    for at in constants:
        changed = tf.compat.v1.GraphDef.FromString(frozen_graph())
        changed.node[at].attr["value"].tensor.dtype = tf.int32.as_datatype_enum
        with pytest.raises(UnsafeModelError, match="holds a value of another type than it says"):
            loaded(changed.SerializeToString())


def test_predict_names_what_is_missing_and_close_ends_it() -> None:
    runtime = loaded(frozen_graph())
    with pytest.raises(PredictError, match="no column 'x'"):
        runtime.predict({"z": X})
    with pytest.raises(PredictError, match="failed on the micro-batch"):
        runtime.predict({"x": X[:, :2]})
    runtime.close()
    runtime.close()
    with pytest.raises(PredictError, match="closed"):
        runtime.predict({"x": X})


def test_a_thousand_swaps_give_their_memory_back() -> None:
    import psutil

    memory = psutil.Process().memory_info
    data = frozen_graph()
    early = 0
    for swap in range(1000):
        runtime = loaded(data)
        runtime.predict({"x": X})
        runtime.close()
        if swap == 49:
            early = memory().rss
    assert memory().rss < 1.2 * early


@pytest.mark.skipif(not WINE.is_dir(), reason="the wine models are not beside the checkout")
def test_the_wine_graph_scores_as_published() -> None:
    rows = np.loadtxt(WINE / "winequality_red.csv", delimiter=";")
    runtime = loaded((WINE / "optimized_WineQuality.pb").read_bytes())
    assert runtime.inputs == (Input("dense_1_input", DType.FLOAT32, (11,), ("dense_1_input",)),)
    result = runtime.predict({"dense_1_input": rows[:, :11].astype("float32")})["dense_3/Sigmoid"]
    assert result.shape == (1599, 9)
    assert round(float((result.argmax(1) == rows[:, 11]).mean()), 3) == 0.593


def test_defaults_of_examples_are_found_beside_control_edges() -> None:
    def build(_: Any) -> None:
        texts = tf.compat.v1.placeholder(tf.string, [None], name="texts")
        spec = {"a": tf.io.FixedLenFeature([], tf.float32), "b": tf.io.FixedLenFeature([], tf.float32, 3.0)}
        with tf.control_dependencies([tf.no_op()]):
            found = tf.io.parse_example(texts, spec)
        tf.add(found["a"], found["b"], name="y")

    runtime = loaded(graph(build))
    assert {i.name: i.optional for i in runtime.inputs} == {"a": False, "b": True}
    columns = {"a": np.array([1, 2], "float32"), "b": np.array([4, np.nan], "float32")}
    assert runtime.predict(columns)["y"].tolist() == [5, 5]
    runtime.close()
