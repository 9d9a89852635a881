"""Kernels of trees beside each other: ours (numba), ONNX Runtime's and Treelite's, on a forest and on
boosting.

`python -m bench.tree_kernels [--treelite PYTHON]`: one thread, microseconds a call at 1, 64 and 1,024 rows,
by the median of a second, and the largest difference from scikit-learn. `--treelite` names a Python that has
`treelite` (and `tl2cgen`, for its compiled form). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bench.call_times import median_seconds
from bench.pmml import ROWS
from bench.trees import FEATURES, Trees
from devservices.process import ROOT
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.runtime import load


def trained() -> tuple[dict[str, Any], NDArray]:
    """A forest of 100 trees of three classes, boosting of 100 trees of depth 5, and 1,024 rows of float32."""
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier  # noqa: PLC0415 - of the tests

    rng = np.random.default_rng(0)
    x = rng.random((3000, FEATURES)).astype(np.float32)
    y = x[:, 0] * 3 + rng.random(3000) * 2
    forest = RandomForestClassifier(100, random_state=0, max_depth=12).fit(x, np.minimum(y.astype(int), 2))
    boosting = GradientBoostingRegressor(n_estimators=100, max_depth=5, random_state=0).fit(x, y)
    return {"forest": forest, "boosting": boosting}, rng.random((max(ROWS), FEATURES)).astype(np.float32)


def onnx_session(model: Any) -> Any:
    from skl2onnx import to_onnx  # noqa: PLC0415 - of the tests

    options: Any = {id(model): {"zipmap": False}} if hasattr(model, "classes_") else None
    made: Any = to_onnx(model, np.zeros((1, FEATURES), np.float32), options=options)
    how = onnxruntime.SessionOptions()
    how.intra_op_num_threads = how.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(made.SerializeToString(), how, providers=["CPUExecutionProvider"])


def us(call: Any) -> float:
    return round(median_seconds(call) * 1e6, 1)


def measure(name: str, model: Any, rows: NDArray, folder: Path, treelite: str) -> dict[str, Any]:
    expected = model.predict_proba(rows) if hasattr(model, "classes_") else model.predict(rows)[:, None]
    trees = Trees(model)
    ours = load(Artifact(trees.pmml(), None, folder), WantedSignature())
    columns = {f"x{k}": rows[:, k].astype(float) for k in range(FEATURES)}
    parts = {n: {key: column[:n] for key, column in columns.items()} for n in ROWS}
    answer = ours.predict(columns)
    told = np.column_stack([answer[f"p{c}"] for c in range(expected.shape[1])])
    found: dict[str, Any] = {
        "ours": {n: us(partial(ours.predict, parts[n])) for n in ROWS},
        "ours_differs": float(np.abs(told - expected).max()),
    }
    session = onnx_session(model)
    (feed,) = session.get_inputs()
    last = session.get_outputs()[-1].name
    batches = {n: np.ascontiguousarray(rows[:n]) for n in ROWS}
    found["onnxruntime"] = {n: us(partial(session.run, [last], {feed.name: batches[n]})) for n in ROWS}
    (got,) = session.run([last], {feed.name: rows})
    found["onnxruntime_differs"] = float(np.abs(got.reshape(expected.shape) - expected).max())
    if treelite:
        trees.save(folder / f"{name}.npz")
        np.save(folder / "rows.npy", rows)
        command = [treelite, "-m", "bench.peer_treelite", str(folder), name, *map(str, ROWS)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        said = json.loads(done.stdout.splitlines()[-1])
        found["treelite_differs"] = float(np.abs(np.array(said.pop("answer")) - expected).max())
        found |= {f"treelite_{key}": value for key, value in said.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--treelite", default="", help="a Python that has treelite")
    treelite = parser.parse_args().treelite
    models, rows = trained()
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measure(name, model, rows, Path(folder), treelite) for name, model in models.items()}
    for name, said in found.items():
        print(name, said)
    print(json.dumps({"bench": "tree_kernels", "models": found}))


if __name__ == "__main__":
    main()
