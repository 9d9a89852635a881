"""The files that a SavedModel's tables are filled from: its own assets, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from schemas.errors import LoadError, UnsafeModelError
from udfs.models.runtimes.tensorflow.graph_cut import full
from udfs.models.runtimes.tensorflow.graph_walk import Reached, node_of

ASSETS = "assets"
COLLECTION = "saved_model_assets"  # where TensorFlow 1 lists them
TEXT = 7  # DT_STRING


def asset_files(folder: Path, meta: Any, filling: Reached) -> dict[str, str]:
    """Tensor -> path of the file that is fed to it, of those assets that the initialisers in `filling` read.

    Each is a plain file below `assets/` of the model's own folder, and so part of what its digest is of.
    Raises `UnsafeModelError` for a name that leads elsewhere and `LoadError` for a file that is not there.
    """
    found: dict[str, str] = {}
    root = (folder / ASSETS).resolve()
    for asset in _defined(meta):
        name = asset.filename
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise UnsafeModelError(f"the asset {name!r} lies outside the model's folder")
        if node_of(asset.tensor_info.name) not in filling.nodes:
            continue
        file = folder / ASSETS / path
        if file.is_symlink() or not file.resolve().is_relative_to(root):
            raise UnsafeModelError(f"the asset {name!r} lies outside the model's folder")
        if not file.is_file():
            raise LoadError(f"the model reads the file {ASSETS}/{name}, which is not in the SavedModel")
        found[full(asset.tensor_info.name)] = str(file)
    return found


def read_directly(meta: Any) -> None:
    """Let what reads an asset's name out of a variable read the asset's own tensor, in place.

    TensorFlow 2 keeps the name in a variable of which nothing shows that it still holds what was fed.
    """
    graph_def = meta.graph_def
    names = {full(asset.tensor_info.name) for asset in _defined(meta)}
    kept_in: dict[str, str] = {}
    for node in graph_def.node:
        if node.op == "AssignVariableOp" and len(node.input) > 1 and full(node.input[1]) in names:
            kept_in.setdefault(node_of(node.input[0]), node.input[1])
    for node in graph_def.node:
        if node.op == "ReadVariableOp" and node.input and node_of(node.input[0]) in kept_in:
            controls = [i for i in node.input if i.startswith("^")]
            asset = kept_in[node_of(node.input[0])]
            del node.input[:]
            node.input.extend([asset, *controls])
            node.attr.clear()
            node.op = "Identity"
            node.attr["T"].type = TEXT


def _defined(meta: Any) -> Iterator[Any]:
    from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef  # noqa: PLC0415

    yield from meta.asset_file_def
    if not meta.asset_file_def and COLLECTION in meta.collection_def:
        for packed in meta.collection_def[COLLECTION].any_list.value:
            asset = AssetFileDef()
            if packed.Unpack(asset):
                yield asset
