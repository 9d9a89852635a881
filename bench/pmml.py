"""PMML: the compiler beside pypmml, on exports of eight kinds of models: `python -m bench.pmml`.

Rows a second at 1, 64 and 1,024 rows of a call, load times, and the memory of this process. `--no-jvm` leaves
pypmml out. The exports are those of `shared/data/pmml` beside the checkout; a forest of some 19 MB is made.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bench.call_times import median_seconds
from bench.trees import FEATURES, Trees
from schemas.errors import ModelError
from schemas.tensors import Columns
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.document import parse
from udfs.models.runtimes.pmml.runtime import PmmlRuntime, load

EXPORTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "pmml"
KINDS = {
    "forest": "made.skl_etc_wine",
    "boosting": "made.skl_gbr_diabetes",
    "xgboost": "made.skl_xgbc_cancer",
    "lightgbm": "made.skl_lgbmr_diabetes",
    "linear regression": "made.skl_linreg_diabetes",
    "logistic regression": "made.skl_std_logreg_cancer",
    "support vectors": "made.skl_svc_rbf_iris",
    "neural network": "made.skl_mlp_iris",
}
ROWS = (1, 64, 1024)


def as_rows(columns: Columns, names: list[str]) -> str:
    data = list(zip(*(columns[n].tolist() for n in names), strict=True))
    return orjson.dumps({"columns": names, "data": data}).decode()


def loaded(path: Path) -> tuple[PmmlRuntime, float]:
    started = time.perf_counter()
    runtime = load(Artifact(path.read_bytes(), None, Path()), WantedSignature())
    return runtime, time.perf_counter() - started


def measure(path: Path, jvm: bool) -> dict[str, Any]:
    """Of one document: seconds to load, and rows a second by call size, of both."""
    runtime, seconds = loaded(path)
    sample = runtime.sample(max(ROWS))
    assert sample is not None
    slices = {n: {name: column[:n] for name, column in sample.items()} for n in ROWS}
    found: dict[str, Any] = {
        "bytes": path.stat().st_size,
        "load_s": round(seconds, 3),
        "rows_per_s": {n: round(n / median_seconds(lambda n=n: runtime.predict(slices[n]))) for n in ROWS},  # type: ignore[misc]
    }
    if jvm:
        from udfs.models.runtimes.pmml.jvm import JvmModel  # noqa: PLC0415 - starts a JVM

        text = parse(path.read_bytes()).text()
        started = time.perf_counter()
        try:
            other = JvmModel(text)
        except ModelError as e:
            found["pypmml"] = str(e)[:80]
            return found
        found["pypmml_load_s"] = round(time.perf_counter() - started, 3)
        names = list(sample)
        batches = {n: as_rows(slices[n], names) for n in ROWS}
        found["pypmml_rows_per_s"] = {
            n: round(n / median_seconds(lambda n=n: json.loads(other.predict(batches[n]))))  # type: ignore[misc]
            for n in ROWS
        }
        other.close()
    return found


def large_forest(path: Path) -> None:
    """A random forest of scikit-learn as a document of some 19 MB."""
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - of the tests

    rng = np.random.default_rng(0)
    x = rng.random((3000, FEATURES))
    y = (x[:, 0] * 3 + rng.random(3000) * 2).astype(int)
    path.write_bytes(Trees(RandomForestClassifier(60, random_state=0).fit(x, y)).pmml())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-jvm", action="store_true", help="leave pypmml out")
    jvm = not parser.parse_args().no_jvm
    if not EXPORTS.is_dir():
        raise SystemExit(f"the exports are not at {EXPORTS}")
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    models: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        forest = Path(folder) / "forest.pmml"
        large_forest(forest)
        paths = {kind: EXPORTS / name / "model.pmml" for kind, name in KINDS.items()}
        for kind, path in {**paths, "large forest": forest}.items():
            models[kind] = measure(path, jvm)
            print(kind, models[kind], flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"bench": "pmml", "models": models, "max_rss_mb": memory}))


if __name__ == "__main__":
    main()
