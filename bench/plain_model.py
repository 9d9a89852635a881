"""The SavedModel called directly, as the bare loop and the peers do. Needs TensorFlow and numpy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from bench.features import FIELDS


def load(path: str) -> Callable[[Sequence[dict[str, Any]]], list[float]]:
    """A function from decoded records to their scores, one thread inside and one between operators."""
    import numpy as np  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]
    features = itemgetter(*FIELDS)

    def score(records: Sequence[dict[str, Any]]) -> list[float]:
        matrix = np.array([features(r) for r in records], dtype="float32")
        return signature(x=tf.constant(matrix))["score"].numpy()[:, 0].tolist()

    score.model = loaded  # type: ignore[attr-defined]  # a signature does not keep its variables alive
    score([dict.fromkeys(FIELDS, 1.0)] * 1024)
    return score
