"""Ensembles of trees of scikit-learn as arrays, and as PMML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEATURES = 11


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
