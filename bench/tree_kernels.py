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
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bench.call_times import median_seconds
from bench.pmml import ROWS
from devservices.process import ROOT
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.runtime import load

FEATURES = 11


def trained() -> tuple[dict[str, Any], NDArray]:
    """A forest of 100 trees of three classes, boosting of 100 trees of depth 5, and 1,024 rows of float32."""
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier  # noqa: PLC0415 - of the tests

    rng = np.random.default_rng(0)
    x = rng.random((3000, FEATURES)).astype(np.float32)
    y = x[:, 0] * 3 + rng.random(3000) * 2
    forest = RandomForestClassifier(100, random_state=0, max_depth=12).fit(x, np.minimum(y.astype(int), 2))
    boosting = GradientBoostingRegressor(n_estimators=100, max_depth=5, random_state=0).fit(x, y)
    return {"forest": forest, "boosting": boosting}, rng.random((max(ROWS), FEATURES)).astype(np.float32)


class Trees:
    """The trees of a model as arrays; `values` `(nodes, width)` are shares of classes, or what is added
    up."""

    def __init__(self, model: Any) -> None:
        self.several = hasattr(model, "classes_")
        self.trees = [e.tree_ for e in np.ravel(model.estimators_)]
        self.base = 0.0 if self.several else float(np.ravel(model.init_.constant_)[0])
        scale = 1.0 if self.several else model.learning_rate
        self.values = [t.value[:, 0, :] * scale for t in self.trees]
        # what scikit-learn compares with is a double, and its values are float32: the float32 below says the
        # same
        self.thresholds = [_below(t.threshold) for t in self.trees]

    def save(self, path: Path) -> None:
        parts: dict[str, Any] = {
            "count": len(self.trees),
            "width": self.values[0].shape[1],
            "base": self.base,
        }
        for k, t in enumerate(self.trees):
            parts |= {f"l{k}": t.children_left, f"r{k}": t.children_right, f"f{k}": t.feature}
            parts |= {f"t{k}": self.thresholds[k], f"v{k}": self.values[k]}
        np.savez(path, **parts)

    def pmml(self) -> bytes:
        names = [f"x{k}" for k in range(FEATURES)]
        fields = "".join(f'<DataField name="{n}" optype="continuous" dataType="float"/>' for n in names)
        schema = "".join(f'<MiningField name="{n}"/>' for n in names)
        classes = range(self.values[0].shape[1])
        if self.several:
            function, method, target = "classification", "average", 'optype="categorical" dataType="integer">'
            target += "".join(f'<Value value="{c}"/>' for c in classes)
            output = "".join(
                f'<OutputField name="p{c}" optype="continuous" dataType="double" feature="probability" '
                f'value="{c}"/>'
                for c in classes
            )
            targets = ""
        else:
            function, method, target = "regression", "sum", 'optype="continuous" dataType="double">'
            output = '<OutputField name="p0" optype="continuous" dataType="double" feature="predictedValue"/>'
            targets = f'<Targets><Target field="y" rescaleConstant="{self.base!r}"/></Targets>'
        segments = "".join(
            f'<Segment id="{k}"><True/>'
            f'<TreeModel functionName="{function}" splitCharacteristic="binarySplit">'
            f"<MiningSchema>{schema}</MiningSchema>{self._node(k, 0, '<True/>', names)}</TreeModel></Segment>"
            for k in range(len(self.trees))
        )
        return (
            '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary>'
            f'<DataField name="y" {target}</DataField>{fields}</DataDictionary>'
            f'<MiningModel functionName="{function}"><MiningSchema><MiningField name="y" usageType="target"/>'
            f"{schema}</MiningSchema><Output>{output}</Output>{targets}"
            f'<Segmentation multipleModelMethod="{method}">{segments}</Segmentation></MiningModel></PMML>'
        ).encode()

    def _node(self, k: int, at: int, predicate: str, names: Sequence[str]) -> str:
        tree, values = self.trees[k], self.values[k][at]
        if tree.children_left[at] < 0:
            if not self.several:
                return f'<Node score="{float(values[0])!r}">{predicate}</Node>'
            shares = "".join(
                f'<ScoreDistribution value="{c}" recordCount="{float(v)!r}"/>' for c, v in enumerate(values)
            )
            return f'<Node score="{values.argmax()}">{predicate}{shares}</Node>'
        field, bound = names[tree.feature[at]], repr(float(self.thresholds[k][at]))
        kids = "".join(
            self._node(
                k, int(kid), f'<SimplePredicate field="{field}" operator="{test}" value="{bound}"/>', names
            )
            for kid, test in (
                (tree.children_left[at], "lessOrEqual"),
                (tree.children_right[at], "greaterThan"),
            )
        )
        return f"<Node>{predicate}{kids}</Node>"


def _below(bounds: NDArray) -> NDArray:
    near = bounds.astype(np.float32)
    return np.where(near > bounds, np.nextafter(near, np.float32(-np.inf)), near)


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
