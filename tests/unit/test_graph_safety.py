"""Models that do harm are made with TensorFlow itself, and refused before anything of them runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import LoadError, UnsafeModelError
from tests.models import graph, save, saved_model, tarred, tf1_saved_model, zipped
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.tensorflow import frozen_graph
from udfs.models.runtimes.tensorflow import saved_model as saved_model_runtime
from udfs.models.runtimes.tensorflow.graph_ops import ALLOWED, RESTORES
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

tf = configured_tensorflow()
X = {"x": ((None, 2), "float32")}


def refused(path: Path, scratch: Path, match: str) -> None:
    for artifact in (Artifact(None, path, scratch), Artifact(zipped(path), None, scratch)):
        with pytest.raises(UnsafeModelError, match=match):
            saved_model_runtime.load(artifact, WantedSignature())


def edited(path: Path, edit: Any) -> Path:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    edit(saved.meta_graphs[0])
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())
    return path


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def evil_ops(target: str) -> dict[str, Any]:
    raw = tf.raw_ops
    return {
        "WriteFile": lambda x: raw.WriteFile(filename=target, contents="x"),
        "ReadFile": lambda x: raw.ReadFile(filename=target),
        "MatchingFiles": lambda x: raw.MatchingFiles(pattern=target),
        "SaveV2": lambda x: raw.SaveV2(prefix=target, tensor_names=["x"], shape_and_slices=[""], tensors=[x]),
        "RestoreV2": lambda x: raw.RestoreV2(
            prefix=target, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
        ),
        "ImmutableConst": lambda x: raw.ImmutableConst(
            dtype=tf.float32, shape=[1], memory_region_name=target
        ),
        "TextLineDataset": lambda x: raw.TextLineDataset(
            filenames=target, compression_type="", buffer_size=1
        ),
        "EagerPyFunc": lambda x: tf.py_function(lambda: Path(target).write_text("x"), [], []),
        "PyFunc": lambda x: tf.compat.v1.py_func(lambda: np.float32(1), [], [tf.float32]),
        "Abort": lambda x: raw.Abort(),
    }


@pytest.mark.parametrize("op", sorted(evil_ops("")))
def test_an_operator_that_reaches_out_is_refused_in_a_frozen_graph(op: str, scratch: Path) -> None:
    target = scratch / "target"

    def build(x: Any) -> None:
        made = evil_ops(str(target))[op](x)
        with tf.control_dependencies([made[0] if isinstance(made, list | tuple) and made else made]):
            tf.identity(x, name="y")

    with pytest.raises(UnsafeModelError, match=rf"operator {op} \(node .* in the graph\)"):
        frozen_graph.load(Artifact(graph(build), None, scratch), WantedSignature())
    assert not target.exists()


@pytest.mark.parametrize("op", sorted(evil_ops("")))
def test_an_operator_beside_what_is_served_is_neither_judged_nor_loaded(op: str, scratch: Path) -> None:
    target = scratch / "target"

    def build(x: Any) -> None:
        evil_ops(str(target))[op](x)
        tf.identity(x, name="y")

    wanted = WantedSignature(outputs=[("y", "")])
    runtime = frozen_graph.load(Artifact(graph(build), None, scratch), wanted)
    x = np.ones((2, 2), "float32")
    np.testing.assert_array_equal(runtime.predict({"x": x})["y"], x)
    runtime.close()
    assert not target.exists()


def test_an_operator_in_a_function_of_a_function_is_refused(scratch: Path) -> None:
    target = scratch / "target"

    @tf.function
    def inner(x: Any) -> Any:
        tf.io.write_file(str(target), "x")
        return x

    @tf.function
    def outer(x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > 0, lambda: inner(x), lambda: x)

    data = graph(lambda x: tf.identity(outer(x), name="y"))
    with pytest.raises(
        UnsafeModelError, match=r"operator WriteFile \(node .* in function '__inference_inner"
    ):
        frozen_graph.load(Artifact(data, None, scratch), WantedSignature())
    assert not target.exists()


def test_an_operator_in_a_served_function_is_refused(tmp_path: Path, scratch: Path) -> None:
    target = scratch / "target"

    def score(x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.io.write_file(str(target), "x")]):
            return {"y": tf.identity(x)}

    path = save(tmp_path / "evil", tf.Module(), {"serving_default": (score, X)})
    refused(path, scratch, "WriteFile .* in function")
    assert not target.exists()


def test_a_python_function_in_a_saved_model_is_refused(tmp_path: Path, scratch: Path) -> None:
    def score(x: Any) -> dict[str, Any]:
        return {"y": tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), (None, 2))}

    refused(save(tmp_path / "evil", tf.Module(), {"serving_default": (score, X)}), scratch, "EagerPyFunc")


def test_an_operator_in_an_initialiser_is_refused(tmp_path: Path, scratch: Path) -> None:
    target = tmp_path / "target"
    path = tf1_saved_model(tmp_path / "evil")

    def plant(meta: Any) -> None:
        made = tf.Graph()
        with made.as_default():
            tf.raw_ops.WriteFile(filename=str(target), contents="x", name="planted")
        meta.graph_def.node.extend(made.as_graph_def().node)
        meta.collection_def["saved_model_main_op"].node_list.value.append("planted")

    refused(edited(path, plant), scratch, r"operator WriteFile \(node 'planted' in an initialiser\)")
    assert not target.exists()


def with_vocabulary(folder: Path) -> Path:
    """A SavedModel with a table that is filled from its own asset `words`."""
    words = folder / "words"
    words.write_text("red\nwhite\n")
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(words),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )
    served = (lambda x: {"y": module.table.lookup(x)}, {"x": ((None,), "string")})
    path = save(folder / "m", module, {"serving_default": served})
    words.unlink()
    return path


def test_a_table_filled_from_an_asset_is_served(tmp_path: Path, scratch: Path) -> None:
    path = with_vocabulary(tmp_path)
    for artifact in (Artifact(None, path, scratch), Artifact(zipped(path), None, scratch)):
        runtime = saved_model_runtime.load(artifact, WantedSignature())
        colours = np.array(["white", "red", "green"], object)
        assert runtime.predict({"x": colours})["y"].tolist() == [1, 0, -1]
        runtime.close()


def test_a_table_filled_from_any_other_file_is_refused(tmp_path: Path, scratch: Path) -> None:
    def constant(meta: Any) -> None:
        [asset] = meta.asset_file_def
        [node] = [n for n in meta.graph_def.node if n.name == asset.tensor_info.name.partition(":")[0]]
        node.op = "Const"
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/hostname"))
        del node.attr["shape"]
        del meta.asset_file_def[:]

    def another(meta: Any) -> None:
        [call] = [f for f in meta.graph_def.library.function for n in f.node_def if "TextFile" in n.op]
        [fill] = [n for n in call.node_def if "TextFile" in n.op]
        added = call.node_def.add(name="elsewhere", op="Const")
        added.attr["dtype"].type = tf.string.as_datatype_enum
        added.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/hostname"))
        fill.input[1] = "elsewhere:output:0"

    for number, edit in enumerate((constant, another)):
        (tmp_path / str(number)).mkdir()
        path = edited(with_vocabulary(tmp_path / str(number)), edit)
        refused(path, scratch, "InitializeTableFromTextFileV2 .* file of its own choice")


def test_an_asset_that_is_missing_or_a_link_is_refused(tmp_path: Path, scratch: Path) -> None:
    path = with_vocabulary(tmp_path)
    words = path / "assets" / "words"
    words.unlink()
    with pytest.raises(LoadError, match="assets/words, which is not in the SavedModel"):
        saved_model_runtime.load(Artifact(None, path, scratch), WantedSignature())
    words.symlink_to(path / "saved_model.pb")
    with pytest.raises(UnsafeModelError, match="outside the model's folder"):
        saved_model_runtime.load(Artifact(None, path, scratch), WantedSignature())


def test_a_table_filled_by_reading_a_file_is_refused(scratch: Path) -> None:
    def build(x: Any) -> None:
        table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
        content = tf.reshape(tf.io.read_file("/etc/hostname"), [1])
        tf.raw_ops.InitializeTableV2(table_handle=table, keys=content, values=np.array([1]))
        found = tf.raw_ops.LookupTableFindV2(
            table_handle=table, keys=tf.strings.as_string(x), default_value=np.int64(0)
        )
        tf.identity(found, name="y")

    with pytest.raises(UnsafeModelError, match="ReadFile"):
        frozen_graph.load(Artifact(graph(build), None, scratch), WantedSignature())


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b"])
def test_an_asset_outside_the_folder_is_refused(name: str, tmp_path: Path, scratch: Path) -> None:
    path = edited(saved_model(tmp_path / "m"), lambda meta: meta.asset_file_def.add(filename=name))
    refused(path, scratch, "asset .* outside")


@pytest.mark.parametrize("make", [saved_model, tf1_saved_model])
def test_the_saver_may_not_be_called_by_a_signature(make: Any, tmp_path: Path, scratch: Path) -> None:
    def call(meta: Any) -> None:
        signature = next(s for k, s in meta.signature_def.items() if not k.startswith("__"))
        signature.outputs["saved"].name = meta.saver_def.save_tensor_name
        signature.outputs["saved"].dtype = tf.string.as_datatype_enum

    refused(
        edited(make(tmp_path / "m"), call), scratch, "operator (SaveV2|ShardedFilename|MergeV2Checkpoints) "
    )


def test_a_restore_from_another_file_is_refused(tmp_path: Path, scratch: Path) -> None:
    def redirect(meta: Any) -> None:
        made = tf.Graph()
        with made.as_default():
            tf.constant("/var/lib/other/variables", name="elsewhere")
        meta.graph_def.node.extend(made.as_graph_def().node)
        [restore] = [n for n in meta.graph_def.node if n.op == "RestoreV2"]
        restore.input[0] = "elsewhere"

    refused(edited(tf1_saved_model(tmp_path / "m"), redirect), scratch, "reads a file of its own choice")


def test_a_restoring_function_with_a_file_of_its_own_is_refused(tmp_path: Path, scratch: Path) -> None:
    def redirect(meta: Any) -> None:
        for function in meta.graph_def.library.function:
            restores = [n for n in function.node_def if n.op == "RestoreV2"]
            for restore in restores:
                constant = function.node_def.add(name="elsewhere", op="Const")
                constant.attr["dtype"].type = tf.string.as_datatype_enum
                constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/var/lib/other/variables"))
                restore.input[0] = "elsewhere:output:0"

    refused(edited(saved_model(tmp_path / "m"), redirect), scratch, "reads a file of its own choice")


def served_call(meta: Any) -> Any:
    """The node that calls what the default signature serves."""
    [output] = meta.signature_def["serving_default"].outputs.values()
    [node] = [n for n in meta.graph_def.node if n.name == output.name.partition(":")[0]]
    return node


def test_a_node_or_function_that_hides_another_is_refused(tmp_path: Path, scratch: Path) -> None:
    def double(meta: Any) -> None:
        meta.graph_def.node.append(served_call(meta))

    def rename(meta: Any) -> None:
        name = served_call(meta).attr["f"].func.name
        [function] = [f for f in meta.graph_def.library.function if f.signature.name == name]
        function.signature.name = served_call(meta).attr["f"].func.name = "WriteFile"

    refused(edited(saved_model(tmp_path / "a"), double), scratch, "two nodes are named")
    refused(edited(saved_model(tmp_path / "b"), rename), scratch, "hides another operator")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, scratch: Path) -> None:
    path = saved_model(tmp_path / "m")
    index = path / "variables" / "variables.index"
    index.rename(tmp_path / "elsewhere")
    index.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeModelError, match="link that leaves its folder"):
        saved_model_runtime.load(Artifact(None, path, scratch), WantedSignature())


def test_an_unknown_operator_is_refused(tmp_path: Path, scratch: Path) -> None:
    def plant(meta: Any) -> None:
        meta.graph_def.node.add(name="n", op="SomethingOfALaterRelease")
        served_call(meta).input.append("^n")

    expected = "SomethingOfALaterRelease .* a library of its own"
    refused(edited(saved_model(tmp_path / "m"), plant), scratch, expected)


def test_no_allowed_operator_names_a_file_a_host_or_a_host_function() -> None:
    """Arguments and attributes of every allowed operator, as TensorFlow itself describes them."""
    from tensorflow.python.framework import op_def_registry

    words = ("file", "path", "prefix", "server", "address", "token", "host", "descriptor", "stream")
    harmless = {("CTCBeamSearchDecoder", "top_paths")}
    for name in ALLOWED:
        op = op_def_registry.get(name)
        assert op is not None, name
        for part in (*op.attr, *op.input_arg):
            if (name, part.name) not in harmless:
                assert not any(word in part.name for word in words), (name, part.name)
    saves = {"MergeV2Checkpoints", "SaveV2", "ShardedFilename", "ShardedFilespec"}
    assert not ALLOWED & (saves | RESTORES)


def test_ordinary_models_pass(tmp_path: Path, scratch: Path) -> None:
    for path in (saved_model(tmp_path / "two"), tf1_saved_model(tmp_path / "one")):
        saved_model_runtime.load(Artifact(tarred(path), None, scratch), WantedSignature()).close()


def test_no_variables_beside_the_graph_is_a_load_error(tmp_path: Path, scratch: Path) -> None:
    path = saved_model(tmp_path / "m")
    (path / "variables" / "variables.index").unlink()
    with pytest.raises(LoadError, match="no variables/"):
        saved_model_runtime.load(Artifact(None, path, scratch), WantedSignature())
