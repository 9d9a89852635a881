"""What kind of model a path holds, and the one file in which it travels."""

from __future__ import annotations

import os
import zipfile
from importlib import import_module
from pathlib import Path

from millrace.foreign import told
from schemas.errors import ArchiveError, LoadError, SettingsError
from udfs.models.runtimes.archive import SAVED_MODEL, saved_model_folder
from udfs.models.runtimes.catalogue import COMPOSITE, KNOWN_BY, MODEL_TYPES

_EPOCH = (1980, 1, 1, 0, 0, 0)


def type_of(path: Path, given: str = "") -> str:
    """The model type: `given`, or seen from the content. Raises `SettingsError` or `LoadError`."""
    if given:
        if given.upper() not in MODEL_TYPES:
            raise SettingsError(f"{given!r} is no model type; known are {', '.join(MODEL_TYPES).lower()}")
        return given.upper()
    if path.is_dir():
        if (served_folder(path) / SAVED_MODEL).is_file():
            return "TENSORFLOWSAVED"
        raise LoadError(told(path))
    if path.suffix == ".toml":
        return COMPOSITE
    if path.name == SAVED_MODEL:
        raise LoadError(f"{path} is a part of a SavedModel; give its folder {path.resolve().parent}")
    found = next((model_type for model_type, known_by in KNOWN_BY.items() if _says(known_by, path)), None)
    if found is None:
        raise LoadError(told(path))
    return found


def served_folder(path: Path) -> Path:
    """The one SavedModel in a folder, of versions (`1/`, `2/`) the highest; else the folder."""
    try:
        return saved_model_folder(path)
    except ArchiveError:
        return path


def packed(path: Path, scratch: Path) -> Path:
    """`path` itself, or for a folder a zip of it in `scratch`: the same content makes the same bytes.

    Raises `LoadError` for a folder of which a part cannot be read.
    """
    if not path.is_dir():
        return path
    path = served_folder(path)
    target = scratch / f"{path.resolve().name}.zip"
    try:
        _zip(path, target)
    except OSError as e:
        raise LoadError(f"{e.filename or path} cannot be read: {e.strerror or e}") from None
    return target


def _files(folder: Path) -> list[Path]:
    """All files in it, in order. Raises `OSError` for a folder that cannot be looked into, unlike `rglob`."""

    def refuse(error: OSError) -> None:
        raise error

    found = (Path(at) / name for at, _, names in os.walk(folder, onerror=refuse) for name in names)
    return sorted(p for p in found if p.is_file())


def _zip(path: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in _files(path):
            entry = zipfile.ZipInfo(file.relative_to(path).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            entry.file_size = file.stat().st_size  # lets zipfile choose its 64-bit form where it must
            with file.open("rb") as source, archive.open(entry, "w") as out:
                while chunk := source.read(1 << 20):
                    out.write(chunk)


def _says(function: str, path: Path) -> bool:
    module, _, name = function.partition(":")
    return bool(getattr(import_module(module), name)(path))
