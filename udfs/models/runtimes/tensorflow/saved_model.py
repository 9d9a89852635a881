"""TENSORFLOWSAVED: a SavedModel folder, or one in a zip, tar or tar.gz, called by one of its signatures."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from schemas.errors import InputsError, LoadError, UnsafeModelError
from udfs.models.runtimes.archive import SAVED_MODEL, saved_model_folder, unpack
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature
from udfs.models.runtimes.tensor_inputs import ModelTensor
from udfs.models.runtimes.tensorflow.assets import asset_files, read_directly
from udfs.models.runtimes.tensorflow.binding import bind
from udfs.models.runtimes.tensorflow.checkpoint import missing_values
from udfs.models.runtimes.tensorflow.checkpoint_index import check_index
from udfs.models.runtimes.tensorflow.graph_cut import cut, fetched
from udfs.models.runtimes.tensorflow.graph_plain import make_plain
from udfs.models.runtimes.tensorflow.graph_ranks import guard_kernels
from udfs.models.runtimes.tensorflow.graph_safety import Served, check_graph, parsed
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, Reached, attribute
from udfs.models.runtimes.tensorflow.meta_graph import (
    VARIABLES,
    fillers,
    outputs_of,
    serving_graph,
    signature_of,
    union,
)
from udfs.models.runtimes.tensorflow.runtime import SessionRuntime
from udfs.models.runtimes.tensorflow.served import ServedGraph, inspect
from udfs.models.runtimes.tensorflow.session import (
    configured_tensorflow,
    first_line,
    imported,
    model_tensor,
    session_on,
)
from udfs.models.runtimes.tensorflow.signature_inputs import declared_inputs

MAX_BYTES = 2 << 30
MAX_FILES = 10_000


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


@dataclass(frozen=True, slots=True)
class _Setup:
    """What runs once before scoring. `restore`: the operator, None where there is nothing to restore.
    `shapes`: of restored variables, as the graph has them."""

    restore: str | None
    filename: str
    prefix: Path
    values: Sequence[tuple[str, NDArray]]
    shapes: Mapping[str, list[int]]
    fills: Sequence[str]
    assets: Mapping[str, str]


def _load(folder: Path, wanted: WantedSignature) -> Runtime:
    configured_tensorflow()
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel  # noqa: PLC0415

    _check_links(folder)
    try:
        data = (folder / SAVED_MODEL).read_bytes()
    except OSError as e:
        raise LoadError(f"the {SAVED_MODEL} cannot be read: {e.strerror or e}") from e
    meta, chosen = serving_graph(parsed(SavedModel(), data, "SavedModel"))
    signature = signature_of(meta, wanted.signature)
    fetches = outputs_of(signature, wanted)
    declared = declared_inputs(meta, signature)
    if not declared:
        raise InputsError("the signature has no inputs: choose another by --signature")
    make_plain(meta.graph_def)
    read_directly(meta)
    fed = cut(meta.graph_def, [part for d in declared for part in d.parts])
    fetches = fetched(meta.graph_def, fetches, fed)
    guard_kernels(meta.graph_def)
    walk = GraphWalk(meta.graph_def)
    scoring = walk.reach(fetches.values())
    fills = fillers(walk, meta, scoring)
    files = asset_files(folder, meta, walk.reach(fills))
    filling = walk.reach([*fills, *files])
    restoring = _restoring(walk, folder, meta, union([scoring, filling]))
    graph_def = walk.pruned(union([scoring, filling, restoring]))
    saver = meta.saver_def
    variables = [saver.filename_tensor_name]
    served = Served(scoring, filling, restoring, variables, list(files), wanted.training, [*fetches.values()])
    order = check_graph(graph_def, served)
    facts = inspect(ServedGraph(GraphWalk(graph_def), order, scoring), declared, fed, fetches)
    prefix = folder / "variables" / "variables"
    unset = scoring.nodes - restoring.nodes - filling.nodes
    missing = sorted(n for n in unset if walk.nodes[n].op == "VarHandleOp")
    if restoring.nodes or missing:
        check_index(prefix)
    setup = _Setup(
        restore=saver.restore_op_name if restoring.nodes else None,
        filename=saver.filename_tensor_name,
        prefix=prefix,
        values=missing_values(meta, walk, prefix, missing),
        shapes=_shapes(walk, scoring.nodes & restoring.nodes),
        fills=fills,
        assets=files,
    )
    graph = imported(graph_def)
    tensors = {d.parts[0]: _tensor(graph, d.name, d.parts[0], signature) for d in facts.declared}
    bound = bind(facts.declared, tensors, graph, wanted)
    session = session_on(graph)
    try:
        _set_up(session, setup)
        return SessionRuntime(
            session,
            bound,
            fetches,
            facts.constants,
            (*chosen, *facts.notes),
            deadline_ms=wanted.deadline_ms,
            writes=facts.writes,
        )
    except BaseException:
        session.close()
        raise


def _check_links(folder: Path) -> None:
    root = folder.resolve()
    for path in folder.rglob("*"):
        if not path.resolve().is_relative_to(root):
            raise UnsafeModelError(f"{path.name!r} in the SavedModel is a link that leaves its folder")


def _tensor(graph: Any, name: str, tensor: str, signature: Any) -> ModelTensor:
    found = model_tensor(name, graph.get_tensor_by_name(tensor))
    declared = signature.inputs[name].tensor_shape if name in signature.inputs else None
    if declared is None or declared.unknown_rank or found.shape is not None:
        return found
    shape = tuple(None if d.size < 0 else d.size for d in declared.dim)
    return ModelTensor(found.name, found.dtype, found.dtype_name, shape)


def _restoring(walk: GraphWalk, folder: Path, meta: Any, needed: Reached) -> Reached:
    """What the saver runs to restore, where scoring reads a variable; saving is left out and never loaded."""
    held = sorted(n for n in needed.nodes if walk.nodes[n].op in VARIABLES)
    saver = meta.saver_def
    if (folder / "variables" / "variables.index").is_file() and saver.restore_op_name:
        if not held and not any(walk.nodes[n].op.startswith("Mutable") for n in needed.nodes):
            return Reached()
        return walk.reach([saver.restore_op_name, saver.filename_tensor_name])
    if held:
        raise LoadError(
            f"the SavedModel has the variable {held[0]!r}, and no variables/ beside it: publish the "
            "whole folder"
        )
    return Reached()


def _shapes(walk: GraphWalk, restored: Collection[str]) -> dict[str, list[int]]:
    """Of those variables among the nodes `restored` that have one whole shape in the graph."""
    found = {}
    for name in sorted(restored):
        node = walk.nodes[name]
        if node.op != "VarHandleOp":
            continue
        shape = attribute(node, "shape").shape
        dims = [d.size for d in shape.dim]
        if not shape.unknown_rank and min(dims, default=0) >= 0:
            found[name] = dims
    return found


def _check_shapes(session: Any, shapes: Mapping[str, list[int]]) -> None:
    """TensorFlow puts values of any shape into a variable. Raises `LoadError`."""
    tf = configured_tensorflow()
    with session.graph.as_default():
        asked = [
            tf.raw_ops.VariableShape(input=session.graph.get_tensor_by_name(f"{name}:0")) for name in shapes
        ]
    for (name, shape), found in zip(shapes.items(), session.run(asked), strict=True):
        if found.tolist() != shape:
            raise LoadError(
                f"the variable {name!r} is {shape} in the graph, and {found.tolist()} in variables/: the "
                "SavedModel is put together of two"
            )


def _set_up(session: Any, setup: _Setup) -> None:
    tf = configured_tensorflow()
    graph = session.graph
    try:
        if setup.restore is not None:
            session.run(setup.restore, {setup.filename: str(setup.prefix)})
            _check_shapes(session, setup.shapes)
        for name, value in setup.values:
            with graph.as_default():
                given = tf.compat.v1.placeholder(value.dtype, value.shape)
                assign = tf.raw_ops.AssignVariableOp(
                    resource=graph.get_tensor_by_name(f"{name}:0"), value=given
                )
            session.run(assign, {given: value})
        for name in setup.fills:
            session.run(name, dict(setup.assets))
    except LoadError:
        raise
    # a damaged checkpoint or a graph that contradicts it: OpErrors, and ValueErrors for lost tensors
    except Exception as e:
        raise LoadError(f"the SavedModel's variables or tables cannot be restored: {first_line(e)}") from e
