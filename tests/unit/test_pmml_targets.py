# ruff: noqa: E501 - documents are written in one line
"""Models of several targets, and of one among several."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.errors import UnprovenModelError
from tests.unit.test_pmml_models import read, results

HEAD = "".join(
    f'<DataField name="{name}" optype="continuous" dataType="double"/>' for name in ("x", "y1", "y2")
)
SCHEMA = '<MiningSchema><MiningField name="y1" usageType="target"/><MiningField name="y2" usageType="target"/><MiningField name="x"/></MiningSchema>'
LINE = '<RegressionTable intercept="1"><NumericPredictor name="x" coefficient="1"/></RegressionTable>'


def of_two(model: str) -> str:
    return (
        '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>'
        f"<DataDictionary>{HEAD}</DataDictionary>{model}</PMML>"
    )


def given(model: str, value: float = 1.0) -> dict[str, list[Any]]:
    return results(of_two(model), [{"x": value}])


MODELS = (
    f'<TreeModel functionName="regression">{SCHEMA}<Node score="1"><True/></Node></TreeModel>',
    f'<RegressionModel functionName="regression">{SCHEMA}{LINE}</RegressionModel>',
    f'<Scorecard functionName="regression" useReasonCodes="false">{SCHEMA}<Characteristics><Characteristic name="c"><Attribute partialScore="3"><True/></Attribute></Characteristic></Characteristics></Scorecard>',
    f'<MiningModel functionName="regression">{SCHEMA}<Segmentation multipleModelMethod="selectFirst"><Segment><True/><RegressionModel functionName="regression"><MiningSchema><MiningField name="x"/></MiningSchema>{LINE}</RegressionModel></Segment></Segmentation></MiningModel>',
)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_that_knows_one_target_is_refused_with_several(model: str) -> None:
    with pytest.raises(UnprovenModelError, match="has several targets: y1, y2"):
        read(of_two(model))


def test_a_model_that_names_its_target_answers_for_that() -> None:
    named = '<RegressionModel functionName="regression" targetFieldName='
    assert given(f'{named}"y2">{SCHEMA}{LINE}</RegressionModel>') == {"predicted_y2": [2.0]}
    with pytest.raises(UnprovenModelError, match="'x', which is none"):
        given(f'{named}"x">{SCHEMA}{LINE}</RegressionModel>')
