"""Which of an MLflow model's files is the model, and what a server may not do; services ask a real one."""

from __future__ import annotations

import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from millrace.mlflow_models import Mlflow, MlflowModel, model_in
from millrace.mlflow_origin import Origin
from schemas.errors import FetchError, RefusedError, SettingsError, SourceError
from udfs.io.limits import Limits
from udfs.io.s3 import S3Options

KERAS = "flavors:\n  keras:\n    data: data\n    keras_version: 3.1\n  python_function:\n    data: data\n"
SAVED = (
    "flavors:\n  python_function:\n    a: b\n  tensorflow:\n    code: null\n    saved_model_dir: tf2model\n"
)
OF_KERAS = "flavors:\n  tensorflow:\n    data: data\n    model_type: keras\nrun_id: x\n"


@pytest.mark.parametrize(
    ("text", "file", "found"),
    [
        (KERAS, "data/model.keras", "data/model.keras"),
        (SAVED, "tf2model/saved_model.pb", "tf2model"),
        (OF_KERAS, "data/model/saved_model.pb", "data/model"),
        (OF_KERAS, "data/model.h5", "data/model.h5"),
        (
            "flavors:\n  onnx:\n    data: 'model.onnx'\n  sklearn:\n    pickled_model: m.pkl\n",
            "model.onnx",
            "model.onnx",
        ),
        ("flavors:\n  xgboost:\n    data: model.ubj\n", "model.ubj", "model.ubj"),
    ],
)
def test_the_model_is_found_by_its_flavour(tmp_path, text, file, found):
    (tmp_path / "MLmodel").write_text(text)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "keras_module.txt").touch()
    assert model_in(tmp_path) == tmp_path / found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flavors:\n  spark:\n    data: x\n", "the flavours spark; read are onnx"),
        ("flavors:\n  onnx:\n    data: ../outside.onnx\n", "the flavours onnx"),
        ("", "the flavours none"),
        (None, "no MLmodel that can be read"),
    ],
)
def test_what_has_no_flavour_that_is_read_is_refused(tmp_path, text, said):
    (tmp_path / "outside.onnx").touch()
    folder = tmp_path / "model"
    folder.mkdir()
    if text is not None:
        (folder / "MLmodel").write_text(text)
    with pytest.raises(SourceError, match=said):
        model_in(folder)


class Served(Mlflow):
    """A server that lists `files` and hands out ten bytes of each."""

    def __init__(self, files: list[dict[str, object]]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.files = files

    def _open(self, path: str, body: bytes | None = None, method: str | None = None) -> io.BytesIO:
        return io.BytesIO(json.dumps({"files": self.files}).encode() if "?path=" in path else b"x" * 10)


def of(artifacts: str) -> MlflowModel:
    return MlflowModel("wine", 3, "", "", {}, {}, artifacts)


def test_files_of_a_server_stay_in_their_folder_and_within_limits(tmp_path: Path):
    two = [{"path": "a", "is_dir": False}, {"path": "b", "is_dir": False}]
    model = of("mlflow-artifacts://host:5000/0/models/m/artifacts")
    folder = Served(two).download(model, tmp_path / "m", S3Options(), Limits())
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
    for limits in (Limits(max_bytes=15), Limits(max_files=1)):
        with pytest.raises(FetchError, match="wine version 3 holds more than"):
            Served(two).download(model, tmp_path / "n", S3Options(), limits)
    for name in ("../a", "/a", "", "..", "x/y"):
        with pytest.raises(SourceError, match="which is no name of a file"):
            Served([{"path": name}]).download(model, tmp_path / "o", S3Options(), Limits())
    with pytest.raises(SourceError, match="is not opened here"):
        Served(two).download(of("/mnt/share"), tmp_path / "p", S3Options(), Limits())
    with pytest.raises(SettingsError, match="neither models:/NAME/VERSION"):
        Served(two).model("models:/a/b/c")


class CutOff(BaseHTTPRequestHandler):
    """A server that goes away in the middle of a file."""

    def do_GET(self) -> None:
        body = b"x" * 10 if "?path=" not in self.path else json.dumps({"files": [{"path": "a"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if "?path=" in self.path else 25))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_file_that_is_cut_off_is_none(tmp_path: Path):
    """It was taken for the whole file."""
    with HTTPServer(("127.0.0.1", 0), CutOff) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(SourceError, match="15 bytes too few of a file"):
            Mlflow(url).download(of("mlflow-artifacts:/0/m"), tmp_path / "m", S3Options(), Limits())
        server.shutdown()


def test_a_file_whose_server_is_silent_is_told(tmp_path: Path):
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise TimeoutError("timed out")

    class Silent(Served):
        def _open(self, path: str, body: bytes | None = None, method: str | None = None) -> io.BytesIO:
            return super()._open(path) if "?path=" in path else Broken()

    with pytest.raises(SourceError, match="cannot be reached: timed out"):
        Silent([{"path": "a"}]).download(of("mlflow-artifacts:/0/m"), tmp_path / "m", S3Options(), Limits())


class Registered(Mlflow):
    """A server with one version of a model, and its run."""

    def _open(self, path: str, body: bytes | None = None, method: str | None = None) -> io.BytesIO:
        tags = [{"key": key, "value": "x"} for key in ("mlflow.user", "millrace.served", "millraces", "team")]
        version = {"name": "wine", "version": "3", "run_id": "r", "tags": tags[:3]}
        told = {"model_version": version, "run": {"data": {"tags": tags[1:]}}, "artifact_uri": "s3://a"}
        return io.BytesIO(json.dumps(told).encode())


def test_tags_of_mlflow_and_those_written_back_are_left_there():
    assert Registered("http://mlflow").model("models:/wine/3").tags == {"millraces": "x", "team": "x"}


def measured(name: str, value: float, dataset: str = "", step: int = 0) -> dict[str, object]:
    return {"key": name, "value": value, "dataset_name": dataset, "step": step, "timestamp": 1}


SOURCES = {"good": "models:/m-a", "poor": "models:/m-b", "copy": "models:/good/1", "bare": "models:/m-gone"}
LOGGED = {
    "m-a": [
        measured("accuracy", 0.5, "holdout"),
        measured("accuracy", 0.99, "holdout", 2),
        measured("accuracy", 1.0, "train"),
    ],
    "m-b": [measured("accuracy", 0.55, "holdout"), measured("auc", 0.6), measured("accuracy", 1.0)],
}


class TwoOfOneRun(Mlflow):
    """A server with two models of one run: `good`, and `poor`, which was logged and measured when `good` had
    been, so that MLflow has given it a value of `good` too. `copy` was copied from `good`; `bare` is of no
    logged model that is there."""

    def _open(self, path: str, body: bytes | None = None, method: str | None = None) -> io.BytesIO:
        what = path.removeprefix("/api/2.0/mlflow/")
        name = re.sub(r".*[?&]name=(\w+).*", r"\1", what)
        told: dict[str, object] = {"artifact_uri": "s3://a"}
        if what.startswith("model-versions/get?"):
            version = {"name": name, "version": "1", "run_id": "r", "source": SOURCES[name]}
            told = {"model_version": version}
        elif what.startswith("runs/get"):
            newest = [measured("accuracy", 0.55), measured("auc", 0.6), measured("loss", 0.3)]
            outputs = {"model_outputs": [{"model_id": one} for one in LOGGED]}
            info = {"experiment_id": "0", "run_id": "r"}
            told = {"run": {"info": info, "data": {"metrics": newest}, "outputs": outputs}}
        elif what == "logged-models/search" and body is not None:
            page = json.loads(body).get("page_token", "m-a")
            told = {"models": [{"info": {"model_id": page}, "data": {"metrics": LOGGED[page]}}]}
            told |= {"next_page_token": "m-b"} if page == "m-a" else {}
        elif what.startswith("logged-models/"):
            model = what.removeprefix("logged-models/").rstrip("?")
            if model not in LOGGED:
                raise RefusedError("gone", 404, "RESOURCE_DOES_NOT_EXIST")
            told = {"model": {"data": {"metrics": LOGGED[model]}}}
        return io.BytesIO(json.dumps(told).encode())


def test_a_model_brings_its_own_metrics_and_those_of_its_run_that_are_no_models():
    server, of_run = TwoOfOneRun("http://mlflow"), {("loss", ""): 0.3}
    good = {("accuracy", "holdout"): 0.99, ("accuracy", "train"): 1.0, **of_run}
    wanted = {"good": good, "copy": good, "bare": of_run}
    wanted["poor"] = {("accuracy", "holdout"): 0.55, ("auc", ""): 0.6, **of_run}
    assert {name: server.model(f"models:/{name}/1").metrics for name in wanted} == wanted


def test_a_url_that_holds_a_password_is_refused_and_not_repeated():
    with pytest.raises(SettingsError, match="MLFLOW_TRACKING_USERNAME") as refused:
        Mlflow("https://ada:s3cret@mlflow/")
    assert "s3cret" not in str(refused.value)
    Mlflow("https://mlflow/a@b")


@pytest.mark.parametrize(
    "origin",
    [
        Origin("wine", 3, "http://mlflow:5000"),
        Origin("wine", 3, "http://mlflow:5000/a,b", "0a-b_c"),
        Origin("of MLflow at x, run y", 12, "https://mlflow", "r"),
    ],
)
def test_what_publishing_notes_is_read_again(origin):
    assert Origin.of(str(origin)) == origin


def test_other_sources_are_of_no_mlflow():
    for source in ("", "models:/wine/3", "hub:wine", "models:/a/b/3 of MLflow at http://x"):
        assert Origin.of(source) is None


def test_one_server_has_several_ways_to_be_written():
    origin = Origin("wine", 3, "http://mlflow/ml")
    assert origin.is_at(["http://MLFLOW:80/ml/"])
    for other in ("https://mlflow/ml", "http://mlflow:8080/ml", "http://mlflow/", "http://mlflow2/ml"):
        assert not origin.is_at([other])
    assert not origin.is_at([]) and not Origin("wine", 3, "http://a:port").is_at(["http://a"])
