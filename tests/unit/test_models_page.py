"""The programs of `docs/models.md` are run, and what they make is served as the library predicts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.onnx_models import loaded

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
PROGRAMS = dict(re.findall(r"^```python ([^\n]+)\n(.*?)^```", PAGE.read_text(), re.M | re.S))
RUN = [name for name in PROGRAMS if "not run" not in name]


def test_the_page_has_a_program_for_each_library():
    assert {name.split(",")[0].split()[0] for name in PROGRAMS} == {
        "scikit-learn", "xgboost", "lightgbm", "keras", "pytorch",
    }  # fmt: skip
    for text in PROGRAMS.values():
        compile(text, "docs/models.md", "exec")


@pytest.mark.parametrize("name", RUN)
def test_a_program_makes_a_model_that_scores_as_the_library_does(name, tmp_path, monkeypatch):
    for package in re.findall(r"^(?:import|from) (\w+)", PROGRAMS[name], re.M):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    exec(compile(PROGRAMS[name], "docs/models.md", "exec"), space)
    x, model = space["x"], space["model"]
    runtime = loaded((tmp_path / "model.onnx").read_bytes())
    rows = {i.name: x[i.name].to_numpy() if "columns" in name else x for i in runtime.inputs}
    answer = runtime.predict(rows)
    if hasattr(model, "predict_proba"):
        last = list(answer.values())[-1]
        got, expected = (last if last.ndim == 1 else last[:, -1]), model.predict_proba(x)[:, -1]
    else:
        (got,), expected = answer.values(), np.asarray(model(x))
    np.testing.assert_allclose(got, expected, atol=1e-6)
