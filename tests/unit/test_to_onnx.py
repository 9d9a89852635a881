"""Models of other libraries that are converted here: what the converter gets wrong is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from millrace.conversion import by_recipe
from millrace.sklearn_parts import known_columns
from millrace.to_onnx import as_onnx, main
from schemas.errors import LoadError
from tests.onnx_models import loaded, node, onnx_model, tensor

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


TWO_OF = np.stack([NUMBER, TWO], 1)
LABELS = np.stack([TWO, X[:, 2] > 0], 1).astype(int)
COUNTS = RNG.poisson(np.exp(0.3 * X[:, 0]))


@pytest.mark.parametrize(
    ("x", "y", "params"),
    [
        (X, NUMBER, {}),
        (X, COUNTS, {"objective": "count:poisson"}),
        (X, COUNTS, {"objective": "reg:tweedie"}),
        (X, NUMBER, {"objective": "reg:gamma", "num_parallel_tree": 3, "subsample": 0.5}),
        (GAPS, TWO, {"objective": "binary:logistic", "base_score": 0.2}),
        (GAPS, LABELS, {"objective": "binary:logistic"}),
        (X, THREE, {"objective": "multi:softprob", "num_class": 3}),
        (X, THREE, {"objective": "multi:softmax", "num_class": 3}),
        (WITH_KINDS, NUMBER + KINDS % 3 * 10, {"max_cat_to_onehot": 1}),
        (X, TWO, {"objective": "reg:logistic"}),
        (X, TWO, {"objective": "binary:hinge"}),
        (X, TWO, {"objective": "binary:logitraw"}),
        (X, TWO, {"objective": "rank:pairwise"}),
        (X, NUMBER, {"objective": "survival:cox"}),
        (X, NUMBER, {"objective": "survival:aft"}),
        (X, NUMBER, {"objective": "reg:absoluteerror"}),
        (X, NUMBER, {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}),
        (GAPS, TWO_OF, {}),
        (X, NUMBER, {"booster": "dart", "rate_drop": 0.5, "one_drop": 1}),
        (X, THREE, {"booster": "dart", "one_drop": 1, "objective": "multi:softprob", "num_class": 3}),
        (GAPS, NUMBER, {"booster": "gblinear"}),
        (GAPS, THREE, {"booster": "gblinear", "objective": "multi:softprob", "num_class": 3}),
    ],
)
def test_xgboost_is_converted_with_what_its_objective_makes_of_the_sum(tmp_path, x, y, params):
    xgboost = pytest.importorskip("xgboost")
    path = xgboost_file(tmp_path, x, y, **params)
    types = ["q", "c"] if x.shape[1] == 2 else None
    rows = xgboost.DMatrix(x, feature_types=types, enable_categorical=True)
    want = xgboost.Booster(model_file=path).predict(rows)
    answer = loaded(as_onnx("xgboost", path)).predict({"x": x.astype("f")})
    if params.get("objective") == "multi:softmax":
        assert answer["label"].tolist() == want.tolist()
    else:
        _assert_scores(answer, want)


def _assert_scores(answer: Any, want: Any) -> None:
    """The library's answers against `variable` or the probabilities, of which two stand for one."""
    scores = [answer[name] for name in answer if name != "label"]
    table = np.concatenate([part.reshape(len(want), -1) for part in scores], 1)
    np.testing.assert_allclose(
        table[:, -1] if want.ndim == 1 else table, want, rtol=2e-5, atol=1e-6 * np.abs(want).mean()
    )


def test_probabilities_near_zero_are_as_small_as_the_library_says(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    free = {"lambda": 0, "min_child_weight": 0, "eta": 1, "base_score": 1e-6}
    path = xgboost_file(tmp_path, y=np.zeros(len(X)), objective="binary:logistic", **free)
    want = xgboost.Booster(model_file=path).predict(xgboost.DMatrix(X))
    assert want.max() < 1e-8
    answer = loaded(as_onnx("xgboost", path)).predict({"x": X})
    np.testing.assert_allclose(answer["probabilities"][:, 1], want, rtol=1e-4)


def test_trees_with_vectors_in_their_leaves_are_refused(tmp_path):
    path = xgboost_file(tmp_path, y=TWO_OF, multi_strategy="multi_output_tree", tree_method="hist")
    with pytest.raises(
        LoadError, match="cannot convert the XGBoost model with the booster gbtree"
    ) as refused:
        as_onnx("xgboost", path)
    assert "\n" not in str(refused.value)


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
    ("x", "y", "params"),
    [
        (X, NUMBER, {}),
        (X, NUMBER, BAGGED),
        (X, TWO, BAGGED | {"objective": "binary"}),
        (X, COUNTS, BAGGED | {"objective": "poisson"}),
        (X.astype("d") * 1000, NUMBER, {"boosting": "dart"}),
        (X, NUMBER - 100, {"reg_sqrt": True}),
        (GAPS, TWO, {"objective": "binary"}),
        (X, TWO, {"objective": "binary", "is_unbalance": True, "sigmoid": 2.0}),
        (X, THREE, {"objective": "multiclass", "num_class": 3}),
        (X, THREE, {"objective": "multiclassova", "num_class": 3, "sigmoid": 0.5}),
        (np.where(np.abs(X) < 0.3, 0, X), NUMBER, {"zero_as_missing": True}),
        (WITH_KINDS, NUMBER + KINDS % 3 * 10, {}),
        (X, COUNTS, {"objective": "tweedie"}),
        (X, NUMBER, {"objective": "gamma"}),
        (X, NUMBER, {"objective": "quantile", "alpha": 0.9}),
        (X, NUMBER, {"objective": "mape"}),
        (X, NUMBER, {"objective": "fair"}),
        (X, TWO, {"objective": "cross_entropy"}),
        (X, TWO, {"objective": "cross_entropy_lambda"}),
    ],
)
def test_lightgbm_is_converted_with_what_its_objective_makes_of_the_sum(tmp_path, x, y, params):
    lightgbm = pytest.importorskip("lightgbm")
    path = lightgbm_file(tmp_path, x, y, **params)
    want = lightgbm.Booster(model_file=path).predict(x.astype("f").astype("d"))
    _assert_scores(loaded(as_onnx("lightgbm", path)).predict({"x": x.astype("f")}), want)


@pytest.mark.parametrize(
    ("x", "y", "params", "said"),
    [
        (X, NUMBER, {"linear_tree": True}, "is converted wrong"),
        (BIG, BIG[:, 0] - 1.6e9, {}, "needs more digits than float32 has"),
    ],
)
def test_lightgbm_that_onnx_cannot_say_is_refused(tmp_path, x, y, params, said):
    with pytest.raises(LoadError, match=re.escape(said)) as refused:
        as_onnx("lightgbm", lightgbm_file(tmp_path, x, y, **params))
    assert "with `sklearn2pmml`" in str(refused.value) and "\n" not in str(refused.value)


class Stump:
    """As much of a model of CatBoost as is asked of one: `x0 > 0.5` gives `values[1]`, else `values[0]`.

    CatBoost is none of what the tests install; the models that it writes as ONNX were looked at.
    """

    LOSS = "RMSE"
    values = np.array([[-0.5], [1.5]])
    classes_: Any = ()
    feature_names_ = ("0", "1", "2", "3")

    def load_model(self, path: str) -> Stump:
        return self

    def get_all_params(self) -> dict[str, str]:
        return {"loss_function": self.LOSS}

    def get_borders(self) -> dict[int, list[float]]:
        return {0: [0.5]}

    def sums(self, x: Any) -> Any:
        return self.values[(x[:, 0] > 0.5).astype(int)]

    def predict(self, x: Any) -> Any:
        sums = self.sums(x)
        if self.LOSS == "MultiLogloss":
            return (sums > 0).astype(int)
        if self.classes_:
            return sums.argmax(1)[:, None]
        return np.exp(sums)[:, 0] if self.LOSS.startswith("Tweedie") else sums

    def predict_proba(self, x: Any) -> Any:
        return 1 / (1 + np.exp(-self.sums(x)))

    def save_model(self, path: str, format: str) -> None:
        from onnx import TensorProto, helper

        k = self.values.shape[1]
        part = "class" if k > 1 else "target"
        said = {
            "nodes_treeids": [0, 0, 0],
            "nodes_nodeids": [0, 1, 2],
            "nodes_featureids": [0, 0, 0],
            "nodes_values": [0.5, 0.0, 0.0],
            "nodes_modes": ["BRANCH_GT", "LEAF", "LEAF"],
            "nodes_truenodeids": [2, 0, 0],
            "nodes_falsenodeids": [1, 0, 0],
            "nodes_missing_value_tracks_true": [0, 0, 0],
            f"{part}_treeids": [0] * 2 * k,
            f"{part}_nodeids": [1] * k + [2] * k,
            f"{part}_ids": [*range(k), *range(k)],
            f"{part}_weights": self.values.ravel().tolist(),
        }
        if k == 1:
            said |= {"n_targets": 1, "post_transform": "NONE"}
            nodes = [node("TreeEnsembleRegressor", ["features"], ["predictions"], ml=True, **said)]
            outputs = [tensor("predictions", (None,))]
        else:
            labels = (
                {"classlabels_int64s": list(range(k))}
                if self.classes_
                else {"classlabels_strings": ["a", "b"]}
            )
            said |= {"post_transform": "SOFTMAX", **labels}
            trees = node("TreeEnsembleClassifier", ["features"], ["label", "p"], ml=True, **said)
            nodes = [trees, node("ZipMap", ["p"], ["probabilities"], ml=True, **labels)]
            numbers = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
            maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, numbers))
            outputs = [tensor("label", (None,), "int64"), helper.make_value_info("probabilities", maps)]
        inputs = [tensor("features", (None, 4))]
        Path(path).write_bytes(onnx_model(nodes, inputs, outputs).SerializeToString())


@pytest.mark.parametrize(
    ("loss", "sums", "of"),
    [
        ("RMSE", [[-0.5], [1.5]], ()),
        ("Tweedie:variance_power=1.5", [[-0.5], [1.5]], ()),
        ("MultiRMSE", [[-0.5, 100], [1.5, 7]], ()),
        ("MultiClassOneVsAll", [[-0.5, 1, 0], [1.5, 0, 1]], (0, 1, 2)),
        ("MultiLogloss", [[-0.5, -1], [1.5, 2]], (0, 1)),
    ],
)
def test_catboost_is_converted_with_what_its_loss_makes_of_the_sum(tmp_path, monkeypatch, loss, sums, of):
    made = type("Model", (Stump,), {"LOSS": loss, "values": np.array(sums, "d"), "classes_": of})
    names = ("CatBoost", "CatBoostClassifier", "CatBoostRegressor")
    monkeypatch.setitem(sys.modules, "catboost", SimpleNamespace(**dict.fromkeys(names, made)))
    runtime = loaded(as_onnx("catboost", tmp_path / "m.cbm"))
    outputs = [f"probabilities_{name}" for name in of] or ["predictions"]
    label = ["label"] if loss == "MultiClassOneVsAll" else []
    assert [o.name for o in runtime.outputs] == label + outputs
    _assert_scores(runtime.predict({"features": X}), made().predict_proba(X) if of else made().predict(X))


def test_catboost_that_writes_other_answers_is_refused(tmp_path, monkeypatch):
    made = type("Model", (Stump,), {"LOSS": "Unknown", "predict": lambda self, x: 3 * self.sums(x)})
    names = ("CatBoost", "CatBoostClassifier", "CatBoostRegressor")
    monkeypatch.setitem(sys.modules, "catboost", SimpleNamespace(**dict.fromkeys(names, made)))
    with pytest.raises(LoadError, match="the CatBoost model with the loss Unknown is converted wrong"):
        as_onnx("catboost", tmp_path / "m.cbm")


def test_boosters_inside_pipelines_are_converted_and_compared_by_their_thresholds(tmp_path):
    xgboost, lightgbm = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    few: dict[str, Any] = {"n_estimators": 3}
    light: dict[str, Any] = {"n_estimators": 3, "verbose": -1}
    for model, y in (
        (make_pipeline(StandardScaler(), xgboost.XGBClassifier(**few)), THREE),
        (make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(**light)), np.array(["no", "yes"])[TWO]),
        (make_pipeline(StandardScaler(), lightgbm.LGBMRegressor(**light)), NUMBER),
        (CalibratedClassifierCV(xgboost.XGBClassifier(**few), cv=2), TWO),
    ):
        assert as_onnx("sklearn", sklearn_file(tmp_path, model, X, y)), model
    fitted = xgboost.XGBRegressor(**few).fit(X * 1000 + 5000, NUMBER)
    assert all(np.mean(c.values) > 1000 for c in known_columns(fitted, 4) if c.values)
    odd = make_pipeline(StandardScaler(), xgboost.XGBRegressor(objective="survival:cox", **few))
    with pytest.raises(LoadError, match="is converted wrong"):
        as_onnx("sklearn", sklearn_file(tmp_path, odd))


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
    path = lightgbm_file(tmp_path, linear_tree=True)
    with pytest.raises(LoadError, match=r"objective regression is converted wrong.*predict"):
        by_recipe(path, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "millrace.to_onnx", "lightgbm", str(path)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "objective regression is converted wrong" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "model.onnx").exists()
