"""ONNX models through the steps that every model takes: loading, scoring, a composite model, a candidate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from millrace.cli import app
from millrace.package import type_of
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import DigestError, UnsafeModelError
from schemas.results.answers import AnswerOutcome, from_columns
from schemas.results.results import read_result
from tests.executor_fakes import Bench
from tests.onnx_models import constant, dense, node, onnx_model, tensor
from tests.serving_fakes import batch_of
from udfs.models.composite.nodes import Graph, Node, NodeInput, OutputRef
from udfs.models.descriptor import build, parse
from udfs.models.loading import LoadPolicy, load_model
from udfs.models.runtimes.catalogue import KNOWN_BY, RUNTIMES
from udfs.serving.scoring import score

pytest.importorskip("onnx")

FIELDS = ("height", "width")
AREA = dense(np.array([[2.0], [10.0]], np.float32))
SCALED = dense(np.array([[0.5, 0.0], [0.0, 0.25]], np.float32), "s")


def published(**more):
    return parse(build(data_type="t", name="area", model_type="ONNX", data=AREA, **more))


def policy(tmp_path: Path) -> LoadPolicy:
    return LoadPolicy(scratch=str(tmp_path), fields=FIELDS)


def test_every_type_has_a_runtime_module():
    import importlib

    for module in RUNTIMES.values():
        assert callable(importlib.import_module(module).load)
    assert set(KNOWN_BY) == set(RUNTIMES)


def test_a_model_goes_through_all_steps_and_scores_records(tmp_path):
    model = load_model(published(version=3), policy(tmp_path))
    assert (model.stamp.model_type, model.stamp.version) == ("ONNX", 3)
    assert set(model.load_report.warm_up_ms) == {1, 64, 1024}
    payloads = [b'{"height":1,"width":2}', b'{"height":"tall","width":2}', b'{"height":0.5,"width":0}']
    done = score(batch_of(payloads), model, JsonCodec(), raw_json=True)
    scores = [read_result(line).scores for line in done.lines]
    assert (scores, [d.code for d in done.dead]) == ([{"y": [22.0]}, {"y": [1.0]}], ["wrong_type"])
    model.close()
    with pytest.raises(DigestError):
        load_model(published(sha256="ab" * 32), policy(tmp_path))


def test_composite_models_may_have_onnx_nodes(tmp_path):
    scaled = NodeInput("s", fields=FIELDS)
    area = NodeInput("x", of=(OutputRef("scaler", "y"),))
    nodes = (
        Node("scaler", "ONNX", SCALED, inputs=(scaled,)),
        Node("area", "ONNX", AREA, inputs=(area,), outputs=(("y", "area"),)),
    )
    descriptor = build(data_type="t", name="both", model_type="GRAPH", graph=Graph(nodes))
    model = load_model(parse(descriptor), policy(tmp_path))
    done = score(batch_of([b'{"height":4,"width":8}']), model, JsonCodec(), raw_json=True)
    assert read_result(done.lines[0]).scores == {"area": [24.0]}
    model.close()


def test_candidates_may_be_onnx(tmp_path):
    of_records = LoadPolicy(fields=("a",))
    bench = Bench(loader=lambda published: load_model(published, of_records), model_type="ONNX")
    made = dense(np.array([[3.0]], np.float32)), dense(np.array([[7.0]], np.float32))
    try:
        for name, content in zip(("three", "seven"), made, strict=True):
            bench.publish(name, 1, content, model_type="ONNX")
        bench.until(lambda: {"served three 1", "served seven 1"} <= set(bench.told))
        bench.ask("three", "seven", ms=60_000, numbers=(1.0, 2.0))
        answers = {a.candidate: a for a in bench.answers(2)}
        assert {a.outcome for a in answers.values()} == {AnswerOutcome.SCORED}
        found = {name: from_columns(a.columns)["y"].ravel().tolist() for name, a in answers.items()}
        assert found == {"three": [3.0, 6.0], "seven": [7.0, 14.0]}
    finally:
        bench.executor.close()


def test_a_model_is_checked_and_published_by_the_command(tmp_path):
    path = tmp_path / "area.bin"
    path.write_bytes(AREA)
    assert type_of(path) == "ONNX"
    run = CliRunner().invoke
    out = run(app, ["check-model", str(path), "--field", "height,width"])
    assert (out.exit_code, "ONNX" in out.stdout, "from height, width" in out.stdout) == (0, True, True)
    stream = tmp_path / "models"
    arguments = [
        "publish",
        str(path),
        "--data-type",
        "t",
        "--field",
        "height,width",
        "--to-folder",
        str(stream),
    ]
    assert run(app, arguments).exit_code == 0
    (sent,) = (parse(p.read_bytes()) for p in stream.glob("*.model"))
    assert (sent.model_type, sent.data, sent.inputs[0].fields) == ("ONNX", AREA, FIELDS)
    assert load_model(sent, LoadPolicy()).inputs[0].fields == FIELDS


def test_a_constant_of_the_inputs_file_for_the_whole_call_travels_in_the_descriptor(tmp_path):
    inputs = [tensor("x", (None,)), tensor("k", ()), tensor("each", (None,))]
    nodes = [node("Mul", ["x", "k"], ["m"]), node("Add", ["m", "each"], ["y"])]
    made = onnx_model(nodes, inputs, [tensor("y", (None,))])
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    (tmp_path / "i.toml").write_text("[inputs.k]\nconstant = 3\n[inputs.each]\nconstant = 100\n")
    options = ["publish", str(tmp_path / "m.onnx"), "--data-type", "t", "--field", "x"]
    options += ["--inputs", str(tmp_path / "i.toml"), "--to-folder", str(tmp_path / "stream")]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    (sent,) = (tmp_path / "stream").iterdir()
    model = load_model(parse(sent.read_bytes()), LoadPolicy(warm_up_batches=()))
    batch = batch_of([b'{"x":1}', b'{"x":2}'])
    answers = [read_result(line).scores for line in score(batch, model, JsonCodec(), True).lines]
    assert answers == [{"y": 103.0}, {"y": 106.0}]
    model.close()


def test_a_bad_model_is_refused_by_name_of_the_step(tmp_path):
    noise = onnx_model([node("RandomNormalLike", ["x"], ["n"]), node("Add", ["x", "n"], ["y"])])
    path = tmp_path / "m.onnx"
    path.write_bytes(noise.SerializeToString())
    out = CliRunner().invoke(app, ["check-model", str(path)])
    assert out.exit_code == 1
    assert "refused at the step 'safety': operator RandomNormalLike" in out.stderr
    with pytest.raises(UnsafeModelError):
        load_model(parse(build(data_type="t", model_type="ONNX", data=path.read_bytes())), policy(tmp_path))


def test_answers_that_are_not_finite_fail_their_record_only(tmp_path):
    column = [tensor("x", (None, 1))], [tensor("y", (None, 1))]
    inverse = onnx_model([node("Div", ["one", "x"], ["y"])], *column, [constant("one", 1.0)])
    rows = (b'{"x":1.0}',)
    published = build(data_type="t", model_type="ONNX", data=inverse.SerializeToString(), smoke_rows=rows)
    model = load_model(parse(published), LoadPolicy())
    done = score(batch_of([b'{"x":2}', b'{"x":0}', b'{"x":4}']), model, JsonCodec(), raw_json=True)
    results = [orjson.loads(line)["millrace"] for line in done.lines]
    assert [r["outcome"] for r in results] == ["scored", "failed", "scored"]
    assert [r["scores"]["y"] for r in results if r["outcome"] == "scored"] == [[0.5], [0.25]]
