"""The TOML file of a graph: what it becomes, and what is wrong with it, said before anything is sent."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from millrace.cli import app
from millrace.graph_file import read_graph
from schemas.errors import GraphError
from udfs.models.composite.nodes import NodeInput, OutputRef
from udfs.models.digest import digest_of

PMML = b"<PMML/>"
NODES = """
fields = ["p", "q"]
[[node]]
name = "one"
path = "a/model"
signature = "f"
inputs.x = ["q"]
outputs = { z = "dense/Sigmoid" }
[[node]]
name = "two"
path = "b/model"
inputs.x = { fields = ["p"], of = ["one.z[0]", "one.z"], dtype = "float32", shape = [3] }
[[node]]
name = "three"
path = "m.pmml"
[[node]]
name = "all"
combine = "mean"
of = ["two.y", "three"]
weights = [1, 2]
[outputs]
score = "all"
"""


@pytest.fixture
def folder(tmp_path):
    for name, content in (("a", b"x" * 5000), ("b", b"y")):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "saved_model.pb").write_bytes(content)
    (tmp_path / "m.pmml").write_bytes(PMML)
    return tmp_path


def _file(folder, text):
    (folder / "g.toml").write_text(text)
    return folder / "g.toml"


def test_a_graph_file_becomes_nodes_with_their_content(folder):
    said = read_graph(_file(folder, NODES), folder / "scratch", 10**6)
    one, two, three, both = said.graph.nodes
    assert (one.model_type, two.model_type, three.model_type) == (
        "TENSORFLOWSAVED",
        "TENSORFLOWSAVED",
        "PMML",
    )
    assert (one.signature, one.outputs, one.inputs) == (
        "f",
        (("dense/Sigmoid", "z"),),
        (NodeInput("x", fields=("q",)),),
    )
    refs = (OutputRef("one", "z", 0), OutputRef("one", "z"))
    assert two.inputs == (NodeInput("x", "float32", (3,), ("p",), refs),)
    assert (both.combine, both.of, both.weights) == (
        "MEAN",
        (OutputRef("two", "y"), OutputRef("three")),
        (1, 2),
    )
    assert (said.graph.fields, said.outputs) == (("p", "q"), (("all", "score"),))
    assert three.data == PMML
    assert one.data != two.data and one.data[:2] == two.data[:2] == b"PK"


def test_the_largest_nodes_are_left_at_their_place(folder):
    said = read_graph(_file(folder, NODES), folder / "scratch", len(PMML))
    one, two, three, _ = said.graph.nodes
    assert (one.data, two.data, three.data) == (None, None, PMML)
    assert (one.sha256, one.size) == digest_of(said.files["one"])
    assert one.location == said.files["one"].as_uri() != two.location


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[node]\n", "is no graph of models"),
        ("", "is no graph of models.*node"),
        ('[[node]]\nname = "a"\npth = "m.pmml"\n', "pth"),
        ('[[node]]\nname = "a"\n', "node 'a' of g.toml: there is no path"),
        ('[[node]]\nname = "a"\npath = "no.pmml"\n', "there is no .*no.pmml"),
        ('[[node]]\nname = "a"\ncombine = "mean"\npath = "m.pmml"\n', "takes 'of' and 'weights' only"),
        ('[[node]]\nname = "a"\npath = "m.pmml"\ninputs.x = { of = ["a b"] }\n', "node 'a' refers to 'a b'"),
        ('[[node]]\nname = "a"\npath = "m.pmml"\n[[node]]\nname = "a"\npath = "m.pmml"\n', "'a' twice"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(folder, text, words):
    with pytest.raises(GraphError, match=words):
        read_graph(_file(folder, text), folder / "scratch", 1000)


CYCLE = """
[[node]]
name = "a"
path = "m.pmml"
inputs.x = { of = ["b"] }
[[node]]
name = "b"
path = "m.pmml"
inputs.x = { of = ["a"] }
"""


@pytest.mark.parametrize("command", ["check-model", "publish"])
def test_a_cycle_is_refused_before_anything_is_sent(folder, command):
    where = ["--to-folder", str(folder / "stream")] if command == "publish" else []
    done = CliRunner().invoke(app, [command, str(_file(folder, CYCLE)), "--data-type", "t", *where])
    assert done.exit_code == 1
    assert "step 'graph': the nodes feed each other in a cycle" in done.stderr
    assert not (folder / "stream").exists()


def test_options_of_single_models_are_refused(folder):
    done = CliRunner().invoke(app, ["check-model", str(_file(folder, CYCLE)), "--signature", "f"])
    assert done.exit_code == 1
    assert "stand in its file" in done.stderr
