"""`millrace score` with real models of every kind: what a job gives, from the file that a user has."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from millrace.cli import app
from schemas.codecs.json_codec import JsonCodec
from schemas.results.results import read_result
from tests.models import expected, layers, save, saved_model
from tests.onnx_models import dense
from tests.pmml_documents import Leaf, Split, document, less, probabilities, tree
from tests.serving_fakes import batch_of
from udfs.models.descriptor import parse
from udfs.models.loading import LoadPolicy, load_model
from udfs.serving.scoring import score

NUMBERS = np.random.default_rng(5).normal(size=(50, 3)).round(4)
GRAPH = """
[[node]]
name = "net"
path = "saved"
inputs = { x = ["a", "b", "c"] }

[[node]]
name = "mean"
combine = "mean"
of = ["net.y[0]", "net.y[1]"]
"""


def scored(path, records, to, *more):
    arguments = ["score", path, "--records", records, "--to", to, *more]
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in to.read_text().splitlines()]


def by_a_job(path, folder, payloads, *more):
    """What a job gives: the model published into a folder, loaded from there, and asked for a batch."""
    arguments = ["publish", path, "--data-type", "t", "--to-folder", folder, *more]
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    (sent,) = folder.iterdir()
    model = load_model(parse(sent.read_bytes()), LoadPolicy(warm_up_batches=(1,)))
    try:
        batch = batch_of(payloads)
        job = score(batch, model, JsonCodec(), True)
        rows = {d.offset: {"outcome": "refused", "code": d.code, "reason": d.reason} for d in job.dead}
        for line in job.lines:
            result = read_result(line)
            told = {"outcome": result.outcome.value} | ({"reason": result.reason} if result.reason else {})
            rows[result.offset] = {**result.scores, **told}
    finally:
        model.close()
    return [rows[k] for k in range(len(payloads))]


@pytest.mark.parametrize("kind", ["saved model", "graph of models", "pmml", "onnx"])
def test_the_rows_are_those_of_a_job(tmp_path, kind):
    pytest.importorskip("tensorflow")
    names = ("x", "y", "k") if kind == "pmml" else ("a", "b", "c")
    more: tuple[str, ...] = ()
    if kind == "pmml":
        top = Split(
            [(p, Leaf([("a", n), ("b", 9 - n)])) for n, p in zip((2, 7), less("x", 0.1), strict=True)]
        )
        path = tmp_path / "m.pmml"
        path.write_text(document(tree(top, output=probabilities(("a", "b")))))
    elif kind == "onnx":
        pytest.importorskip("onnx")
        path, more = tmp_path / "m.onnx", ("--field", "a,b,c")
        path.write_bytes(dense(layers()[0][0]))
    else:
        path = saved_model(tmp_path / "saved", layers())
        more = ("--field", "a,b,c")
        if kind == "graph of models":
            path, more = tmp_path / "g.toml", ()
            path.write_text(GRAPH)
    last = ["red"] if kind == "pmml" else []
    rows = [dict(zip(names, [*row[: 3 - len(last)], *last], strict=True)) for row in NUMBERS.tolist()]
    payloads = [json.dumps(row).encode() for row in rows]
    payloads[7:9] = [b"no record", b'{"%b":"text"}' % names[0].encode()]
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(payloads))
    found = scored(path, tmp_path / "r.jsonl", tmp_path / "out.jsonl", *more, "--max-batch", 16)
    assert found == by_a_job(path, tmp_path / "stream", payloads, *more)
    assert [r["outcome"] for r in found].count("scored") == 48


def test_csv_gives_what_the_model_itself_gives(tmp_path):
    pytest.importorskip("tensorflow")
    weights = layers()
    path = saved_model(tmp_path / "saved", weights)
    lines = ["a,b,c,id", *(",".join(map(repr, row)) + f",row {n}" for n, row in enumerate(NUMBERS.tolist()))]
    (tmp_path / "r.csv").write_text("\n".join(lines))
    found = scored(path, tmp_path / "r.csv", tmp_path / "out.jsonl", "--field", "a,b,c")
    np.testing.assert_allclose(
        [r["y"] for r in found], expected(weights, NUMBERS.astype("f4")), rtol=1e-6, atol=1e-6
    )


PATHS = """
[inputs.x]
fields = [{ path = "p.a" }, { path = "p.b", default = 0.5 }, { path = "l[1]", from = "text" }]
"""


@pytest.mark.parametrize("kind", ["saved model", "graph of models"])
def test_inputs_are_read_as_declared_in_every_runtime(tmp_path, kind):
    pytest.importorskip("tensorflow")
    weights = layers()
    path, declared = saved_model(tmp_path / "saved", weights), PATHS
    if kind == "graph of models":
        path = tmp_path / "g.toml"
        path.write_text(GRAPH)
        declared = "[fields.a]\npath = 'p.a'\n[fields.b]\npath = 'p.b'\ndefault = 0.5\n"
        declared += "[fields.c]\npath = 'l[1]'\nfrom = 'text'\n"
    (tmp_path / "i.toml").write_text(declared)
    rows = [{"p": {"a": a, "b": b}, "l": ["x", repr(c)]} for a, b, c in NUMBERS.tolist()]
    del rows[3]["p"]["b"]
    rows[4]["p"]["b"] = None
    rows[5]["l"] = ["x"]
    payloads = [json.dumps(row).encode() for row in rows]
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(payloads))
    more = ("--inputs", str(tmp_path / "i.toml"))
    found = scored(path, tmp_path / "r.jsonl", tmp_path / "out.jsonl", *more)
    assert found == by_a_job(path, tmp_path / "stream", payloads, *more)
    assert found[5] == {"outcome": "refused", "code": "missing_field", "reason": "field 'l[1]' is missing"}
    numbers = NUMBERS.copy()
    numbers[3:5, 1] = 0.5
    wanted = expected(weights, numbers.astype("f4"))
    answers = [r["y"] if kind == "saved model" else r["value"] for r in found if r["outcome"] == "scored"]
    wanted = np.delete(wanted if kind == "saved model" else wanted.mean(axis=1), 5, axis=0)
    np.testing.assert_allclose(answers, wanted, rtol=1e-5, atol=1e-5)


def test_base64_reaches_a_model_as_bytes(tmp_path):
    """A text input of TensorFlow takes any bytes, also those that are no text."""
    tf = pytest.importorskip("tensorflow")

    def score_bytes(image):
        return {"n": tf.strings.length(image), "first": tf.strings.substr(image, 0, 1)}

    signatures = {"serving_default": (score_bytes, {"image": ((None,), "string")})}
    path = save(tmp_path / "saved", tf.Module(), signatures)
    (tmp_path / "i.toml").write_text('[inputs.image]\npath = "p.image"\nfrom = "base64"\n')
    rows = [{"p": {"image": text}} for text in ("/wAA", "QUI=", "no base64", None)]
    (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    more = ("--inputs", str(tmp_path / "i.toml"))
    found = scored(path, tmp_path / "r.jsonl", tmp_path / "out.jsonl", *more)
    assert [r.get("n") for r in found] == [3, 2, None, None]
    assert [r.get("code") for r in found] == [None, None, "wrong_type", "null"]
