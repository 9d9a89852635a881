"""Models that others made, of all three kinds, served at once: they are as good as their makers say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from devservices.process import ROOT
from schemas.results.records import EventKind, ModelEvent, decode
from schemas.results.results import Scored, read_result

FIELDS = [
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
]
# data type -> file, and its accuracy on the whole csv
MODELS = {
    "graph": ("optimized_WineQuality.pb", 0.593),
    "saved": ("saved/1", 0.592),  # two rows of 1,599 differ from the graph
    "tree": ("winequalityDecisionTreeClassification.pmml", 0.664),
    "regression": ("winequalityDesisionTreeRegression.pmml", 0.635),
    "gaussian": ("winequalityGeneralizedLinearRegressionGaussian.pmml", 0.578),
    "linear": ("winequalityLinearRegression.pmml", 0.582),
    "forest": ("winequalityRandonForrestClassification.pmml", 0.677),
}


def quality(result: Scored) -> int:
    """The quality that a result means: of nine scores the place of the highest, of one its nearest whole.

    Classification trees give a probability for each class, by name.
    """
    if result.data_type in ("graph", "saved"):
        (scores,) = result.scores.values()
        return int(np.argmax(scores))
    likely = {n: v for n, v in result.scores.items() if n.startswith("probability(")}
    if likely:
        return int(max(likely, key=likely.__getitem__).removeprefix("probability(").removesuffix(")"))
    return round(result.scores["predicted_quality"])


def millrace(*arguments: str) -> None:
    command = [sys.executable, "-m", "millrace.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def lines(folder: Path) -> list[bytes]:
    return [line for file in folder.rglob("*") if file.is_file() for line in file.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def served(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, wine = tmp_path_factory.mktemp("wine"), shared_data / "wine"
    rows = [list(map(float, line.split(";"))) for line in (wine / "winequality_red.csv").read_text().split()]
    text = "".join(
        json.dumps(dict(zip([*FIELDS, "quality"], row, strict=True)) | {"id": i}) + "\n"
        for i, row in enumerate(rows)
    )
    for data_type, (file, _) in MODELS.items():
        (root / "records" / data_type).mkdir(parents=True)
        (root / "records" / data_type / "all.jsonl").write_text(text)
        fields = ("--field", ",".join(FIELDS))
        target = ("--to-folder", str(root / "models"))
        millrace("publish", str(wine / file), "--data-type", data_type, *fields, *target)
    command = [sys.executable, str(ROOT / "jobs" / "serve.py"), "--folder.root", str(root)]
    command += ["--bounded", "true", "--parallelism", "1", "--checkpoint-seconds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return root


def test_all_kinds_serve_at_once(served: Path) -> None:
    events = [decode(ModelEvent, line) for line in lines(served / "model-events")]
    assert sorted((e.kind, e.data_type) for e in events) == sorted((EventKind.SERVED, t) for t in MODELS)
    assert lines(served / "dead-letters") == []


@pytest.mark.parametrize("data_type", MODELS)
def test_accuracy_is_what_the_makers_measured(served: Path, data_type: str) -> None:
    found = [r for r in map(read_result, lines(served / "results")) if r.data_type == data_type]
    assert sorted(r.record["id"] for r in found) == list(range(1599))
    right = sum(quality(r) == r.record["quality"] for r in found)
    assert right / 1599 == pytest.approx(MODELS[data_type][1], abs=0.001)
