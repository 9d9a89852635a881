"""Values of variables that a SavedModel's own saver does not know, found by its object graph.

Keras 3 wraps its variables: `tf.saved_model.save` then writes a saver for copies of them, and the function
that scores reads the originals. Both are one entry of the checkpoint, named by the path of the object.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from schemas.errors import LoadError
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, node_of
from udfs.models.runtimes.tensorflow.session import configured_tensorflow, first_line

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "VARIABLE_VALUE"


def missing_values(
    meta: Any, walk: GraphWalk, prefix: Path, variables: Sequence[str]
) -> list[tuple[str, NDArray]]:
    """The value of each of `variables` (nodes of op VarHandleOp), read from the checkpoint at `prefix`.

    Raises `LoadError` for one that the object graph or the checkpoint does not have, or not of its type.
    """
    if not variables:
        return []
    tf = configured_tensorflow()
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph  # noqa: PLC0415

    objects = _objects(meta, walk)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        stored = TrackableObjectGraph()
        if OBJECT_GRAPH in shapes:
            stored.ParseFromString(reader.get_tensor(OBJECT_GRAPH))
    except Exception as e:
        raise LoadError(f"the SavedModel's variables cannot be read: {first_line(e)}") from e
    same = _same_objects(meta.object_graph_def.nodes, stored.nodes)
    values = []
    for name in variables:
        key = _key(stored, same.get(objects.get(name, -1)))
        node = walk.nodes[name]
        dtype = tf.dtypes.as_dtype(node.attr["dtype"].type)
        shape = [d.size for d in node.attr["shape"].shape.dim]
        if key not in shapes:
            raise LoadError(
                f"the SavedModel has no value for its variable {name!r}: save it again, a Keras model with "
                "model.export(path)"
            )
        if dtypes[key] != dtype or list(shapes[key]) != shape:
            raise LoadError(
                f"the variable {name!r} is {dtype.name}{shape} in the graph, and {dtypes[key].name}"
                f"{list(shapes[key])} in variables/: the SavedModel is put together of two"
            )
        try:
            values.append((name, reader.get_tensor(key)))
        except Exception as e:
            raise LoadError(f"the value of {name!r} cannot be read: {first_line(e)}") from e
    return values


def _objects(meta: Any, walk: GraphWalk) -> dict[str, int]:
    """Variable's node -> number of its object, by the calls that pass it, else by its name."""
    graph = meta.object_graph_def
    named: dict[str, list[int]] = {}
    for number, node in enumerate(graph.nodes):
        if node.WhichOneof("kind") == "variable":
            named.setdefault(node.variable.name, []).append(number)
    found = {
        n.name: named[n.name][0]
        for n in walk.nodes.values()
        if n.op == "VarHandleOp" and len(named.get(n.name, ())) == 1
    }
    for node in walk.nodes.values():
        called = node.attr["f"].func.name if "f" in node.attr else ""
        if called in graph.concrete_functions:
            bound = graph.concrete_functions[called].bound_inputs
            data = [node_of(i) for i in node.input if not i.startswith("^")]
            if bound and len(bound) <= len(data):
                found.update(zip(data[-len(bound) :], bound, strict=True))
    return found


def _same_objects(saved: Sequence[Any], stored: Sequence[Any]) -> dict[int, int]:
    """Number in the SavedModel -> number in the checkpoint, by the same path of names from the root."""
    if not saved or not stored:
        return {}
    same, todo = {0: 0}, [(0, 0)]
    while todo:
        here, there = todo.pop()
        below = _children(stored[there].children, len(stored))
        for name, number in _children(saved[here].children, len(saved)).items():
            if number not in same and name in below:
                same[number] = below[name]
                todo.append((number, below[name]))
    return same


def _children(children: Iterable[Any], count: int) -> dict[str, int]:
    return {c.local_name: c.node_id for c in children if 0 <= c.node_id < count}


def _key(stored: Any, number: int | None) -> str:
    attributes = stored.nodes[number].attributes if number is not None else ()
    return next((a.checkpoint_key for a in attributes if a.name == VALUE), "")
