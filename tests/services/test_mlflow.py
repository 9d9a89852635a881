"""`millrace publish models:/...` from a real MLflow server, which has an environment of its own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner, Result

from devservices.process import Process, free_port
from millrace.cli import app
from millrace.mlflow_models import Mlflow
from millrace.mlflow_origin import Origin
from millrace.mlflow_served import LONGEST_VALUE
from schemas.errors import RefusedError
from schemas.results.records import EventKind
from tests.own_environment import python_with
from tests.registered import event
from udfs.models.descriptor import Publication, parse
from udfs.stores.registry.model_records import AliasChange
from udfs.stores.registry.models import ModelRegistry

SAME = ("lightgbm", "numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx", "xgboost-cpu")
"""Whose models are read here: of the versions that are here."""
LEAN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""Without the server's workers for jobs of its own, each of which is a process that imports all of MLflow."""


@contextmanager
def serving(python: Path, folder: Path, *more: str, **environment: str) -> Iterator[str]:
    """The URL of a server that keeps everything in the folder."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [python, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", folder / "artifacts", "--host", "127.0.0.1", "--port", str(port)]
    process = Process(
        "mlflow", [*command, "--workers", "1", *more], folder / "server.log", LEAN | environment
    )

    def ready() -> bool:
        try:
            return urlopen(f"{url}/health").status == 200
        except OSError:
            return False

    try:
        process.wait_ready(ready, 180)
        yield url
    finally:
        process.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a registered model of each flavour."""
    same = [f"{name}=={version(name)}" for name in SAME]
    python = python_with("mlflow", "mlflow==3.17.2", *same)
    with serving(python, tmp_path_factory.mktemp("mlflow")) as url:
        filled = subprocess.run(
            [python, Path(__file__).with_name("mlflow_models.py"), url],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | LEAN,
        )
        assert filled.returncode == 0, filled.stderr
        yield url


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


def test_of_two_models_of_one_run_each_brings_its_own_metrics_by_data_set(publish, tmp_path):
    registry = f"sqlite:///{tmp_path}/registry.db"
    for name in ("good", "poor"):
        done = publish(f"models:/{name}/1", "--registry", registry)
        assert done.exit_code == 0, done.output
    reader = ModelRegistry(registry)
    found = {m.name: {(one.dataset, one.value) for one in m.metrics} for m in reader.models()}
    reader.close()
    assert found == {
        "good": {("holdout", 0.99), ("train", 0.94)},
        "poor": {("holdout", 0.55), ("train", 0.5)},
    }


def test_when_a_version_served_is_written_to_its_tags_and_found_by_them(publish, server, tmp_path):
    def ask(what: str, **sent: str) -> Any:
        url, body = f"{server}/api/2.0/mlflow/model-versions/{what}", json.dumps(sent).encode()
        method, headers = ("DELETE", {"Content-Type": "application/json"}) if sent else ("GET", {})
        with urlopen(Request(url, body if sent else None, headers, method=method)) as answer:
            return json.load(answer)

    def version_of(name: str) -> dict[str, Any]:
        return ask(f"get?name={name}&version=1")["model_version"]

    registry = f"sqlite:///{tmp_path}/registry.db"
    done = publish("models:/onnx/1", "--registry", registry, "--name", "line")
    assert done.exit_code == 0, done.output
    known = ModelRegistry(registry)
    (model,) = known.models()
    of_deleted = Origin("deleted", 1, server, version_of("deleted").get("run_id", ""))
    known.put(replace(model, name="deleted", source=str(of_deleted)))
    hour = 3_600_000
    now = time.time_ns() // 1_000_000
    begins = range(now - 200 * hour, now, hour)
    for since in begins:  # more of them than a tag can hold, all ended but the last
        told = {"version": 1, "name": "line", "digest": model.digest}
        ended = [event(EventKind.WITHDRAWN, since + hour // 2, **told)] if since != begins[-1] else []
        known.add_events("serve", [event(EventKind.SERVED, since, **told), *ended])
    known.add_events("serve", [event(EventKind.SERVED, now, 1, name="deleted", digest=model.digest)])
    known.close()
    ask("delete", name="deleted", version="1")

    command = ["models", "write-back", "--mlflow", server, "--registry", registry]
    first, second = (CliRunner().invoke(app, command) for _ in range(2))
    assert first.exit_code == second.exit_code == 0, first.output + second.output
    assert "Versions: 1 written, 1 gone" in first.stdout and "Gone: deleted version 1" in first.stderr
    assert "Versions: 1 unchanged, 1 gone" in second.stdout
    tags = {one["key"]: one["value"] for one in version_of("onnx")["tags"]}
    assert tags["tried"] == "yes" and tags["millrace.serving"] == "true"
    told, *_, rest = tags["millrace.served"].split("; ")
    assert told.endswith("/.. serve (wine as line 1)") and " earlier since " in rest
    assert LONGEST_VALUE - 200 < len(tags["millrace.served"]) <= LONGEST_VALUE
    for serving, found in (("true", ["onnx"]), ("false", [])):
        asked = quote(f"tags.`millrace.serving` = '{serving}'")
        listed = ask(f"search?filter={asked}")
        assert [one["name"] for one in listed.get("model_versions", ())] == found


def test_aliases_follow_those_of_the_registry(publish, server, tmp_path):
    registry = f"sqlite:///{tmp_path}/registry.db"
    done = publish("models:/good/1", "--registry", registry, "--name", "line")
    assert done.exit_code == 0, done.output
    command = ["models", "write-back", "--mlflow", server, "--registry", registry, "--aliases"]
    there = Mlflow(server)
    for at, stands_for in enumerate((1, 0), 1):
        known = ModelRegistry(registry)
        known.set_alias(AliasChange("wine", "line", "best", stands_for, at))
        known.close()
        for said in ("1 written", "1 unchanged"):
            done = CliRunner().invoke(app, command)
            assert done.exit_code == 0 and f"Aliases: {said}" in done.stdout, done.output
        assert there.aliases("good") == ({"best": 1} if stands_for else {})


def test_a_server_with_a_login_is_asked_as_who_the_environment_says(tmp_path, monkeypatch):
    """MLflow's own app for that, which has users and passwords."""
    python = python_with("mlflow-login", "mlflow[auth]==3.17.2")
    users = tmp_path / "auth.ini"
    users.write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = ada\nadmin_password = of-twelve-letters\n"
        f"database_uri = sqlite:///{tmp_path}/users.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    asked = {"MLFLOW_AUTH_CONFIG_PATH": str(users), "MLFLOW_FLASK_SERVER_SECRET_KEY": "any"}
    with serving(python, tmp_path, "--app-name", "basic-auth", **asked) as url:
        there = Mlflow(url)
        for password in (None, "wrong"):
            if password:
                monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
                monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
            with pytest.raises(RefusedError, match="refuses with 401"):
                there.aliases("wine")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of-twelve-letters")
        made = f"{url}/api/2.0/mlflow/registered-models/create"
        pair = base64.b64encode(b"ada:of-twelve-letters").decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {pair}"}
        urlopen(Request(made, b'{"name": "wine"}', headers)).close()
        assert there.aliases("wine") == {}


@pytest.mark.parametrize("flavour", ["sklearn", "xgboost", "lightgbm"])
def test_models_of_other_libraries_are_converted_where_that_is_asked_for(publish, tmp_path, flavour):
    refused = publish(f"models:/{flavour}/1")
    assert refused.exit_code == 1 and "run `python -" in refused.output
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
