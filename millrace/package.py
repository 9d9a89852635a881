"""What kind of model a path holds, and the one file in which it travels."""

from __future__ import annotations

import re
import tarfile
import zipfile
from pathlib import Path

from schemas.errors import LoadError, SettingsError

_TYPES = ("TENSORFLOW", "TENSORFLOWSAVED", "PMML", "GRAPH")
_PROLOGUE = r"(\s|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(\[.*?\])?\s*>)*"
_PMML = re.compile(_PROLOGUE + r"<([\w.-]+:)?PMML[\s>/]", re.DOTALL)
_HEAD = 64 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)


def type_of(path: Path, given: str = "") -> str:
    """The model type: `given`, or seen from the content. Raises `SettingsError` or `LoadError`."""
    if given:
        if given.upper() not in _TYPES:
            raise SettingsError(f"{given!r} is no model type; known are {', '.join(_TYPES).lower()}")
        return given.upper()
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "TENSORFLOWSAVED"
        raise LoadError(f"the folder {path} has no saved_model.pb, so it is no SavedModel")
    if path.suffix == ".toml":
        return "GRAPH"
    if _holds_saved_model(path):
        return "TENSORFLOWSAVED"
    if _is_pmml(path):
        return "PMML"
    if path.name == "saved_model.pb":
        raise LoadError(f"{path} is a part of a SavedModel; give its folder {path.resolve().parent}")
    if _is_graph(path):
        return "TENSORFLOW"
    raise LoadError(f"{path} is neither PMML nor a frozen graph nor a SavedModel; say what it is with --type")


def packed(path: Path, scratch: Path) -> Path:
    """`path` itself, or for a folder a zip of it in `scratch`: the same content makes the same bytes."""
    if not path.is_dir():
        return path
    target = scratch / f"{path.resolve().name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(path).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            entry.file_size = file.stat().st_size  # lets zipfile choose its 64-bit form where it must
            with file.open("rb") as source, archive.open(entry, "w") as out:
                while chunk := source.read(1 << 20):
                    out.write(chunk)
    return target


def _holds_saved_model(path: Path) -> bool:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            names = tar.getnames()
    else:
        return False
    return any(Path(name).name == "saved_model.pb" for name in names)


def _is_pmml(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    return _PMML.match(head.decode("utf-16" if wide else "utf-8-sig", "ignore")) is not None


def _is_graph(path: Path) -> bool:
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from tensorflow.core.framework.graph_pb2 import GraphDef  # noqa: PLC0415

    graph = GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except DecodeError:
        return False
    # Many bytes parse as something; a graph has nodes, and each says what it does.
    return bool(graph.node) and all(node.op for node in graph.node)
