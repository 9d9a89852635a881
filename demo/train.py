"""Train and export the demo's models on half of each of two data sets that scikit-learn ships.

The other half is what the demo streams, so that the accuracy it shows is on rows that no model has seen.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.plan import CANCER_1, CANCER_2, TARGET, WINE_1, WINE_2, WINE_4, DataSet

_Names = tuple[tuple[str, ...], tuple[str, ...]]
"""Of the fields and of the classes."""
_Layers = list[tuple[Any, ...]]
_DECAY = 1.0  # keeps the probabilities away from 0 and 1, where versions could not be told apart


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
        sources = (("wine", datasets.load_wine, _wine), ("cancer", datasets.load_breast_cancer, _cancer))
        for data_type, load, export in sources:
            bunch = load()
            order = np.random.default_rng(seed).permutation(len(bunch.data))
            taught, kept = order[: len(order) // 2], order[len(order) // 2 :]
            fields = tuple(str(name).replace(" ", "_").replace("/", "_") for name in bunch.feature_names)
            classes = tuple(str(name) for name in bunch.target_names)
            export(making, bunch.data[taught], bunch.target[taught], (fields, classes), seed)
            labels = tuple(classes[at] for at in bunch.target[kept])
            streamed.append(asdict(DataSet(data_type, fields, classes, bunch.data[kept].tolist(), labels)))
        (making / "data.json").write_text(json.dumps(streamed))
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def read_data(folder: Path) -> list[DataSet]:
    """The rows to stream, as `train` has left them."""
    found = json.loads((folder / "data.json").read_text())
    parts = ("fields", "classes", "rows", "labels")
    return [DataSet(one["data_type"], *(tuple(one[part]) for part in parts)) for one in found]


def _wine(folder: Path, x: NDArray, y: NDArray, names: _Names, seed: int) -> None:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    from millrace.export_pmml import logistic_regression  # noqa: PLC0415

    mean, scale = x.mean(axis=0), x.std(axis=0)
    rows, some = (x - mean) / scale, WINE_1.fields
    _saved_model(folder / WINE_1.file, _network(rows[:, :some], y, (), seed), mean[:some], scale[:some])
    _frozen_graph(folder / WINE_2.file, _network(rows, y, (8,), seed), mean, scale)
    fitted = LogisticRegression(C=0.5, max_iter=1000).fit(rows, y)
    # The model reads fields as they come, so that the scaling goes into its coefficients.
    coefficients = fitted.coef_ / scale
    intercepts = fitted.intercept_ - coefficients @ mean
    text = logistic_regression(coefficients, intercepts, *names, TARGET)
    (folder / WINE_4.file).write_text(text)


def _cancer(folder: Path, x: NDArray, y: NDArray, names: _Names, seed: int) -> None:
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415

    from millrace.export_pmml import decision_tree  # noqa: PLC0415

    mean, scale = x.mean(axis=0), x.std(axis=0)
    tree = DecisionTreeClassifier(max_depth=3, random_state=seed).fit(x, y)
    (folder / CANCER_1.file).write_text(decision_tree(tree, *names, TARGET))
    _saved_model(folder / CANCER_2.file, _network((x - mean) / scale, y, (8,), seed), mean, scale)


def _network(rows: NDArray, y: NDArray, hidden: tuple[int, ...], seed: int) -> _Layers:
    """Weights and biases of a tanh network on standardised rows (n, k), with a softmax at its end."""
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

    how = {"activation": "tanh", "solver": "lbfgs", "alpha": _DECAY, "max_iter": 1000}
    fitted = MLPClassifier(hidden, random_state=seed, **how).fit(rows, y)
    layers: _Layers = list(zip(fitted.coefs_, fitted.intercepts_, strict=True))
    w, b = layers[-1]
    if len(b) == 1:  # of two classes it has the second's logit only
        layers[-1] = (np.hstack([0 * w, w]), np.hstack([0 * b, b]))
    return [(np.float32(w), np.float32(b)) for w, b in layers]


def _logits(tf: Any, layers: Sequence[tuple[Any, ...]], rows: Any) -> Any:
    for w, b in layers[:-1]:
        rows = tf.tanh(tf.matmul(rows, w) + b)
    w, b = layers[-1]
    return tf.matmul(rows, w) + b


def _saved_model(path: Path, layers: _Layers, mean: NDArray, scale: NDArray) -> None:
    from udfs.models.runtimes.tensorflow.session import configured_tensorflow  # noqa: PLC0415

    tf = configured_tensorflow()
    module = tf.Module()
    module.layers = [tuple(map(tf.Variable, layer)) for layer in layers]

    @tf.function(input_signature=[tf.TensorSpec((None, len(mean)), tf.float32, name="row")])
    def score(row: Any) -> dict[str, Any]:
        scaled = (row - np.float32(mean)) / np.float32(scale)
        return {"probability": tf.nn.softmax(_logits(tf, module.layers, scaled))}

    tf.saved_model.save(module, str(path), signatures={"serving_default": score})


def _frozen_graph(path: Path, layers: _Layers, mean: NDArray, scale: NDArray) -> None:
    from udfs.models.runtimes.tensorflow.session import configured_tensorflow  # noqa: PLC0415

    tf = configured_tensorflow()
    graph = tf.Graph()
    with graph.as_default():
        row = tf.compat.v1.placeholder(tf.float32, (None, len(mean)), name="row")
        scaled = (row - np.float32(mean)) / np.float32(scale)
        tf.nn.softmax(_logits(tf, layers, scaled), name="probability")
    path.write_bytes(graph.as_graph_def().SerializeToString())
