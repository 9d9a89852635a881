"""Models of other libraries that are converted here: what the converter gets wrong is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace.conversion import by_recipe
from millrace.to_onnx import as_onnx, main
from schemas.errors import LoadError
from tests.onnx_models import loaded

joblib = pytest.importorskip("joblib")
pytest.importorskip("skl2onnx")
pytest.importorskip("onnxmltools")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4)).astype("f")
GAPS = np.where(RNG.random(X.shape) < 0.15, np.nan, X)
TWO = (X[:, 0] > X[:, 1]).astype(int)
THREE = TWO + (X[:, 2] > 0)
NUMBER = 100 + 20 * X[:, 0] + X[:, 1] ** 2
KINDS = RNG.integers(0, 9, 400)
WITH_KINDS = np.stack([X[:, 0], KINDS], 1)


def xgboost_file(folder: Path, x: Any = X, y: Any = NUMBER, rounds: int = 8, **params: Any) -> Path:
    xgboost = pytest.importorskip("xgboost")
    types = ["q", "c"] if x.shape[1] == 2 else None
    data = xgboost.DMatrix(x, y, feature_types=types, enable_categorical=True)
    if params.get("objective") == "survival:aft":
        data = xgboost.DMatrix(x, label_lower_bound=y, label_upper_bound=y)
    xgboost.train(params, data, rounds).save_model(folder / "m.ubj")
    return folder / "m.ubj"


def lightgbm_file(folder: Path, x: Any = X, y: Any = NUMBER, **params: Any) -> Path:
    lightgbm = pytest.importorskip("lightgbm")
    kinds = [1] if x.shape[1] == 2 and x.max() < 1e6 else "auto"
    data = lightgbm.Dataset(
        x, y, categorical_feature=kinds, params={"min_data_per_group": 1, "cat_smooth": 1}
    )
    lightgbm.train({"verbose": -1, **params}, data, 8).save_model(folder / "m.txt")
    return folder / "m.txt"


def sklearn_file(folder: Path, model: Any, x: Any = X, y: Any = NUMBER) -> Path:
    joblib.dump(model.fit(x, y), folder / "m.joblib")
    return folder / "m.joblib"


BAGGED = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}
BIG = 1.6e9 + RNG.integers(0, 1000, (400, 3)).astype("d")


@pytest.mark.parametrize(
    ("y", "params", "said"),
    [
        (TWO, {"objective": "reg:logistic"}, "objective reg:logistic is converted wrong"),
        (TWO, {"objective": "binary:hinge"}, "objective binary:hinge is converted wrong"),
        (TWO, {"objective": "binary:logitraw"}, "objective binary:logitraw is converted wrong"),
        (TWO, {"objective": "rank:pairwise"}, "objective rank:pairwise is converted wrong"),
        (NUMBER, {"objective": "survival:cox"}, "objective survival:cox is converted wrong"),
        (NUMBER, {"objective": "survival:aft"}, "objective survival:aft is converted wrong"),
        (np.stack([NUMBER, TWO], 1), {}, "is converted wrong"),
        (NUMBER, {"booster": "dart"}, "onnxmltools cannot convert the XGBoost model with the booster dart"),
        (
            NUMBER,
            {"booster": "gblinear"},
            "onnxmltools cannot convert the XGBoost model with the booster gbl",
        ),
    ],
)
def test_what_onnxmltools_gets_wrong_of_xgboost_is_refused(tmp_path, y, params, said):
    with pytest.raises(LoadError, match=re.escape(said)) as refused:
        as_onnx("xgboost", xgboost_file(tmp_path, y=y, **params))
    assert "Export PMML with `sklearn2pmml`" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("x", "y", "params"),
    [
        (X, NUMBER, {}),
        (X, np.abs(NUMBER), {"objective": "count:poisson"}),
        (X, NUMBER, {"objective": "reg:gamma", "num_parallel_tree": 3, "subsample": 0.5}),
        (GAPS, TWO, {"objective": "binary:logistic", "base_score": 0.2}),
        (X, THREE, {"objective": "multi:softprob", "num_class": 3}),
        (X, THREE, {"objective": "multi:softmax", "num_class": 3}),
        (WITH_KINDS, NUMBER + KINDS % 3 * 10, {"max_cat_to_onehot": 1}),
    ],
)
def test_what_onnxmltools_gets_right_of_xgboost_is_taken(tmp_path, x, y, params):
    assert as_onnx("xgboost", xgboost_file(tmp_path, x, y, **params))


def test_after_early_stopping_the_trees_up_to_the_best_are_converted(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    noise = NUMBER[200:] + RNG.normal(size=200) * 40
    model = xgboost.XGBRegressor(n_estimators=200, early_stopping_rounds=3)
    model.fit(X[:200], NUMBER[:200], eval_set=[(X[200:], noise)], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "m.ubj")
    runtime = loaded(as_onnx("xgboost", tmp_path / "m.ubj"))
    np.testing.assert_allclose(runtime.predict({"x": X})["variable"][:, 0], model.predict(X), rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "params", "said"),
    [
        (X, NUMBER, BAGGED, "is converted wrong"),
        (X, TWO, BAGGED | {"objective": "binary"}, "is converted wrong"),
        (X, NUMBER, {"reg_sqrt": True}, "objective regression sqrt is converted wrong"),
        (X, THREE, {"objective": "multiclassova", "num_class": 3}, "is converted wrong"),
        (X, TWO, {"objective": "binary", "is_unbalance": True, "sigmoid": 2.0}, "is converted wrong"),
        (np.where(np.abs(X) < 0.3, 0, X), NUMBER, {"zero_as_missing": True}, "is converted wrong"),
        (X, NUMBER, {"linear_tree": True}, "is converted wrong"),
        (
            X,
            NUMBER,
            {"objective": "mape"},
            "onnxmltools cannot convert the LightGBM model with the objective m",
        ),
        (BIG, BIG[:, 0] - 1.6e9, {}, "needs more digits than float32 has"),
    ],
)
def test_what_onnxmltools_gets_wrong_of_lightgbm_is_refused(tmp_path, x, y, params, said):
    with pytest.raises(LoadError, match=re.escape(said)) as refused:
        as_onnx("lightgbm", lightgbm_file(tmp_path, x, y, **params))
    assert "with `sklearn2pmml`" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("x", "y", "params"),
    [
        (X, NUMBER, {}),
        (X.astype("d") * 1000, NUMBER, {"boosting": "dart"}),
        (GAPS, TWO, {"objective": "binary"}),
        (X, THREE, {"objective": "multiclass", "num_class": 3}),
        (WITH_KINDS, NUMBER + KINDS % 3 * 10, {}),
    ],
)
def test_what_onnxmltools_gets_right_of_lightgbm_is_taken(tmp_path, x, y, params):
    assert as_onnx("lightgbm", lightgbm_file(tmp_path, x, y, **params))


def test_what_skl2onnx_gets_wrong_is_refused_with_the_worst_row(tmp_path):
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
    from sklearn.neighbors import KNeighborsRegressor

    for model, x, y in (
        (HistGradientBoostingRegressor(max_iter=5, loss="poisson"), X, NUMBER),
        (HistGradientBoostingRegressor(max_iter=5, loss="gamma"), X, NUMBER),
        (HistGradientBoostingRegressor(max_iter=5, categorical_features=[1]), WITH_KINDS, NUMBER + KINDS % 3),
        (KNeighborsRegressor(weights="distance"), X, NUMBER),
        (RandomForestClassifier(10, random_state=0), GAPS, TWO),  # it leaves out where missing values go
    ):
        with pytest.raises(
            LoadError, match=f"scikit-learn's {type(model).__name__}.*is converted wrong"
        ) as e:
            as_onnx("sklearn", sklearn_file(tmp_path, model, x, y))
        said = r"in \d+ of 500 made-up rows, most for \[.*\]: (variable|output_label) is \S+, predict \S+\. "
        assert re.search(said, str(e.value))
    with pytest.raises(
        LoadError, match=r"HistGradientBoostingRegressor.* needs more digits than float32 has"
    ):
        as_onnx("sklearn", sklearn_file(tmp_path, HistGradientBoostingRegressor(max_iter=5), BIG))


def test_what_skl2onnx_gets_right_is_taken(tmp_path):
    from sklearn import cluster, ensemble, linear_model, neighbors, preprocessing, svm
    from sklearn.impute import SimpleImputer
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeRegressor

    logistic = linear_model.LogisticRegression()
    for model, x, y in (
        (ensemble.RandomForestClassifier(10, random_state=0), X, np.array(["a", "b", "c"])[THREE]),
        (ensemble.HistGradientBoostingClassifier(max_iter=5), GAPS, TWO),
        (ensemble.GradientBoostingRegressor(n_estimators=5), X.astype("d"), NUMBER),
        (ensemble.IsolationForest(n_estimators=10, random_state=0), X, None),
        (make_pipeline(SimpleImputer(), preprocessing.StandardScaler(), logistic), GAPS * 20 + 1000, TWO),
        (make_pipeline(preprocessing.OneHotEncoder(), logistic), KINDS[:, None], TWO),
        (
            make_pipeline(
                preprocessing.KBinsDiscretizer(5, encode="ordinal"), DecisionTreeRegressor(max_depth=4)
            ),
            X,
            NUMBER,
        ),
        (linear_model.PoissonRegressor(), X, NUMBER),
        (linear_model.LinearRegression(), X, np.stack([NUMBER, TWO], 1)),
        (MultiOutputClassifier(logistic), X, np.stack([TWO, THREE], 1)),
        (neighbors.KNeighborsClassifier(), X, THREE),
        (svm.LinearSVC(), X, TWO),
        (cluster.KMeans(4, n_init=1, random_state=0), X, None),
    ):
        assert as_onnx("sklearn", sklearn_file(tmp_path, model, x, y)), model


def test_what_cannot_be_opened_or_is_not_installed_is_said_in_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.ubj").write_bytes(b"{learner")
    assert main("xgboost", str(tmp_path / "m.ubj")) == 1
    assert "XGBoost cannot open the model here: " in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxmltools", None)
    assert main("xgboost", str(tmp_path / "m.ubj")) == 1
    assert "install what the model needs, and onnxmltools" in capsys.readouterr().err
    assert not (tmp_path / "model.onnx").exists()


def test_what_is_told_to_run_and_convert_refuse_alike(tmp_path):
    path = xgboost_file(tmp_path, y=TWO, objective="reg:logistic")
    with pytest.raises(LoadError, match=r"objective reg:logistic is converted wrong.*predict"):
        by_recipe(path, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "millrace.to_onnx", "xgboost", str(path)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 1 and "objective reg:logistic is converted wrong" in done.stderr.splitlines()[-1]
    )
    assert not (tmp_path / "model.onnx").exists()
