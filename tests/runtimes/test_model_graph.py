"""Graphs of real models: TensorFlow and PMML nodes in one, by the command and by the serving core."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from millrace.cli import app
from schemas.codecs.factory import CodecSpec, make_codec
from schemas.errors import GraphError, InputsError, LoadError, ModelError, PredictError, UnsafeModelError
from schemas.results.results import read_result
from tests.models import graph as frozen
from tests.models import save, zipped
from tests.serving_fakes import batch_of
from udfs.models.composite.nodes import Graph, Node, NodeInput, OutputRef
from udfs.models.descriptor import build, parse
from udfs.models.loading import LoadPolicy, load_model
from udfs.serving.serving import Serving

pytest.importorskip("tensorflow")

MEANS, SCALES = np.array([10.0, 0.5], np.float32), np.array([2.0, 0.25], np.float32)
RECORDS = np.array([[12.0, 0.75, 3.0], [8.0, 0.25, 3.5], [10.0, 1.0, 2.0], [9.0, 0.5, 1.5]])
"""alcohol, sulphates, pH."""


def pmml(*coefficients: float, intercept: float = 0.0, names: str = "ab", label: str = "quality") -> bytes:
    """A linear regression over the fields `names`."""
    fields = "".join(f'<DataField name="{n}" optype="continuous" dataType="double"/>' for n in names)
    schema = "".join(f'<MiningField name="{n}"/>' for n in names)
    terms = "".join(
        f'<NumericPredictor name="{n}" coefficient="{c}"/>' for n, c in zip(names, coefficients, strict=True)
    )
    target = f'<DataField name="{label}" optype="continuous" dataType="double"/>'
    return (
        '<PMML xmlns="http://www.dmg.org/PMML-4_3" version="4.3"><Header/>'
        f"<DataDictionary>{fields}{target}</DataDictionary>"
        '<RegressionModel functionName="regression"><MiningSchema>'
        f'{schema}<MiningField name="{label}" usageType="target"/></MiningSchema>'
        f'<Output><OutputField name="{label}" optype="continuous" dataType="double" '
        'feature="predictedValue"/></Output>'
        f'<RegressionTable intercept="{intercept}">{terms}</RegressionTable></RegressionModel></PMML>'
    ).encode()


def linear(weights: list[float], operation: str = "") -> bytes:
    import tensorflow as tf

    def make(x):
        if operation == "ReadFile":
            x = x + tf.strings.to_number(tf.io.read_file(tf.constant("/etc/hostname")))
        tf.matmul(x, tf.constant(np.array(weights, np.float32)[:, None]), name="y")

    return frozen(make, len(weights))


@pytest.fixture(scope="module")
def scaler(tmp_path_factory) -> Path:
    import tensorflow as tf

    module = tf.Module()
    module.means, module.scales = tf.Variable(MEANS), tf.Variable(SCALES)
    path = tmp_path_factory.mktemp("models") / "scaler"
    return save(
        path,
        module,
        {
            "serving_default": (
                lambda x: {"z": (x - module.means) / module.scales},
                {"x": ((None, 2), "float32")},
            )
        },
    )


@pytest.fixture(scope="module")
def chain(scaler) -> Graph:
    """alcohol, sulphates -> scaled -> 2 a - b + 5."""
    fields = NodeInput("x", fields=("alcohol", "sulphates"))
    row = NodeInput("row", of=(OutputRef("scaler", "z"),))
    return Graph(
        (
            Node("scaler", "TENSORFLOWSAVED", data=zipped(scaler), inputs=(fields,)),
            Node("forest", "PMML", data=pmml(2, -1, intercept=5), inputs=(row,)),
        )
    )


def scaled() -> np.ndarray:
    return (RECORDS[:, :2] - MEANS) / SCALES


def loaded(graph, policy=None, **more):
    descriptor = build(data_type="wine", model_type="GRAPH", graph=graph, **more)
    return load_model(parse(descriptor), policy or LoadPolicy(warm_up_batches=(1,)))


def test_a_scaler_feeds_a_regression(chain):
    model = loaded(chain)
    (row,) = model.inputs
    assert (row.fields, row.dtype.value, row.shape) == (("alcohol", "sulphates"), "float32", (2,))
    answer = model.predict({row.name: RECORDS[:, :2].astype(np.float32)})
    assert answer["quality"] == pytest.approx(scaled() @ [2, -1] + 5)
    with pytest.raises(PredictError, match="node 'scaler': its output 'z' is not finite"):
        model.predict({row.name: np.array([[np.nan, 1]], np.float32)})
    model.close()


def _wine(folder, scaler):
    (folder / "scaler").symlink_to(scaler)
    (folder / "forest.pmml").write_bytes(pmml(2, -1, intercept=5))
    (folder / "linear.pb").write_bytes(linear([1, 10, 100]))
    document = (Path(__file__).resolve().parents[2] / "docs" / "models-graph.md").read_text()
    (text,) = re.findall(r"^```toml graph\n(.*?)^```", document, re.M | re.S)
    (folder / "wine.toml").write_text(text)
    return folder / "wine.toml"


def test_the_graph_of_the_document_is_published_and_serves_as_any_model(scaler, tmp_path):
    file, store, stream = _wine(tmp_path, scaler), tmp_path / "store", tmp_path / "stream"
    where = ["--data-type", "wine", "--to-folder", str(stream), "--upload", store.as_uri()]
    done = CliRunner().invoke(app, ["publish", str(file), *where, "--inline-limit", "2000"])
    assert done.exit_code == 0, done.output
    assert "MEAN of forest.quality, linear" in done.output
    descriptor = next(stream.iterdir()).read_bytes()
    sent = parse(descriptor)
    assert [n.location is not None for n in sent.graph.nodes] == [True, False, False, False]
    assert "Content: " + sent.graph.nodes[0].location in done.output

    policy = LoadPolicy(roots=(str(store),), scratch=str(tmp_path), warm_up_batches=(1,))
    before = set(tmp_path.iterdir())
    codec = make_codec(CodecSpec())
    serving = Serving(lambda a: load_model(a, policy), codec, raw_json=True, max_batch=64, subtask=0)
    serving.restore("wine", None)
    try:
        serving.publish(descriptor, sent)
        (served,) = serving.settle()
        assert (served.kind.value, served.digest, served.reason) == ("served", sent.sha256, "")
        names = ("alcohol", "sulphates", "pH")
        rows = [orjson.dumps(dict(zip(names, r, strict=True))) for r in RECORDS.tolist()]
        sent_on = list(serving.score(batch_of([*rows, b'{"alcohol": 1}'], "wine")))
    finally:
        serving.close()
    forest = scaled() @ [2, -1] + 5
    net = np.column_stack([RECORDS[:, 2], scaled()]) @ [1, 10, 100]
    (run, dead) = sent_on
    scores = [read_result(line).scores for line in run.lines]
    assert [s["quality"] for s in scores] == pytest.approx((2 * forest + net) / 3)
    assert [s["alcohol_scaled"] for s in scores] == pytest.approx(scaled()[:, 0])
    assert dead.offset == len(RECORDS)
    assert set(tmp_path.iterdir()) == before


def _three(combine: str) -> Graph:
    """alcohol by 1, 2 and 4, plus 0, 0 and 0: two in PMML, one in TensorFlow."""
    inputs = (NodeInput("a", fields=("alcohol",)),)
    nodes = [
        Node(n, "PMML", data=pmml(c, names="a", label=n), inputs=inputs) for n, c in (("p", 1), ("q", 2))
    ]
    net = Node("t", "TENSORFLOW", data=linear([4, 0]), inputs=(NodeInput("x", fields=("alcohol", "pH")),))
    of = tuple(OutputRef(n) for n in ("p", "t", "q"))
    return Graph((*nodes, net, Node("all", combine=combine, of=of)))


@pytest.mark.parametrize(
    ("combine", "factor"), [("MEAN", (1 + 2 + 4) / 3), ("MEDIAN", 2.0), ("MAJORITY", 1.0)]
)
def test_nodes_of_different_kinds_answer_together(combine, factor):
    model = loaded(_three(combine))
    columns = {i.name: np.zeros((4, *i.shape), i.dtype.numpy) for i in model.inputs}
    (row,) = (i for i in model.inputs if "alcohol" in i.fields)
    assert (row.fields, row.dtype.value) == (("alcohol", "pH"), "float64")  # decoded once, for both kinds
    columns[row.name][:, 0] = RECORDS[:, 0]
    assert model.predict(columns)["value"] == pytest.approx(RECORDS[:, 0] * factor)
    model.close()


def _with(graph, name, **changes):
    return replace(graph, nodes=tuple(replace(n, **changes) if n.name == name else n for n in graph.nodes))


@pytest.mark.parametrize(
    ("node", "changes", "error", "words"),
    [
        ("forest", {"data": b"<PMML"}, LoadError, "node 'forest'"),
        ("scaler", {"data": b"PK\x03\x04 no archive"}, None, "node 'scaler'"),
        (
            "forest",
            {"data": pmml(1, 1, 1, names="abc")},
            GraphError,
            "node 'forest'.*wired to .row from scaler.z",
        ),
        (
            "forest",
            {"model_type": "TENSORFLOW", "data": linear([1, 2, 3])},
            GraphError,
            "node 'forest'.*wired",
        ),
        ("scaler", {"inputs": (NodeInput("w", fields=("a", "b")),)}, InputsError, "node 'scaler'.*'w'"),
    ],
)
def test_a_node_that_is_damaged_or_does_not_fit_is_named(chain, tmp_path, *, node, changes, error, words):
    with pytest.raises(error or ModelError, match=words):
        loaded(_with(chain, node, sha256="", size=0, **changes), LoadPolicy(scratch=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_reads_files_is_not_loaded(chain, tmp_path):
    spy = Node("spy", "TENSORFLOW", data=linear([1, 2], "ReadFile"), inputs=chain.nodes[0].inputs)
    with pytest.raises(UnsafeModelError, match=r"node 'spy': .*ReadFile") as refused:
        loaded(replace(chain, nodes=(*chain.nodes, spy)), LoadPolicy(scratch=str(tmp_path)))
    assert refused.value.step == "safety"
    assert list(tmp_path.iterdir()) == []


def test_swapping_graphs_gives_everything_back(chain, tmp_path):
    policy = LoadPolicy(scratch=str(tmp_path), warm_up_batches=())
    before = loaded(chain, policy)
    for _ in range(3):
        after = loaded(chain, policy)
        before.close()
        assert len(list(tmp_path.iterdir())) == 1
        with pytest.raises(PredictError, match="closed"):
            before.predict({})
        before = after
    before.close()
    assert list(tmp_path.iterdir()) == []


def test_a_field_is_optional_where_every_node_says_what_happens_without_it():
    def replacing(document: bytes, value: str) -> bytes:
        return document.replace(
            b'<MiningField name="a"/>', f'<MiningField name="a" missingValueReplacement="{value}"/>'.encode()
        )

    nodes = (
        Node("one", "PMML", data=replacing(pmml(1, 1), "5")),
        Node("two", "PMML", data=replacing(pmml(2, 1), "7")),
    )
    model = loaded(Graph((*nodes, Node("both", combine="MEAN", of=(OutputRef("one"), OutputRef("two"))))))
    assert {i.name: i.optional for i in model.inputs} == {"a": True, "b": False}
    decoded = make_codec(CodecSpec()).decode(
        [b'{"a": 1, "b": 1}', b'{"b": 1}', b'{"a": null, "b": 2}'], model.inputs
    )
    (answer,) = model.predict(decoded.columns).values()
    assert answer.tolist() == [(2 + 3) / 2, (6 + 15) / 2, (7 + 16) / 2]
    model.close()
    mixed = loaded(Graph((nodes[0], Node("two", "PMML", data=pmml(2, 1)))))
    assert not any(i.optional for i in mixed.inputs)
    mixed.close()
