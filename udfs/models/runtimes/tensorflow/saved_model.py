"""TENSORFLOWSAVED: a SavedModel folder, or one in a zip, tar or tar.gz, called by one of its signatures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from schemas.errors import InputsError, LoadError, UnsafeModelError
from udfs.models.runtimes.archive import SAVED_MODEL, saved_model_folder, unpack
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature
from udfs.models.runtimes.tensor_inputs import ModelTensor, bound_inputs
from udfs.models.runtimes.tensorflow.frozen_graph import VARIABLES
from udfs.models.runtimes.tensorflow.graph_safety import check_saved_model, initialisers, parsed
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, Reached
from udfs.models.runtimes.tensorflow.session import (
    SessionRuntime,
    configured_tensorflow,
    first_line,
    imported,
    model_tensor,
    session_on,
)

MAX_BYTES = 2 << 30
MAX_FILES = 10_000
SERVE = "serve"
DEFAULT_SIGNATURE = "serving_default"


def load(
    artifact: Artifact, wanted: WantedSignature, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES
) -> Runtime:
    """Load a SavedModel of TensorFlow 1 or 2 from archive bytes, an archive file, or a folder.

    The signature is `wanted.signature`, else the only one, else `serving_default`. Inputs and outputs have
    the names that the signature gives them. An archive is unpacked into `artifact.scratch` and deleted
    again before this returns; `max_bytes` and `max_files` bound it.
    """
    if artifact.path is not None and artifact.path.is_dir():
        return _load(saved_model_folder(artifact.path), wanted)
    try:
        data = artifact.data if artifact.data is not None else artifact.path.read_bytes()  # type: ignore[union-attr]
    except OSError as e:
        raise LoadError(f"the SavedModel cannot be read: {e.strerror or e}") from e
    with tempfile.TemporaryDirectory(prefix="unpacked-", dir=artifact.scratch) as folder:
        return _load(unpack(data, Path(folder), max_bytes, max_files), wanted)


def _load(folder: Path, wanted: WantedSignature) -> Runtime:
    configured_tensorflow()
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel  # noqa: PLC0415

    _check_links(folder)
    try:
        data = (folder / SAVED_MODEL).read_bytes()
    except OSError as e:
        raise LoadError(f"the {SAVED_MODEL} cannot be read: {e.strerror or e}") from e
    saved = parsed(SavedModel(), data, "SavedModel")
    check_saved_model(saved)
    meta = _meta_graph(saved)
    signature = _signature(meta, wanted.signature)
    fetches = _outputs(signature, wanted)
    walk = GraphWalk(meta.graph_def)
    needed = _needed(walk, folder, meta, [*fetches.values(), *(i.name for i in signature.inputs.values())])
    graph = imported(walk.pruned(needed))
    names = sorted(signature.inputs)
    if not names:
        raise InputsError("the signature has no inputs: choose another")
    bound = bound_inputs([_tensor(graph, name, signature.inputs[name]) for name in names], wanted)
    session = session_on(graph)
    try:
        _restore(session, folder, meta, needed)
        return SessionRuntime(session, bound, [signature.inputs[n].name for n in names], fetches)
    except BaseException:
        session.close()
        raise


def _check_links(folder: Path) -> None:
    root = folder.resolve()
    for path in folder.rglob("*"):
        if not path.resolve().is_relative_to(root):
            raise UnsafeModelError(f"{path.name!r} in the SavedModel is a link that leaves its folder")


def _meta_graph(saved: Any) -> Any:
    graphs = list(saved.meta_graphs)
    graphs.sort(key=lambda m: len(m.meta_info_def.tags))
    for meta in graphs:
        if SERVE in meta.meta_info_def.tags or len(graphs) == 1:
            return meta
    raise LoadError(f"no graph of the SavedModel is tagged {SERVE!r}: export it for serving")


def _signature(meta: Any, wanted: str) -> Any:
    # names with two underscores are TensorFlow's own: initialisers and the like
    callable_ = {k: s for k, s in meta.signature_def.items() if not k.startswith("__") and s.outputs}
    name = wanted or (next(iter(callable_)) if len(callable_) == 1 else DEFAULT_SIGNATURE)
    if name not in callable_:
        there = ", ".join(map(repr, sorted(callable_))) or "none"
        raise LoadError(f"the SavedModel has no signature {name!r}: it has {there}")
    return callable_[name]


def _outputs(signature: Any, wanted: WantedSignature) -> dict[str, str]:
    """Output name -> tensor name."""
    pairs = list(wanted.outputs) or [(key, key) for key in sorted(signature.outputs)]
    fetches: dict[str, str] = {}
    for key, alias in pairs:
        if key not in signature.outputs:
            there = ", ".join(map(repr, sorted(signature.outputs)))
            raise LoadError(f"the signature has no output {key!r}: it has {there}")
        if not signature.outputs[key].name:
            raise LoadError(f"output {key!r} is sparse or ragged: export a dense one, or name other outputs")
        fetches[alias or key] = signature.outputs[key].name
    if len(fetches) != len(pairs):
        raise LoadError("two outputs would have the same name: give them different ones")
    return fetches


def _tensor(graph: Any, name: str, info: Any) -> ModelTensor:
    if not info.name:
        raise InputsError(f"input {name!r} is sparse or ragged: export a dense one")
    try:
        found = model_tensor(name, graph.get_tensor_by_name(info.name))
    except (KeyError, ValueError):
        raise LoadError(f"the signature names a tensor {info.name!r} that the graph does not have") from None
    declared = info.tensor_shape
    if declared.unknown_rank or found.shape is not None:
        return found
    shape = tuple(None if d.size < 0 else d.size for d in declared.dim)
    return ModelTensor(found.name, found.dtype, found.dtype_name, shape)


def _needed(walk: GraphWalk, folder: Path, meta: Any, tensors: list[str]) -> Reached:
    """What serving, initialising and restoring depend on; saving is left out and never loaded."""
    roots = [*tensors, *initialisers(meta), *(a.tensor_info.name for a in meta.asset_file_def)]
    saver = meta.saver_def
    if (folder / "variables" / "variables.index").is_file() and saver.restore_op_name:
        return walk.reach([*roots, saver.restore_op_name, saver.filename_tensor_name])
    needed = walk.reach(roots)
    if held := sorted(n for n in needed.nodes if walk.nodes[n].op in VARIABLES):
        raise LoadError(f"the SavedModel has the variable {held[0]!r}, and no variables/ beside it")
    return needed


def _restore(session: Any, folder: Path, meta: Any, needed: Reached) -> None:
    saver = meta.saver_def
    assets = {a.tensor_info.name: str(folder / "assets" / a.filename) for a in meta.asset_file_def}
    try:
        if saver.restore_op_name in needed.nodes:
            prefix = str(folder / "variables" / "variables")
            session.run(saver.restore_op_name, {saver.filename_tensor_name: prefix})
        for name in initialisers(meta):
            session.run(name, assets)
    # a damaged checkpoint or a graph that contradicts it: OpErrors, and ValueErrors for lost tensors
    except Exception as e:
        raise LoadError(f"the SavedModel's variables or tables cannot be restored: {first_line(e)}") from e
