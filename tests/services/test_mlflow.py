"""`millrace publish models:/...` from a real MLflow server, which has an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner, Result

from devservices.process import Process, free_port
from millrace.cli import app
from tests.own_environment import python_with
from udfs.models.descriptor import Publication, parse
from udfs.stores.registry.models import ModelRegistry

SAME = ("lightgbm", "numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx", "xgboost-cpu")
"""Whose models are read here: of the versions that are here."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a registered model of each flavour."""
    same = [f"{name}=={version(name)}" for name in SAME]
    python = python_with("mlflow", "mlflow==3.17.2", *same)
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    url = f"http://127.0.0.1:{port}"
    command = [python, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", folder / "artifacts", "--host", "127.0.0.1", "--port", str(port)]
    process = Process("mlflow", [*command, "--workers", "1"], folder / "server.log", {})

    def ready() -> bool:
        try:
            return urlopen(f"{url}/health").status == 200
        except OSError:
            return False

    try:
        process.wait_ready(ready, 180)
        filled = subprocess.run(
            [python, Path(__file__).with_name("mlflow_models.py"), url],
            capture_output=True,
            text=True,
            check=False,
        )
        assert filled.returncode == 0, filled.stderr
        yield url
    finally:
        process.stop()


@pytest.fixture
def publish(server: str, tmp_path: Path):
    def run(uri: str, *more: object) -> Result:
        command = [
            "publish",
            uri,
            "--mlflow",
            server,
            "--data-type",
            "wine",
            "--to-folder",
            tmp_path / "models",
        ]
        command += ["--field", "a,b,c", *more]
        return CliRunner().invoke(app, list(map(str, command)))

    return run


def published(folder: Path) -> Publication:
    (path,) = (folder / "models").glob("*.model")
    return parse(path.read_bytes())


def test_an_alias_brings_version_metrics_tags_and_run_and_is_written_back(publish, server, tmp_path):
    registry = f"sqlite:///{tmp_path}/registry.db"
    done = publish(
        "models:/onnx@champion", "--registry", registry, "--mlflow-alias", "served", "--tag", "own=1"
    )
    assert done.exit_code == 0, done.output
    found = published(tmp_path)
    assert (found.name, found.version, found.model_type) == ("onnx", 1, "ONNX")
    assert (found.description, dict(found.metrics)) == ("A line through the middle.", {"accuracy": 0.91})
    reader = ModelRegistry(registry)
    (known,) = reader.models("onnx", "wine")
    reader.close()
    assert known.tags == {"team": "red", "tried": "yes", "own": "1"}
    assert [(one.name, one.value) for one in known.metrics] == [("accuracy", 0.91)]
    assert known.source.startswith(f"models:/onnx/1 of MLflow at {server}, run ")
    asked = f"{server}/api/2.0/mlflow/registered-models/alias?name=onnx&alias=served"
    with urlopen(asked) as answer:
        assert json.load(answer)["model_version"]["version"] == "1"


@pytest.mark.parametrize("flavour", ["sklearn", "xgboost", "lightgbm"])
def test_models_of_other_libraries_are_converted_where_that_is_asked_for(publish, tmp_path, flavour):
    refused = publish(f"models:/{flavour}/1")
    assert refused.exit_code == 1 and "python -c" in refused.output
    assert not list((tmp_path / "models").glob("*.model"))
    done = publish(f"models:/{flavour}/1", "--convert", "--version", "7", "--name", "tree")
    assert done.exit_code == 0, done.output
    found = published(tmp_path)
    assert (found.name, found.version, found.model_type) == ("tree", 7, "ONNX")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("models:/onnx/9", "version=9"),
        ("models:/onnx@none", "none"),
        ("models:/none/1", "none"),
        ("models:/onnx", "neither models:/NAME/VERSION nor models:/NAME@ALIAS"),
        ("models:/code/1", "the model has the flavours python_function; read are onnx"),
    ],
)
def test_what_the_registry_does_not_have_is_said(publish, tmp_path, uri, said):
    done = publish(uri)
    assert done.exit_code == 1 and said in done.output.replace("\n", " ")
    assert not (tmp_path / "models").exists()


def test_a_server_that_is_away_and_none_at_all_are_said(publish, tmp_path):
    away = publish("models:/onnx/1", "--mlflow", f"http://127.0.0.1:{free_port()}")
    assert away.exit_code == 1 and "cannot be reached" in away.output
    none = publish("models:/onnx/1", "--mlflow", "file:/somewhere")
    assert none.exit_code == 1 and "no http:// or https:// URL of an MLflow server" in none.output
