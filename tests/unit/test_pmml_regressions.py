# ruff: noqa: E501 - documents are written in one line
"""Regressions of any shape give what a row-by-row reading of the standard gives (hypothesis).

Alone, as segments that vote or add up, behind the treatments of a mining schema, and with targets.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import PredictError
from tests.pmml_evaluator import evaluate, treated
from tests.unit.test_pmml_models import read, simple

NUMBERS, CATEGORIES = ("x", "y", "n"), ("red", "green", "blue")
LINKS = ("none", "logit", "probit", "cloglog", "loglog", "cauchit")
_WEIGHT = st.integers(-8, 8).map(lambda v: v / 4)
_VALUE = st.one_of(st.none(), st.integers(-12, 12).map(lambda v: v / 4))
ROWS = st.lists(
    st.fixed_dictionaries({
        "x": _VALUE, "y": _VALUE, "n": st.one_of(st.none(), st.integers(-4, 4)),
        "k": st.sampled_from([*CATEGORIES, "black", None]),
    }), min_size=1, max_size=6,
)  # fmt: skip


@st.composite
def terms(draw: st.DrawFn, inverse: bool = True) -> str:
    """`inverse`: with powers below 0, which are infinite at 0; several tables do not bear that alike."""
    made = ""
    for name in draw(st.lists(st.sampled_from(NUMBERS), max_size=3)):
        power = draw(st.sampled_from(["", "", *(f' exponent="{p}"' for p in (2, 3, 0, -1)[: 3 + inverse])]))
        made += f'<NumericPredictor name="{name}" coefficient="{draw(_WEIGHT)}"{power}/>'
    for value in draw(st.sets(st.sampled_from(CATEGORIES))):
        made += f'<CategoricalPredictor name="k" value="{value}" coefficient="{draw(_WEIGHT)}"/>'
    for names in draw(st.lists(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3), max_size=2)):
        factors = "".join(f'<FieldRef field="{name}"/>' for name in names)
        made += f'<PredictorTerm coefficient="{draw(_WEIGHT)}">{factors}</PredictorTerm>'
    return made


@st.composite
def regressions(draw: st.DrawFn, target: str = "") -> str:
    """A RegressionModel of a number."""
    method = draw(st.sampled_from([*LINKS, "exp", "softmax"]))
    return (
        f'<RegressionModel functionName="regression" normalizationMethod="{method}"><MiningSchema>{_schema("t")}</MiningSchema>{target}'
        f'<RegressionTable intercept="{draw(_WEIGHT)}">{draw(terms())}</RegressionTable></RegressionModel>'
    )


@st.composite
def classifications(draw: st.DrawFn, ordinal: bool = False) -> str:
    """A RegressionModel of two or three categories."""
    count = draw(st.integers(2, 3))
    methods = LINKS if ordinal or count == 2 else ("none",)
    method = draw(st.sampled_from(methods if ordinal else (*methods, "softmax", "simplemax")))
    common = draw(terms(inverse=False))
    tables = ""
    for k in range(count):
        inner = common if ordinal else draw(terms(inverse=False))
        at = draw(_WEIGHT) if not ordinal else 1.25 * k + draw(st.sampled_from([-1.0, 0.0, 0.5]))
        tables += f'<RegressionTable targetCategory="{"abc"[k]}" intercept="{at}">{inner}</RegressionTable>'
    return (
        f'<RegressionModel functionName="classification" normalizationMethod="{method}"><MiningSchema>{_schema("c")}</MiningSchema>'
        f"<Output>{_outputs('abc'[:count])}</Output>{tables}</RegressionModel>"
    )


def _schema(target: str) -> str:
    fields = "".join(f'<MiningField name="{name}"/>' for name in (*NUMBERS, "k"))
    return f'<MiningField name="{target}" usageType="target"/>{fields}'


def _outputs(categories: str) -> str:
    return "".join(
        f'<OutputField name="p{c}" feature="probability" value="{c}" dataType="double"/>' for c in categories
    )


@st.composite
def treatments(draw: st.DrawFn) -> str:
    """A mining schema with rules of missing, invalid and outlying values."""
    fields = ""
    for name in (*NUMBERS, "k"):
        rules = draw(st.sampled_from(["", ' invalidValueTreatment="asMissing"', ' invalidValueTreatment="asIs"',
                                      f' invalidValueTreatment="asValue" invalidValueReplacement="{"red" if name == "k" else 2}"']))  # fmt: skip
        if draw(st.booleans()):
            rules += f' missingValueReplacement="{"blue" if name == "k" else draw(st.integers(-2, 2))}"'
        if name != "k" and draw(st.booleans()):
            rules += f' outliers="{draw(st.sampled_from(["asMissingValues", "asExtremeValues"]))}" lowValue="-1" highValue="2"'
        fields += f'<MiningField name="{name}"{rules}/>'
    return fields


def document(model: str, schema: str | None = None, optype: str = "categorical", classes: str = "abc") -> str:
    values = "".join(f'<Value value="{c}"/>' for c in classes)
    categories = "".join(f'<Value value="{c}"/>' for c in CATEGORIES)
    if schema is not None:
        target = '<MiningField name="t" usageType="target"/>'
        model = model.replace(_schema("t"), target + schema, 1)
    interval = (
        '<Interval closure="closedClosed" leftMargin="-2" rightMargin="2.5"/>' if schema is not None else ""
    )
    return (
        '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/><DataDictionary>'
        f'<DataField name="c" optype="{optype}" dataType="string">{values}</DataField>'
        '<DataField name="t" optype="continuous" dataType="double"/>'
        f'<DataField name="x" optype="continuous" dataType="double">{interval}</DataField>'
        '<DataField name="y" optype="continuous" dataType="double"/><DataField name="n" optype="continuous" dataType="integer"/>'
        f'<DataField name="k" optype="categorical" dataType="string">{categories if schema is not None else ""}</DataField></DataDictionary>'
        f"{model}</PMML>"
    )


def compare(text: str, rows: list[dict[str, Any]], optype: str = "categorical") -> None:
    runtime = read(text)
    opinions = []
    for row in rows:
        held = treated(text, row)
        opinions.append(
            None if held is None else evaluate(text, {**held, "optypes": {"c": optype, "t": "continuous"}})
        )
    lacking = {k for k, o in enumerate(opinions) if o is None or _none(o.value)}
    columns = {}
    for i in runtime.inputs:
        columns[i.name] = np.empty(len(rows), object)
        columns[i.name][:] = [row[i.name] for row in rows]
    if lacking:
        with pytest.raises(PredictError) as refused:
            runtime.predict(columns)
        assert set(refused.value.rows) == lacking
        kept = [k for k in range(len(rows)) if k not in lacking]
        columns = {name: column[kept] for name, column in columns.items()}
        opinions = [opinions[k] for k in kept]
    if not opinions:
        return
    scored = runtime.predict(columns)
    for at, opinion in enumerate(opinions):
        assert opinion is not None
        if "predicted_t" in scored:
            assert scored["predicted_t"][at] == pytest.approx(opinion.value, rel=1e-9, abs=1e-12)
        for name, share in opinion.probabilities.items():
            if f"p{name}" in scored:
                assert scored[f"p{name}"][at] == pytest.approx(share, rel=1e-9, abs=1e-12)
        if "predicted_c" in scored:
            best = max(opinion.probabilities.values())
            assert opinion.probabilities[scored["predicted_c"][at]] == pytest.approx(
                best, rel=1e-9, abs=1e-12
            )


def _none(value: Any) -> bool:
    """A result that is not finite is none."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


@settings(max_examples=60, deadline=None)
@given(regressions(), ROWS)
def test_numbers(model: str, rows: list[dict[str, Any]]) -> None:
    compare(document(model), rows)


def test_terms_of_the_same_power_are_added_after_they_are_computed() -> None:
    """0 times the infinite is no number, and 0.25 times it does not make it one."""
    terms = "".join(f'<NumericPredictor name="y" coefficient="{c}" exponent="-1"/>' for c in (0.0, 0.25))
    model = (
        f'<RegressionModel functionName="regression" normalizationMethod="logit"><MiningSchema>{_schema("t")}</MiningSchema>'
        f'<RegressionTable intercept="0">{terms}</RegressionTable></RegressionModel>'
    )
    rows = [{"x": 1.0, "y": y, "n": 1, "k": "red"} for y in (0.0, 0.25, 4.0)]
    compare(document(model), rows)


@settings(max_examples=60, deadline=None)
@given(classifications(), ROWS)
def test_categories(model: str, rows: list[dict[str, Any]]) -> None:
    compare(document(model, classes="abc" if '"c"' in model.partition("RegressionTable")[2] else "ab"), rows)


@settings(max_examples=60, deadline=None)
@given(classifications(ordinal=True), ROWS)
def test_ordered_categories(model: str, rows: list[dict[str, Any]]) -> None:
    compare(document(model, optype="ordinal"), rows, "ordinal")


@settings(max_examples=60, deadline=None)
@given(regressions(), treatments(), ROWS)
def test_treatments_of_missing_invalid_and_outlying_values(
    model: str, schema: str, rows: list[dict[str, Any]]
) -> None:
    compare(document(model, schema), rows)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(regressions(), st.sampled_from(["<True/>", simple("x", "lessThan", 0), simple("k", "equal", "red")]),
                       st.sampled_from([0.5, 1, 2])), min_size=1, max_size=4),
    st.sampled_from(["sum", "average", "weightedAverage", "median", "max", "weightedSum"]),
    st.sampled_from(["", ' missingPredictionTreatment="skipSegment"', ' missingPredictionTreatment="returnMissing"',
                     ' missingPredictionTreatment="skipSegment" missingThreshold="0.4"']),
    st.sampled_from(["", '<Targets><Target field="t" min="-1" max="3" rescaleFactor="2" rescaleConstant="-0.5"/></Targets>',
                     '<Targets><Target field="t" castInteger="round" rescaleFactor="1.5"/></Targets>']),
    st.one_of(st.none(), treatments()), ROWS,
)  # fmt: skip
def test_ensembles(  # noqa: PLR0917
    parts: list[tuple[str, str, float]],
    method: str,
    treatment: str,
    target: str,
    schema: str | None,
    rows: list[dict[str, Any]],
) -> None:
    segments = "".join(
        f'<Segment weight="{w}">{c}{m.replace(_schema("t"), _schema("t").partition("/>")[2])}</Segment>'
        for m, c, w in parts
    )
    model = (
        f'<MiningModel functionName="regression"><MiningSchema>{_schema("t")}</MiningSchema>{target}'
        f'<Segmentation multipleModelMethod="{method}"{treatment}>{segments}</Segmentation></MiningModel>'
    )
    compare(document(model, schema), rows)


def test_sums_of_float32_are_added_up_in_order_whatever_the_number_of_rows() -> None:
    """A product of matrices gave a record another number among others than alone."""
    numbers = "".join(
        f'<NumericPredictor name="{n}" coefficient="{c}"/>' for n, c in (("x", 0.1), ("y", 0.3), ("n", 0.7))
    )
    terms = f'{numbers}<CategoricalPredictor name="k" value="red" coefficient="0.9"/><PredictorTerm coefficient="1.1"><FieldRef field="x"/></PredictorTerm>'
    text = document(
        f'<RegressionModel functionName="regression" x-mathContext="float"><MiningSchema>{_schema("t")}</MiningSchema>'
        f'<RegressionTable intercept="0.33">{terms}</RegressionTable></RegressionModel>'
    )
    runtime = read(text)
    rng = np.random.default_rng(7)
    columns = {"x": rng.normal(size=200), "y": rng.normal(size=200), "n": rng.integers(-9, 9, 200),
               "k": np.array(["red", "blue"] * 100, object)}  # fmt: skip
    one = np.float32
    told = (
        one(0.1) * columns["x"].astype(one)
        + one(0.3) * columns["y"].astype(one)
        + one(0.7) * columns["n"].astype(one)
    )
    told = (
        told
        + one(0.9) * (columns["k"] == "red").astype(one)
        + one(1.1) * columns["x"].astype(one)
        + one(0.33)
    )
    for count in (1, 2, 7, 200):
        parts = [
            runtime.predict({n: c[at : at + count] for n, c in columns.items()})["predicted_t"]
            for at in range(0, 200, count)
        ]
        assert np.array_equal(np.concatenate(parts), told.astype(np.float64))
