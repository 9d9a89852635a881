# ruff: noqa: E501, PLR0917 - documents are written in one line, and have many parts
"""PMML compiled and scored, compared row by row with the independent evaluator."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.errors import InputsError, LoadError, PredictError, UnprovenModelError, UnsafeModelError
from schemas.tensors import DType, Input
from tests.pmml_documents import (
    CATEGORIES,
    CLASSES,
    LABEL,
    OUTPUT,
    Leaf,
    Split,
    among,
    document,
    ensemble,
    less,
    node,
    schema,
    tree,
)
from tests.pmml_evaluator import Result, evaluate
from udfs.models.runtimes.base import Artifact, PartialInput, Runtime, WantedSignature
from udfs.models.runtimes.pmml.runtime import PmmlRuntime, load

WINE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "wine"
WINE_FIELDS = ("fixed acidity", "volatile acidity", "citric acid", "residual sugar", "chlorides",
               "free sulfur dioxide", "total sulfur dioxide", "density", "pH", "sulphates", "alcohol")  # fmt: skip
FULL = [("a", 5), ("b", 3), ("c", 2)]
Counts = list[tuple[str, int]]
Rows = list[dict[str, Any]]


def read(text: str | bytes, wanted: WantedSignature | None = None) -> PmmlRuntime:
    data = text.encode() if isinstance(text, str) else text
    return load(Artifact(data, None, Path()), wanted or WantedSignature())


def block(runtime: Runtime, rows: Rows) -> dict[str, np.ndarray]:
    columns = {}
    for i in runtime.inputs:
        values = [row.get(i.fields[0]) for row in rows]
        if i.dtype is DType.FLOAT64:
            columns[i.name] = np.array([math.nan if v is None else v for v in values], np.float64)
        else:
            columns[i.name] = np.array(values, i.dtype.numpy)
    return columns


def compare(text: str, rows: Rows) -> None:
    """The runtime's answer is the evaluator's, for every row; rows without a prediction are refused."""
    runtime = read(text)
    opinions = [evaluate(text, row) for row in rows]
    for row, opinion in zip(rows, opinions, strict=True):
        if opinion.value is None:
            with pytest.raises(PredictError, match="rows 0"):
                runtime.predict(block(runtime, [row]))
    kept = [(r, o) for r, o in zip(rows, opinions, strict=True) if o.value is not None]
    scored = runtime.predict(block(runtime, [r for r, _ in kept]))
    runtime.close()
    for at, (_, opinion) in enumerate(kept):
        same({name: column[at] for name, column in scored.items()}, opinion)


def same(scored: Mapping[str, Any], opinion: Result) -> None:
    shares = {c: opinion.probabilities.get(c, 0.0) for c in CLASSES}
    for name, share in shares.items():
        if f"p{name}" in scored:
            assert scored[f"p{name}"] == pytest.approx(share, abs=1e-12)
    if "label" in scored and opinion.probabilities:
        # Between equal probabilities the standard leaves the choice open.
        best = opinion.value if "probability" not in scored and not _tied(shares) else scored["label"]
        assert scored["label"] == best
        assert shares[scored["label"]] == pytest.approx(max(shares.values()), abs=1e-12)
    if "predicted_t" in scored:
        assert scored["predicted_t"] == pytest.approx(opinion.value, rel=1e-12, abs=1e-12)


def _tied(shares: Mapping[str, float]) -> bool:
    first, second = sorted(shares.values())[:-3:-1]
    return math.isclose(first, second, abs_tol=1e-12)


@st.composite
def counts(draw: st.DrawFn) -> list[tuple[str, int]]:
    listed = draw(st.permutations(CLASSES))[: draw(st.integers(1, 3))]
    numbers = draw(st.lists(st.integers(1, 9), min_size=3, max_size=3, unique=True))
    return list(zip(listed, numbers, strict=False))


thresholds = st.sampled_from([-1.5, -0.1, 0.0, 0.1, 2.0])
ways = st.one_of(
    st.builds(less, st.sampled_from("xy"), thresholds),
    st.builds(among, st.lists(st.sampled_from(CATEGORIES), min_size=1, max_size=2, unique=True)),
)


def tops(leaf: st.SearchStrategy[Leaf]) -> st.SearchStrategy[Any]:
    def split(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Split]:
        return st.builds(
            lambda way, one, two, d, c: Split([(way[0], one), (way[1], two)], d, c),
            ways,
            inner,
            inner,
            st.integers(0, 1),
            counts(),
        )

    return split(st.recursive(leaf, split, max_leaves=6))


classifying = tops(st.builds(Leaf, counts(), confidence=st.booleans()))
regressing = tops(st.builds(lambda n: Leaf([], repr(n / 4)), st.integers(-9, 9)))
strategies = st.sampled_from(["none", "lastPrediction", "nullPrediction", "defaultChild"])
last = st.sampled_from(["returnNullPrediction", "returnLastPrediction"])
number = st.sampled_from([None, -1.5, -0.1, 0.0, 0.05, 0.1, 3.0])
batches = st.lists(
    st.fixed_dictionaries({"x": number, "y": number, "k": st.sampled_from([None, *CATEGORIES])}),
    min_size=1, max_size=12,
)  # fmt: skip
bounded = settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def attributes(strategy: str, none_true: str) -> str:
    return f'missingValueStrategy="{strategy}" noTrueChildStrategy="{none_true}"'


@bounded
@given(classifying, strategies, last, batches)
def test_one_tree_is_scored_as_the_standard_says(
    top: Split, strategy: str, none_true: str, rows: Rows
) -> None:
    compare(document(tree(top, output=OUTPUT, attributes=attributes(strategy, none_true))), rows)


@bounded
@given(
    st.lists(st.tuples(classifying, st.booleans()), min_size=1, max_size=4),
    st.sampled_from(["average", "weightedAverage", "majorityVote"]), strategies, last, st.data(), batches,
)  # fmt: skip
def test_forests_of_any_shape_are_scored_as_the_standard_says(
    trees: list[tuple[Split, bool]],
    method: str,
    strategy: str,
    none_true: str,
    data: st.DataObject,
    rows: Rows,
) -> None:
    children = [tree(top, target=t, attributes=attributes(strategy, none_true)) for top, t in trees]
    weights = data.draw(st.lists(st.sampled_from([0.5, 1.0, 2.5]), min_size=len(trees), max_size=len(trees)))
    compare(document(ensemble(children, method, output=OUTPUT, weights=weights)), rows)


@bounded
@given(
    st.lists(regressing, min_size=1, max_size=4), st.sampled_from(["average", "weightedAverage", "sum",
    "median"]), st.sampled_from(["", '<Targets><Target field="t" rescaleFactor="2" rescaleConstant="-1" min="-2" max="4"/></Targets>']),
    strategies, batches,
)  # fmt: skip
def test_regression_forests_are_scored_as_the_standard_says(
    trees: list[Split], method: str, targets: str, strategy: str, rows: Rows
) -> None:
    strategy = "none" if strategy == "lastPrediction" else strategy  # inner nodes have no score here
    children = [
        tree(t, "regression", target=False, attributes=attributes(strategy, "returnNullPrediction"))
        for t in trees
    ]
    compare(document(ensemble(children, method, "regression", extra=targets), numeric=True), rows)


def _whole(way: tuple[str, str], one: Any, two: Any) -> Split:
    """A split that stands for as many records as its children together."""
    counts = [(name, dict(one.counts)[name] + dict(two.counts)[name]) for name in CLASSES]
    return Split([(way[0], one), (way[1], two)], None, counts)


complete = st.builds(
    lambda numbers: Leaf(list(zip(CLASSES, numbers, strict=True)), confidence=True),
    st.lists(st.integers(1, 40), min_size=3, max_size=3),
)
whole = st.recursive(complete, lambda inner: st.builds(_whole, ways, inner, inner), max_leaves=8)
CONFIDENCES = "".join(
    f'<OutputField name="p{c}" feature="confidence" dataType="double" value="{c}"/>' for c in CLASSES
)


@bounded
@given(whole, last, batches)
def test_confidences_are_weighted_where_a_value_is_missing(top: Any, none_true: str, rows: Rows) -> None:
    attribute = attributes("weightedConfidence", none_true)
    text = document(tree(top, output=f"<Output>{CONFIDENCES}{LABEL}</Output>", attributes=attribute))
    runtime = read(text)
    scored = runtime.predict(block(runtime, rows))
    for at, row in enumerate(rows):
        opinion = evaluate(text, row)
        got = {c: scored[f"p{c}"][at] for c in CLASSES}
        assert got == pytest.approx(opinion.confidences, rel=1e-12)
        if row in ({**row, "x": None}, {**row, "y": None}, {**row, "k": None}):
            assert got[scored["label"][at]] == pytest.approx(max(got.values()), rel=1e-12)


@bounded
@given(tops(st.builds(Leaf, counts())), last, batches)
def test_leaves_are_aggregated_where_a_value_is_missing(top: Split, none_true: str, rows: Rows) -> None:
    compare(document(tree(top, output=OUTPUT, attributes=attributes("aggregateNodes", none_true))), rows)


near = st.sampled_from([None, -0.1, -0.10000000149011612, 0.1, 0.10000000149011612, 0.1000000001, 0.0, 2.0])
near_rows = st.lists(
    st.fixed_dictionaries({"x": near, "y": near, "k": st.sampled_from([None, *CATEGORIES])}),
    min_size=1,
    max_size=12,
)


@bounded
@given(classifying, strategies, last, near_rows)
def test_float_fields_are_compared_as_floats(top: Split, strategy: str, none_true: str, rows: Rows) -> None:
    text = document(tree(top, output=OUTPUT, attributes=attributes(strategy, none_true)))
    double = 'optype="continuous" dataType="double"/>'
    for name in "xy":
        text = text.replace(
            f'<DataField name="{name}" {double}',
            f'<DataField name="{name}" {double}'.replace("double", "float"),
        )
    compare(text, rows)


@pytest.mark.parametrize("operator", ["and", "or", "xor", "surrogate"])
@pytest.mark.parametrize("strategy", ["none", "nullPrediction"])
def test_compound_predicates_are_scored_as_the_standard_says(operator: str, strategy: str) -> None:
    parts = less("x", 0.0)[0] + among(["red"])[0]
    compound = f'<CompoundPredicate booleanOperator="{operator}">{parts}</CompoundPredicate>'
    text = document(tree(Split([(compound, Leaf(FULL)), ("<True/>", Leaf(FULL[1:]))]), output=OUTPUT,
                         attributes=f'missingValueStrategy="{strategy}"'))  # fmt: skip
    rows = [{"x": x, "y": 0.0, "k": k} for x in (None, -1.0, 1.0) for k in (None, "red", "blue")]
    compare(text, rows)


def test_a_missing_value_for_which_there_is_no_prediction_is_refused_with_its_row() -> None:
    text = document(tree(Split([(less("x", 0.0)[0], Leaf(FULL)), ("<True/>", Leaf(FULL[1:]))]),
                         attributes='missingValueStrategy="nullPrediction"'))  # fmt: skip
    runtime = read(text)
    with pytest.raises(PredictError, match="rows 1") as refused:
        runtime.predict(block(runtime, [{"x": 1.0, "y": 0.0, "k": "red"}, {"y": 0.0, "k": "red"}]))
    assert list(refused.value.rows) == [1]


@pytest.mark.parametrize("normal", ["none", "softmax", "logit", "exp"])
def test_regression_models(normal: str) -> None:
    terms = '<NumericPredictor name="x" coefficient="0.5"/><NumericPredictor name="y" exponent="2" coefficient="-2"/>'
    terms += '<CategoricalPredictor name="k" value="red" coefficient="3"/>'
    text = document(f'<RegressionModel functionName="regression" normalizationMethod="{normal}">{schema()}'
                    f'<RegressionTable intercept="0.25">{terms}</RegressionTable></RegressionModel>', numeric=True)  # fmt: skip
    compare(text, [{"x": x, "y": 0.5, "k": k} for x in (-1.0, 0.0, 3.0) for k in CATEGORIES])


@pytest.mark.parametrize("normal", ["softmax", "logit"])
def test_classifying_regression_models(normal: str) -> None:
    classes = CLASSES if normal == "softmax" else CLASSES[:2]
    tables = "".join(
        f'<RegressionTable intercept="{i / 2 if normal == "softmax" or i == 0 else 0}" targetCategory="{c}">'
        + (f'<NumericPredictor name="x" coefficient="{i - 1}"/>' if normal == "softmax" or i == 0 else "")
        + "</RegressionTable>"
        for i, c in enumerate(classes)
    )
    output = (
        "<Output>" + LABEL + OUTPUT.removeprefix("<Output>")
        if normal == "softmax"
        else f"<Output>{LABEL}</Output>"
    )
    output = OUTPUT if normal == "softmax" else output
    text = document(f'<RegressionModel functionName="classification" normalizationMethod="{normal}">{schema()}{output}'
                    f"{tables}</RegressionModel>", classes=classes)  # fmt: skip
    compare(text, [{"x": x, "y": 0.0, "k": "red"} for x in (-3.0, -0.5, 0.25, 2.0)])


def test_outputs_that_a_model_does_not_declare_keep_the_evaluators_names() -> None:
    runtime = read(document(tree(Split([(p, Leaf(FULL[:2])) for p in less("x", 0.0)]))))
    scored = runtime.predict(block(runtime, [{"x": 1.0, "y": 0.0, "k": "red"}]))
    assert {o.name: o.dtype for o in runtime.outputs}["predicted_t"] is DType.TEXT
    assert scored["predicted_t"].tolist() == ["a"]
    assert [scored[f"probability_{c}"][0] for c in CLASSES] == [0.625, 0.375, 0.0]


def test_inputs_are_scalars_of_the_declared_types() -> None:
    runtime = read(document(tree(Leaf(FULL))))
    assert runtime.inputs == (
        Input("x", DType.FLOAT64, (), ("x",)), Input("y", DType.FLOAT64, (), ("y",)), Input("k", DType.TEXT, (), ("k",)),
    )  # fmt: skip


def test_the_descriptor_may_name_other_record_fields_and_outputs() -> None:
    given_inputs = (PartialInput("x", "float32", None, ("alpha",)),)
    runtime = read(
        document(tree(Leaf(FULL), output=OUTPUT)),
        WantedSignature(inputs=given_inputs, outputs=(("pb", "b_share"),)),
    )
    assert runtime.inputs[0] == Input("x", DType.FLOAT32, (), ("alpha",))
    assert [o.name for o in runtime.outputs] == ["b_share"]
    rows = [{"alpha": 1.0, "y": 0.0, "k": "red"}]
    columns = block(runtime, rows) | {"x": np.array([1.0], np.float32)}
    assert runtime.predict(columns)["b_share"].tolist() == [0.3]


def test_positional_names_are_read_by_their_numbers() -> None:
    text = (
        document(tree(Leaf(FULL)))
        .replace('"x"', '"field_1"')
        .replace('"y"', '"field_0"')
        .replace('"k"', '"field_2"')
    )
    runtime = read(text, WantedSignature(fields=("red", "green", "blue")))
    assert {i.name: i.fields for i in runtime.inputs} == {
        "field_1": ("green",), "field_0": ("red",), "field_2": ("blue",),
    }  # fmt: skip


@pytest.mark.parametrize(
    "given_input",
    [PartialInput("z"), PartialInput("x", "text"), PartialInput("x", None, (2,)), PartialInput("x", "real")],
)
def test_inputs_that_do_not_fit_are_refused(given_input: PartialInput) -> None:
    with pytest.raises(InputsError):
        read(document(tree(Leaf(FULL))), WantedSignature(inputs=(given_input,)))


def test_bad_files_are_refused_before_the_evaluator_sees_them(tmp_path: Path) -> None:
    with pytest.raises(UnsafeModelError):
        read("<!DOCTYPE PMML>" + document(tree(Leaf(FULL))))
    with pytest.raises(UnprovenModelError, match="selectAll"):
        read(document(ensemble([tree(Leaf(FULL))], "selectAll")))
    with pytest.raises(LoadError):
        load(Artifact(None, tmp_path, tmp_path), WantedSignature())


def test_predict_refuses_what_it_cannot_send() -> None:
    runtime = read(document(tree(Split([(p, Leaf(FULL)) for p in less("x", 0.0)]), output=OUTPUT)))
    rows = [{"x": 1.0, "y": 0.0, "k": "red"}, {"x": math.inf, "y": 0.0, "k": "red"}]
    with pytest.raises(PredictError, match="infinite in rows 1"):
        runtime.predict(block(runtime, rows))
    with pytest.raises(PredictError, match="missing"):
        runtime.predict({"x": np.zeros(1)})
    with pytest.raises(PredictError, match="length"):
        runtime.predict(block(runtime, rows[:1]) | {"x": np.zeros(2)})
    with pytest.raises(PredictError, match="rows 0"):
        runtime.predict(block(runtime, [{"x": 1.0, "y": 0.0, "k": "not declared"}]))
    assert [len(c) for c in runtime.predict(block(runtime, [])).values()] == [0] * 4
    runtime.close()
    runtime.close()
    with pytest.raises(PredictError, match="closed"):
        runtime.predict(block(runtime, rows[:1]))


wine = pytest.mark.skipif(not WINE.is_dir(), reason="the shared wine data is not beside the checkout")


@wine
@pytest.mark.parametrize(
    ("name", "accuracy"),
    [
        ("DecisionTreeClassification", 0.664),
        ("DesisionTreeRegression", 0.635),
        ("GeneralizedLinearRegressionGaussian", 0.578),
        ("LinearRegression", 0.582),
        ("RandonForrestClassification", 0.677),
    ],
)
def test_wine_models_have_the_accuracy_that_another_evaluator_measured(name: str, accuracy: float) -> None:
    data = np.loadtxt(WINE / "winequality_red.csv", delimiter=";")
    text = (WINE / f"winequality{name}.pmml").read_bytes()
    runtime = read(text)
    columns = dict(zip(WINE_FIELDS, data.T, strict=False))
    scored = runtime.predict({i.name: columns[i.fields[0]] for i in runtime.inputs})
    opinions = [evaluate(text, dict(zip(WINE_FIELDS, row, strict=False))) for row in data.tolist()]
    if scored["predicted_quality"].dtype.kind == "f":
        quality = np.round(scored["predicted_quality"])
        np.testing.assert_allclose(scored["predicted_quality"], [o.value for o in opinions], rtol=1e-12)
    else:
        names = [o.name for o in runtime.outputs if o.name.startswith("probability(")]
        labels = [name.removeprefix("probability(").removesuffix(")") for name in names]
        shares = np.column_stack([scored[name] for name in names])
        expected = [[o.probabilities.get(c, 0.0) for c in labels] for o in opinions]
        np.testing.assert_allclose(shares, expected, atol=1e-12)
        np.testing.assert_allclose(shares.sum(axis=1), 1.0)
        quality = np.array(labels, np.float64)[shares.argmax(axis=1)]
        assert scored["predicted_quality"].tolist() == [o.value for o in opinions]
    assert round(float(np.mean(quality == data[:, 11])), 3) == accuracy


def test_node_texts_are_what_the_evaluators_read() -> None:
    assert node(Leaf(FULL)).count("ScoreDistribution") == 3
