"""Treelite on the trees that `bench.tree_kernels` wrote, run by another Python: its interpreter and, where
tl2cgen and a compiler are there, compiled to C. `FOLDER NAME`; the last line is JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import treelite
from treelite.model_builder import Metadata, ModelBuilder, PostProcessorFunc, TreeAnnotation

from bench.call_times import median_seconds

try:
    import tl2cgen
except ModuleNotFoundError:
    tl2cgen = None


def model_of(trees: Any, features: int) -> treelite.Model:
    count, width = int(trees["count"]), int(trees["width"])
    several = width > 1
    builder = ModelBuilder(
        threshold_type="float32" if several else "float64",
        leaf_output_type="float32" if several else "float64",
        metadata=Metadata(
            num_feature=features,
            task_type="kMultiClf" if several else "kRegressor",
            average_tree_output=several,
            num_target=1,
            num_class=[width],
            leaf_vector_shape=(1, width),
        ),
        tree_annotation=TreeAnnotation(count, [0] * count, [-1 if several else 0] * count),
        postprocessor=PostProcessorFunc(name="identity_multiclass" if several else "identity"),
        base_scores=[float(trees["base"])] * width,
    )
    for k in range(count):
        left, right, feature, threshold, value = (trees[f"{part}{k}"] for part in "lrftv")
        builder.start_tree()
        for at in range(len(left)):
            builder.start_node(at)
            if left[at] < 0:
                builder.leaf([float(v) for v in value[at]] if several else float(value[at][0]))
            else:
                builder.numerical_test(
                    int(feature[at]), float(threshold[at]), True, "<=", int(left[at]), int(right[at])
                )
            builder.end_node()
        builder.end_tree()
    return builder.commit()


def microseconds(call: Callable[[], Any]) -> float:
    return round(median_seconds(call) * 1e6, 1)


def _compiled(predictor: Any, rows: Any, kind: str) -> Any:
    return predictor.predict(tl2cgen.DMatrix(rows, dtype=kind))


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    rows = np.load(folder / "rows.npy")
    trees, sizes = np.load(folder / f"{name}.npz"), [int(n) for n in sys.argv[3:]]
    model = model_of(trees, rows.shape[1])
    batches = {
        n: np.ascontiguousarray(rows[:n], np.float32 if int(trees["width"]) > 1 else np.float64)
        for n in sizes
    }
    answers: dict[str, Any] = {
        "answer": treelite.gtil.predict(model, batches[sizes[-1]], nthread=1).reshape(sizes[-1], -1).tolist()
    }
    found: dict[str, Any] = {
        "gtil": {n: microseconds(partial(treelite.gtil.predict, model, batches[n], nthread=1)) for n in sizes}
    }
    if tl2cgen is not None:
        library = folder / f"{name}.so"
        started = time.perf_counter()
        tl2cgen.export_lib(model, toolchain="gcc", libpath=str(library), params={"parallel_comp": 8})
        found["compile_s"] = round(time.perf_counter() - started, 1)
        predictor = tl2cgen.Predictor(str(library), nthread=1)
        kind = "float32" if int(trees["width"]) > 1 else "float64"
        found["compiled"] = {n: microseconds(partial(_compiled, predictor, batches[n], kind)) for n in sizes}
    print(json.dumps({**found, **answers}))


if __name__ == "__main__":
    main()
