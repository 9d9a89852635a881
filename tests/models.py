"""Small TensorFlow models, made on the spot, for tests that need real ones."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.tensorflow.session import configured_tensorflow

Layers = Sequence[tuple[NDArray, NDArray]]


def layers(seed: int = 0, widths: Sequence[int] = (3, 4, 2)) -> list[tuple[NDArray, NDArray]]:
    """Weights `(k, m)` and biases `(m,)` of a dense network of these widths."""
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=(k, m)).astype("float32"), rng.normal(size=m).astype("float32"))
        for k, m in pairwise(widths)
    ]


def expected(weights: Layers, x: NDArray) -> NDArray:
    """What the models below answer for `x` of `(n, k)`, by numpy."""
    for w, b in weights:
        x = np.maximum(x @ w + b, 0)
    return x


def saved_model(path: Path, weights: Layers | None = None, name: str = "x", output: str = "y") -> Path:
    """A TF2 SavedModel with variables: `name` of `(n, k)` to `output` of `(n, m)`."""
    tf = configured_tensorflow()
    module = tf.Module()
    module.layers = [(tf.Variable(w), tf.Variable(b)) for w, b in weights or layers()]

    def score(x: Any) -> dict[str, Any]:
        for w, b in module.layers:
            x = tf.nn.relu(tf.matmul(x, w) + b)
        return {output: x}

    width = module.layers[0][0].shape[0]
    return save(path, module, {"serving_default": (score, {name: ((None, width), "float32")})})


def constant_saved_model(path: Path, value: float, width: int = 2) -> Path:
    """A SavedModel that answers `value` for every record, as `y` of `(n,)` from `x` of `(n, width)`."""
    tf = configured_tensorflow()
    module = tf.Module()
    module.value = tf.Variable(np.float32(value))

    def score(x: Any) -> dict[str, Any]:
        return {"y": tf.zeros_like(x[:, 0]) + module.value}

    return save(path, module, {"serving_default": (score, {"x": ((None, width), "float32")})})


def constant_frozen_graph(value: float, width: int = 2) -> bytes:
    """A frozen graph that answers `value` for every record, as `y` of `(n,)` from `x` of `(n, width)`."""
    tf = configured_tensorflow()

    def build(x: Any) -> None:
        tf.add(tf.zeros_like(x[:, 0]), np.float32(value), name="y")

    return graph(build, width)


def frozen_graph(weights: Layers | None = None) -> bytes:
    """A frozen GraphDef: `x` of `(n, k)` to `y` of `(n, m)`."""
    tf = configured_tensorflow()
    dense = weights or layers()

    def build(x: Any) -> None:
        for w, b in dense[:-1]:
            x = tf.nn.relu(tf.matmul(x, w) + b)
        tf.nn.relu(tf.matmul(x, dense[-1][0]) + dense[-1][1], name="y")

    return graph(build, dense[0][0].shape[0])


def graph(build: Callable[[Any], object], width: int = 2) -> bytes:
    """A GraphDef of what `build` makes of the placeholder `x` of `(n, width)`."""
    tf = configured_tensorflow()
    made = tf.Graph()
    with made.as_default():
        build(tf.compat.v1.placeholder(tf.float32, (None, width), name="x"))
    return made.as_graph_def().SerializeToString()


Signatures = Mapping[str, tuple[Callable[..., Any], Mapping[str, tuple[Sequence[int | None], str]]]]


def save(path: Path, module: Any, signatures: Signatures) -> Path:
    """Save `module` with signatures: name -> (function, input name -> (shape, dtype))."""
    tf = configured_tensorflow()
    concrete = {
        key: tf.function(function).get_concrete_function(
            **{n: tf.TensorSpec(list(shape), dtype, name=n) for n, (shape, dtype) in inputs.items()}
        )
        for key, (function, inputs) in signatures.items()
    }
    tf.saved_model.save(module, str(path), signatures=concrete)
    return path


def tf1_saved_model(path: Path, weights: Layers | None = None, signature: str = "predict") -> Path:
    """A TF1 SavedModel with reference variables: `inputs` of `(n, k)` to `outputs` of `(n, m)`."""
    v1 = configured_tensorflow().compat.v1
    dense = weights or layers()
    made = v1.Graph()
    with made.as_default(), v1.Session() as session:
        y = x = v1.placeholder("float32", (None, dense[0][0].shape[0]), name="x")
        for i, (w, b) in enumerate(dense):
            y = v1.nn.relu(
                v1.matmul(y, v1.Variable(w, name=f"w{i}", use_resource=False))
                + v1.Variable(b, name=f"b{i}", use_resource=False)
            )
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.builder.SavedModelBuilder(str(path))
        define = v1.saved_model.predict_signature_def({"inputs": x}, {"outputs": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {signature: define})
        builder.save()
    return path


def zipped(folder: Path, prefix: str = "") -> bytes:
    """The folder as zip bytes; `prefix` (such as `1/`) goes before every name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, prefix + path.relative_to(folder).as_posix())
    return buffer.getvalue()


def tarred(folder: Path, mode: str = "w:gz", prefix: str = "") -> bytes:
    """The folder as tar bytes, `w` plain or `w:gz` packed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for path in sorted(folder.rglob("*")):
            archive.add(path, prefix + path.relative_to(folder).as_posix(), recursive=False)
    return buffer.getvalue()
