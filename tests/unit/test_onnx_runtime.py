"""The ONNX runtime: names, types, shapes and batches, for models made node by node."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.errors import InputsError, LoadError, PredictError
from schemas.tensors import DType, Input, Output
from tests.onnx_models import constant, dense, loaded, node, onnx_model, tensor
from udfs.models.runtimes.base import Artifact, PartialInput, Runtime, WantedSignature
from udfs.models.runtimes.onnx.runtime import load

pytest.importorskip("onnx")

X = np.array([[1, 2], [3, 4], [5, 6]], np.float32)


def test_a_matrix_is_read_from_fields_in_order():
    weights = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]], np.float32)
    with_fields = loaded(dense(weights), fields=("height", "width"))
    assert isinstance(with_fields, Runtime)
    assert with_fields.inputs == (Input("x", DType.FLOAT32, (2,), ("height", "width")),)
    assert with_fields.outputs == (Output("y", DType.FLOAT32, (3,)),)
    np.testing.assert_array_equal(with_fields.predict({"x": X})["y"], X @ weights)
    assert loaded(dense(weights)).inputs == (Input("x", DType.FLOAT32, (2,), ("x",)),)
    assert with_fields.predict({"x": X[:0]})["y"].shape == (0, 3)


def test_single_columns_are_fields_of_their_names():
    inputs = [tensor("a", (None, 1)), tensor("b", (None, 1), "int64"), tensor("c", ("n",), "bool")]
    nodes = [
        node("Cast", ["b"], ["bf"], to=1),
        node("Cast", ["c"], ["cf"], to=1),
        node("Squeeze", ["a", "one"], ["a1"]),
        node("Squeeze", ["bf", "one"], ["b1"]),
        node("Sum", ["a1", "b1", "cf"], ["y"]),
    ]
    made = onnx_model(nodes, inputs, [tensor("y", ("n",))], [constant("one", [1], "int64")])
    runtime = loaded(made)
    assert [(i.name, i.dtype, i.shape, i.fields) for i in runtime.inputs] == [
        ("a", DType.FLOAT32, (), ("a",)),
        ("b", DType.INT64, (), ("b",)),
        ("c", DType.BOOL, (), ("c",)),
    ]
    columns = {"a": np.array([0.5, 1], "f"), "b": np.array([2, 3]), "c": np.array([True, False])}
    assert runtime.predict(columns)["y"].tolist() == [3.5, 4.0]


@pytest.mark.parametrize(
    ("dtype", "held"),
    [
        ("float32", DType.FLOAT32), ("float64", DType.FLOAT64), ("float16", DType.FLOAT32),
        ("int8", DType.INT32), ("uint8", DType.INT32), ("int16", DType.INT32), ("uint16", DType.INT32),
        ("int32", DType.INT32), ("uint32", DType.INT64), ("int64", DType.INT64), ("bool", DType.BOOL),
        ("str", DType.TEXT),
    ],
)  # fmt: skip
def test_element_types_go_in_and_out(dtype, held):
    made = onnx_model([node("Identity", ["x"], ["y"])], [tensor("x", (None, 2), dtype)],
                      [tensor("y", (None, 2), dtype)])  # fmt: skip
    runtime = loaded(made)
    assert (runtime.inputs[0].dtype, runtime.outputs[0].dtype) == (held, held)
    values = [["é", "b\n"], ["", "0"]] if dtype == "str" else [[0, 1], [1, 0]]
    column = np.array(values, held.numpy)
    answer = runtime.predict({"x": column})["y"]
    assert answer.dtype == held.numpy and answer.tolist() == column.tolist()


@pytest.mark.parametrize(
    ("dtype", "held", "fits", "beyond"),
    [
        ("uint8", np.int32, [0, 255], [256, -1]),
        ("float16", np.float32, [65504, np.nan, np.inf], [70000, -70000]),
    ],
)
def test_numbers_that_a_narrow_type_lacks_are_refused_by_value(dtype, held, fits, beyond):
    made = onnx_model([node("Identity", ["x"], ["y"])], [tensor("x", (None,), dtype)],
                      [tensor("y", (None,), dtype)])  # fmt: skip
    runtime = loaded(made)
    np.testing.assert_array_equal(runtime.predict({"x": np.array(fits, held)})["y"], np.array(fits, held))
    for value in beyond:
        with pytest.raises(PredictError, match=rf"'x' is {value}(\.0)?, and the model takes {dtype}"):
            runtime.predict({"x": np.array([0, value], held)})


@pytest.mark.parametrize("batch", [None, 2])
def test_bfloat16_is_read_as_float32_and_rounded_to_the_nearest(batch):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    made = onnx_model([node("Cast", ["x"], ["y"], to=1)], [tensor("x", (batch,))], [tensor("y", (batch,))])
    made.graph.input[0].type.tensor_type.elem_type = 16
    runtime = loaded(made, PartialInput("x", shape=(1,)) if batch else PartialInput("x"))
    assert [(i.dtype, i.shape) for i in runtime.inputs] == [(DType.FLOAT32, ())]
    numbers = (
        np.random.default_rng(0).normal(size=999).astype("f") * 10.0 ** np.arange(-40, 37).repeat(13)[:999]
    )
    column = np.array([*numbers, 0, -0.0, np.nan, np.inf, 1 + 2**-8, 1 + 3 * 2**-8], "f")
    expected = column.astype(ml_dtypes.bfloat16).astype("f")
    np.testing.assert_array_equal(runtime.predict({"x": column})["y"], expected)
    with pytest.raises(PredictError, match="and the model takes bfloat16: it does not fit"):
        runtime.predict({"x": np.array([1, np.finfo("f").max], "f")})


@pytest.mark.parametrize("batch", [None, 2])
def test_what_no_input_changes_is_the_same_for_each_record_and_told(batch):
    made = onnx_model(
        [node("Identity", ["names"], ["labels"]), node("Neg", ["x"], ["y"])],
        [tensor("x", (batch, 2))],
        [tensor("y", (batch, 2)), tensor("labels", (2,), "str")],
        [constant("names", ["good", "bad"], "str")],
    )
    runtime = loaded(made, PartialInput("x", shape=(2,)))
    assert [(o.name, o.shape) for o in runtime.outputs] == [("y", (2,)), ("labels", (2,))]
    for count in (1, 2, 3):
        answer = runtime.predict({"x": np.ones((count, 2), "f")})
        assert answer["y"].tolist() == [[-1, -1]] * count
        assert answer["labels"].tolist() == [["good", "bad"]] * count
    assert ["no input changes it: labels" in note for note in runtime.notes] == [True]


@pytest.mark.parametrize(
    ("inputs", "given", "words"),
    [
        ([tensor("x", (None, 2), "uint64")], (), "is of type uint64, which no record field holds"),
        ([tensor("x", (4, 2))], (), r"shape \(4, 2\).*say what one of them holds: --input 'x:float32\[2\]'"),
        ([tensor("x", ())], (), "is one value for a whole call .* --constant x=1.0"),
        (
            [tensor("x", ("n", None))],
            (),
            "give its shape or its fields in the descriptor.*`pad` in a file of",
        ),
        ([tensor("x", (None, 3))], (PartialInput("x", "float64"),), "float32 in the model and float64"),
        ([tensor("x", (None, 3))], (PartialInput("z"),), "has no input 'z'"),
    ],
)
def test_inputs_that_cannot_be_read_are_refused(inputs, given, words):
    dtype = "uint64" if inputs[0].type.tensor_type.elem_type == 13 else "float32"
    made = onnx_model([node("Identity", ["x"], ["y"])], inputs, [tensor("y", None, dtype)])
    with pytest.raises(InputsError, match=words):
        loaded(made, *given)


def test_sequences_and_maps_are_refused_with_the_way_out():
    from onnx import TensorProto, helper

    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, (None, 2))
    made = onnx_model([node("ConcatFromSequence", ["x"], ["y"], axis=0)], [sequence])
    with pytest.raises(LoadError, match=r"'x' is no dense tensor .* export one a column"):
        loaded(made)
    made = onnx_model([node("SplitToSequence", ["x"], ["y"])], [],
                      [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, (1, 2))])  # fmt: skip
    with pytest.raises(LoadError, match=r"output 'y' holds seq\(tensor\(float\)\), which no record can hold"):
        loaded(made)


def test_numbers_that_the_processor_cannot_multiply_are_refused_with_the_way_out():
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.BFLOAT16, (None, 2)) for n in "xy")
    weights = helper.make_tensor("w", TensorProto.BFLOAT16, (2, 2), [0] * 4)
    made = onnx_model([node("Gemm", ["x", "w"], ["y"])], [x], [y], [weights])
    with pytest.raises(LoadError, match=r"no operator Gemm for numbers of this type .* with float32"):
        loaded(made)


def test_a_sequence_that_is_put_together_is_an_output_a_tensor():
    from onnx import TensorProto, helper

    made = onnx_model(
        [
            node("Neg", ["x"], ["p"]),
            node("Cast", ["x"], ["q"], to=TensorProto.INT64),
            node("SequenceConstruct", ["p", "p"], ["y"]),
            node("SequenceConstruct", ["q"], ["z"]),
        ],
        [],
        [
            helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None),
            helper.make_tensor_sequence_value_info("z", TensorProto.INT64, None),
        ],
    )
    runtime = loaded(made)
    assert [(o.name, o.dtype) for o in runtime.outputs] == [
        ("y_0", DType.FLOAT32),
        ("y_1", DType.FLOAT32),
        ("z_0", DType.INT64),
    ]
    answer = runtime.predict({"x": X})
    assert answer["y_1"].tolist() == (-X).tolist()
    assert answer["z_0"].tolist() == X.astype(int).tolist()
    only = loaded(made, outputs=[("z_0", "whole")])
    assert only.predict({"x": X})["whole"].tolist() == X.astype(int).tolist()


@pytest.mark.parametrize("shape", [(None,), (None, 2)])
def test_bfloat16_is_answered_as_float(shape):
    from onnx import TensorProto, helper

    ml_dtypes = pytest.importorskip("ml_dtypes")
    to = node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)
    output = helper.make_tensor_value_info("y", TensorProto.BFLOAT16, shape)
    runtime = loaded(onnx_model([to], [tensor("x", shape)], [output]))
    assert [(o.name, o.dtype, o.shape) for o in runtime.outputs] == [("y", DType.FLOAT32, shape[1:])]
    x = np.array([[1, 1 + 2**-8], [3.14159, -1e30]], "f")[:, : 2 if shape[1:] else 1].reshape(-1, *shape[1:])
    np.testing.assert_array_equal(runtime.predict({"x": x})["y"], x.astype(ml_dtypes.bfloat16).astype("f"))


def test_a_fixed_batch_is_filled_up_where_the_descriptor_states_a_record():
    # subtracts the mean over the four rows of a call: shows who was in it
    nodes = [node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1), node("Sub", ["x", "m"], ["d"]),
             node("Add", ["d", "x"], ["y"])]  # fmt: skip
    made = onnx_model(nodes, [tensor("x", (4, 2))], [tensor("y", (4, 2))])
    runtime = loaded(made, PartialInput("x", shape=(2,), fields=("a", "b")))
    assert runtime.inputs == (Input("x", DType.FLOAT32, (2,), ("a", "b")),)
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    filled = np.concatenate([x, x[-1:], x[-1:]])
    expected = np.concatenate([2 * part - part.mean(axis=0) for part in (filled[:4], filled[4:])])[:6]
    np.testing.assert_allclose(runtime.predict({"x": x})["y"], expected, rtol=1e-6)
    assert runtime.predict({"x": x[:1]})["y"].shape == (1, 2)


def test_one_record_a_call_needs_no_word():
    made = onnx_model([node("Neg", ["x"], ["y"])], [tensor("x", (1, 2))], [tensor("y", (1, 2))])
    assert loaded(made).predict({"x": X})["y"].tolist() == (-X).tolist()


def test_constants_are_given_at_each_call():
    nodes = [node("Cast", ["on"], ["f"], to=1), node("Mul", ["x", "f"], ["on_x"]),
             node("Add", ["on_x", "shift"], ["y"])]  # fmt: skip
    made = onnx_model(nodes, [tensor("x"), tensor("on", (), "bool"), tensor("shift", (2,))])
    runtime = loaded(made, PartialInput("on", constant="true"), PartialInput("shift", constant="[1, 2.5]"))
    assert [i.name for i in runtime.inputs] == ["x"]
    assert runtime.predict({"x": X})["y"].tolist() == (X + np.array([1, 2.5])).tolist()
    for on, shift, words in (
        ("1", "[1, 2]", "constant 1 of input 'on' cannot be used: the model takes bool"),
        ("true", "[1]", r"has the shape \(1,\), and the model takes \(2,\)"),
        ("true", "[1, ", "cannot be used"),
    ):
        with pytest.raises(InputsError, match=words):
            loaded(made, PartialInput("on", constant=on), PartialInput("shift", constant=shift))


def test_fixed_batches_must_agree():
    made = onnx_model([node("Concat", ["x", "z"], ["y"], axis=0)], [tensor("x", (4, 2)), tensor("z", (2, 2))])
    given = PartialInput("x", shape=(2,)), PartialInput("z", shape=(2,))
    with pytest.raises(InputsError, match="the inputs take 2 and 4 records at once"):
        loaded(made, *given)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("ReduceSum", ["x"], ["y"], keepdims=0)], "not one row a record"),
        ([node("ReduceSum", ["x", "zero"], ["y"], keepdims=1)], "not one row a record"),
        ([node("MatMul", ["x", "w"], ["y"])], "ONNX Runtime does not take the model"),
        ([node("NoSuchOperator", ["x"], ["y"])], "ONNX Runtime does not take the model.*NoSuchOperator"),
        ([node("Identity", ["elsewhere"], ["y"])], "depend on no input"),
    ],
)
def test_models_that_do_not_fit_records_are_refused(nodes, words):
    weights = [constant("zero", [0], "int64"), constant("w", np.ones((3, 2)))]
    made = onnx_model(nodes, [], [tensor("y", None)], weights)
    with pytest.raises((LoadError, InputsError), match=words):
        loaded(made)


def test_a_model_newer_than_the_runtime_is_refused_with_the_way_out():
    made = onnx_model([node("Neg", ["x"], ["y"])])
    for domain, name in ((0, "ai.onnx"), (1, "ai.onnx.ml")):
        newer = type(made).FromString(made.SerializeToString())
        newer.opset_import[domain].version = 99
        with pytest.raises(LoadError) as refused:
            loaded(newer)
        said = str(refused.value)
        assert f"it is of opset 99 of {name}, and the ONNX Runtime here knows those up to " in said
        assert said.endswith("or install a newer onnxruntime") and "::" not in said
    made.ir_version = 99
    with pytest.raises(
        LoadError, match=r"IR version 99, and the ONNX Runtime here knows those up to [0-9]+: "
    ):
        loaded(made)


def test_functions_of_the_runtime_are_no_part_of_a_reason():
    from udfs.models.runtimes.onnx.session import reason

    said = "/a/b.cc:4 bool onnxruntime::C<D>::E(const F<G(H)>&, int) const i >= 0 was false. Too (few)"
    assert reason(RuntimeError(said)) == "i >= 0 was false. Too (few)"
    said = "Non-zero status code returned while running Add node. Name:'n' Status Message: " + said
    assert reason(RuntimeError(said)) == "operator Add: i >= 0 was false. Too (few)"
    assert reason(RuntimeError("/a/b.cc:4 onnxruntime::C((")) == "onnxruntime::C(("


def test_only_what_the_wanted_outputs_need_is_asked_and_judged():
    nodes = [
        node("Neg", ["x"], ["y"]),
        node("Add", ["x", "other"], ["sum"]),
        node("RandomNormalLike", ["other"], ["noise"]),
    ]
    made = onnx_model(nodes, [tensor("x"), tensor("other")],
                      [tensor("y"), tensor("sum"), tensor("noise")])  # fmt: skip
    runtime = loaded(made, outputs=[("y", "negative")])
    assert [i.name for i in runtime.inputs] == ["x"]
    assert {n: v.tolist() for n, v in runtime.predict({"x": X}).items()} == {"negative": (-X).tolist()}
    with pytest.raises(LoadError, match=r"no output 'z': it has 'y', 'sum', 'noise'"):
        loaded(made, outputs=[("z", "")])
    with pytest.raises(LoadError, match="two of one name"):
        loaded(made, outputs=[("y", "a"), ("sum", "a")])


def test_what_branches_read_of_the_graph_around_them_is_kept():
    from onnx import helper

    def branch(name, other):
        body = [helper.make_node("Add", ["x", other], [name])]
        return helper.make_graph(body, "b", [], [tensor(name)])

    nodes = [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Cast", ["most"], ["some"], to=9),
        node("Neg", ["z"], ["nz"]),
        node("If", ["some"], ["y"], then_branch=branch("p", "z"), else_branch=branch("q", "nz")),
    ]
    made = onnx_model(nodes, [tensor("x"), tensor("z"), tensor("unused")], [tensor("y"), tensor("most", ())])
    runtime = loaded(made, outputs=[("y", "")])
    assert [i.name for i in runtime.inputs] == ["x", "z"]
    assert runtime.predict({"x": X * 0, "z": X})["y"].tolist() == (-X).tolist()
    assert runtime.predict({"x": X, "z": X})["y"].tolist() == (2 * X).tolist()


@pytest.mark.parametrize("labels", [{"classlabels_int64s": [7, 9]}, {"classlabels_strings": ["no", "yes"]}])
def test_a_zip_map_is_a_column_a_class(labels):
    from onnx import TensorProto, helper

    key = TensorProto.INT64 if "classlabels_int64s" in labels else TensorProto.STRING
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, ())
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(key, value))
    nodes = [node("Softmax", ["x"], ["p"]), node("ZipMap", ["p"], ["chance"], ml=True, **labels)]
    made = onnx_model(nodes, [], [helper.make_value_info("chance", kind)])
    (names,) = labels.values()
    runtime = loaded(made)
    assert runtime.outputs == tuple(Output(f"chance_{n}", DType.FLOAT32) for n in names)
    expected = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
    answer = runtime.predict({"x": X})
    np.testing.assert_allclose(np.stack(list(answer.values()), axis=1), expected, rtol=1e-6)
    only = loaded(made, outputs=[(f"chance_{names[1]}", "p1")]).predict({"x": X})
    np.testing.assert_allclose(only["p1"], expected[:, 1], rtol=1e-6)
    assert list(only) == ["p1"]
    three = onnx_model([nodes[0], node("ZipMap", ["p"], ["chance"], ml=True, classlabels_int64s=[1, 2, 3])],
                       [], [helper.make_value_info("chance", kind)])  # fmt: skip
    with pytest.raises(LoadError, match=r"3 classes and \(2,\) numbers a record"):
        loaded(three)


def test_weights_that_older_files_list_among_the_inputs_are_not_asked():
    made = onnx_model([node("Add", ["x", "w"], ["y"])], [tensor("x"), tensor("w", (2,))], [],
                      [constant("w", [1, 2])])  # fmt: skip
    assert [i.name for i in loaded(made).inputs] == ["x"]


def test_a_model_is_a_file_or_bytes_and_scores_until_it_is_closed(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(dense(np.eye(2, dtype=np.float32)))
    runtime = load(Artifact(None, path, tmp_path), WantedSignature())
    assert runtime.predict({"x": X})["y"].tolist() == X.tolist()
    with pytest.raises(PredictError, match="no column 'x'"):
        runtime.predict({})
    with pytest.raises(PredictError, match="the model failed on the micro-batch"):
        runtime.predict({"x": np.ones((2, 3), np.float32)})
    runtime.close()
    runtime.close()
    with pytest.raises(PredictError, match="closed"):
        runtime.predict({"x": X})
    with pytest.raises(LoadError, match="one file"):
        load(Artifact(None, tmp_path, tmp_path), WantedSignature())


def test_the_fields_are_those_of_onnx_itself():
    """`schemas/onnx_model.proto` declares a part: each field has ONNX's own number and kind."""
    import onnx

    from schemas import onnx_model_pb2 as ours

    pairs = [
        (ours.Model, onnx.ModelProto), (ours.OperatorSet, onnx.OperatorSetIdProto),
        (ours.Graph, onnx.GraphProto), (ours.Node, onnx.NodeProto), (ours.Function, onnx.FunctionProto),
        (ours.Attribute, onnx.AttributeProto), (ours.Tensor, onnx.TensorProto),
        (ours.StringEntry, onnx.StringStringEntryProto), (ours.SparseTensor, onnx.SparseTensorProto),
        (ours.ValueInfo, onnx.ValueInfoProto), (ours.Type, onnx.TypeProto),
        (ours.Type.TensorType, onnx.TypeProto.Tensor), (ours.Shape, onnx.TensorShapeProto),
        (ours.Shape.Dimension, onnx.TensorShapeProto.Dimension),
    ]  # fmt: skip
    for mine, theirs in pairs:
        for field in mine.DESCRIPTOR.fields:
            known = theirs.DESCRIPTOR.fields_by_name[field.name]
            assert (field.number, field.type, field.label) == (known.number, known.type, known.label)
    assert ours.Tensor.EXTERNAL == onnx.TensorProto.EXTERNAL
