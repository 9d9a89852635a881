"""`python -m bench.runtimes`: one call of a model by runtime and micro-batch size. The last line is JSON.

The models are loaded by the steps that jobs load with, and called as jobs call them: columns in, columns
out. The network of the other benchmarks goes as a SavedModel, as a frozen graph and as ONNX; gradient
boosting of 100 trees goes as ONNX beside scikit-learn's own `predict`. All answers to the same rows are
compared before the clock starts.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import model as network
from bench.call_times import median_seconds
from bench.features import FIELDS
from udfs.models.descriptor import build, parse
from udfs.models.loading import LoadedModel, LoadPolicy, load_model
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

ROWS = (1, 64, 1024)
_ROUNDS = 7
_SECONDS = 0.3
_TREES = 100


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that scores `(n, 11)` float32 rows. Of a file: `load_ms` of all steps, `size` in bytes."""

    name: str
    call: Callable[[NDArray], NDArray]
    load_ms: float | None = None
    size: int | None = None


def main() -> None:
    x = np.random.default_rng(1).normal(size=(max(ROWS), len(FIELDS))).astype(np.float32)
    report: dict[str, Mapping[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, ExitStack() as held:
        for name, subjects in (
            ("dense network", dense(Path(folder), held)),
            (f"gradient boosting of {_TREES} trees", boosting(held)),
        ):
            first = subjects[0].call(x)
            for other in subjects[1:]:
                np.testing.assert_allclose(other.call(x), first, rtol=1e-4, atol=1e-5)
            report[name] = _measured(subjects, x)
    for name, by_subject in report.items():
        print(f"{name}: median ms a call (of {_ROUNDS} rounds in turns, the best)")
        for subject, found in by_subject.items():
            times = "  ".join(f"{rows:>5}: {found['ms'][rows]:.4f}" for rows in ROWS)
            print(
                f"  {subject:<24}{times}" + (f"  load {found['load_ms']:.0f} ms" if found["load_ms"] else "")
            )
    print(json.dumps(report))


def dense(folder: Path, held: ExitStack) -> list[Subject]:
    """One network, by three exports."""
    import tf2onnx  # noqa: PLC0415

    tf = configured_tensorflow()
    saved = network.save(folder)
    published = parse(network.descriptor(saved))
    loaded = tf.saved_model.load(str(saved))
    signature = loaded.signatures["serving_default"]
    frozen = _frozen(signature)
    spec = tf.TensorSpec([None, len(FIELDS)], "float32", name="x")
    onnx, _ = tf2onnx.convert.from_function(tf.function(lambda x: signature(x=x)), [spec])
    return [
        _subject("SavedModel", published.model_type, published.data or b"", held),
        _subject("frozen graph", "TENSORFLOW", frozen, held),
        _subject("ONNX", "ONNX", onnx.SerializeToString(), held),
    ]


def _frozen(signature: Any) -> bytes:
    from tensorflow.python.framework.convert_to_constants import (  # noqa: PLC0415
        convert_variables_to_constants_v2,
    )

    return convert_variables_to_constants_v2(signature).graph.as_graph_def().SerializeToString()


def boosting(held: ExitStack) -> list[Subject]:
    """`GradientBoostingRegressor` as ONNX, and itself."""
    from skl2onnx import to_onnx  # noqa: PLC0415
    from sklearn.ensemble import GradientBoostingRegressor  # noqa: PLC0415

    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, len(FIELDS))).astype(np.float32)
    model = GradientBoostingRegressor(n_estimators=_TREES, random_state=0).fit(x, x[:, 0] * x[:, 1] + x[:, 2])
    onnx = to_onnx(model, x[:1]).SerializeToString()
    return [_subject("ONNX", "ONNX", onnx, held), Subject("scikit-learn", model.predict)]


def _subject(name: str, model_type: str, data: bytes, held: ExitStack) -> Subject:
    published = parse(build(data_type="bench", model_type=model_type, data=data))
    policy = LoadPolicy(fields=FIELDS, warm_up_batches=ROWS)
    load_model(published, policy).close()  # the first imports the runtime
    started = time.perf_counter()
    model = load_model(published, policy)
    load_ms = (time.perf_counter() - started) * 1000
    held.callback(model.close)
    return Subject(name, _caller(model), load_ms, len(data))


def _caller(model: LoadedModel) -> Callable[[NDArray], NDArray]:
    reads, gives = model.inputs[0].name, model.outputs[0].name
    return lambda x: model.predict({reads: x})[gives].reshape(len(x))


def _measured(subjects: Sequence[Subject], x: NDArray) -> Mapping[str, dict[str, Any]]:
    """By subject the median ms of a call at each size: rounds in turns, so that all meet the same company."""
    best: dict[str, dict[int, float]] = {s.name: {} for s in subjects}
    for _ in range(_ROUNDS):
        for subject in subjects:
            for rows in ROWS:
                found = median_seconds(partial(subject.call, x[:rows]), _SECONDS / len(ROWS)) * 1000
                best[subject.name][rows] = min(found, best[subject.name].get(rows, found))
    return {s.name: {"ms": best[s.name], "load_ms": s.load_ms, "bytes": s.size} for s in subjects}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
