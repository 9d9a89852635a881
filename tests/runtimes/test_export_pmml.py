"""Exported scikit-learn models score as scikit-learn does, in the JVM and by the second opinion."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from millrace.export_pmml import decision_tree, linear_regression, logistic_regression
from tests.pmml_evaluator import evaluate
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.runtime import load

IRIS = load_iris()
FIELDS = ("sepal_length", "sepal_width", "petal_length", "petal_width")


def scored(text: str, fields: tuple[str, ...], rows: np.ndarray) -> dict[str, np.ndarray]:
    runtime = load(Artifact(text.encode(), None, Path()), WantedSignature())
    result = runtime.predict(dict(zip(fields, rows.T, strict=True)))
    runtime.close()
    return dict(result)


def check_classes(text: str, rows: np.ndarray, expected: np.ndarray, labels: list[str]) -> None:
    result = scored(text, FIELDS, rows)
    shares = np.column_stack([result[f"probability({label})"] for label in labels])
    np.testing.assert_allclose(shares, expected, atol=1e-9)
    assert result["predicted_kind"].tolist() == [labels[i] for i in expected.argmax(axis=1)]
    opinions = [evaluate(text, dict(zip(FIELDS, row, strict=True))) for row in rows.tolist()]
    np.testing.assert_allclose([[o.probabilities[c] for c in labels] for o in opinions], expected, atol=1e-9)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("kind", ["tree", "logistic"])
def test_classifiers(kind: str, count: int) -> None:
    keep = IRIS.target < count
    x, labels = IRIS.data[keep], [str(n) for n in IRIS.target_names[:count]]
    target = IRIS.target_names[IRIS.target[keep]]
    if kind == "tree":
        model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(x, target)
        text = decision_tree(model, FIELDS, model.classes_, "kind")
    else:
        model = LogisticRegression(max_iter=500).fit(x, target)
        text = logistic_regression(model.coef_, model.intercept_, FIELDS, model.classes_, "kind")
    check_classes(text, x, model.predict_proba(x), labels)


def test_linear_regression_and_a_regression_tree() -> None:
    x, y = load_diabetes(return_X_y=True)
    fields = tuple(f"f{i}" for i in range(x.shape[1]))
    linear = LinearRegression().fit(x, y)
    tree = DecisionTreeRegressor(max_depth=6, random_state=0).fit(x, y)
    for model, text in (
        (linear, linear_regression(linear.coef_, linear.intercept_, fields, "y")),
        (tree, decision_tree(tree, fields, (), "y")),
    ):
        expected = model.predict(x)
        np.testing.assert_allclose(scored(text, fields, x)["predicted_y"], expected, rtol=1e-9)
        opinions = [evaluate(text, dict(zip(fields, row, strict=True))).value for row in x.tolist()]
        np.testing.assert_allclose(opinions, expected, rtol=1e-9)


def test_values_next_to_a_threshold_take_the_way_that_scikit_learn_takes() -> None:
    x = np.array([[0.1], [0.3], [16777217.0], [1e-30]])
    tree = DecisionTreeRegressor(random_state=0).fit(x, [1.0, 2.0, 3.0, 4.0])
    middles = [t for t in tree.tree_.threshold if t != -2]
    near = [np.float32(m) for m in middles]
    near += [np.nextafter(n, s) for n in near for s in (np.float32(-1e9), np.float32(1e9))]
    halves = [(float(a) + float(np.nextafter(a, np.float32(1e9)))) / 2 for a in near]
    rows = np.array([[v] for h in halves for v in (h, np.nextafter(h, -1e9), np.nextafter(h, 1e9))])
    result = scored(decision_tree(tree, ("x",), (), "y"), ("x",), rows)
    np.testing.assert_array_equal(result["predicted_y"], tree.predict(rows))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="coefficients for 2 fields"):
        linear_regression([1.0], 0.0, ("a", "b"), "y")
    with pytest.raises(ValueError, match="distinct"):
        linear_regression([1.0, 2.0], 0.0, ("a", "a"), "y")
    with pytest.raises(ValueError, match="distinct as text"):
        logistic_regression([[1.0]], [0.0], ("a",), (1, "1"), "y")
