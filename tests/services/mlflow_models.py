"""Run by the Python that has MLflow: logs and registers a model of each flavour. Argument: a URL."""

from __future__ import annotations

import sys
from typing import Any

import lightgbm
import mlflow
import numpy as np
import xgboost
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

X = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
Y = (X[:, 0] > X[:, 1]).astype(int)


def registered(name: str) -> dict[str, Any]:
    """Under which name; without what MLflow would find out of packages, by loading the model once more."""
    return {"registered_model_name": name, "pip_requirements": ["numpy"]}


def main(url: str) -> None:
    mlflow.set_tracking_uri(url)
    client = mlflow.MlflowClient()
    line = LogisticRegression().fit(X, Y)
    boosted = xgboost.XGBClassifier(n_estimators=5).fit(X, Y)
    leaves = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, Y), 5)
    with mlflow.start_run():
        mlflow.log_metric("accuracy", 0.91)
        mlflow.set_tag("team", "red")
        mlflow.onnx.log_model(to_onnx(line, X[:1]), name="a", **registered("onnx"))
        mlflow.sklearn.log_model(line, name="b", serialization_format="cloudpickle", **registered("sklearn"))
        mlflow.xgboost.log_model(boosted, name="c", **registered("xgboost"))
        mlflow.lightgbm.log_model(leaves, name="d", **registered("lightgbm"))
        mlflow.pyfunc.log_model(name="e", python_model=lambda rows: rows, **registered("code"))
    with mlflow.start_run():
        for name, on_holdout in (("good", 0.99), ("poor", 0.55)):  # the poor one is measured last
            made = mlflow.onnx.log_model(to_onnx(line, X[:1]), name=name, **registered(name))
            for dataset, value in (("holdout", on_holdout), ("train", round(on_holdout - 0.05, 2))):
                data = mlflow.data.from_numpy(X[: len(dataset)], name=dataset)
                mlflow.log_metric("accuracy", value, model_id=made.model_id, dataset=data)
    client.set_registered_model_alias("onnx", "champion", "1")
    client.set_model_version_tag("onnx", "1", "tried", "yes")
    client.update_model_version("onnx", "1", "A line through the middle.")
    client.copy_model_version("models:/onnx/1", "deleted")


if __name__ == "__main__":
    main(sys.argv[1])
