"""The model that everything under measurement runs: a small dense network, as a SavedModel."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.features import FIELDS
from bench.workload import DATA_TYPE
from udfs.models.descriptor import build
from udfs.models.runtimes.base import PartialInput
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

HIDDEN = 16


def save(folder: Path, seed: int = 0) -> Path:
    """Make a SavedModel: `x` of `(n, 11)` to `score` of `(n, 1)`."""
    tf = configured_tensorflow()
    rng = np.random.default_rng(seed)
    module = tf.Module()
    module.hidden = tf.Variable(rng.normal(size=(len(FIELDS), HIDDEN)).astype("float32") / 30)
    module.out = tf.Variable(rng.normal(size=(HIDDEN, 1)).astype("float32"))

    def score(x: Any) -> dict[str, Any]:
        return {"score": tf.sigmoid(tf.matmul(tf.nn.relu(tf.matmul(x, module.hidden)), module.out))}

    x = tf.TensorSpec([None, len(FIELDS)], "float32", name="x")
    signature = tf.function(score).get_concrete_function(x=x)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})
    return folder


def descriptor(folder: Path, version: int = 1, data_type: str = DATA_TYPE, name: str = "bench") -> bytes:
    """The publication of a SavedModel, which travels inline."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    return build(
        data_type=data_type,
        name=name,
        model_type="TENSORFLOWSAVED",
        version=version,
        data=buffer.getvalue(),
        inputs=[PartialInput("x", fields=FIELDS)],
    )
