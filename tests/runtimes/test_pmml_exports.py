"""Models that libraries exported score as those libraries do, or are refused with a known reason.

`expected.csv` holds what the library said of `input.csv`; `stress_expected.csv` what a reference evaluator
said of boundaries, missing and unknown values. Where the two would differ the library counts.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schemas.errors import ModelError, PredictError
from schemas.tensors import DType
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.runtime import PmmlRuntime, load

EXPORTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "pmml"
NAMES = sorted(p.parent.name for p in EXPORTS.glob("*/model.pmml"))
MOST_REFUSED = 3
NOTHING = ("", "N/A")
SHARE = 1e-6  # of probabilities also absolutely: a naive Bayes of 1e-78 is a 0
REFERENCE_DIFFERS = {
    "made.skl_calibrated_svc_cancer": "it gives 0 for both probabilities of each row, the library does not",
    "made.skl_gnb_iris": "far from all data its densities underflow to 0; the library compares logarithms",
    "made.nyoka_gnb_iris": "it applies a threshold that the exporter writes and the library does not know",
    "made.nyoka_knnc_iris": "it cannot score the document",
    "made.nyoka_xgbc_iris": "it cannot score the document, which declares its outputs twice",
}
"""Exports whose stress rows are not compared, because of what the reference evaluator does."""

pytestmark = pytest.mark.skipif(not NAMES, reason="the shared exports are not beside the checkout")


def table(name: str, file: str) -> list[dict[str, str]]:
    path = EXPORTS / name / file
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def tolerance(name: str) -> float:
    """XGBoost computes in float32; so do the fields of a document that declares them float."""
    return 1e-4 if "xgb" in name or "float" in name else 1e-6


def column(texts: list[str], dtype: DType) -> np.ndarray:
    if dtype is DType.FLOAT64:
        return np.array([math.nan if t in NOTHING else float(t) for t in texts])
    read = {DType.TEXT: str, DType.INT64: int, DType.BOOL: lambda t: t == "true"}[dtype]
    out = np.empty(len(texts), object)
    out[:] = [None if t in NOTHING else read(t) for t in texts]
    return out


def scored(runtime: PmmlRuntime, rows: list[dict[str, str]]) -> list[dict[str, Any] | None]:
    """A row's outputs by name; None where the row is refused."""
    columns = {i.name: column([r.get(i.fields[0], "") for r in rows], i.dtype) for i in runtime.inputs}
    try:
        answer = runtime.predict(columns)
        bad: set[int] = set()
    except PredictError as e:
        assert e.rows
        bad = set(e.rows)
        keep = [k for k in range(len(rows)) if k not in bad]
        answer = runtime.predict({n: c[keep] for n, c in columns.items()}) if keep else {}
    values = {name: iter(c.tolist()) for name, c in answer.items()}
    return [None if k in bad else {n: next(v) for n, v in values.items()} for k in range(len(rows))]


def output_for(column_name: str, outputs: dict[str, Any]) -> Any:
    """The output that a column of the library's scores means; the label goes by the target's name."""
    if column_name in outputs:
        return outputs[column_name]
    category = column_name.removeprefix("probability(").removesuffix(")")
    for name, value in outputs.items():
        if name.startswith("predicted") and category == column_name:
            return value
        if name.endswith(f"probability_{category}"):
            return value
    return outputs["cluster" if "cluster" in outputs else "predictedValue"]


def differs(name: str, expected: str, got: Any, bound: float) -> bool:
    try:
        wanted, found = float(expected), float(got)
    except ValueError:
        return str(got) != expected
    absolute = SHARE if "probability" in name else 1e-9
    return not math.isclose(wanted, found, rel_tol=bound, abs_tol=absolute)


def differences(
    runtime: PmmlRuntime, rows: list[dict[str, str]], wanted: list[dict[str, str]], bound: float
) -> list:
    found = []
    for k, (said, outputs) in enumerate(zip(wanted, scored(runtime, rows), strict=True)):
        lacking = said.get("__error") or any(t in NOTHING for n, t in said.items() if n != "__error")
        infinite = any("inf" in t.lower() for t in said.values())
        if lacking or infinite or outputs is None:
            if (outputs is None) != bool(lacking or infinite):
                found.append((k, said, outputs))
            continue
        found += [
            (k, n, t, output_for(n, outputs))
            for n, t in said.items()
            if n != "__error" and differs(n, t, output_for(n, outputs), bound)
        ]
    return found


def loaded(name: str) -> PmmlRuntime:
    return load(Artifact(None, EXPORTS / name / "model.pmml", Path()), WantedSignature())


REFUSALS = ("Nyoka writes the thresholds of scikit-learn's trees",)


@pytest.mark.parametrize("name", NAMES)
def test_an_export_scores_as_its_library_or_is_refused_with_a_known_reason(name: str) -> None:
    try:
        runtime = loaded(name)
    except ModelError as e:
        assert any(reason in str(e) for reason in REFUSALS)
        return
    assert differences(runtime, table(name, "input.csv"), table(name, "expected.csv"), tolerance(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_boundaries_missing_and_unknown_values_score_as_the_reference_says(name: str) -> None:
    try:
        runtime = loaded(name)
    except ModelError:
        pytest.skip("refused")
    if name in REFERENCE_DIFFERS:
        pytest.skip(REFERENCE_DIFFERS[name])
    assert (
        differences(runtime, table(name, "stress.csv"), table(name, "stress_expected.csv"), tolerance(name))
        == []
    )


def test_few_exports_are_refused() -> None:
    refused = []
    for name in NAMES:
        try:
            loaded(name)
        except ModelError:
            refused.append(name)
    assert len(refused) <= MOST_REFUSED


def test_a_classifier_of_probabilities_also_says_its_label() -> None:
    runtime = loaded("made.skl_logreg_iris_plain")
    outputs = {o.name: o.dtype for o in runtime.outputs}
    assert outputs["probability(setosa)"] is DType.FLOAT64 and outputs["predicted_y"] is DType.TEXT


@pytest.mark.parametrize("name", NAMES)
def test_rows_made_up_of_the_document_s_own_values_have_results(name: str) -> None:
    try:
        runtime = loaded(name)
    except ModelError:
        pytest.skip("refused")
    for count in (1, 3, 64):
        sample = runtime.sample(count)
        assert sample is not None
        assert {len(c) for c in runtime.predict(sample).values()} == {count}


def test_the_table_in_the_documents_is_of_now() -> None:
    from tests.pmml_table import lines

    page = (Path(__file__).resolve().parents[2] / "docs" / "pmml.md").read_text(encoding="utf-8")
    assert "\n".join(lines()) in page, "write docs/pmml.md again: python -m tests.pmml_table"
