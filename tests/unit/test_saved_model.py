"""SavedModels of TensorFlow 1 and 2: from archives and folders, by any signature, variables and tables."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ArchiveError, InputsError, LoadError, ModelError
from schemas.tensors import DType, Input, Output
from tests.models import (
    constant_saved_model,
    expected,
    frozen_graph,
    layers,
    save,
    saved_model,
    tarred,
    tf1_saved_model,
    zipped,
)
from udfs.models.runtimes.base import Artifact, PartialInput, Runtime, WantedSignature
from udfs.models.runtimes.tensorflow import frozen_graph as frozen
from udfs.models.runtimes.tensorflow.saved_model import load
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
WINE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "wine"
X = np.random.default_rng(1).normal(size=(7, 3)).astype("float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("saved") / "m")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def from_bytes(data: bytes, scratch: Path, **wanted: Any) -> Runtime:
    return load(Artifact(data, None, scratch), WantedSignature(**wanted))


def from_folder(path: Path, **wanted: Any) -> Runtime:
    return load(Artifact(None, path, path.parent), WantedSignature(**wanted))


def test_archives_and_folders_score_alike_and_leave_no_files(model: Path, scratch: Path) -> None:
    packed = scratch.parent / "model.zip"
    packed.write_bytes(zipped(model))
    for runtime in (
        from_bytes(zipped(model, "1/"), scratch),
        from_bytes(tarred(model), scratch),
        from_bytes(tarred(model, "w", "7/"), scratch),
        load(Artifact(None, packed, scratch), WantedSignature()),
        from_folder(model),
    ):
        assert list(scratch.iterdir()) == []
        assert runtime.inputs == (Input("x", DType.FLOAT32, (3,), ("x",)),)
        assert runtime.outputs == (Output("y", DType.FLOAT32, (2,)),)
        for rows in (1, 7, 2):
            result = runtime.predict({"x": X[:rows]})["y"]
            np.testing.assert_allclose(result, expected(layers(), X[:rows]), rtol=1e-5)
        runtime.close()


def test_models_of_the_same_names_do_not_share_their_variables(tmp_path: Path) -> None:
    runtimes = [from_folder(constant_saved_model(tmp_path / str(v), v)) for v in (1.0, 2.0, 3.0)]
    answers = [r.predict({"x": np.zeros((2, 2), "float32")})["y"].tolist() for r in runtimes]
    assert answers == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]


def test_a_model_of_tensorflow_1(tmp_path: Path) -> None:
    runtime = from_folder(tf1_saved_model(tmp_path / "m"))
    np.testing.assert_allclose(runtime.predict({"inputs": X})["outputs"], expected(layers(), X), rtol=1e-5)


def test_tables_branches_and_loops(tmp_path: Path) -> None:
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["red", "white"], np.array([1.0, 2.0], "float32")), -1.0
    )
    module.scale = tf.Variable(3.0)

    def score(colour: Any, age: Any) -> dict[str, Any]:
        value = module.table.lookup(colour) * module.scale
        value = tf.cond(tf.size(value) > 2, lambda: value + 100, lambda: value)
        for _ in tf.range(10_000):
            value = value * 1.0
        return {"price": value, "label": tf.strings.join([colour, tf.strings.as_string(age)], "-")}

    spec = {"colour": ((None,), "string"), "age": ((None, 1), "int64")}

    def flat(colour: Any, age: Any) -> dict[str, Any]:
        return tf.autograph.experimental.do_not_convert(lambda: score_(colour, age[:, 0]))()

    score_ = tf.function(score)
    runtime = from_folder(save(tmp_path / "m", module, {"serving_default": (flat, spec)}))
    assert [(i.name, i.dtype.value, i.shape) for i in runtime.inputs] == [
        ("age", "int64", ()),
        ("colour", "text", ()),
    ]
    batch = {"colour": np.array(["red", "white", "blue"], object), "age": np.array([3, 4, 5])}
    result = runtime.predict(batch)
    assert result["price"].tolist() == [103.0, 106.0, 97.0]
    assert result["label"].tolist() == ["red-3", "white-4", "blue-5"]
    assert runtime.predict({k: v[:1] for k, v in batch.items()})["price"].tolist() == [3.0]


def test_signatures_and_outputs_are_chosen(tmp_path: Path) -> None:
    spec = {"x": ((None, 3), "float32")}
    one = {"double": (lambda x: {"a": x * 2, "b": x * 3}, spec)}
    two = one | {"half": (lambda x: {"y": x / 2}, spec)}
    first, second = save(tmp_path / "1", tf.Module(), one), save(tmp_path / "2", tf.Module(), two)
    only = from_folder(first)
    assert [o.name for o in only.outputs] == ["a", "b"]
    chosen = from_folder(second, signature="double", outputs=[("b", "triple")])
    assert list(chosen.predict({"x": X})) == ["triple"]
    np.testing.assert_allclose(chosen.predict({"x": X})["triple"], X * 3)
    with pytest.raises(LoadError, match="no signature 'serving_default': it has 'double', 'half'"):
        from_folder(second)
    with pytest.raises(LoadError, match="no signature 'z'"):
        from_folder(second, signature="z")
    with pytest.raises(LoadError, match="no output 'c': it has 'a', 'b'"):
        from_folder(first, outputs=[("c", "")])


def test_fields_come_from_descriptor_settings_or_the_tensor(model: Path) -> None:
    def fields(**wanted: Any) -> tuple[str, ...]:
        return from_folder(model, **wanted).inputs[0].fields

    assert fields(fields=["a", "b", "c"]) == ("a", "b", "c")
    assert fields(fields=["a", "b"]) == ("x",)
    assert fields(fields=["a", "b", "c"], inputs=[PartialInput("x", fields=("c", "b", "a"))]) == (
        "c",
        "b",
        "a",
    )
    with pytest.raises(InputsError, match="no input 'x:0'"):
        fields(inputs=[PartialInput("x:0")])
    with pytest.raises(InputsError, match="float32 in the model and float64"):
        fields(inputs=[PartialInput("x", "float64")])


def test_wrong_kinds_are_refused(model: Path, scratch: Path) -> None:
    with pytest.raises(ArchiveError):
        from_bytes(frozen_graph(), scratch)
    with pytest.raises(LoadError):
        frozen.load(Artifact(zipped(model), None, scratch), WantedSignature())
    with pytest.raises(ArchiveError, match=r"no saved_model\.pb"):
        from_folder(scratch)
    with pytest.raises(LoadError, match="cannot be read"):
        from_folder(scratch / "nothing")


def test_an_archive_beyond_the_bound_is_refused(model: Path, scratch: Path) -> None:
    with pytest.raises(ArchiveError, match="more than 100 bytes"):
        load(Artifact(zipped(model), None, scratch), WantedSignature(), max_bytes=100)
    with pytest.raises(ArchiveError, match="more than 2 entries"):
        load(Artifact(zipped(model), None, scratch), WantedSignature(), max_files=2)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
def test_a_file_cut_short_is_refused(name: str, tmp_path: Path) -> None:
    path = saved_model(tmp_path / "m")
    whole = (path / name).read_bytes()
    for part in range(5):
        (path / name).write_bytes(whole[: len(whole) * part // 5])
        with pytest.raises(ModelError):
            from_folder(path)


def test_flipped_variables_are_refused(tmp_path: Path) -> None:
    path = saved_model(tmp_path / "m")
    file = path / "variables" / "variables.data-00000-of-00001"
    data = bytearray(file.read_bytes())
    data[10] ^= 64
    file.write_bytes(data)
    with pytest.raises(LoadError, match="restored"):
        from_folder(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_nothing(at: float, bit: int, model: Path, scratch: Path) -> None:
    data = bytearray(zipped(model))
    data[int(at * len(data))] ^= 1 << bit
    try:
        runtime = from_bytes(bytes(data), scratch)
    except ModelError:
        return
    np.testing.assert_allclose(runtime.predict({"x": X})["y"], expected(layers(), X), rtol=1e-5)
    runtime.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_graph_raises_nothing_but_model_errors(
    at: float, bit: int, model: Path, tmp_path: Path
) -> None:
    data = bytearray((model / "saved_model.pb").read_bytes())
    data[int(at * len(data))] ^= 1 << bit
    copy = tmp_path / "copy"
    copy.mkdir(exist_ok=True)
    (copy / "saved_model.pb").write_bytes(data)
    if not (copy / "variables").exists():
        (copy / "variables").mkdir()
        for file in (model / "variables").iterdir():
            (copy / "variables" / file.name).write_bytes(file.read_bytes())
    with suppress(ModelError):
        from_folder(copy).close()


def test_swaps_give_their_memory_back(model: Path) -> None:
    """300 swaps, not 1,000: a SavedModel takes a tenth of a second to load on a busy core."""
    import psutil

    memory = psutil.Process().memory_info
    early = 0
    for swap in range(300):
        runtime = from_folder(model)
        runtime.predict({"x": X})
        runtime.close()
        if swap == 49:
            early = memory().rss
    assert memory().rss < 1.2 * early


@pytest.mark.skipif(not WINE.is_dir(), reason="the wine models are not beside the checkout")
def test_the_wine_model_agrees_with_its_frozen_graph() -> None:
    rows = np.loadtxt(WINE / "winequality_red.csv", delimiter=";")[:, :11].astype("float32")
    runtime = from_folder(WINE / "saved" / "1", signature="predict")
    graph = frozen.load(Artifact(None, WINE / "optimized_WineQuality.pb", WINE), WantedSignature())
    one = runtime.predict({"inputs": rows})["outputs"].argmax(1)
    two = graph.predict({"dense_1_input": rows})["dense_3/Sigmoid"].argmax(1)
    assert round(float((one == two).mean()), 4) == 0.9987


def tagged(folder: Path, *graphs: str) -> Path:
    """The SavedModel with one graph for each of these tags, of which the nth gives `y` as `yn`."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = folder / "saved_model.pb"
    (meta,) = SavedModel.FromString(file.read_bytes()).meta_graphs
    made = SavedModel(saved_model_schema_version=1)
    for number, tags in enumerate(graphs):
        graph = made.meta_graphs.add()
        graph.CopyFrom(meta)
        graph.meta_info_def.tags[:] = filter(None, tags.split("+"))
        outputs = graph.signature_def["serving_default"].outputs
        outputs[f"y{number}"].CopyFrom(outputs.pop("y"))
    file.write_bytes(made.SerializeToString())
    return folder


@pytest.mark.parametrize(
    ("graphs", "output", "note"),
    [
        (["serve"], "y0", ""),
        (["serve+gpu"], "y0", ""),
        (["train", "serve"], "y1", "of the SavedModel's 2 graphs (train, serve) serve is served"),
        (["serve+gpu", "serve"], "y1", "of the SavedModel's 2 graphs (serve+gpu, serve) serve is served"),
        (["serve+tpu", "train"], "y0", "of the SavedModel's 2 graphs (serve+tpu, train) serve+tpu is served"),
        (["train"], "y0", "the SavedModel's only graph is served, and its tag is train, not serve"),
        ([""], "y0", "the SavedModel's only graph is served, and its tag is (none), not serve"),
    ],
)
def test_of_several_graphs_it_is_told_which_is_served(
    graphs: list[str], output: str, note: str, tmp_path: Path
) -> None:
    runtime = from_folder(tagged(saved_model(tmp_path / "m"), *graphs))
    assert [o.name for o in runtime.outputs] == [output]
    assert [n for n in runtime.notes if "graph" in n] == ([note] if note else [])


@pytest.mark.parametrize(
    ("graphs", "said"),
    [
        (["train", "eval"], r"no graph of the SavedModel has the tag serve \(there are train, eval\)"),
        (["serve", "serve"], r"2 graphs of the SavedModel are equally for serving \(serve, serve\)"),
        (["serve+tpu", "serve+gpu", "train"], r"equally for serving \(serve\+tpu, serve\+gpu, train\)"),
        ([], "the SavedModel has no graph"),
    ],
)
def test_where_no_graph_is_the_one_for_serving_none_is_taken(
    graphs: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(LoadError, match=said):
        from_folder(tagged(saved_model(tmp_path / "m"), *graphs))


class Lists(tf.Module):  # type: ignore[misc]
    """Functions whose arguments, taken apart, have the same names."""

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.float32, ragged_rank=1)])  # type: ignore[misc]
    def ragged(self, v: Any) -> Any:
        return {"y": tf.reduce_sum(v, axis=1)}

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None, None], tf.float32, ragged_rank=2)])  # type: ignore[misc]
    def nested(self, v: Any) -> Any:
        return {"y": tf.reduce_sum(v, axis=[1, 2])}

    @tf.function(input_signature=[tf.SparseTensorSpec([None, 5], tf.float32)])  # type: ignore[misc]
    def sparse(self, v: Any) -> Any:
        return {"y": tf.sparse.reduce_sum(v, axis=1)}

    @tf.function(  # type: ignore[misc]
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="v"),
            tf.TensorSpec([None], tf.int64, name="v_1"),
        ]
    )
    def a_dense(self, v: Any, v_1: Any) -> Any:
        return {"y": v + tf.cast(v_1, tf.float32)}


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lists")
    module = Lists()
    functions = {name: getattr(module, name) for name in ("ragged", "nested", "sparse", "a_dense")}
    tf.saved_model.save(
        module, str(folder / "m"), {n: f.get_concrete_function() for n, f in functions.items()}
    )
    return folder / "m"


@pytest.mark.parametrize("signature", ["ragged", "sparse"])
def test_lists_are_read_by_the_function_that_is_called(signature: str, lists: Path) -> None:
    runtime = from_folder(lists, signature=signature)
    assert [(i.name, i.shape) for i in runtime.inputs] == [("v", (-1,))]
    rows = np.empty(4, object)
    rows[:] = [np.array(part, "f4") for part in ([1, 2], [], [3, 4, 5], [6])]
    assert runtime.predict({"v": rows})["y"].tolist() == [3, 0, 12, 6]
    assert runtime.predict({"v": rows[1:2]})["y"].tolist() == [0]
    assert runtime.predict({"v": rows[:0]})["y"].tolist() == []


def test_two_columns_are_no_parts_of_a_list_that_another_function_takes(lists: Path) -> None:
    runtime = from_folder(lists, signature="a_dense")
    assert [(i.name, i.shape) for i in runtime.inputs] == [("v", ()), ("v_1", ())]
    columns = {"v": np.array([1, 2], "f4"), "v_1": np.array([10, 20])}
    assert runtime.predict(columns)["y"].tolist() == [11, 22]


def test_lists_of_lists_are_refused_and_not_taken_for_columns(lists: Path) -> None:
    with pytest.raises(InputsError, match="input 'v' is a tensor in parts that no list"):
        from_folder(lists, signature="nested")


@pytest.mark.parametrize("values", [(None,), (None,) * 4])
def test_parts_of_a_list_are_of_the_shapes_of_lists(values: tuple[None, ...], tmp_path: Path) -> None:
    """Kernels are guarded by what placeholders say of themselves."""
    v1 = tf.compat.v1
    shapes = (("int64", (None, 2)), ("float32", values), ("int64", (2,)))
    with v1.Graph().as_default(), v1.Session() as session:
        indices, given, shape = (v1.placeholder(dtype, of) for dtype, of in shapes)
        rows = tf.zeros([tf.cast(shape[0], tf.int32)])
        y = rows + tf.reduce_sum(given) + tf.cast(tf.reduce_sum(indices), tf.float32)
        info = v1.saved_model.build_tensor_info(v1.SparseTensor(indices, v1.placeholder("float32"), shape))
        info.coo_sparse.values_tensor_name = given.name
        outputs = {"y": v1.saved_model.build_tensor_info(y)}
        define = v1.saved_model.build_signature_def({"x": info}, outputs, "predict")
        builder = v1.saved_model.builder.SavedModelBuilder(str(tmp_path / "m"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": define})
        builder.save()
    if len(values) > 1:
        with pytest.raises(InputsError, match="of a shape that no list has"):
            from_folder(tmp_path / "m")
        return
    runtime = from_folder(tmp_path / "m")
    lists = np.empty(2, object)
    lists[:] = [np.array([0.5, 1.0], "float32"), np.array([2.0], "float32")]
    assert runtime.predict({"x": lists})["y"].tolist() == [5.5, 5.5]  # with places (0, 0), (0, 1) and (1, 0)
    runtime.close()
