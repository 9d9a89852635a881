"""Train and export the demo's models on half of each of two data sets that scikit-learn ships.

The other half is what the demo streams, so that the accuracy it shows is on rows that no model has seen.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.plan import CANCER_1, CANCER_2, TARGET, WINE_1, WINE_2, WINE_4, DataSet

_STEPS = 300
_RATE = 0.2
_DECAY = 2e-3  # keeps the probabilities away from 0 and 1, where versions could not be told apart


def folder_of(cache: Path, seed: int) -> Path:
    """Where the models of a seed belong: another place for another program or library."""
    made_by = [Path(__file__).read_bytes(), Path(__file__).with_name("plan.py").read_bytes()]
    made_by += [version(name).encode() for name in ("scikit-learn", "tensorflow-cpu", "numpy")]
    return cache / f"{hashlib.sha256(b'/'.join(made_by)).hexdigest()[:12]}-{seed}"


def train(folder: Path, seed: int) -> None:
    """Train all models and put them into `folder`, with `data.json`; it appears whole or not at all."""
    from sklearn import datasets  # noqa: PLC0415 - takes seconds

    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        streamed = []
        for data_type, load in (("wine", datasets.load_wine), ("cancer", datasets.load_breast_cancer)):
            bunch = load()
            order = np.random.default_rng(seed).permutation(len(bunch.data))
            taught, kept = order[: len(order) // 2], order[len(order) // 2 :]
            fields = tuple(str(name).replace(" ", "_").replace("/", "_") for name in bunch.feature_names)
            classes = tuple(str(name) for name in bunch.target_names)
            _export(
                making,
                data_type,
                bunch.data[taught],
                bunch.target[taught],
                fields=fields,
                classes=classes,
                seed=seed,
            )
            streamed.append(
                {
                    "data_type": data_type,
                    "fields": fields,
                    "classes": classes,
                    "rows": bunch.data[kept].tolist(),
                    "labels": [classes[at] for at in bunch.target[kept]],
                }
            )
        (making / "data.json").write_text(json.dumps(streamed))
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def read_data(folder: Path) -> list[DataSet]:
    """The rows to stream, as `train` has left them."""
    return [
        DataSet(
            found["data_type"],
            tuple(found["fields"]),
            tuple(found["classes"]),
            tuple(map(tuple, found["rows"])),
            tuple(found["labels"]),
        )
        for found in json.loads((folder / "data.json").read_text())
    ]


def _export(
    folder: Path,
    data_type: str,
    x: NDArray,
    y: NDArray,
    *,
    fields: Sequence[str],
    classes: Sequence[str],
    seed: int,
) -> None:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415

    from millrace.export_pmml import decision_tree, logistic_regression  # noqa: PLC0415

    mean, scale = x.mean(axis=0), x.std(axis=0)
    k = len(classes)
    if data_type == "wine":
        some = WINE_1.fields
        weights = _descend(x[:, :some], y, (some, k), seed)
        _saved_model(folder / WINE_1.file, weights, mean[:some], scale[:some])
        _frozen_graph(folder / WINE_2.file, _descend(x, y, (x.shape[1], 8, k), seed), mean, scale)
        fitted = LogisticRegression(C=0.5, max_iter=1000).fit((x - mean) / scale, y)
        # The model reads fields as they come, so that the scaling goes into its coefficients.
        coefficients = fitted.coef_ / scale
        text = logistic_regression(
            coefficients, fitted.intercept_ - coefficients @ mean, fields, classes, TARGET
        )
        (folder / WINE_4.file).write_text(text)
    else:
        tree = DecisionTreeClassifier(max_depth=3, random_state=seed).fit(x, y)
        (folder / CANCER_1.file).write_text(decision_tree(tree, fields, classes, TARGET))
        _saved_model(folder / CANCER_2.file, _descend(x, y, (x.shape[1], 8, k), seed), mean, scale)


def _descend(x: NDArray, y: NDArray, widths: Sequence[int], seed: int) -> list[tuple[Any, Any]]:
    """Weights and biases of a tanh network on standardised rows `(n, widths[0])`, by gradient descent."""
    from udfs.models.runtimes.tensorflow.session import configured_tensorflow  # noqa: PLC0415

    tf = configured_tensorflow()
    rng = np.random.default_rng(seed)
    rows = tf.constant((x - x.mean(axis=0)) / x.std(axis=0), tf.float32)
    layers = [
        (tf.Variable(rng.normal(0, k**-0.5, (k, m)), dtype=tf.float32), tf.Variable(tf.zeros(m)))
        for k, m in itertools.pairwise(widths)
    ]
    variables = [v for layer in layers for v in layer]
    for _ in range(_STEPS):
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=y, logits=_logits(tf, layers, rows)
            )
            loss = tf.reduce_mean(losses) + _DECAY * tf.add_n([tf.nn.l2_loss(w) for w, _ in layers])
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(_RATE * gradient)
    return layers


def _logits(tf: Any, layers: Sequence[tuple[Any, Any]], rows: Any) -> Any:
    for w, b in layers[:-1]:
        rows = tf.tanh(tf.matmul(rows, w) + b)
    w, b = layers[-1]
    return tf.matmul(rows, w) + b


def _saved_model(path: Path, layers: list[tuple[Any, Any]], mean: NDArray, scale: NDArray) -> None:
    from udfs.models.runtimes.tensorflow.session import configured_tensorflow  # noqa: PLC0415

    tf = configured_tensorflow()
    module = tf.Module()
    module.layers = layers

    @tf.function(input_signature=[tf.TensorSpec((None, len(mean)), tf.float32, name="row")])
    def score(row: Any) -> dict[str, Any]:
        scaled = (row - np.float32(mean)) / np.float32(scale)
        return {"probability": tf.nn.softmax(_logits(tf, module.layers, scaled))}

    tf.saved_model.save(module, str(path), signatures={"serving_default": score})


def _frozen_graph(path: Path, layers: list[tuple[Any, Any]], mean: NDArray, scale: NDArray) -> None:
    from udfs.models.runtimes.tensorflow.session import configured_tensorflow  # noqa: PLC0415

    tf = configured_tensorflow()
    constants = [(w.numpy(), b.numpy()) for w, b in layers]
    graph = tf.Graph()
    with graph.as_default():
        row = tf.compat.v1.placeholder(tf.float32, (None, len(mean)), name="row")
        scaled = (row - np.float32(mean)) / np.float32(scale)
        tf.nn.softmax(_logits(tf, constants, scaled), name="probability")
    path.write_bytes(graph.as_graph_def().SerializeToString())
