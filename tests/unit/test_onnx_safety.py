"""ONNX models that mean harm, or are damaged: an error of the loading step, and nothing else."""

from __future__ import annotations

import re
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import LoadError, ModelError, PredictError, UnsafeModelError
from tests.onnx_models import constant, dense, loaded, node, onnx_model, tensor
from udfs.models.runtimes.onnx import session
from udfs.models.runtimes.onnx.runtime import MAX_SECONDS
from udfs.models.runtimes.onnx.safety import Bounds
from udfs.models.runtimes.onnx.session import configured_onnxruntime

pytest.importorskip("onnx")

X = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
WHOLE = dense(np.eye(2, dtype=np.float32))


def refused(model, words, **more):
    with pytest.raises(UnsafeModelError, match=words):
        loaded(model, **more)


def graph(name, nodes, outputs=()):
    from onnx import helper

    return helper.make_graph(nodes, name, [], list(outputs) or [tensor(name)])


def external(tensor_, location="/etc/hostname", flag=True):
    from onnx import TensorProto

    if flag:
        tensor_.data_location = TensorProto.EXTERNAL
    tensor_.external_data.add(key="location", value=location)
    return tensor_


def test_weights_in_other_files_are_refused_wherever_they_stand():
    add = node("Add", ["x", "w"], ["y"])
    words = "lies in another file: save the model as one file"
    refused(onnx_model([add], weights=[external(constant("w", [1, 2]))]), words)
    refused(onnx_model([add], weights=[external(constant("w", [1, 2]), "w.bin", flag=False)]), words)
    inside = node("Constant", [], ["w"], value=external(constant("v", [1, 2])))
    refused(onnx_model([inside, add]), words)
    branch = graph("b", [inside, node("Add", ["x", "w"], ["b"])])
    choice = node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    refused(onnx_model([choice, node("Neg", ["x"], ["z"])], weights=[constant("yes", True, "bool")],
                       outputs=[tensor("y"), tensor("z")]), words)  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        ({"domain": "com.example"}, "of the domain 'com.example', and only ONNX's own are taken"),
        ({"domain": "com.microsoft"}, "without a runtime's own optimisation"),
        ({"op_type": "RandomUniformLike"}, "answers differently at each call"),
        ({"op_type": "Bernoulli"}, "answers differently at each call"),
    ],
)
def test_operators_that_do_more_than_compute_are_refused(operator, words):
    bad = node("Gelu", ["x"], ["y"])
    for key, value in operator.items():
        setattr(bad, key, value)
    refused(onnx_model([bad]), words)
    branch = graph("b", [node("Identity", ["y"], ["b"])])
    choice = node("If", ["yes"], ["y2"], then_branch=branch, else_branch=branch)
    refused(onnx_model([bad, choice], outputs=[tensor("y2")], weights=[constant("yes", True, "bool")]), words)


def test_models_in_training_mode_are_refused():
    weights = [constant(n, [1, 1]) for n in "abcd"] + [constant("r", 0.5), constant("on", True, "bool")]
    trains = node("BatchNormalization", ["x", "a", "b", "c", "d"], ["y", "m", "v"], training_mode=1)
    refused(onnx_model([trains], weights=weights), "training mode: export the model for inference")
    refused(onnx_model([node("Dropout", ["x", "r", "on"], ["y"])], weights=weights), "training mode")
    scores = node("BatchNormalization", ["x", "a", "b", "c", "d"], ["n"])
    loaded(onnx_model([scores, node("Dropout", ["n"], ["y"])], weights=weights))


def test_sizes_that_the_file_cannot_hold_are_refused():
    for dims in ([2, 1 << 40], [1 << 62, 1 << 62], [2, -1]):
        huge = constant("w", np.ones((2, 2)))
        huge.dims[:] = dims
        refused(onnx_model([node("MatMul", ["x", "w"], ["y"])], weights=[huge]), "claims the shape")
    huge.dims[:] = [2, 40]  # the file could hold it, and does not
    with pytest.raises(LoadError):
        loaded(onnx_model([node("MatMul", ["x", "w"], ["y"])], weights=[huge]))


def test_sparse_weights_are_refused():
    from onnx import helper

    sparse = helper.make_sparse_tensor(constant("w", [1.0]), constant("i", [0], "int64"), [1 << 40])
    made = onnx_model([node("Add", ["x", "w"], ["y"])])
    made.graph.sparse_initializer.append(sparse)
    refused(made, "may grow beyond bounds")
    refused(onnx_model([node("Constant", [], ["w"], sparse_value=sparse), node("Add", ["x", "w"], ["y"])]),
            "may grow beyond bounds")  # fmt: skip


@pytest.mark.parametrize(
    "nodes",
    [
        [node("ConstantOfShape", ["size"], ["h"]), node("ReduceSum", ["h"], ["s"], keepdims=1),
         node("Add", ["x", "s"], ["y"])],
        [node("Reshape", ["x", "flat"], ["f"]), node("Expand", ["f", "size"], ["h"]),
         node("ReduceSum", ["h"], ["s"], keepdims=0), node("Add", ["x", "s"], ["y"])],
    ],
)  # fmt: skip
def test_what_a_model_takes_of_memory_is_bounded(nodes):
    size = session.ARENA_BYTES // 4 + 1
    weights = [constant("size", [size], "int64"), constant("flat", [-1, 1], "int64")]
    made = onnx_model(nodes, [], [], weights)
    with pytest.raises(
        (LoadError, PredictError), match=r"operator (ConstantOfShape|Expand): it takes more than the 2 GB"
    ):
        loaded(made).predict({"x": X})
    assert loaded(WHOLE).predict({"x": X})["y"].tolist() == X.tolist()


def branches(depth):
    """A branch with a branch in it, `depth` deep."""
    inner = branches(depth - 1) if depth > 1 else graph("b0", [node("Identity", ["x"], ["b0"])])
    plain = graph("p", [node("Identity", ["x"], ["p"])])
    name = f"b{depth}"
    return graph(name, [node("If", ["yes"], [name], then_branch=inner, else_branch=plain)])


@pytest.mark.parametrize(("depth", "allowed"), [(7, True), (8, False), (20, False)])
def test_graphs_inside_each_other_are_bounded(depth, allowed):
    nodes = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Cast", ["m"], ["yes"], to=9),
             node("If", ["yes"], ["y"], then_branch=branches(depth),
                  else_branch=graph("e", [node("Neg", ["x"], ["e"])]))]  # fmt: skip
    if allowed:
        assert loaded(onnx_model(nodes)).predict({"x": X})["y"].tolist() == X.tolist()
    else:
        refused(onnx_model(nodes), "too deep inside others: flatten it")


def test_what_nests_beyond_any_reader_is_refused():
    def chunk(field, content):
        size = len(content)
        return (
            bytes([field << 3 | 2]) + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content
        )

    inner = chunk(1, chunk(4, b"Neg"))
    for _ in range(200):
        inner = chunk(1, chunk(4, b"If") + chunk(5, chunk(6, inner)))
    with pytest.raises(LoadError, match="nest too deeply"):
        loaded(b"\x08\x08" + chunk(7, inner) + chunk(8, b"\x10\x11"))


def test_operators_are_counted_with_functions_written_out():
    from onnx import helper

    made = onnx_model([node("Neg", ["x"], ["a"]), node("Neg", ["a"], ["y"])])
    refused(made, "has 2 operators, allowed are 1", bounds=Bounds(max_nodes=1))

    def function(name, called, times):
        nodes = [helper.make_node(called, ["a" if i == 0 else f"t{i - 1}"], [f"t{i}"], domain=domain(called))
                 for i in range(times)]  # fmt: skip
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        nodes.append(helper.make_node("Identity", [f"t{times - 1}"], ["b"]))
        return helper.make_function("local", name, ["a"], ["b"], nodes, opsets)

    def domain(name):
        return "local" if name.startswith("f") else ""

    call = helper.make_node("f0", ["x"], ["y"], domain="local")
    fine = [function("f0", "f1", 2), function("f1", "Neg", 3)]
    assert loaded(onnx_model([call], functions=fine)).predict({"x": X})["y"].tolist() == X.tolist()
    laughs = [function(f"f{i}", f"f{i + 1}" if i < 9 else "Neg", 10) for i in range(10)]
    refused(onnx_model([call], functions=laughs), "has 11111111111 operators")
    circle = [function("f0", "f1", 1), function("f1", "f0", 1)]
    refused(onnx_model([call], functions=circle), "call each other in a circle")
    bad = [function("f0", "RandomNormalLike", 1)]
    refused(onnx_model([call], functions=bad), "answers differently at each call")
    refused(onnx_model([call], functions=[*fine, function("f0", "Neg", 1)]), "'f0' .* stands there twice")


@pytest.mark.parametrize(
    ("domain", "name"),
    [("", "RandomNormalLike"), ("ai.onnx", "RandomNormalLike"), ("com.microsoft", "QuickGelu")],
)
def test_a_function_that_has_an_operator_s_name_is_refused(domain: str, name: str):
    """The runtime computes by its own operator, and never looks at the function."""
    from onnx import helper

    opsets = [helper.make_opsetid("", 18)]
    hiding = helper.make_function(domain, name, ["a"], ["b"], [node("Identity", ["a"], ["b"])], opsets)
    refused(
        onnx_model([helper.make_node(name, ["x"], ["y"], domain=domain)], functions=[hiding]),
        f"the function '{name}' .* hides an operator",
    )


def loop(body_condition, trips=""):
    from onnx import TensorProto, helper

    nodes = [node(*body_condition), node("Add", ["v", "v"], ["w"])]
    inputs = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []), tensor("v"),
    ]  # fmt: skip
    outputs = [helper.make_tensor_value_info("d", TensorProto.BOOL, []), tensor("w")]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    return onnx_model(
        [node("Loop", [trips, "yes", "x"], ["y"], body=body)],
        weights=[constant("yes", True, "bool"), constant("three", 3, "int64")],
    )


def test_a_loop_that_never_ends_is_ended():
    with pytest.raises(LoadError, match=r"a loop in the model had not ended after 0.2 s"):
        loaded(loop(("Identity", ["c"], ["d"])), max_seconds=0.2)
    with pytest.raises(LoadError, match=r"a loop in the model had not ended after 0.1 s"):
        loaded(loop(("Identity", ["c"], ["d"])), deadline_ms=100)
    three = loaded(loop(("Identity", ["c"], ["d"]), "three"))
    assert three.predict({"x": X})["y"].tolist() == (8 * X).tolist()
    clocks = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    for clock in clocks:
        clock.join(MAX_SECONDS / 2)
    assert not any(clock.is_alive() for clock in clocks)  # ended with its call, not when the time was over


def test_loops_that_end_for_some_records_are_ended_for_others():
    # goes on while the largest number is not above 100: for ever where all are 0
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [node("Add", ["v", "v"], ["w"]), node("ReduceMax", ["w"], ["m"], keepdims=0),
         node("Less", ["m", "bound"], ["d"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("c", TensorProto.BOOL, []), tensor("v")],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, []), tensor("w")],
    )  # fmt: skip
    made = onnx_model(
        [node("Add", ["x", "one"], ["x1"]), node("Loop", ["", "yes", "x1"], ["y"], body=body)],
        weights=[constant("yes", True, "bool"), constant("bound", 100.0), constant("one", 1.0)],
    )
    runtime = loaded(made, max_seconds=0.2)
    assert runtime.predict({"x": X})["y"].max() >= 100
    with pytest.raises(PredictError, match="had not ended"):
        runtime.predict({"x": X * 0 - 1})
    assert runtime.predict({"x": X})["y"].max() >= 100


def tree(depth):
    """A chain: each inner node has a leaf and the next one."""
    leaves = range(depth, 2 * depth + 1)
    return onnx_model(
        [
            node(
                "TreeEnsembleRegressor", ["x"], ["y"], ml=True, n_targets=1,
                nodes_treeids=[0] * (2 * depth + 1), nodes_nodeids=list(range(2 * depth + 1)),
                nodes_featureids=[0] * (2 * depth + 1), nodes_values=[0.5] * (2 * depth + 1),
                nodes_modes=["BRANCH_LEQ"] * depth + ["LEAF"] * (depth + 1),
                nodes_truenodeids=[*range(1, depth), 2 * depth, *[0] * (depth + 1)],
                nodes_falsenodeids=[*range(depth, 2 * depth), *[0] * (depth + 1)],
                target_treeids=[0] * len(leaves), target_nodeids=list(leaves), target_ids=[0] * len(leaves),
                target_weights=[float(i) for i in leaves],
            )
        ],
        [],
        [tensor("y", (None, 1))],
    )  # fmt: skip


def test_trees_that_would_end_the_process_are_refused():
    assert loaded(tree(499)).predict({"x": X})["y"].tolist() == [[499], [499], [499]]
    refused(tree(501), "has a tree deeper than 500: prune it")
    refused(tree(200_000), "has a tree deeper than 500")
    circle = tree(2)
    (attribute,) = (a for a in circle.graph.node[0].attribute if a.name == "nodes_truenodeids")
    attribute.ints[0] = 0
    with pytest.raises(ModelError):
        loaded(circle)


def test_numbers_that_make_a_node_look_like_one_of_another_tree_are_refused():
    """Node 2**31 + k of tree 0 and node k of tree 1 had one place: a chain was judged by leaves beside it."""
    chain, beside = tree(600), tree(600).graph.node[0].attribute
    for a in chain.graph.node[0].attribute:
        (other,) = (b for b in beside if b.name == a.name)
        shift = 2**31 if a.name in ("nodes_nodeids", "target_nodeids") or "nodeids" in a.name else 0
        ids = [i + shift for i in a.ints]
        if a.name == "nodes_treeids":
            other.ints[:] = [1] * len(ids)
        if a.name == "nodes_modes":
            a.strings[:] = [b"LEAF"] * len(a.strings) + list(a.strings)
        elif a.name.startswith("nodes_") and ids:
            a.ints[:] = [*other.ints, *ids]
        elif a.name == "nodes_values":
            a.floats[:] = [*a.floats, *a.floats]
        elif a.name == "target_nodeids":
            a.ints[:] = ids
    refused(chain, "numbers are beyond 31 bits")


def test_bytes_that_are_cut_are_refused():
    unused = b"\x42\x0e\x0a\x0aai.onnx.ml\x10\x03"
    assert WHOLE.endswith(unused)
    for end in set(range(len(WHOLE))) - {
        len(WHOLE) - len(unused)
    }:  # without a set of operators it does not use
        with pytest.raises(ModelError):
            loaded(WHOLE[:end])
    assert loaded(WHOLE)


@settings(max_examples=150)
@given(st.data())
def test_damage_ends_in_an_error_or_in_numbers(data):
    damaged = bytearray(data.draw(st.sampled_from([WHOLE, tree(3).SerializeToString()])))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        answer = loaded(bytes(damaged), max_seconds=1).predict({"x": X})
    except (ModelError, PredictError) as e:
        assert str(e)
    else:
        assert all(len(column) == len(X) for column in answer.values())


@pytest.mark.parametrize("data", [b"", b"\x08\x08", b"no model at all", b"PK\5\6" + bytes(18), bytes(1000)])
def test_other_bytes_are_no_model(data):
    with pytest.raises(LoadError, match=re.compile("no (whole )?ONNX model")):
        loaded(data)


def test_a_file_of_the_runtime_s_own_format_is_not_looked_into_and_not_loaded():
    """ONNX Runtime takes bytes with this mark for its own format, unless it is told the format."""
    ort = configured_onnxruntime()
    # field 1 (a varint of six bytes) puts the mark where it is looked for, and stays a valid field
    marked = b"\x08\x88\x80\x00" + b"ORTM" + WHOLE
    with pytest.raises(ModelError):
        loaded(marked)
    assert ort.get_available_providers()


def test_the_reason_of_a_long_error_is_found_in_no_time():
    """Whoever names operators, or writes texts, has them in errors."""
    started = time.perf_counter()
    assert len(session.reason(RuntimeError("x" * 100_000))) == 300
    assert time.perf_counter() - started < 1
