"""Publishing with the real TensorFlow runtimes: what arrives in the stream is what a job then loads."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from millrace.cli import app
from udfs.models.descriptor import parse
from udfs.models.loading import LoadPolicy, load_model

WEIGHTS = np.array([[2.0], [3.0]], np.float32)


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def _graph(tf, operation="MatMul"):
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 2), "x")
        if operation == "ReadFile":
            tf.io.read_file(tf.constant("/etc/hostname"), name="peek")
            x = tf.strings.to_number(tf.io.read_file(tf.constant("/etc/hostname"))) + x
        tf.matmul(x, tf.constant(WEIGHTS), name="y")
    return graph.as_graph_def().SerializeToString()


def _published(path, folder, *more):
    done = CliRunner().invoke(
        app, ["publish", str(path), "--data-type", "pairs", "--to-folder", str(folder), *more]
    )
    assert done.exit_code == 0, done.output
    (sent,) = folder.iterdir()
    return parse(sent.read_bytes())


def _score(publication, policy):
    model = load_model(publication, policy)
    (values,) = model.predict({model.inputs[0].name: np.array([[1, 10], [5, 0]], np.float32)}).values()
    fields, digest = model.inputs[0].fields, model.stamp.digest
    model.close()
    assert digest == publication.sha256
    return values.ravel().tolist(), fields


def test_a_frozen_graph_is_recognised_published_and_scores(tf, tmp_path):
    (tmp_path / "g.pb").write_bytes(_graph(tf))
    sent = _published(tmp_path / "g.pb", tmp_path / "stream", "--field", "a,b")
    assert sent.model_type == "TENSORFLOW"
    assert _score(sent, LoadPolicy(warm_up_batches=(1,))) == ([32.0, 10.0], ("a", "b"))


def test_a_saved_model_folder_travels_as_one_archive(tf, tmp_path):
    module = tf.Module()
    module.w = tf.Variable(WEIGHTS)
    module.f = tf.function(
        lambda x: {"y": tf.matmul(x, module.w)}, input_signature=[tf.TensorSpec((None, 2), tf.float32, "x")]
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.f)
    store, options = tmp_path / "store", ("--field", "a,b", "--inline-limit", "0")
    sent = _published(tmp_path / "saved", tmp_path / "stream", *options, "--upload", store.as_uri())
    assert (sent.model_type, sent.data) == ("TENSORFLOWSAVED", None)
    assert _score(sent, LoadPolicy(roots=(str(store),), warm_up_batches=(1,))) == ([32.0, 10.0], ("a", "b"))


def test_a_graph_that_reads_files_is_not_sent(tf, tmp_path):
    (tmp_path / "g.pb").write_bytes(_graph(tf, "ReadFile"))
    arguments = ["--data-type", "pairs", "--field", "a,b", "--to-folder", str(tmp_path / "stream")]
    done = CliRunner().invoke(app, ["publish", str(tmp_path / "g.pb"), *arguments])
    assert done.exit_code == 1
    assert "step 'safety'" in done.stderr
    assert "ReadFile" in done.stderr
    assert not (tmp_path / "stream").exists()
