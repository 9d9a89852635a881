"""Graphs of models, with runtimes made here: structure, wiring, combining, and what is given back."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import (
    DescriptorError,
    DigestError,
    GraphError,
    InputsError,
    LoadError,
    ModelError,
    PredictError,
    SmokeTestError,
)
from schemas.model_pb2 import ModelDescriptor
from schemas.tensors import DType, Input, Output
from udfs.io.limits import Limits
from udfs.models.composite.combine import Combination
from udfs.models.composite.descriptor import graph_digest
from udfs.models.composite.nodes import Graph, Node, NodeInput, OutputRef
from udfs.models.composite.structure import in_order
from udfs.models.descriptor import build, parse
from udfs.models.digest import Digest
from udfs.models.loading import LoadPolicy, load_model

F32, F64, I32, I64, TEXT, BOOL = (DType(d) for d in ("float32", "float64", "int32", "int64", "text", "bool"))


class Fake:
    """A runtime whose content names the one that it plays; remembers what it was called with."""

    made: list[Fake]

    def __init__(self, kind, wanted, scratch):
        self.kind, self.closed, self.seen = kind, 0, {}
        inputs, self.outputs, self.answer = KINDS[kind]
        given = {p.name: p for p in wanted.inputs}
        if strange := set(given) - {i.name for i in inputs}:
            raise InputsError(f"the model has no input {strange}")
        self.inputs = tuple(
            replace(i, fields=given[i.name].fields) if i.name in given and given[i.name].fields else i
            for i in inputs
        )
        for i in self.inputs:
            if len(i.fields) not in (1, *i.shape):
                raise InputsError(f"{i.name} takes {i.shape} and is given {len(i.fields)} fields")
        (scratch / "unpacked").write_bytes(b"x")

    def predict(self, columns):
        if self.closed:
            raise PredictError("closed")
        self.seen = dict(columns)
        return self.answer(**columns)

    def close(self):
        self.closed += 1


def _poisoned(a):
    if (a == 13).any():
        raise PredictError("it cannot score 13")
    return {"y": a * 2}


ROW = Input("x", F32, (3,), ("a", "b", "c"))
KINDS = {
    "scale": ((ROW,), (Output("z", F32, (3,)),), lambda x: {"z": x * 10}),
    "sum": ((ROW,), (Output("y", F32),), lambda x: {"y": x.sum(axis=1)}),
    "wide": ((Input("x", F32, (5,), ("x",)),), (Output("y", F32),), lambda x: {"y": x.sum(axis=1)}),
    "double": ((Input("a", F64, (), ("a",)),), (Output("y", F64),), _poisoned),
    "halve": ((Input("a", F64, (), ("a",)),), (Output("y", F64, (1,)),), lambda a: {"y": a[:, None] / 2}),
    "count": ((Input("a", I32, (), ("a",)),), (Output("y", I64),), lambda a: {"y": a.astype(np.int64)}),
    "say": ((Input("a", TEXT, (), ("a",)),), (Output("y", TEXT),), lambda a: {"y": a}),
    "two": ((Input("a", F64, (), ("a",)),), (Output("p", F64), Output("q", F64)), lambda a: {"p": a, "q": a}),
    "root": ((Input("a", F64, (), ("a",)),), (Output("y", F64),), lambda a: {"y": np.sqrt(a - 0.9)}),
}


@pytest.fixture
def runtimes():
    Fake.made = []

    def load(artifact, wanted):
        kind = artifact.data.decode()
        if kind == "broken":
            raise LoadError("it cannot be loaded")
        if kind == "odd":
            raise ZeroDivisionError("by zero")
        Fake.made.append(Fake(kind, wanted, artifact.scratch))
        return Fake.made[-1]

    return {"PMML": load}


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "scratch").mkdir()
    return LoadPolicy(scratch=str(tmp_path / "scratch"), warm_up_batches=(1, 8))


def model(name, kind, *inputs, **more):
    return Node(name, "PMML", data=kind.encode(), inputs=inputs, **more)


def reads(name, *of, fields=()):
    return NodeInput(name, fields=fields, of=tuple(map(OutputRef.read, of)))


def combined(name, combine, *of, weights=()):
    return Node(name, combine=combine, of=tuple(map(OutputRef.read, of)), weights=weights)


def published(*nodes, outputs=(), fields=(), **more):
    graph = Graph(tuple(nodes), fields)
    return parse(build(data_type="t", model_type="GRAPH", graph=graph, outputs=outputs, **more))


def run(publication, policy, runtimes, **columns):
    loaded = load_model(publication, policy, runtimes)
    try:
        return loaded.predict({n: np.asarray(v) for n, v in columns.items()})
    finally:
        loaded.close()


def refused(publication, policy, runtimes, error, step):
    with pytest.raises(ModelError) as e:
        load_model(publication, policy, runtimes)
    assert (type(e.value), e.value.step) == (error, step), e.value
    assert all(f.closed == 1 for f in Fake.made)
    assert list(policy_scratch(policy)) == []
    return str(e.value)


def policy_scratch(policy):
    return Path(policy.scratch).iterdir()


def test_a_chain_passes_columns_on_as_they_are(policy, runtimes):
    loaded = load_model(
        published(model("s", "scale"), model("t", "sum", reads("x", "s.z"))), policy, runtimes
    )
    assert loaded.inputs == (ROW,)
    assert loaded.outputs == (Output("y", F32),)
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    assert loaded.predict({"x": x})["y"].tolist() == [60.0, 150.0]
    scale, total = Fake.made
    assert scale.seen["x"] is x
    assert total.seen["x"].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert (loaded.stamp.model_type, loaded.load_report.size) == ("GRAPH", len("scale") + len("sum"))
    assert set(loaded.load_report.warm_up_ms) == {1, 8}
    loaded.close()
    loaded.close()
    assert [f.closed for f in Fake.made] == [1, 1]
    with pytest.raises(PredictError, match="closed"):
        loaded.predict({"x": x})


def test_the_very_array_that_a_node_answers_reaches_the_next(policy, runtimes, monkeypatch):
    given = np.ones((2, 3), np.float32)
    loaded = load_model(published(model("s", "scale"), model("t", "sum", reads("x", "s"))), policy, runtimes)
    monkeypatch.setattr(Fake.made[0], "answer", lambda x: {"z": given})
    loaded.predict({"x": given})
    assert Fake.made[1].seen["x"] is given
    loaded.close()


def test_single_columns_elements_and_record_fields_make_a_row(policy, runtimes):
    wide = model("w", "wide", reads("x", "s.z", "d", fields=("c",)))
    graph = published(model("s", "scale"), model("d", "double", reads("a", "s.z[1]")), wide)
    loaded = load_model(graph, policy, runtimes)
    (row,) = loaded.inputs
    assert row == ROW
    y = loaded.predict({"x": np.array([[1, 2, 3]], np.float32)})
    assert Fake.made[2].seen["x"].tolist() == [[3.0, 10.0, 20.0, 30.0, 40.0]]
    assert y["y"].tolist() == [103.0]
    loaded.close()


@pytest.mark.parametrize(
    ("combine", "weights", "value"),
    [
        ("MEAN", (), (4.0 + 1.0 + 2.0) / 3),
        ("MEAN", (3, 1, 0), (3 * 4.0 + 1.0) / 4),
        ("MEDIAN", (), 2.0),
        ("MAJORITY", (), 4.0),
    ],
)
def test_combinations_of_different_dtypes_and_flat_shapes(policy, runtimes, combine, weights, value):
    nodes = model("d", "double"), model("h", "halve"), model("c", "count")
    graph = published(*nodes, combined("m", combine, "d", "h", "c", weights=weights))
    columns = run(graph, policy, runtimes, a=np.array([2, 0], np.int32))
    assert columns["value"] == pytest.approx([value, 0.0])
    assert columns["value"].dtype == np.float64


def test_a_majority_of_texts(policy, runtimes):
    nodes = [model(n, "say", NodeInput("a", fields=(n,))) for n in "pqr"]
    graph = published(*nodes, combined("m", "MAJORITY", "p", "q", "r"))
    rows = {"p": ["x", "x", "x"], "q": ["y", "y", "x"], "r": ["y", "z", "y"]}
    columns = run(graph, policy, runtimes, **{n: np.array(v, object) for n, v in rows.items()})
    assert columns["value"].tolist() == ["y", "x", "x"]  # the second is a tie of three: the first input's


def test_outputs_are_chosen_and_named(policy, runtimes):
    nodes = model("s", "scale"), model("t", "two"), model("u", "sum", reads("x", "s"))
    graph = published(*nodes, outputs=[("s.z[2]", "third"), ("t.q", "q"), ("u", "")])
    columns = run(graph, policy, runtimes, x=np.array([[1, 2, 3]], np.float64))
    assert {n: c.tolist() for n, c in columns.items()} == {"third": [30.0], "q": [1.0], "u": [60.0]}
    unnamed = published(model("d", "double"), model("h", "halve"), model("t", "two"))
    loaded = load_model(unnamed, policy, runtimes)
    assert [o.name for o in loaded.outputs] == ["d.y", "h.y", "p", "q"]
    loaded.close()


@pytest.mark.parametrize(
    ("kinds", "dtype"),
    [(("sum", "double"), F64), (("count", "double"), I32), (("halve", "double"), F64)],
)
def test_a_field_is_read_once_in_the_dtype_that_suits_all(policy, runtimes, kinds, dtype):
    loaded = load_model(published(*(model(f"n{i}", k) for i, k in enumerate(kinds))), policy, runtimes)
    assert [f for i in loaded.inputs for f in i.fields].count("a") == 1
    assert {i.dtype for i in loaded.inputs if "a" in i.fields} == {dtype}
    loaded.predict({i.name: np.ones((2, *i.shape), i.dtype.numpy) for i in loaded.inputs})
    for f in Fake.made:
        assert {i.name: i.dtype.numpy for i in f.inputs} == {n: c.dtype for n, c in f.seen.items()}
    loaded.close()


def test_fields_of_the_graph_are_handed_to_nodes_that_name_none(policy, runtimes):
    seen = []

    def load(artifact, wanted):
        seen.append(wanted.fields)
        return runtimes["PMML"](artifact, wanted)

    load_model(published(model("s", "scale"), fields=("c", "b", "a")), policy, {"PMML": load}).close()
    load_model(
        published(model("s", "scale")), replace(policy, fields=("a", "b", "c")), {"PMML": load}
    ).close()
    assert seen == [("c", "b", "a"), ("a", "b", "c")]


CHAIN = [model("s", "scale"), model("t", "sum", reads("x", "s"))]


@pytest.mark.parametrize(
    ("nodes", "outputs", "words"),
    [
        ([model("a", "double", reads("a", "b")), model("b", "double", reads("a", "a"))], (), "cycle: .* -> "),
        ([model("a", "double", reads("a", "a"))], (), "cycle: a -> a"),
        ([model("a", "double", reads("a", "z.y"))], (), "node 'a' reads z.y of an unknown node"),
        ([combined("m", "MEAN", "p", "q")], (), "unknown node"),
        ([*CHAIN], [("u.y", "")], "output u.y is of an unknown node"),
        ([*CHAIN], [("a b", "")], "refers to 'a b'"),
        ([*CHAIN], [("s.z", "")], "nothing reads the node 't'"),
        ([*CHAIN, model("u", "double", NodeInput("a", fields=("s.z",)))], (), "stands in 'of'"),
        ([*CHAIN, model("u", "double", reads("a", "s.q"))], (), "no output s.q; node 's' has z"),
        ([*CHAIN, model("u", "double", reads("a", "s.z[3]"))], (), "no element s.z"),
        ([model("t", "two"), model("u", "double", reads("a", "t"))], (), "any of several outputs"),
        ([model("d", "double"), model("t", "sum", reads("x", "d"))], (), r"t.x takes \[3\] a record"),
        ([model("s", "scale"), model("t", "sum", reads("x", "s.z[0]", "s.z[1]"))], (), "given 2 fields"),
        ([model("s", "scale"), model("t", "sum", reads("v", "s"))], (), "wired to .v from s.*no input"),
        ([model("d", "double"), model("c", "count", reads("a", "d"))], (), "c.a takes int32, which float64"),
        ([model("d", "double"), model("c", "say", reads("a", "d"))], (), "c.a takes text, which float64"),
        ([model("d", "double"), model("s", "say")], (), "'a' that is float64 for d.a, text for s.a"),
        ([model("d", "double"), model("s", "say", NodeInput("a", fields=("b",))),
          combined("m", "MEAN", "d", "s")], (), "MEAN cannot be taken of text"),
        ([model("d", "double"), model("s", "scale"), combined("m", "MEDIAN", "d", "s")], (), "shapes"),
        ([model(f"n{i}", "double") for i in range(33)], (), "33 nodes, allowed are 32"),
        ([model("n0", "double"), *(model(f"n{i}", "double", reads("a", f"n{i - 1}")) for i in range(1, 9))],
         (), "9 nodes, allowed are 8"),
    ],
)  # fmt: skip
def test_nodes_that_do_not_fit_together_are_refused(policy, runtimes, nodes, outputs, words):
    with pytest.raises(GraphError, match=words):
        load_model(published(*nodes, outputs=outputs), policy, runtimes)
    refused(published(*nodes, outputs=outputs), policy, runtimes, GraphError, "graph")


@pytest.mark.parametrize(
    ("kind", "error", "step"),
    [("broken", LoadError, "load"), ("odd", LoadError, "load"), ("double", DigestError, "digest")],
)
def test_a_node_that_is_refused_is_named_and_the_others_are_closed(policy, runtimes, kind, error, step):
    bad = model("bad", kind, sha256="0" * 64 if error is DigestError else "")
    reason = refused(published(model("good", "sum"), bad), policy, runtimes, error, step)
    assert "node 'bad'" in reason
    assert len(Fake.made) == (0 if error is DigestError else 1)


def test_a_node_whose_runtime_is_unknown_or_whose_place_is_not_allowed(policy, runtimes):
    other = Node("o", "TENSORFLOW", data=b"sum")
    assert "node 'o': there is no runtime" in refused(published(other), policy, runtimes, LoadError, "load")
    away = replace(other, data=None, location="file:/etc/hostname")
    with pytest.raises(ModelError, match=r"node 'o': .*not below an allowed root") as e:
        load_model(published(away), policy, runtimes)
    assert e.value.step == "fetch"


def test_the_sum_of_the_contents_is_bounded(policy, runtimes):
    nodes = [model("a", "double"), model("b", "double")]
    load_model(published(*nodes), replace(policy, max_bytes=12), runtimes).close()
    with pytest.raises(ModelError, match=r"node 'b': .*more than the 5 bytes"):
        load_model(published(*nodes), replace(policy, max_bytes=11), runtimes)


def test_the_whole_is_tried_and_a_node_that_fails_is_named(policy, runtimes):
    tried = replace(published(model("d", "double")), smoke_rows=(b'{"a":13.0}',))
    reason = refused(tried, policy, runtimes, SmokeTestError, "trial")
    assert "node 'd': it cannot score 13" in reason


def test_what_is_not_finite_is_not_passed_on(policy, runtimes):
    graph = published(model("r", "root"), model("d", "double", reads("a", "r")))
    tried = replace(graph, smoke_rows=(b'{"a":1.0}',))
    with np.errstate(invalid="ignore"), pytest.raises(PredictError, match="node 'r': its output 'y' is not"):
        run(tried, policy, runtimes, a=np.array([1.0, 0.0]))
    great = published(model("d", "double"), model("s", "scale"))
    with pytest.raises(PredictError, match=r"node 's'.*overflow"):
        run(great, policy, runtimes, x=np.array([[1e300, 0, 0]]))


def test_a_column_that_is_not_there_is_a_predict_error(policy, runtimes):
    with pytest.raises(PredictError, match="node 'd'"):
        run(published(model("d", "double")), policy, runtimes, b=np.ones(1))


def test_the_digest_is_of_the_wiring_and_the_contents_wherever_they_lie(policy, runtimes, tmp_path):
    nodes = model("s", "scale"), model("t", "sum", reads("x", "s"))
    inline = published(*nodes)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "m").write_bytes(b"scale")
    placed = replace(nodes[0], data=None, location=(tmp_path / "store" / "m").as_uri())

    def read(artifact, wanted):
        data = artifact.data or artifact.path.read_bytes()
        return runtimes["PMML"](replace(artifact, data=data, path=None), wanted)

    far = published(placed, nodes[1])
    assert far.sha256 == ""
    loaded = load_model(far, replace(policy, roots=(str(tmp_path / "store"),)), {"PMML": read})
    assert (
        loaded.stamp.digest
        == inline.sha256
        == graph_digest(
            Graph(nodes), {n.name: Digest(hashlib.sha256(n.data).hexdigest(), len(n.data)) for n in nodes}
        ).sha256
    )
    loaded.close()
    others = {published(nodes[0]).sha256, published(*nodes, fields=("q",)).sha256}
    others |= {published(nodes[0], replace(nodes[1], signature="f")).sha256}
    others |= {published(replace(nodes[0], data=b"scalf"), nodes[1]).sha256, inline.sha256}
    assert len(others) == 5
    forged = replace(inline, sha256="0" * 64)
    assert "the graph has the SHA-256" in refused(forged, policy, runtimes, DigestError, "digest")


def test_many_graphs_leave_nothing_behind(policy, runtimes):
    graph = published(*CHAIN)
    held = None
    for _ in range(20):
        fresh = load_model(graph, policy, runtimes)
        if held is not None:
            held.close()
        held = fresh
        assert len(list(policy_scratch(policy))) == 1
    held.close()
    assert [f.closed for f in Fake.made] == [1] * 40
    assert list(policy_scratch(policy)) == []


def test_a_node_that_cannot_be_closed_does_not_keep_the_others_open(policy, runtimes, monkeypatch):
    closed = []

    def close(fake):
        closed.append(fake.kind)
        if fake.kind == "sum":
            raise OSError("stuck")

    monkeypatch.setattr(Fake, "close", close)
    loaded = load_model(published(*CHAIN), policy, runtimes)
    with pytest.raises(OSError, match="stuck"):
        loaded.close()
    assert closed == ["sum", "scale"]
    assert list(policy_scratch(policy)) == []


def test_descriptor_keeps_the_graph(policy):
    node = Node(
        "n", "TENSORFLOWSAVED", location="s3://b/k", sha256="ab" * 32, size=3, signature="f",
        inputs=(NodeInput("x", "float32", (2, 2), (), (OutputRef("o", "y.z", 1),)),), outputs=(("a", "b"),),
    )  # fmt: skip
    nodes = (node, combined("m", "MEAN", "n.b", "o[0]", weights=(1.0, 2.0)))
    a = published(*nodes, fields=("p", "q"), outputs=[("m", "score")], version=3)
    assert a.graph == Graph(nodes, ("p", "q"))
    assert (a.data, a.location, a.outputs, a.version) == (None, None, (("m", "score"),), 3)


def _bad(**changes):
    node = {"name": "n", "modeltype": 2, "data": b"x"} | changes.pop("node", {})
    message = {"dataType": "t", "modeltype": 3, "graph": {"nodes": [node, *changes.pop("more", [])]}}
    return ModelDescriptor(**(message | changes)).SerializeToString()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_bad(graph={}), "has no nodes"),
        (_bad(graph=None), "has no nodes"),
        (_bad(modeltype=2), "its modeltype is GRAPH then"),
        (_bad(data=b"x"), "stand in its nodes"),
        (_bad(signature="f"), "stand in its nodes"),
        (_bad(more=[{"name": "n", "data": b"y"}]), "names the node 'n' twice"),
        (_bad(node={"name": "../n"}), "letters, digits"),
        (_bad(node={"data": b""}), r"node 'n' carries no model: give data \(field 3\)"),
        (_bad(node={"modeltype": 3}), "not of one model"),
        (_bad(node={"size": 9}), "says 9 bytes and carries 1"),
        (_bad(node={"sha256": "ab"}), "not 64 hex digits"),
        (_bad(node={"of": ["a", "b"]}), "for combine"),
        (_bad(node={"combine": 9}), "unknown combine 9"),
        (_bad(node={"combine": 1}), "is a model too"),
        (_bad(more=[{"name": "m", "combine": 1, "of": ["n"]}]), "combines 1 outputs"),
        (_bad(more=[{"name": "m", "combine": 1, "of": ["n", "n"]}]), "twice"),
        (_bad(more=[{"name": "m", "combine": 2, "of": ["n", "o"], "weights": [1, 1]}]), "weights"),
        (_bad(more=[{"name": "m", "combine": 1, "of": ["n", "o"], "weights": [0, 0]}]), "not all 0"),
        (_bad(more=[{"name": "m", "combine": 1, "of": ["n", "o"], "weights": [1e308, 1e308]}]), "finite sum"),
        (_bad(node={"inputs": [{"name": "x", "of": ["a..[b"]}, {"name": "x"}]}), "twice"),
        (_bad(node={"inputs": [{"name": "x", "of": ["a b"]}]}), "refers to 'a b'"),
        (_bad(node={"inputs": [{"name": "x", "shape": [0], "of": ["a"]}]}), "below 1"),
        (_bad(node={"outputs": [{"name": "x"}, {"name": "y", "alias": "x"}]}), "'x' twice"),
    ],
)
def test_a_graph_that_cannot_be_acted_on_is_a_descriptor_error(data, words):
    with pytest.raises(DescriptorError, match=words):
        parse(data)


@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_majority_is_the_commonest_and_of_equals_the_first(texts, shape):
    values = np.random.default_rng(7).integers(0, 3, (5, 200, *shape))
    dtype = TEXT if texts else I64
    values = values.astype(str).astype(object) if texts else values
    node = Combination("MAJORITY", [(f"n{i}", Output("y", dtype, shape)) for i in range(5)])
    found = node.predict({f"n{i}": column for i, column in enumerate(values)})["value"]
    for at in np.ndindex(found.shape):
        votes = [column[at] for column in values]
        most = max(votes.count(v) for v in votes)
        assert found[at] == next(v for v in votes if votes.count(v) == most)
    assert found.dtype == dtype.numpy


names = st.sampled_from(["a", "b", "c", "a.y", "b[0]", "", " "])
wire_nodes = st.fixed_dictionaries(
    {"name": names},
    optional={
        "modeltype": st.sampled_from([0, 2, 3]),
        "data": st.sampled_from([b"", b"double"]),
        "combine": st.sampled_from([0, 1, 2, 3, 7]),
        "of": st.lists(names, max_size=3),
        "weights": st.lists(st.floats(), max_size=3),
        "inputs": st.lists(
            st.fixed_dictionaries({"name": names}, optional={"of": st.lists(names, max_size=2)}), max_size=2
        ),
    },
)


@given(st.lists(wire_nodes, max_size=4))
@settings(max_examples=200)
def test_whatever_a_graph_says_it_is_read_or_refused(nodes):
    data = ModelDescriptor(dataType="t", modeltype=3, graph={"nodes": nodes}).SerializeToString()
    try:
        a = parse(data)
    except DescriptorError:
        return
    again = parse(build(data_type="t", model_type="GRAPH", graph=a.graph))
    assert (again.graph, again.sha256) == (a.graph, a.sha256)
    try:
        order = in_order(a.graph, (), Limits())
    except GraphError:
        return
    place = {node.name: at for at, node in enumerate(order)}
    assert sorted(place) == sorted(n.name for n in a.graph.nodes)
    assert all(place[ref.node] < place[node.name] for node in order for ref in node.reads())
