"""Graphs that would end, hang or fill the process, or read what others left in its memory."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import LoadError, UnsafeModelError
from tests.models import graph, save
from udfs.models.runtimes.base import Artifact, PartialInput, WantedSignature
from udfs.models.runtimes.tensorflow import saved_model
from udfs.models.runtimes.tensorflow.frozen_graph import load
from udfs.models.runtimes.tensorflow.graph_cut import cut
from udfs.models.runtimes.tensorflow.graph_files import FedTensors
from udfs.models.runtimes.tensorflow.graph_ops import ALLOWED, ENDING, ENDLESS, PRINTS, UNWRITTEN
from udfs.models.runtimes.tensorflow.graph_plain import make_plain
from udfs.models.runtimes.tensorflow.graph_safety import Served, check_graph
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk
from udfs.models.runtimes.tensorflow.op_reasons import reason
from udfs.models.runtimes.tensorflow.session import configured_tensorflow, first_line

tf = configured_tensorflow()
FLOAT, TEXT = tf.float32.as_datatype_enum, tf.string.as_datatype_enum
HOSTILE = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "hostile"


def refused(data: bytes, match: str) -> None:
    with pytest.raises(UnsafeModelError, match=match):
        load(Artifact(data, None, Path("/nonexistent")), WantedSignature(outputs=[("y", "")]))


def calling(op: str, callee: str, where: Any, name: str = "call", of: str = "a") -> Any:
    """A node that calls a function of one float, by an operator of the given name."""
    node = where.add(name=name, op=op, input=[of])
    if op != callee:
        node.attr["f"].func.name = callee
        node.attr["Tin"].list.type.append(FLOAT)
        node.attr["Tout"].list.type.append(FLOAT)
    return node


def graph_of(functions: dict[str, list[tuple[str, str]]], first: str) -> Any:
    """x -> first -> y. Each function calls others, one after another: (operator, callee)."""
    made = graph(lambda x: tf.identity(x, name="y"))
    graph_def = tf.compat.v1.GraphDef.FromString(made)
    for name, calls in functions.items():
        function = graph_def.library.function.add()
        function.signature.name = name
        function.signature.input_arg.add(name="a", type=FLOAT)
        function.signature.output_arg.add(name="o", type=FLOAT)
        last = "a"
        for n, (op, callee) in enumerate(calls):
            node = calling(op, callee, function.node_def, f"c{n}", last)
            last = f"{node.name}:{'o' if op == callee else 'output'}:0"
        if last == "a":
            function.node_def.add(name="i", op="Identity", input=["a"]).attr["T"].type = FLOAT
            last = "i:output:0"
        function.ret["o"] = last
    calling("PartitionedCall", first, graph_def.node, of="x")
    [y] = [n for n in graph_def.node if n.name == "y"]
    y.input[0] = "call"
    return graph_def


@pytest.mark.parametrize("op", ["PartitionedCall", "StatefulPartitionedCall", "f"])
def test_a_function_that_calls_itself_is_refused(op: str) -> None:
    refused(graph_of({"f": [(op, "f")]}, "f").SerializeToString(), "'f' calls itself")


def test_functions_that_call_each_other_in_a_circle_are_refused() -> None:
    call = "PartitionedCall"
    circle = {"f": [(call, "g")], "g": [(call, "h")], "h": [(call, "f")]}
    refused(graph_of(circle, "f").SerializeToString(), "calls itself, directly or through others")


def test_a_branch_that_calls_its_own_function_is_refused() -> None:
    graph_def = graph_of({"f": []}, "f")
    function = graph_def.library.function[0]
    branch = function.node_def.add(name="b", op="If", input=["a", "a"])
    branch.attr["then_branch"].func.name = branch.attr["else_branch"].func.name = "f"
    refused(graph_def.SerializeToString(), "'f' calls itself")


def test_calls_nested_too_deep_are_refused() -> None:
    def chain(length: int) -> bytes:
        functions = {f"f{n}": [("PartitionedCall", f"f{n + 1}")] for n in range(length)}
        return graph_of(functions | {f"f{length}": []}, "f0").SerializeToString()

    refused(chain(5000), "functions deep|deep, and 100 are allowed")
    load(Artifact(chain(50), None, Path("/nonexistent")), WantedSignature(outputs=[("y", "")])).close()


def test_calls_that_unfold_to_billions_of_operators_are_refused() -> None:
    functions = {f"f{n}": [("PartitionedCall", f"f{n + 1}")] * 2 for n in range(40)}
    refused(graph_of(functions | {"f40": []}, "f0").SerializeToString(), "unfolds to more than")


@pytest.mark.parametrize("name", sorted(p.name for p in HOSTILE.glob("*recursion*.pb")))
def test_the_published_recursions_are_refused(name: str) -> None:
    refused((HOSTILE / name).read_bytes(), "calls itself")


def test_constants_that_the_file_does_not_hold_are_bounded() -> None:
    def build(x: Any) -> None:
        tf.add(tf.reduce_sum(x, 1), 1.0, name="y")

    graph_def = tf.compat.v1.GraphDef.FromString(graph(build))
    [one] = [n for n in graph_def.node if n.name == "y/y"]
    one.attr["value"].tensor.tensor_shape.dim.add(size=400_000_000)
    refused(graph_def.SerializeToString(), "constants fill 1,599,999,... bytes of memory")


@pytest.mark.parametrize(
    ("build", "op"),
    [
        (lambda x: tf.raw_ops.Empty(shape=tf.shape(x), dtype=tf.float32, init=False), "Empty"),
        (
            lambda x: tf.raw_ops.DestroyTemporaryVariable(
                ref=tf.raw_ops.TemporaryVariable(shape=[2], dtype=tf.float32, var_name="v"), var_name="v"
            ),
            "TemporaryVariable",
        ),
    ],
)
def test_memory_that_nobody_wrote_is_not_handed_out(build: Any, op: str) -> None:
    refused(graph(lambda x: tf.identity(x + build(x), name="y")), f"{op} .* memory that nothing has written")


def test_a_parameter_that_is_never_given_is_zeros_and_not_memory() -> None:
    made = graph(lambda x: tf.identity(x + tf.raw_ops.FakeParam(dtype=tf.float32, shape=[2]), name="y"))
    runtime = load(Artifact(made, None, Path("/nonexistent")), WantedSignature())
    assert runtime.predict({"x": [[1.0, 2.0]]})["y"].tolist() == [[1.0, 2.0]]
    runtime.close()


@pytest.mark.parametrize(
    "build",
    [
        lambda x: tf.raw_ops.Conv2DBackpropFilter(
            input=tf.reshape(x, [1, 1, 1, 2]),
            filter_sizes=[1, 1, 2, 1],
            out_backprop=[[[[1.0]]]],
            strides=[1, 1, 1, 1],
            padding="SAME",
        ),
        lambda x: tf.raw_ops.MaxPoolGrad(
            orig_input=x[:, :, None, None],
            orig_output=x[:, :, None, None],
            grad=x[:, :, None, None],
            ksize=[1, 1, 1, 1],
            strides=[1, 1, 1, 1],
            padding="SAME",
        ),
    ],
)
def test_kernels_of_training_are_refused(build: Any) -> None:
    refused(graph(lambda x: tf.identity(build(x), name="y")), "belongs to training")


def test_a_table_is_not_filled_by_each_call() -> None:
    """A table with a place for each key ends the process for keys in a list."""

    def build(x: Any) -> None:
        empty = {"empty_key": tf.constant(-1, tf.int64), "deleted_key": tf.constant(-2, tf.int64)}
        table = tf.raw_ops.MutableDenseHashTableV2(value_dtype=tf.int64, **empty)
        number = tf.cast(x[:, 0], tf.int64)
        filled = tf.raw_ops.LookupTableImportV2(table_handle=table, keys=number, values=number)
        with tf.control_dependencies([filled]):
            tf.identity(x, name="y")

    refused(graph(build), "LookupTableImportV2 .* replaces all of a table in each call")


@pytest.mark.parametrize("name", ["dilations", "strides"])
def test_steps_below_1_are_refused(name: str) -> None:
    def build(x: Any) -> None:
        filters = tf.ones([1, 1, 1, 1])
        tf.nn.conv2d(x[:, :, None, None], filters, 1, "VALID", name="y")

    graph_def = tf.compat.v1.GraphDef.FromString(graph(build))
    (convolution,) = (n for n in graph_def.node if n.op == "Conv2D")
    convolution.attr[name].list.i[1] = 0
    refused(graph_def.SerializeToString(), f"has {name} below 1")


def test_row_splits_of_a_type_for_which_a_kernel_ends_the_process_are_refused() -> None:
    def build(x: Any) -> None:
        text = tf.as_string(x[:, 0])
        of = {"input_encoding": "UTF-8", "Tsplits": tf.int32}
        tf.cast(tf.raw_ops.UnicodeDecodeWithOffsets(input=text, **of)[1], tf.float32, name="y")

    refused(graph(build), "UnicodeDecodeWithOffsets .* has row splits of int32")


def test_kernels_of_training_are_taken_where_the_job_takes_them() -> None:
    def build(x: Any) -> None:
        tf.gradients(tf.nn.max_pool2d(x[:, :, None, None], 1, 1, "SAME"), x, name="g")[0]
        tf.identity(tf.gradients(tf.reduce_sum(x[:, 0] * x[:, 1]), x)[0], name="y")

    data = graph(build)
    refused(data, r"StridedSliceGrad .*data_types\.TYPE\.training_operators")
    wanted = WantedSignature(outputs=[("y", "")], training=True)
    runtime = load(Artifact(data, None, Path("/nonexistent")), wanted)
    assert runtime.predict({"x": [[2.0, 3.0]]})["y"].tolist() == [[3.0, 2.0]]
    runtime.close()


def test_a_width_that_was_found_is_told_and_can_be_overruled() -> None:
    """One number a record, spread over three centres, then a matrix of three rows: its width is not three."""
    made = tf.Graph()
    with made.as_default():
        x = tf.compat.v1.placeholder(tf.float32, name="x")
        near = tf.nn.relu(x - tf.constant([0.0, 1.0, 2.0]))
        tf.matmul(near, tf.ones((3, 1)), name="y")
    data = made.as_graph_def().SerializeToString()
    artifact = Artifact(data, None, Path("/nonexistent"))
    found = load(artifact, WantedSignature())
    assert found.inputs[0].shape == (3,) and any("--input overrules" in note for note in found.notes)
    found.close()
    overruled = load(artifact, WantedSignature(inputs=[PartialInput("x", "float32", (1,))]))
    assert overruled.inputs[0].shape == () and not overruled.notes
    assert overruled.predict({"x": np.array([0.5, 4.0], "float32")})["y"].tolist() == [[0.5], [9.0]]
    overruled.close()


def restoring(depth: int, width: int = 2) -> tuple[Any, Served]:
    """A graph whose restoring functions call each other `width` times each, `depth` deep."""
    graph_def = tf.compat.v1.GraphDef()
    graph_def.node.add(name="file", op="Placeholder").attr["dtype"].type = TEXT
    for n in range(depth + 1):
        function = graph_def.library.function.add()
        function.signature.name = f"f{n}"
        function.signature.input_arg.add(name="a", type=TEXT)
        if n == 0:
            parts = function.node_def.add(name="parts", op="Const")
            parts.attr["dtype"].type = parts.attr["value"].tensor.dtype = TEXT
            function.node_def.add(name="r", op="RestoreV2", input=["a", "a", "parts:output:0"])
        for k in range(width if n else 0):
            call = function.node_def.add(name=f"c{k}", op="StatefulPartitionedCall", input=["a"])
            call.attr["f"].func.name = f"f{n - 1}"
    call = graph_def.node.add(name="restore", op="StatefulPartitionedCall", input=["file"])
    call.attr["f"].func.name = f"f{depth}"
    restore = GraphWalk(graph_def).reach(["restore"])
    return graph_def, Served(GraphWalk(graph_def).reach([]), restoring=restore, variables=["file:0"])


def test_restoring_functions_that_call_each_other_are_checked_once_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = 0
    holds = FedTensors.holds

    def counted(self: FedTensors, scope: str | None, reference: str) -> bool:
        nonlocal looked
        looked += 1
        return holds(self, scope, reference)

    monkeypatch.setattr(FedTensors, "holds", counted)
    graph_def, served = restoring(16)
    check_graph(graph_def, served)
    assert looked < 100  # 2 ** 16 where each call is followed
    monkeypatch.undo()
    graph_def.library.function[5].node_def[0].input[0] = "other:output:0"
    graph_def.library.function[5].node_def.add(name="other", op="Const").attr["dtype"].type = TEXT
    with pytest.raises(UnsafeModelError, match="file of its own choice"):
        check_graph(graph_def, served)


def test_prints_are_dropped_and_what_they_hand_on_is_kept(tmp_path: Path, capfd: Any) -> None:
    target = tmp_path / "log"

    def build(x: Any) -> None:
        printed = tf.raw_ops.PrintV2(input=tf.strings.format("{}", x), output_stream=f"file://{target}")
        with tf.control_dependencies([printed]):
            tf.identity(tf.compat.v1.Print(x, [x], "SEEN"), name="y")

    runtime = load(Artifact(graph(build), None, tmp_path), WantedSignature())
    assert runtime.predict({"x": [[1.0, 2.0]]})["y"].tolist() == [[1.0, 2.0]]
    runtime.close()
    assert not target.exists()
    assert "SEEN" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("op", "words"),
    [
        ("EagerPyFunc", "Python function"),
        ("XlaCallModule", "compiled elsewhere"),
        ("SentencepieceOp", "a library of its own"),
        ("TextLineDataset", "data set"),
        ("IteratorGetNext", "data set"),
        ("QueueDequeueV2", "waits for other calls"),
        ("ReadFile", "reads or writes files"),
        ("SaveV2", "reads or writes files"),
        ("MaxPoolGrad", "belongs to training"),
        ("ResourceApplyAdam", "belongs to training"),
        ("StackPopV2", "belongs to training"),
        ("Empty", "nothing has written"),
        ("ScatterDiv", "ends the process"),
        ("SparseMatrixMatMul", "ends the process"),
        ("SparseMatrixSparseCholesky", "ends the process"),
        ("MatrixSolveLs", "nothing has written"),
        ("UniformQuantizedConvolution", "ends the process"),
        ("RandomPoissonV2", "never ends"),
        ("MatrixLogarithm", "never ends for a matrix"),
        ("Abort", "not one that only computes"),
    ],
)
def test_each_refusal_says_why_and_what_to_do(op: str, words: str) -> None:
    said = reason(op, tf.raw_ops.__dict__)
    assert words in said
    assert ": " in said
    assert op not in ALLOWED


def test_the_lists_do_not_contradict_each_other() -> None:
    assert not ALLOWED & (UNWRITTEN | PRINTS | ENDING | ENDLESS)


def test_the_first_line_of_a_long_error_is_found_in_no_time():
    """A record's text stands in the error of an operator that cannot read it."""
    started = time.perf_counter()
    assert len(first_line(ValueError("{{function_node " * 60_000))) == 300
    assert time.perf_counter() - started < 1


def completed_by_its_caller(what: str) -> Any:
    """x -> f -> y, where f leaves `what` to the call."""
    graph_def = graph_of({"f": []}, "f")
    [function], [call] = graph_def.library.function, [n for n in graph_def.node if n.name == "call"]
    given = call.attr["f"].func.attr
    if what == "constant":
        constant = function.node_def.add(name="k", op="Const")
        constant.attr["dtype"].placeholder, constant.attr["value"].placeholder = "T", "V"
        given["T"].type = given["V"].tensor.dtype = tf.resource.as_datatype_enum
    elif what == "function":
        function.node_def.add(name="k", op="PartitionedCall", input=["a"]).attr["f"].placeholder = "F"
        given["F"].func.name = "f"
    elif what == "handed on":
        inner = function.node_def.add(name="k", op="PartitionedCall", input=["a"])
        inner.attr["f"].func.name = "g"
        inner.attr["f"].func.attr["F"].placeholder = "F"
    elif what == "number":
        function.signature.input_arg[0].number_attr = "N"
        given["N"].i = 2
    elif what == "type":
        function.signature.output_arg[0].type_attr = "T"
        given["T"].type = FLOAT
    return graph_def


@pytest.mark.parametrize("what", ["constant", "function", "handed on", "number", "type"])
def test_a_function_that_its_caller_completes_is_refused(what: str) -> None:
    """No check would see the handles, the calls and the order of arguments that come of it."""
    refused(completed_by_its_caller(what).SerializeToString(), "its caller chooses: export the model by")


@pytest.mark.parametrize("callee", ["SymbolicGradient", "ReadFile", "missing"])
def test_a_call_of_what_is_no_function_of_the_graph_is_refused(callee: str) -> None:
    graph_def = graph_of({"f": []}, "f")
    calling("If", "f", graph_def.node, "call2").attr["then_branch"].list.func.add(name=callee)
    [y] = [n for n in graph_def.node if n.name == "y"]
    y.input[0] = "call2"
    refused(graph_def.SerializeToString(), f"'call2' in the graph calls the function '{callee}'")


@pytest.mark.parametrize("name", ["a", "i"])
def test_a_name_that_stands_twice_in_a_function_is_refused(name: str) -> None:
    graph_def = graph_of({"f": []}, "f")
    graph_def.library.function[0].node_def.add(name=name, op="Identity", input=["a"]).attr["T"].type = FLOAT
    refused(graph_def.SerializeToString(), f"function 'f' has '{name}' twice")


def test_notes_of_tensorflow_to_itself_are_dropped() -> None:
    graph_def = graph_of({"f": []}, "f")
    [function] = graph_def.library.function
    kept = "_output_shapes"
    for holder in (function, *function.node_def, *graph_def.node):
        for name in ("_XlaCompile", "_forward_input", "_class", kept):
            holder.attr[name].b = True
    make_plain(graph_def)
    for holder in (function, *function.node_def, *graph_def.node):
        assert [n for n in holder.attr if n.startswith("_")] == [kept]


def aligned(rows: int) -> Any:
    """Rows of ones that TensorFlow takes as they lie, without copying them."""
    memory = np.zeros(rows * 8 + 64, np.uint8)
    start = -memory.ctypes.data % 64
    found = memory[start : start + rows * 8].view(np.float32).reshape(rows, 2)
    found[...] = 1
    return found


def test_a_model_that_writes_over_its_input_does_not_write_over_the_records() -> None:
    """Their columns are also read by the other models of an ensemble."""

    def build(x: Any) -> None:
        tf.identity(tf.raw_ops.InplaceUpdate(x=x, i=[0], v=x[:1] * 0.0), name="y")

    runtime = load(Artifact(graph(build), None, Path("/nonexistent")), WantedSignature())
    columns = {"x": aligned(4)}
    assert runtime.predict(columns)["y"][0].tolist() == [0, 0]
    runtime.close()
    assert columns["x"].tolist() == [[1, 1]] * 4


def test_what_is_written_over_is_nothing_that_later_records_are_scored_with(tmp_path: Path) -> None:
    """A constant is a number that was found to be within bounds, too."""

    def scored(x: Any) -> Any:
        weights = tf.constant([1.0, 1.0])
        whole = tf.concat([tf.shape(x)[1:], [2]], 0)[1:]  # which is not known before there are records
        written = tf.raw_ops.InplaceUpdate(x=tf.reshape(weights, whole), i=[0], v=x[:1, 0])
        return x * weights, written + tf.zeros_like(x)

    def build(x: Any) -> None:
        for tensor, name in zip(scored(x), ("y", "z"), strict=True):
            tf.identity(tensor, name=name)

    served = {
        "serving_default": (lambda x: dict(zip("yz", scored(x), strict=True)), {"x": ((None, 2), "float32")})
    }
    folder = save(tmp_path / "model", tf.Module(), served)
    for runtime in (
        load(Artifact(graph(build), None, tmp_path), WantedSignature()),
        saved_model.load(Artifact(None, folder, tmp_path), WantedSignature()),
    ):
        for first in (7, 1):
            answer = runtime.predict({"x": np.array([[first, 2]], "float32")})
            assert {name: column.tolist() for name, column in answer.items()} == {
                "y": [[first, 2]],
                "z": [[first, 1]],
            }
        runtime.close()


@pytest.mark.parametrize("index", ["900000000", "9" * 5000, "1000000000000", "2"])
def test_an_output_of_any_number_is_looked_for_in_no_memory(index: str) -> None:
    graph_def = tf.compat.v1.GraphDef.FromString(graph(lambda x: tf.identity(x, name="y")))
    node = graph_def.node.add(name="parts", op="Unpack", input=["x"])
    node.attr["T"].type = FLOAT
    node.attr["num"].i = 1 << 40
    tracemalloc.start()
    try:
        given = cut(graph_def, ["parts:" + index])
        assert int(index) < 1 << 40
        assert given == {f"parts:{index}": f"parts_{index}_fed:0"}
    except LoadError as e:
        assert "no tensor 'parts:" in str(e)
        assert len(index) > 9
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 20


def test_the_outputs_of_an_operator_are_counted_through() -> None:
    graph_def = tf.compat.v1.GraphDef()
    several = graph_def.node.add(name="s", op="IdentityN")
    several.attr["T"].list.type.extend([FLOAT, TEXT])
    boxes = graph_def.node.add(name="b", op="ParseExample")
    boxes.attr["Nsparse"].i = 2
    boxes.attr["sparse_types"].list.type.extend([FLOAT, TEXT])
    boxes.attr["Tdense"].list.type.append(FLOAT)
    kinds = {"s:0": FLOAT, "s:1": TEXT, "b:1": 9, "b:2": FLOAT, "b:3": TEXT, "b:5": 9, "b:6": FLOAT}
    given = cut(graph_def, list(kinds))
    found = {n.name: n.attr["dtype"].type for n in graph_def.node if n.op == "Placeholder"}
    assert {tensor: found[fed.removesuffix(":0")] for tensor, fed in given.items()} == kinds
    with pytest.raises(LoadError, match="no tensor 'b:7'"):
        cut(graph_def, ["b:7"])


def normed(x: Any, at: int) -> Any:
    made = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(x, [-1, 1, 1, 2]), scale=[1.0, 1.0], offset=[0.0, 0.0], mean=[0.0, 0.0],
        variance=[1.0, 1.0], is_training=False,
    )  # fmt: skip
    return made[at]


@pytest.mark.parametrize("at", [3, 4, 5])
def test_what_a_norm_keeps_for_gradients_is_not_read(at: int, tmp_path: Path) -> None:
    """Without oneDNN, which TensorFlow uses on some processors only, nothing writes it for inference."""
    kept = r"is what FusedBatchNormV3 keeps for gradients"
    refused(graph(lambda x: tf.identity(x[:, 0] + tf.reduce_sum(normed(x, at)), name="y")), kept)
    made = graph(lambda x: normed(x, 0))
    (norm,) = (n.name for n in tf.compat.v1.GraphDef.FromString(made).node if n.op == "FusedBatchNormV3")
    with pytest.raises(UnsafeModelError, match=kept):
        load(Artifact(made, None, tmp_path), WantedSignature(outputs=[(f"{norm}:{at}", "y")]))

    def served(x: Any) -> dict[str, Any]:
        return {"y": x[:, 0] + tf.cond(x[0, 0] > 0, lambda: tf.reduce_sum(normed(x, at)), lambda: 0.0)}

    folder = save(
        tmp_path / "model", tf.Module(), {"serving_default": (served, {"x": ((None, 2), "float32")})}
    )
    with pytest.raises(UnsafeModelError, match=kept):
        saved_model.load(Artifact(None, folder, tmp_path), WantedSignature())


def test_what_a_norm_gives_is_read() -> None:
    made = graph(lambda x: tf.identity(normed(x, 0)[:, 0, 0, 1], name="y"))
    runtime = load(Artifact(made, None, Path("/nonexistent")), WantedSignature())
    assert runtime.predict({"x": [[1.0, 0.5]]})["y"] == pytest.approx([0.5], rel=1e-3)
    runtime.close()
