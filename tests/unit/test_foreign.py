"""Files that are of no model type: what they are is seen from their content, and said with what to run."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from millrace.cli import app
from millrace.conversion import by_recipe, converted
from millrace.foreign import told
from millrace.package import packed, type_of
from millrace.upload import upload
from schemas.errors import LoadError, SourceError
from tests.onnx_models import constant, node, onnx_model
from udfs.io.s3 import S3Options
from udfs.models.digest import digest_of

X = np.random.default_rng(3).normal(size=(200, 4))
Y = (X[:, 0] > 0).astype(int)


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name in names:
            out.writestr(name, b"x")
    return buffer.getvalue()


class Opened:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


FILES = {
    "model.keras": (archive("metadata.json", "config.json", "w.weights.h5"), "a Keras", "export('saved')"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "as which Keras 2 saved models", "load_model('PATH')"),
    "m.weights.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "weights of a Keras model without", ".keras"),
    "model.tflite": (b"\x1c\0\0\0TFL3" + bytes(100), "a TensorFlow Lite", "tf2onnx.convert --tflite PATH"),
    "model.ort": (b"\x1c\0\0\0ORTM" + bytes(100), "ONNX Runtime's own format", "publish the .onnx file"),
    "script.pt": (archive("m/data.pkl", "m/code/__torch__.py"), "a TorchScript model", "torch.onnx.export("),
    "state.pt": (archive("m/data.pkl", "m/version"), "a PyTorch file (a pickle)", "torch.onnx.export("),
    "model.pt2": (archive("serialized_exported_program.json"), "a program of torch.export", "torch.onnx"),
    "model.skops": (archive("schema.json", "a.npy"), "in skops' format", "millrace.to_onnx skops PATH"),
    "mojo.zip": (archive("model.ini", "experimental/x"), "a MOJO of H2O", "export an ONNX file"),
    "nothing.zip": (archive(), "an archive that is empty or damaged", "give an ONNX file"),
    "cut.zip": (archive("a" * 50)[:40], "nothing that is known here, or damaged", "--type"),
    "of_onnx.zip": (archive("dir/m.onnx"), "an archive with dir/m.onnx in it", "check-model dir/m.onnx"),
    "other.zip": (archive("readme"), "an archive without a saved_model.pb", "give an ONNX file"),
    "model.cbm": (b"CBM1" + bytes(20), "a CatBoost model", "-m millrace.to_onnx catboost PATH"),
    "old.model": (b"binf" + bytes(20), "XGBoost model in its old binary format", "save_model('model.ubj')"),
    "dump.txt": (b"booster[0]:\n0:[f0<1] yes=1,no=2\n", "a dump of an XGBoost", "save_model('model.ubj')"),
    "w.safetensors": (b"\x10\0\0\0\0\0\0\0" + b'{"w":{"d":1}', "weights of a network", "torch.onnx"),
    "m.gguf": (b"GGUF\x03\0\0\0", "a language model", "llama.cpp"),
    "m.rds": (b"X\n\0\0\0\x03", "an object of R", "r2pmml"),
    "a.npy": (b"\x93NUMPY\x01\0", "data and no model", "give an ONNX file"),
    "lfs.onnx": (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS", "git lfs pull"),
    "arch.json": (b'{"class_name": "Sequential"}', "architecture of a Keras model", ".keras"),
    "ir.xml": (b'<?xml version="1.0"?><net name="m"/>', "a model of OpenVINO", ".onnx"),
    "other.xml": (b"<html></html>", "XML and no PMML", "export an ONNX file"),
    "a.csv": (b"a,b\n1,2\n", "text and no model", "give an ONNX file"),
    "empty": (b"", "an empty file", "give an ONNX file"),
    "noise": (bytes(range(256)) * 4, "nothing that is known here", "--type"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_known_by_its_content(tmp_path, name):
    content, what, todo = FILES[name]
    path = tmp_path / (name if name.endswith(".weights.h5") else "model.bin")
    path.write_bytes(content)
    said = told(path)
    assert said.startswith(f"{path} is ") and said.count("\n") == 0
    assert what in said and todo.replace("PATH", str(path)) in said
    with pytest.raises(LoadError, match=re.escape(what)):
        type_of(path)


def test_folders_are_known_by_what_is_in_them(tmp_path):
    def folder(name, *files):
        for file in files:
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes(b"x")
        return tmp_path / name

    (tmp_path / "none").mkdir()
    for path, what in (
        (tmp_path / "none", "an empty folder"),
        (folder("spark", "metadata/part-00000"), "a model of Spark ML"),
        (folder("hf", "config.json", "model.safetensors"), "a Hugging Face model"),
        (folder("hf-onnx", "config.json", "model.onnx"), "a folder with model.onnx in it"),
        (folder("ckpt", "checkpoint", "m.ckpt.index"), "a TensorFlow checkpoint"),
        (folder("written", "c.index", "c.data-00000-of-00001"), "a TensorFlow checkpoint"),
        (
            folder(
                "three", "a/saved_model.pb", "a/variables/variables.data-00000-of-00001", "b/saved_model.pb"
            ),
            f"`millrace check-model {tmp_path}/three/a`",
        ),
        (folder("mlflow", "MLmodel", "model.pkl"), f"run `millrace check-model {tmp_path}/mlflow/model.pkl`"),
        (folder("two", "a/saved_model.pb", "b/saved_model.pb"), f"`millrace check-model {tmp_path}/two/a`"),
        (folder("text", "readme"), "a folder without a saved_model.pb"),
    ):
        with pytest.raises(LoadError, match=re.escape(what)):
            type_of(path)


def test_the_layout_of_tensorflow_serving_is_taken_as_it_is(tmp_path):
    for version in ("1", "9", "10", "11"):
        (tmp_path / "m" / version).mkdir(parents=True)
        if version != "11":
            (tmp_path / "m" / version / "saved_model.pb").write_bytes(version.encode())
    assert type_of(tmp_path / "m") == "TENSORFLOWSAVED"
    with zipfile.ZipFile(packed(tmp_path / "m", tmp_path)) as made:
        assert made.read("saved_model.pb") == b"10"


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_joblib_file_with_an_array_before_the_model_is_known_by_the_model(tmp_path, protocol):
    joblib = pytest.importorskip("joblib")
    from sklearn.linear_model import LogisticRegression

    kept = {"features": np.arange(300.0), "model": LogisticRegression().fit(X, Y)}
    joblib.dump(kept, tmp_path / "m.joblib", protocol=protocol)
    assert "a pickle of scikit-learn, which runs code" in told(tmp_path / "m.joblib")
    joblib.dump({"features": np.arange(300.0)}, tmp_path / "m.joblib", protocol=protocol)
    assert "a pickle, which runs code" in told(tmp_path / "m.joblib")


def test_a_lightgbm_model_described_in_json_is_known(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    booster = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, Y).booster_
    (tmp_path / "m.json").write_text(json.dumps(booster.dump_model()))
    said = told(tmp_path / "m.json")
    assert "a LightGBM model as `dump_model` describes it" in said and "save_model('model.txt')" in said


@pytest.mark.parametrize("made_by", ["", "skl2onnx"])
def test_an_onnx_model_that_is_cut_is_known(tmp_path, made_by):
    model = onnx_model([node("MatMul", ["x", "w"], ["y"])], weights=[constant("w", np.ones((2, 2)))])
    model.producer_name = made_by
    model.doc_string = "d" * 100
    whole, path = model.SerializeToString(), tmp_path / "m.bin"
    path.write_bytes(whole)
    assert type_of(path) == "ONNX"
    for count in (len(whole) // 2 + 60, len(whole) - 1):
        path.write_bytes(whole[:count])
        assert "is an ONNX model that is damaged, or cut short: copy it" in told(path)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_are_read_and_never_opened(tmp_path, protocol):
    path, trace = tmp_path / "m.pkl", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"model": Opened(trace)}, protocol))
    said = told(path)
    assert "a pickle, which runs code when it is opened, so it is not opened here" in said
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()  # so the trace would have been seen


def sklearn(path):
    from sklearn.linear_model import LogisticRegression

    joblib = pytest.importorskip("joblib")
    model = LogisticRegression().fit(X, Y)
    joblib.dump(model, path, compress=3 if path.suffix == ".joblib" else 0)
    return model.predict_proba(X.astype("f"))[:, 1]


def xgb(path):
    xgboost = pytest.importorskip("xgboost")
    model = xgboost.XGBClassifier(n_estimators=5).fit(X, Y)
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(model))
    else:
        model.save_model(path)
    return model.predict_proba(X.astype("f"))[:, 1]


def lgbm(path):
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(X, Y)
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(model))
    else:
        model.booster_.save_model(path)
    return model.predict_proba(X.astype("f"))[:, 1]


@pytest.mark.parametrize(
    ("name", "make", "what"),
    [
        ("m.json", xgb, "an XGBoost model (JSON)"),
        ("m.ubj", xgb, "an XGBoost model (UBJSON)"),
        ("x.pkl", xgb, "a pickle of XGBoost"),
        ("m.txt", lgbm, "a LightGBM model (text)"),
        ("m.joblib", sklearn, "a joblib file (a compressed pickle) of scikit-learn"),
    ],
)
def test_what_is_told_to_run_makes_a_model_that_scores_the_same(tmp_path, name, make, what):
    from tests.onnx_models import loaded

    pytest.importorskip("onnxmltools")
    expected = make(tmp_path / name)
    at = Path(name)
    for _ in range(2):  # a pickle is saved as the library's own file first
        done = CliRunner().invoke(app, ["check-model", str(tmp_path / at)])
        assert done.exit_code == 1 and (what in done.stderr or at != Path(name))
        program = re.search(r"run `python (.*?)`, then `millrace [a-z-]+ (\S+)`", done.stderr)
        assert program is not None
        told_to_run = [sys.executable, *shlex.split(program[1])]
        subprocess.run(told_to_run, cwd=tmp_path, check=True, timeout=300)
        at = Path(program[2])
        if at.suffix == ".onnx":
            break
    assert type_of(tmp_path / "model.onnx") == "ONNX"
    runtime = loaded((tmp_path / "model.onnx").read_bytes())
    answer = runtime.predict({runtime.inputs[0].name: X.astype("f")})
    column = next(o.name for o in runtime.outputs if o.name.endswith(("_1", "probabilities")))
    got = answer[column] if answer[column].ndim == 1 else answer[column][:, 1]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_tensorflow_lite_model_becomes_onnx(tmp_path: Path) -> None:
    from millrace.conversion import converted
    from udfs.models.runtimes.base import Artifact, WantedSignature
    from udfs.models.runtimes.onnx.runtime import load
    from udfs.models.runtimes.tensorflow.session import configured_tensorflow

    tf = configured_tensorflow()
    weights = np.array([[1.0, -2.0], [0.5, 3.0]], "float32")
    spec = tf.TensorSpec((None, 2), tf.float32, name="x")
    call = tf.function(
        lambda x: tf.nn.relu(tf.matmul(x, weights)), input_signature=[spec]
    ).get_concrete_function()
    path = tmp_path / "m.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([call]).convert())
    made = converted(path, tmp_path)
    assert type_of(made, "") == "ONNX"
    wanted = WantedSignature(fields=("a", "b"))
    model = load(Artifact(made.read_bytes(), None, tmp_path), wanted)
    rows = np.array([[1.0, 2.0], [-3.0, 0.5]], "float32")
    (answer,) = model.predict({model.inputs[0].name: rows}).values()
    np.testing.assert_allclose(answer, np.maximum(rows @ weights, 0), rtol=1e-6)
    model.close()


def test_what_can_be_read_once_or_without_end_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for convert in (converted, by_recipe):
            with pytest.raises(LoadError, match="a pipe, a socket or a device, and no file"):
                convert(path, tmp_path)


def test_a_folder_of_which_a_part_cannot_be_read_is_not_published_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "m"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"x")
    look = os.scandir

    def refuse(path: str | Path) -> Any:
        if Path(path).name == "variables":
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(LoadError, match=r"m/variables cannot be read: Permission denied"):
        packed(folder, tmp_path)
    monkeypatch.undo()
    (folder / "saved_model.pb").chmod(0)
    refused = PermissionError(13, "Permission denied", str(folder / "saved_model.pb"))
    monkeypatch.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(refused))
    with pytest.raises(LoadError, match=r"saved_model.pb cannot be read: Permission denied"):
        packed(folder, tmp_path)


def test_a_file_that_changes_while_it_is_published_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"first")
    sha256 = digest_of(tmp_path / "m.onnx").sha256
    (tmp_path / "m.onnx").write_bytes(b"second")
    with pytest.raises(SourceError, match=r"m.onnx changed while it was published"):
        upload(tmp_path / "m.onnx", (tmp_path / "store").as_uri(), "t", sha256, S3Options())
    assert [p for p in (tmp_path / "store").rglob("*") if p.is_file()] == []
