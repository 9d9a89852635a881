"""Files that become a model of a type that jobs serve here, before they are published.

A Keras model (`.keras`, `.h5`) is exported as a SavedModel, a TensorFlow Lite model becomes ONNX where
tf2onnx is installed, a graph in text form is encoded. What comes out is checked like any other model:
nothing is trusted because it was converted here.
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

from millrace.foreign import recipe, told
from schemas.errors import LoadError
from udfs.models.runtimes.archive import SAVED_MODEL

_HDF5 = b"\x89HDF\r\n"
_KERAS = {"config.json", "metadata.json"}
_MOST_CONFIG = 64 << 20
_MOST_SECONDS = 1800
_MOST_STEPS = 3
"""A pickle becomes its library's own format first."""


def by_recipe(path: Path, scratch: Path) -> Path:
    """What the programs that `millrace check-model` names make of a model of another library.

    Each runs in a process of its own; a pickle's runs the code in it. `path` itself where none is named.
    Raises `LoadError` where a program fails.
    """
    _check_kind(path)
    for step in range(_MOST_STEPS):
        try:
            made_by = recipe(path)
        except OSError as e:
            raise LoadError(f"{path} cannot be read: {e.strerror or e}") from None
        if made_by is None or converted_here(path):
            break
        folder = scratch / f"made-{step}"
        folder.mkdir()
        path = _made([sys.executable, *made_by.arguments(path.resolve())], folder, path)
    return path


def converted_here(path: Path) -> bool:
    """Whether `converted` makes something of it."""
    return path.is_file() and (_is_keras(path) or _is_tflite(path))


def _made(command: list[str], folder: Path, of: Path) -> Path:
    """The one file or folder that the command leaves in `folder`."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)  # noqa: S603
    found = list(folder.iterdir())
    if done.returncode or len(found) != 1:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise LoadError(f"{told(of)} That was tried, and failed: {said:.700}")
    return found[0]


def converted(path: Path, scratch: Path) -> Path:
    """`path` itself, or what it was made into in `scratch`. Raises `LoadError` where it cannot be."""
    if path.is_dir():
        return path
    _check_kind(path)
    if path.name == SAVED_MODEL:
        return path.resolve().parent
    if path.suffix == ".pbtxt":
        return _encoded(path, scratch)
    if _is_tflite(path) and importlib.util.find_spec("tf2onnx") is not None:
        return _from_tflite(path, scratch)
    return _exported(path, scratch) if _is_keras(path) else path


def _check_kind(path: Path) -> None:
    """Raise `LoadError` for what is read once, or without end: a model is read several times."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise LoadError(f"{path} is a pipe, a socket or a device, and no file: write what it gives to a file")


def _is_tflite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == b"TFL3"


def _from_tflite(path: Path, scratch: Path) -> Path:
    """As ONNX, made in a process of its own, since the converter changes how TensorFlow runs in its own."""
    folder = scratch / "onnx"
    folder.mkdir()
    command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", str(path.resolve())]
    return _made([*command, "--output", f"{path.stem}.onnx"], folder, path)


def _is_keras(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(len(_HDF5)) == _HDF5:
            return not path.name.endswith(".weights.h5")
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist()) >= _KERAS


def _exported(path: Path, scratch: Path) -> Path:
    """The Keras model as a SavedModel. It is read in safe mode: what holds Python code is refused."""
    target = scratch / f"{path.stem}-exported"
    _check_size(path)
    command = [sys.executable, "-P", "-m", "millrace.keras_export", _named(path, scratch), str(target)]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        why = f"that took more than {_MOST_SECONDS} s"
    else:
        if done.returncode == 0 and target.is_dir():
            return target
        lines = done.stderr.strip().splitlines() or ["no reason was given"]
        why = lines[-1] if done.returncode >= 0 else _ended(-done.returncode)
    raise LoadError(
        f"{path} is a Keras model that cannot be exported as a SavedModel here, in safe mode: "
        f"{why:.300}. Export it where it was made, model.export('saved'), and publish that folder"
    )


def _ended(number: int) -> str:
    if number == signal.SIGXCPU:
        return "the process that did so used up its processor time"
    from udfs.models.sandbox.processes import signal_name  # noqa: PLC0415

    return f"the process that did so was ended by {signal_name(number)}"


def _check_size(path: Path) -> None:
    """Raise `LoadError` for a file that unpacks to more than a model may have."""
    if not zipfile.is_zipfile(path):
        return
    from udfs.models.runtimes.tensorflow.saved_model import MAX_BYTES, MAX_FILES  # noqa: PLC0415

    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    for what, found, most in (
        ("files in it", len(entries), MAX_FILES),
        ("bytes when it is unpacked", sum(e.file_size for e in entries), MAX_BYTES),
        ("bytes of config.json", max(e.file_size for e in entries if e.filename in _KERAS), _MOST_CONFIG),
    ):
        if found > most:
            raise LoadError(f"{path} has {found:,} {what}; a Keras model may have {most:,}")


def _named(path: Path, scratch: Path) -> str:
    """The file under a name by which Keras knows its format."""
    with path.open("rb") as file:
        suffix = ".h5" if file.read(len(_HDF5)) == _HDF5 else ".keras"
    if path.suffix == suffix:
        return str(path)
    link = scratch / f"{path.stem}{suffix}"
    link.symlink_to(path.resolve())
    return str(link)


def _encoded(path: Path, scratch: Path) -> Path:
    from google.protobuf import text_format  # noqa: PLC0415

    from udfs.models.runtimes.tensorflow.session import configured_tensorflow  # noqa: PLC0415

    graph = configured_tensorflow().compat.v1.GraphDef()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), graph)
    except (text_format.ParseError, UnicodeDecodeError) as e:
        raise LoadError(f"{path} is no GraphDef in text form: {e}") from None
    target = scratch / f"{path.stem}.pb"
    target.write_bytes(graph.SerializeToString())
    return target
