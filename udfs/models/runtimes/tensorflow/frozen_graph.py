"""TENSORFLOW: a frozen GraphDef, its input and output tensors found or given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from schemas.errors import InputsError, LoadError
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature
from udfs.models.runtimes.tensor_inputs import ModelTensor, bound_inputs
from udfs.models.runtimes.tensorflow.graph_safety import check_graph_def, parsed
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, node_of
from udfs.models.runtimes.tensorflow.session import (
    SessionRuntime,
    configured_tensorflow,
    imported,
    model_tensor,
    session_on,
)

VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})
FILLS_TABLE = frozenset({"InitializeTable", "InitializeTableV2", "LookupTableImport", "LookupTableImportV2"})
NO_RESULT = frozenset({"Assert", "Assign", "AssignVariableOp", "Const", "NoOp", "Placeholder"})
MULTIPLIES = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2"})
ELEMENTWISE = frozenset({"Add", "AddV2", "BiasAdd", "Mul", "RealDiv", "Sub"})


def load(artifact: Artifact, wanted: WantedSignature) -> Runtime:
    """Load a frozen graph from bytes or a file.

    Inputs are the given ones, or the placeholders that the outputs depend on; outputs are the given ones, or
    the tensors that come from an input and that nothing consumes. Both are named as their tensors, without
    `:0`. A width that the placeholder does not tell is read off the first weights it meets.

    A GraphDef carries no length or digest: bytes cut exactly between two nodes can be a smaller valid graph.
    It is refused where constants are left over; the descriptor's size and digest find the rest.
    """
    tf = configured_tensorflow()
    graph_def = parsed(tf.compat.v1.GraphDef(), _content(artifact), "frozen GraphDef")
    if not graph_def.node:
        raise LoadError("the graph holds no operators: export a frozen GraphDef")
    check_graph_def(graph_def)
    wanted = replace(wanted, inputs=[replace(p, name=_short(p.name)) for p in wanted.inputs])
    walk = GraphWalk(graph_def)
    outputs = _outputs(walk, wanted)
    given = [p.name for p in wanted.inputs]
    behind = walk.reach(outputs.values(), fed={node_of(name) for name in given})
    if held := sorted(n for n in behind.nodes if walk.nodes[n].op in VARIABLES):
        raise LoadError(f"the graph holds the variable {held[0]!r}: freeze it, or send it as a SavedModel")
    fills = [n.name for n in graph_def.node if n.op in FILLS_TABLE]
    kept = walk.pruned(walk.reach([*outputs.values(), *given, *fills]))
    graph = imported(kept)
    if not wanted.outputs:  # loops leave their counters unread: scalars, where an output has one row a record
        rows = {n: t for n, t in outputs.items() if graph.get_tensor_by_name(t).shape.rank != 0}
        outputs = rows or outputs
    free = [n for n in kept.node if n.op == "Placeholder" and n.name in behind.nodes and n.name not in given]
    names = [*given, *(n.name for n in free)]
    if not names:
        raise InputsError("the outputs depend on no placeholder: name the graph's inputs in the descriptor")
    bound = bound_inputs([_tensor(graph, name) for name in names], wanted)
    if _complete(kept, {b.input.name: b.inner for b in bound}):
        graph = imported(kept)
    session = session_on(graph)
    try:
        if fills:
            session.run([graph.get_operation_by_name(name) for name in fills])
        return SessionRuntime(session, bound, [_full(name) for name in names], outputs)
    except LoadError:
        session.close()
        raise
    except Exception as e:
        session.close()
        raise LoadError(f"the graph's lookup tables cannot be filled: {e}") from e


def _content(artifact: Artifact) -> bytes:
    if artifact.data is not None:
        return artifact.data
    assert artifact.path is not None
    try:
        return artifact.path.read_bytes()
    except OSError as e:
        raise LoadError(f"a frozen graph is one file: {e.strerror or e}") from e


def _outputs(walk: GraphWalk, wanted: WantedSignature) -> dict[str, str]:
    """Output name -> tensor name, as asked for or as found."""
    if wanted.outputs:
        outputs = {alias or _short(name): _full(name) for name, alias in wanted.outputs}
        if len(outputs) != len(wanted.outputs):
            raise LoadError("two outputs would have the same name: give them different ones")
        for name in outputs.values():
            if node_of(name) not in walk.nodes:
                raise LoadError(f"the graph has no tensor {name!r}, which is wanted as an output")
        return outputs
    consumed = {node_of(i) for node in walk.graph_def.node for i in node.input}
    sources = {n.name for n in walk.graph_def.node if n.op == "Placeholder"}
    sources |= {node_of(p.name) for p in wanted.inputs}
    found: dict[str, str] = {}
    for node in walk.graph_def.node:
        if node.name in consumed or node.op in NO_RESULT or node.op in FILLS_TABLE:
            continue
        if sources & walk.reach([node.name]).nodes:
            found[node.name] = _full(node.name)
    if not found:
        raise LoadError("no tensor of the graph depends on a placeholder: name its outputs in the descriptor")
    # every graph that TensorFlow writes ends with its versions; where they are lost, so may be nodes
    left = [n.name for n in walk.graph_def.node if n.op == "Const" and n.name not in consumed]
    if left and not walk.graph_def.versions.producer:
        raise LoadError(f"the graph is cut short, or name its outputs: nothing reads {left[0]!r}")
    return found


def _tensor(graph: Any, name: str) -> ModelTensor:
    try:
        tensor = graph.get_tensor_by_name(_full(name))
    except (KeyError, ValueError):
        raise InputsError(f"the graph has no tensor {name!r}, which is given as an input") from None
    found = model_tensor(name, tensor)
    if found.shape is None or found.shape[1:] == (None,):
        return replace(found, shape=_width(tensor) or found.shape)
    return found


def _width(tensor: Any) -> tuple[None, int] | None:
    """`(n, k)` by the first weights that a tensor of unknown width is multiplied with or added to."""
    for consumer in tensor.consumers():
        if consumer.type not in MULTIPLIES | ELEMENTWISE:
            continue
        for other in consumer.inputs:
            if other is tensor or other.shape.rank is None:
                continue
            dims = other.shape.as_list()
            if consumer.type in ELEMENTWISE and len(dims) == 1 and (dims[0] or 0) > 1:
                return None, dims[0]
            if consumer.type in MULTIPLIES and len(dims) == 2 and consumer.inputs[0] is tensor:
                attrs = consumer.node_def.attr
                turned = any(attrs[a].b for a in ("transpose_b", "adj_y") if a in attrs)
                if width := dims[1 if turned else 0]:
                    return None, width
    return None


def _complete(graph_def: Any, inner: dict[str, tuple[int, ...]]) -> bool:
    """Write the known shapes into the placeholders; True where one was not there yet."""
    changed = False
    for node in graph_def.node:
        if node.op == "Placeholder" and node.name in inner:
            want = [-1, *inner[node.name]]
            shape = node.attr["shape"].shape
            if shape.unknown_rank or [d.size for d in shape.dim] != want:
                del shape.dim[:]
                shape.unknown_rank = False
                for size in want:
                    shape.dim.add(size=size)
                changed = True
    return changed


def _short(name: str) -> str:
    return name.removesuffix(":0")


def _full(name: str) -> str:
    return name if ":" in name else f"{name}:0"
