"""A model of another library as ONNX: `python -m millrace.to_onnx KIND FILE` writes `model.onnx`.

KIND is `sklearn`, `skops`, `xgboost`, `lightgbm` or `catboost`. The converters give some kinds of models
wrong values and say nothing. So library and ONNX Runtime answer the same made-up rows here, and what differs
is refused. Opening a pickle runs the code in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.boosted_trees import (
    from_catboost,
    from_lightgbm,
    from_xgboost,
    lightgbm_columns,
    xgboost_columns,
)
from millrace.conversion_check import REMEDY, Column, Convertible, compare
from millrace.sklearn_parts import known_columns, made_for_missing
from schemas.errors import LoadError

TARGET = Path("model.onnx")
_LIBRARIES = {
    "sklearn": ("scikit-learn", "skl2onnx", "joblib"),
    "skops": ("scikit-learn", "skl2onnx", "skops"),
    "xgboost": ("XGBoost", "onnxmltools", "xgboost"),
    "lightgbm": ("LightGBM", "onnxmltools", "lightgbm"),
    "catboost": ("CatBoost", "onnx", "catboost"),
}


@dataclass(frozen=True, slots=True)
class _Made:
    """A model that was converted: `what` it is, its answers by the library, and how it is written."""

    convertible: Convertible
    written: Callable[[], Any]


def main(kind: str, path: str) -> int:
    """Convert, compare, write. Where that fails, say why in one line, and give 1."""
    try:
        TARGET.write_bytes(as_onnx(kind, Path(path)))
    except LoadError as e:
        sys.stderr.write(f"\n{e}\n")
        return 1
    return 0


def as_onnx(kind: str, path: Path) -> bytes:
    """The model as ONNX that answers as the library does. Raises `LoadError` where that fails."""
    library, converter, module = _LIBRARIES[kind]
    try:
        __import__(converter)
        __import__(module)
    except ImportError as e:
        raise LoadError(
            f"{e.name or e} is missing here: install what the model needs, and {converter}"
        ) from e
    try:
        made = _OPENERS[kind](path)
    # The libraries raise whatever the parts of a model raise
    except Exception as e:
        raise LoadError(f"{library} cannot open the model here: {_said(e)}") from e
    what = made.convertible.what
    try:
        model = made.written().SerializeToString()
    except Exception as e:
        raise LoadError(
            f"{converter if kind != 'catboost' else library} cannot convert {what}: {_said(e)}. {REMEDY}"
        ) from e
    compare(made.convertible, model)
    return bytes(model)


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    return (text if " " in text else f"{type(error).__name__}: {text}").rstrip(".")[:200]


def _xgboost(path: Path) -> _Made:
    import xgboost  # noqa: PLC0415

    model = xgboost.Booster(model_file=str(path))
    best = model.attr("best_iteration")
    if best is not None and int(best) + 1 < model.num_boosted_rounds():
        kept, made = int(best) + 1, model.num_boosted_rounds()
        model = model[:kept]  # as XGBModel predicts after early stopping
        print(
            f"{path}: the first {kept} of {made} rounds are converted, as XGBModel.predict "
            "uses them; Booster.predict uses all by default",
            file=sys.stderr,
        )
    model.feature_names = None
    types = model.feature_types
    config = json.loads(model.save_config())["learner"]
    objective, booster = config["objective"]["name"], config["gradient_booster"]["name"]

    def answers(rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        data = xgboost.DMatrix(rows, feature_types=types, enable_categorical=True)
        found = np.asarray(model.predict(data))
        if objective == "multi:softmax":
            scores = np.exp(model.predict(data, output_margin=True).astype("d"))
            return {"the class": found, "softprob": scores / scores.sum(1, keepdims=True)}
        if objective == "binary:logistic" and found.ndim > 1:
            return {"predict": found}  # of several labels
        return _scored("predict", found, binary=objective == "binary:logistic")

    what = f"the XGBoost model with the booster {booster} and the objective {objective}"
    return _Made(Convertible(what, answers, xgboost_columns(model)), lambda: from_xgboost(model))


def _lightgbm(path: Path) -> _Made:
    import lightgbm  # noqa: PLC0415

    model = lightgbm.Booster(model_file=str(path))
    dumped = model.dump_model()
    objective = str(dumped.get("objective", "none"))

    def answers(rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return _scored("predict", np.asarray(model.predict(rows)), binary=objective.startswith("binary"))

    what = f"the LightGBM model with the objective {objective}"
    return _Made(Convertible(what, answers, lightgbm_columns(dumped)), lambda: from_lightgbm(model, dumped))


def _catboost(path: Path) -> _Made:
    import catboost  # noqa: PLC0415

    plain = catboost.CatBoost().load_model(str(path))
    loss = str(plain.get_all_params().get("loss_function", "")).partition(":")[0]
    classes = np.asarray(plain.classes_)
    kind = catboost.CatBoostClassifier if classes.size else catboost.CatBoostRegressor
    model = kind().load_model(str(path))

    def answers(rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        rows = rows.astype("f")  # as CatBoost keeps them
        found = {"predict": model.predict(rows)}
        return found | ({"predict_proba": model.predict_proba(rows)} if classes.size else {})

    columns = [Column() for _ in plain.feature_names_]
    for i, borders in plain.get_borders().items():
        columns[i].add(borders)
    what = f"the CatBoost model with the loss {loss}"
    return _Made(Convertible(what, answers, columns, classes), lambda: from_catboost(model, loss))


def _scored(name: str, found: NDArray[Any], binary: bool) -> dict[str, NDArray[Any]]:
    """A library's answers, with the label that goes with them where they are probabilities of classes."""
    if binary:
        return {name: np.stack([1 - found, found], 1), "the class": (found > 0.5).astype(int)}
    if found.ndim == 2:
        return {name: found, "the class": found.argmax(1)}
    return {name: found}


def _sklearn(path: Path) -> _Made:
    import joblib  # noqa: PLC0415

    return _of_sklearn(joblib.load(path))


def _skops(path: Path) -> _Made:
    import skops.io  # noqa: PLC0415

    return _of_sklearn(skops.io.load(path))


def _methods(model: Any, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    found = {name: getattr(model, name)(rows) for name in _METHODS if hasattr(model, name)}
    return {k: np.concatenate(v, 1) if isinstance(v, list) else np.asarray(v) for k, v in found.items()}


def _know_boosters() -> None:
    """Tell skl2onnx of the boosters of pipelines. Their library was imported with the model."""
    from skl2onnx import update_registered_converter  # noqa: PLC0415
    from skl2onnx.common import shape_calculator as shapes  # noqa: PLC0415

    of_classes = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    for library, converters, function, names in (
        ("xgboost", "xgboost.operator_converters.XGBoost", "convert_xgboost", ("XGB", "XGBRF")),
        ("lightgbm", "lightgbm.operator_converters.LightGbm", "convert_lightgbm", ("LGBM",)),
    ):
        if library not in sys.modules:
            continue
        converter = getattr(import_module(f"onnxmltools.convert.{converters}"), function)
        for name in names:
            regressor, classifier = (
                getattr(sys.modules[library], f"{name}{kind}") for kind in ("Regressor", "Classifier")
            )
            for model, shape, options in (
                (regressor, shapes.calculate_linear_regressor_output_shapes, None),
                (classifier, shapes.calculate_linear_classifier_output_shapes, of_classes),
            ):
                update_registered_converter(model, model.__name__, shape, converter, options=options)


_METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")


def _of_sklearn(model: Any) -> _Made:
    width = int(model.n_features_in_)
    classes = getattr(model, "classes_", None)

    def answers(rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        try:
            found = _methods(model, rows)
        except ValueError:
            found = _methods(model, rows.astype("f"))  # what some take that were trained with float32
        decided = found.get("decision_function")
        if isinstance(decided, np.ndarray) and decided.ndim == 1 and classes is not None:
            found["decision_function of both classes"] = np.stack([-decided, decided], 1)
        return found

    def written() -> Any:
        import skl2onnx  # noqa: PLC0415

        _know_boosters()
        opsets = {"": skl2onnx.get_latest_tested_opset_version(), "ai.onnx.ml": 3}
        return skl2onnx.to_onnx(model, np.zeros((1, width), "f"), target_opset=opsets)

    what = f"scikit-learn's {type(model).__name__}"
    loss = getattr(model, "loss", None)
    what += f" with loss={loss!r}" if isinstance(loss, str) else ""
    names = classes if isinstance(classes, np.ndarray) else None
    columns, missing = known_columns(model, width), made_for_missing(model)
    return _Made(Convertible(what, answers, columns, names, missing), written)


_OPENERS = {
    "sklearn": _sklearn,
    "skops": _skops,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
}

if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
