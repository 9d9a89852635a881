"""Models of other libraries, exported as their users do: right to 1e-6 against the library itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from schemas.errors import PredictError
from schemas.tensors import DType
from tests.onnx_models import loaded
from udfs.models.descriptor import build, parse
from udfs.models.loading import LoadPolicy, load_model
from udfs.models.runtimes.onnx.runtime import OnnxRuntime

pytest.importorskip("onnx")
pytest.importorskip("sklearn")

FIELDS = ("a", "b", "c", "d")
_RNG = np.random.default_rng(5)
X = _RNG.normal(size=(300, 4)).astype(np.float32)
CLASSES = np.digitize(X[:, 0] + X[:, 1] * X[:, 2], [-0.5, 0.8])
NUMBERS = (3 * X[:, 0] - X[:, 1] ** 2 + 10).astype(np.float32)
FRESH = _RNG.normal(size=(1024, 4)).astype(np.float32)


def close(got: np.ndarray, expected: np.ndarray) -> None:
    """To 1e-6 of the value, or of the largest: a float32 sum is exact to its parts, not to itself."""
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6 * max(1, np.abs(expected).max()))


def by_sklearn(model: Any, **options: Any) -> OnnxRuntime:
    skl2onnx = pytest.importorskip("skl2onnx")
    return loaded(skl2onnx.to_onnx(model, X[:1], **options), fields=FIELDS)


def probabilities(runtime: OnnxRuntime) -> np.ndarray:
    answer = runtime.predict({runtime.inputs[0].name: FRESH})
    return np.stack([answer[o.name] for o in runtime.outputs if "label" not in o.name], axis=1).squeeze()


def forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(20, random_state=0)


def logistic() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())


def boosting() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=20, random_state=0)


def network() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((8,), max_iter=100, random_state=0)


@pytest.mark.parametrize("make", [forest, logistic, boosting, network])
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_classifiers_of_scikit_learn(make: Callable[[], Any], zipmap: bool):
    model = make().fit(X, CLASSES)
    runtime = by_sklearn(model, options={"zipmap": zipmap})
    assert runtime.inputs[0].fields == FIELDS
    close(probabilities(runtime), model.predict_proba(FRESH))
    label = next(o for o in runtime.outputs if "label" in o.name)
    assert label.dtype is DType.INT64
    np.testing.assert_array_equal(runtime.predict({"X": FRESH})[label.name], model.predict(FRESH))


def test_regressors_of_scikit_learn():
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import LinearRegression

    for model in (GradientBoostingRegressor(n_estimators=30, random_state=0), LinearRegression()):
        model.fit(X, NUMBERS)
        runtime = by_sklearn(model)
        assert [o.shape for o in runtime.outputs] == [(1,)]
        close(runtime.predict({"X": FRESH})["variable"][:, 0], model.predict(FRESH))


def test_text_labels_and_columns_of_their_own():
    pandas = pytest.importorskip("pandas")
    skl2onnx = pytest.importorskip("skl2onnx")
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pandas.DataFrame(
        {"amount": X[:, 0], "age": X[:, 1], "country": np.where(X[:, 2] > 0, "de", "fr")}
    )
    texts = ("texts", OneHotEncoder(handle_unknown="ignore"), ["country"])
    columns = ColumnTransformer([("numbers", StandardScaler(), ["amount", "age"]), texts])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, np.array(["low", "mid", "high"])[CLASSES])
    types = [("amount", FloatTensorType([None, 1])), ("age", FloatTensorType([None, 1])),
             ("country", StringTensorType([None, 1]))]  # fmt: skip
    runtime = loaded(skl2onnx.convert_sklearn(model, initial_types=types))
    assert [(i.name, i.dtype, i.shape) for i in runtime.inputs] == [
        ("amount", DType.FLOAT32, ()), ("age", DType.FLOAT32, ()), ("country", DType.TEXT, ()),
    ]  # fmt: skip
    answer = runtime.predict(
        {"amount": X[:, 0], "age": X[:, 1], "country": frame["country"].to_numpy(object)}
    )
    assert answer["output_label"].tolist() == model.predict(frame).tolist()
    close(answer["output_probability_mid"], model.predict_proba(frame)[:, list(model.classes_).index("mid")])


@pytest.mark.parametrize("encoder", ["OneHotEncoder", "OrdinalEncoder"])
def test_texts_that_encoders_know_are_what_a_model_is_tried_with(encoder):
    pandas = pytest.importorskip("pandas")
    skl2onnx = pytest.importorskip("skl2onnx")
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType
    from sklearn import preprocessing
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeClassifier

    country = np.where(X[:, 2] > 0, "de", "fr").astype(object)
    frame = pandas.DataFrame({"country": country, "shop": CLASSES + 40})
    encoders = [(name, getattr(preprocessing, encoder)(), [name]) for name in frame]  # refuse what is new
    model = make_pipeline(ColumnTransformer(encoders), DecisionTreeClassifier(max_depth=3))
    model.fit(frame, CLASSES)
    types = [("country", StringTensorType([None, 1])), ("shop", Int64TensorType([None, 1]))]
    made = skl2onnx.convert_sklearn(model, initial_types=types).SerializeToString()
    served = load_model(parse(build(data_type="t", model_type="ONNX", data=made)), LoadPolicy())
    columns = {"country": country, "shop": CLASSES + 40}
    np.testing.assert_array_equal(served.predict(columns)["output_label"], model.predict(frame))
    if encoder == "OneHotEncoder":
        with pytest.raises(PredictError, match="operator OneHotEncoder: Unknown Category"):
            served.predict({"country": np.array(["xx"], object), "shop": np.array([40])})
    served.close()


def test_xgboost():
    xgboost = pytest.importorskip("xgboost")
    onnxmltools = pytest.importorskip("onnxmltools")
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [("x", FloatTensorType([None, 4]))]
    classifier = xgboost.XGBClassifier(n_estimators=30, max_depth=3).fit(X, CLASSES)
    runtime = loaded(onnxmltools.convert_xgboost(classifier, initial_types=types), fields=FIELDS)
    close(runtime.predict({"x": FRESH})["probabilities"], classifier.predict_proba(FRESH))
    gaps = np.where(FRESH > 1.5, np.nan, FRESH)
    close(runtime.predict({"x": gaps})["probabilities"], classifier.predict_proba(gaps))
    regressor = xgboost.XGBRegressor(n_estimators=30, max_depth=3).fit(X, NUMBERS)
    runtime = loaded(onnxmltools.convert_xgboost(regressor, initial_types=types), fields=FIELDS)
    close(runtime.predict({"x": FRESH})["variable"][:, 0], regressor.predict(FRESH))


def test_lightgbm():
    lightgbm = pytest.importorskip("lightgbm")
    onnxmltools = pytest.importorskip("onnxmltools")
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [("x", FloatTensorType([None, 4]))]
    classifier = lightgbm.LGBMClassifier(n_estimators=30, verbose=-1).fit(X, CLASSES)
    runtime = loaded(onnxmltools.convert_lightgbm(classifier, initial_types=types), fields=FIELDS)
    close(probabilities(runtime), classifier.predict_proba(FRESH))
    regressor = lightgbm.LGBMRegressor(n_estimators=30, verbose=-1).fit(X, NUMBERS)
    runtime = loaded(onnxmltools.convert_lightgbm(regressor, initial_types=types), fields=FIELDS)
    close(runtime.predict({"x": FRESH})["variable"][:, 0], regressor.predict(FRESH))


def test_keras():
    from udfs.models.runtimes.tensorflow.session import configured_tensorflow

    tf = configured_tensorflow()
    tf2onnx = pytest.importorskip("tf2onnx")
    keras = tf.keras
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((4,), name="x"), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.5),
         keras.layers.Dense(3, "softmax")]
    )  # fmt: skip
    call = tf.function(lambda x: {"probability": model(x)})
    signature = [tf.TensorSpec((None, 4), tf.float32, name="x")]
    runtime = loaded(tf2onnx.convert.from_function(call, signature)[0], fields=FIELDS)
    (output,) = runtime.outputs
    close(runtime.predict({"x": FRESH})[output.name], model(FRESH).numpy())
