"""TENSORFLOW: a frozen GraphDef, its input and output tensors found or given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from schemas.errors import InputsError, LoadError
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature
from udfs.models.runtimes.tensor_inputs import ModelTensor
from udfs.models.runtimes.tensorflow.binding import Bound, Declared, bind
from udfs.models.runtimes.tensorflow.feeds import Dense
from udfs.models.runtimes.tensorflow.graph_cut import cut, fetched, full
from udfs.models.runtimes.tensorflow.graph_plain import make_plain
from udfs.models.runtimes.tensorflow.graph_ranks import guard_kernels
from udfs.models.runtimes.tensorflow.graph_safety import Served, check_graph, parsed
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, node_of
from udfs.models.runtimes.tensorflow.meta_graph import VARIABLES, union
from udfs.models.runtimes.tensorflow.runtime import SessionRuntime
from udfs.models.runtimes.tensorflow.served import ServedGraph, inspect
from udfs.models.runtimes.tensorflow.session import (
    configured_tensorflow,
    imported,
    model_tensor,
    session_on,
)
from udfs.models.runtimes.tensorflow.width import width_of

FILLS_TABLE = frozenset({"InitializeTable", "InitializeTableV2", "LookupTableImport", "LookupTableImportV2"})
NO_RESULT = frozenset({"Assert", "Assign", "AssignVariableOp", "Const", "NoOp", "Placeholder", "PrintV2"})


def is_graph(path: Path) -> bool:
    """Whether a file is a frozen graph. Many bytes parse as something; a graph has nodes, and each says what
    it does."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from tensorflow.core.framework.graph_pb2 import GraphDef  # noqa: PLC0415

    graph = GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except DecodeError:
        return False
    return bool(graph.node) and all(node.op for node in graph.node)


def load(artifact: Artifact, wanted: WantedSignature) -> Runtime:
    """Load a frozen graph from bytes or a file.

    Inputs are the given ones, or the placeholders that the outputs depend on; outputs are the given ones, or
    the tensors that come from an input and that nothing consumes. Both are named as their tensors, without
    `:0`. A width that the placeholder does not tell is read off the first weights it meets.

    A GraphDef carries no length or digest: bytes cut exactly between two nodes can be a smaller valid graph.
    It is refused where constants are left over; the descriptor's size and digest find the rest.
    """
    tf = configured_tensorflow()
    graph_def = parsed(tf.compat.v1.GraphDef(), artifact.content("a frozen graph"), "frozen GraphDef")
    if not graph_def.node:
        raise LoadError("the graph holds no operators: export a frozen GraphDef")
    make_plain(graph_def)
    wanted = replace(wanted, inputs=[replace(p, name=_short(p.name)) for p in wanted.inputs])
    given = [p.name for p in wanted.inputs]
    _check_given(graph_def, given)
    fed = cut(graph_def, given)
    fetches = fetched(graph_def, _outputs(GraphWalk(graph_def), wanted), fed)
    guard_kernels(graph_def)
    walk = GraphWalk(graph_def)
    scoring = walk.reach(fetches.values())
    if held := sorted(n for n in scoring.nodes if walk.nodes[n].op in VARIABLES):
        raise LoadError(
            f"the graph holds the variable {held[0]!r}, whose value is not in it: freeze it "
            "(convert_variables_to_constants), or send a SavedModel"
        )
    tables = {n for n in scoring.nodes if "HashTable" in walk.nodes[n].op}
    fills = [
        n.name for n in graph_def.node if n.op in FILLS_TABLE and n.input and node_of(n.input[0]) in tables
    ]
    filling = walk.reach(fills)
    kept = walk.pruned(union([scoring, filling]))
    order = check_graph(
        kept, Served(scoring, filling, training=wanted.training, handed_out=[*fetches.values()])
    )
    graph = imported(kept)
    left_out: list[str] = []
    if not wanted.outputs:
        sources = [n.name for n in kept.node if n.op == "Placeholder"]
        fetches, left_out = _one_row_a_record(graph, fetches, sources)
    free = [n.name for n in kept.node if n.op == "Placeholder" and n.name in scoring.nodes]
    free = [n for n in free if full(n) not in fed.values()]
    declared = [Declared(name, (full(name),)) for name in [*given, *free]]
    if not declared:
        raise InputsError("the outputs depend on no placeholder: name the graph's inputs by --input")
    as_fed = {d.parts[0]: fed.get(d.name, d.parts[0]) for d in declared}
    facts = inspect(ServedGraph(GraphWalk(kept), order, scoring), declared, as_fed, fetches)
    tensors, notes = _tensors(graph, facts.declared, wanted)
    notes += left_out
    bound = bind(facts.declared, tensors, graph, wanted)
    if _complete(kept, bound):
        graph = imported(kept)
    session = session_on(graph)
    try:
        if fills:
            session.run([graph.get_operation_by_name(name) for name in fills])
        return SessionRuntime(
            session,
            bound,
            fetches,
            facts.constants,
            [*facts.notes, *notes],
            deadline_ms=wanted.deadline_ms,
            writes=facts.writes,
        )
    except LoadError:
        session.close()
        raise
    except Exception as e:
        session.close()
        raise LoadError(f"the graph's lookup tables cannot be filled: {e}") from e


def _check_given(graph_def: Any, given: Sequence[str]) -> None:
    there = {n.name for n in graph_def.node}
    if strange := [name for name in given if node_of(name) not in there]:
        raise InputsError(f"the graph has no tensor {strange[0]!r}, which is given as an input")


def _outputs(walk: GraphWalk, wanted: WantedSignature) -> dict[str, str]:
    """Output name -> tensor name, as asked for or as found."""
    if wanted.outputs:
        outputs = {alias or _short(name): full(name) for name, alias in wanted.outputs}
        if len(outputs) != len(wanted.outputs):
            raise LoadError("two outputs would have the same name: give them different ones")
        for name in outputs.values():
            if node_of(name) not in walk.nodes:
                raise LoadError(f"the graph has no tensor {name!r}, which is wanted as an output")
        return outputs
    consumed = {node_of(i) for node in walk.graph_def.node for i in node.input}
    consumed |= {node_of(p.name) for p in wanted.inputs}
    sources = {n.name for n in walk.graph_def.node if n.op == "Placeholder"}
    behind = _behind(walk, sources)
    found: dict[str, str] = {}
    for node in walk.graph_def.node:
        if node.name in consumed or node.op in NO_RESULT or node.op in FILLS_TABLE:
            continue
        if node.name in behind:
            found[node.name] = full(node.name)
    if not found:
        raise LoadError("no tensor of the graph depends on a placeholder: name its outputs by --output")
    # every graph that TensorFlow writes ends with its versions; where they are lost, so may be nodes
    left = [n.name for n in walk.graph_def.node if n.op == "Const" and n.name not in consumed]
    if left and not walk.graph_def.versions.producer:
        raise LoadError(f"the graph is cut short, or name its outputs: nothing reads {left[0]!r}")
    return found


def _one_row_a_record(
    graph: Any, fetches: dict[str, str], sources: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """The outputs that may have one, where some may, and a note on the others.

    Nothing reads the counters of loops, nor what training left behind: sizes, losses, gradients of weights.
    Scalars have none; where each of the `sources` takes any number of records, nor have tensors of a fixed
    one.
    """
    shapes = {name: graph.get_tensor_by_name(tensor).shape for name, tensor in fetches.items()}
    takes = [graph.get_tensor_by_name(full(name)).shape for name in sources]
    any_number = not any(_is_fixed(s) for s in takes if s.rank != 0)
    some = any(s.rank and s[0] is None for s in shapes.values())
    left = {n for n, s in shapes.items() if s.rank == 0 or (any_number and some and _is_fixed(s))}
    if not left or left == set(fetches):
        return fetches, []
    names = ", ".join(sorted(left)[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
    note = f"left out, since they have no row a record: {names}; --output chooses others"
    return {name: tensor for name, tensor in fetches.items() if name not in left}, [note]


def _is_fixed(shape: Any) -> bool:
    return bool(shape.rank) and shape[0] is not None


def _behind(walk: GraphWalk, sources: set[str]) -> set[str]:
    """The nodes that depend on one of `sources`, in one pass over the graph."""
    readers: dict[str, list[str]] = {}
    for node in walk.graph_def.node:
        for reference in node.input:
            readers.setdefault(node_of(reference), []).append(node.name)
    found, todo = set(sources), list(sources)
    while todo:
        for name in readers.get(todo.pop(), ()):
            if name not in found:
                found.add(name)
                todo.append(name)
    return found


def _tensors(
    graph: Any, declared: Sequence[Declared], wanted: WantedSignature
) -> tuple[dict[str, ModelTensor], list[str]]:
    """Tensor -> the input as declared, and notes on widths that were found."""
    told = {p.name for p in wanted.inputs if p.shape is not None or len(p.fields) > 1}
    tensors: dict[str, ModelTensor] = {}
    notes: list[str] = []
    for d in declared:
        tensors[d.parts[0]], note = _tensor(graph, d.name, d.parts[0], d.name in told)
        notes += note
    return tensors, notes


def _tensor(graph: Any, name: str, tensor_name: str, told: bool) -> tuple[ModelTensor, list[str]]:
    """The input as declared, its width found unless the descriptor has `told` it, and a note where it was."""
    tensor = graph.get_tensor_by_name(tensor_name)
    found = model_tensor(name, tensor)
    if not told and (found.shape is None or found.shape[1:] == (None,)) and (width := width_of(tensor)):
        note = f"{name} takes {width} numbers a record, by the first matrix that it meets; --input overrules"
        return replace(found, shape=(None, width)), [note]
    return found, []


def _complete(graph_def: Any, bound: Bound) -> bool:
    """Write the known shapes into the placeholders; True where one was not there yet."""
    inner = {node_of(f.tensor): f.inner for f in bound.feeds if isinstance(f, Dense)}
    changed = False
    for node in graph_def.node:
        if node.op == "Placeholder" and node.name in inner:
            want = [bound.batch or -1, *inner[node.name]]
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
