"""Keras files that are broken or hostile: refused in one sentence, by a process that may die."""

from __future__ import annotations

import json
import signal
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from millrace import conversion
from millrace.conversion import converted
from millrace.keras_export import why
from schemas.errors import LoadError

DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "d", "units": 1}}


def keras_file(path: Path, *layers: Any, config: bytes | None = None, more: int = 0) -> Path:
    first = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"batch_shape": [None, 3], "name": "i"},
    }
    model = {
        "module": "keras", "class_name": "Sequential", "registered_name": "Sequential",
        "config": {"name": "s", "layers": [first, *layers]},
    }  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.11.0"}')
        archive.writestr("config.json", json.dumps(model) if config is None else config)
        for number in range(more):
            archive.writestr(f"assets/{number}", "")
    return path


def refused(path: Path, scratch: Path) -> str:
    with pytest.raises(LoadError) as error:
        converted(path, scratch)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_unpacks_to_more_than_a_model_may_have_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    monkeypatch.setattr(conversion, "_MOST_CONFIG", 1000)
    path = keras_file(tmp_path / "m.keras", config=b" " * 1001)
    assert "has 1,001 bytes of config.json; a Keras model may have 1,000" in refused(path, tmp_path)
    path = keras_file(tmp_path / "m.keras", more=10_000)
    assert "has 10,002 files in it; a Keras model may have 10,000" in refused(path, tmp_path)
    monkeypatch.setattr("udfs.models.runtimes.tensorflow.saved_model.MAX_BYTES", 100)
    assert "bytes when it is unpacked" in refused(keras_file(tmp_path / "m.keras", DENSE), tmp_path)


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (-signal.SIGABRT, "the process that did so was ended by SIGABRT"),
        (-signal.SIGKILL, "the process that did so was ended by SIGKILL"),
        (-signal.SIGXCPU, "used up its processor time"),
        (1, "in safe mode: the last line. Export"),
        (0, "no reason was given"),
    ],
)
def test_how_the_process_ended_is_told(
    ended: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Traceback\nthe last line\n" if ended > 0 else ""
    done = subprocess.CompletedProcess([], ended, "", text)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    found = refused(keras_file(tmp_path / "m.keras", DENSE), tmp_path)
    assert said in found and "Export it where it was made" in found


def test_one_that_never_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: Any, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(subprocess, "run", run)
    assert "took more than 1800 s" in refused(keras_file(tmp_path / "m.keras", DENSE), tmp_path)


def test_a_model_that_names_a_module_runs_nothing_of_it(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    layer = {"module": "os", "class_name": "system", "config": f"touch {mark}", "registered_name": None}
    said = refused(keras_file(tmp_path / "m.keras", DENSE, layer), tmp_path)
    assert "in safe mode" in said and "for system" in said
    assert not mark.exists()


def test_the_line_that_says_what_was_wrong_is_found() -> None:
    advice = (
        "X could not be deserialized properly. Please ensure that.\n\nconfig={}.\n\nException encountered: "
    )
    assert (
        why(TypeError(f"{advice}Could not locate class 'Mine'.\nMake sure"))
        == "Could not locate class 'Mine'."
    )
    assert why(
        ValueError("A total of 1 objects could not be loaded. For <Dense>:\n\nno such shape\n")
    ).endswith("For <Dense>: no such shape")
    assert why(MemoryError()) == "MemoryError"
