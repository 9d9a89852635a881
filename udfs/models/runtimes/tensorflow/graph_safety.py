"""Refuse TensorFlow graphs that could read, write, open or execute anything.

Judged is the whole graph, whether it would run or not: each node of the main graph and of each function of
the library. Checkpoint operators, which every SavedModel needs to restore itself, are allowed only where the
model's own saver uses them: the writing ones only for what saves (which is never loaded here), the reading
one only for what restores, and only from the file name that the loader feeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from schemas.errors import LoadError, UnsafeModelError
from udfs.models.runtimes.tensorflow.graph_ops import ALLOWED, RESTORES, SAVES
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, Reached, node_of
from udfs.models.runtimes.tensorflow.session import configured_tensorflow

INIT_SIGNATURE = "__saved_model_init_op"
INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
HANDLE_DTYPES = (20, 21)  # DT_RESOURCE, DT_VARIANT


def check_graph_def(graph_def: Any) -> None:
    """Raise `UnsafeModelError` unless all of `graph_def` is on the allow-list."""
    _check(GraphWalk(graph_def), Reached(), Reached(), Reached())


def check_saved_model(saved_model: Any) -> None:
    """Raise `UnsafeModelError` unless each meta graph of a `SavedModel` message is safe to load and run."""
    for meta_graph in saved_model.meta_graphs:
        check_meta_graph(meta_graph)


def check_meta_graph(meta_graph: Any) -> None:
    """Raise `UnsafeModelError` unless the meta graph is safe to load and run, by any of its signatures."""
    walk = GraphWalk(meta_graph.graph_def)
    saver = meta_graph.saver_def
    initialising = walk.reach(initialisers(meta_graph))
    served = walk.reach([*initialisers(meta_graph), *_signature_tensors(meta_graph)])
    restoring = walk.reach([saver.restore_op_name] if saver.restore_op_name else [])
    saving = walk.reach([saver.save_tensor_name] if saver.save_tensor_name else [])
    _check(
        walk,
        initialising,
        restores=Reached(restoring.nodes - served.nodes, restoring.functions - served.functions),
        saves=Reached(
            saving.nodes - served.nodes - restoring.nodes,
            saving.functions - served.functions - restoring.functions,
        ),
    )
    _check_restored_file(walk, restoring, node_of(saver.filename_tensor_name))
    for asset in meta_graph.asset_file_def:
        path = PurePosixPath(asset.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in asset.filename or "\0" in asset.filename:
            raise UnsafeModelError(f"the asset {asset.filename!r} lies outside the model's folder")


def initialisers(meta_graph: Any) -> list[str]:
    """Names of the operators that loading must run after the variables are restored."""
    found = [
        info.name
        for key, signature in meta_graph.signature_def.items()
        if key == INIT_SIGNATURE
        for info in signature.outputs.values()
    ]
    for key in INIT_COLLECTIONS:
        if not found and key in meta_graph.collection_def:
            found = list(meta_graph.collection_def[key].node_list.value)
    return found


def _signature_tensors(meta_graph: Any) -> Iterator[str]:
    for signature in meta_graph.signature_def.values():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            yield info.name
            yield from (c.name for c in info.composite_tensor.components)
            sparse = info.coo_sparse
            yield from (sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name)


def _check(walk: GraphWalk, initialising: Reached, restores: Reached, saves: Reached) -> None:
    graph_def = walk.graph_def
    registered = configured_tensorflow().raw_ops.__dict__
    names = Counter(f.signature.name for f in graph_def.library.function)
    for name, count in names.items():
        if count > 1 or name in registered or name in ALLOWED:
            raise UnsafeModelError(f"the library function {name!r} hides another operator or function")
    twice = [name for name, count in Counter(n.name for n in graph_def.node).items() if count > 1]
    if twice:
        raise UnsafeModelError(f"two nodes are named {twice[0]!r}, and only one of them would be seen")
    for node in graph_def.node:
        where = "an initialiser" if node.name in initialising.nodes else "the graph"
        _check_node(walk, node, where, node.name in restores.nodes, node.name in saves.nodes)
    for function in graph_def.library.function:
        name = function.signature.name
        where = f"function {name!r}" + (" of an initialiser" if name in initialising.functions else "")
        for node in function.node_def:
            _check_node(walk, node, where, name in restores.functions, name in saves.functions)


def _check_node(walk: GraphWalk, node: Any, where: str, restores: bool, saves: bool) -> None:
    op = node.op
    allowed = op in ALLOWED or op in walk.functions
    if not allowed and not (restores and op in RESTORES) and not (saves and op in SAVES):
        raise UnsafeModelError(
            f"operator {op} (node {node.name!r} in {where}) is not one that only computes: "
            "export the model without operators on files, networks, data sets or Python"
        )
    if op == "Const" and node.attr["dtype"].type in HANDLE_DTYPES:
        raise UnsafeModelError(f"node {node.name!r} in {where} is a constant handle to something in memory")


def _check_restored_file(walk: GraphWalk, restoring: Reached, filename: str) -> None:
    """Each RestoreV2 reads the file that the loader feeds to the tensor `filename`, and no other."""
    scopes: dict[str | None, dict[str, Any]] = {None: {name: walk.nodes[name] for name in restoring.nodes}}
    for name in restoring.functions:
        scopes[name] = {node.name: node for node in walk.functions[name].node_def}

    def is_fed(scope: str | None, reference: str, seen: frozenset[tuple[str | None, str]]) -> bool:
        name = node_of(reference)
        if (scope, name) in seen:
            return False
        seen |= {(scope, name)}
        if scope is None and name == filename:
            return reference in (name, f"{name}:0")
        node = scopes[scope].get(name)
        if node is not None:
            return node.op == "Identity" and is_fed(scope, node.input[0], seen)
        if scope is None:
            return False
        arguments = [a.name for a in walk.functions[scope].signature.input_arg]
        if name not in arguments:
            return False
        at = arguments.index(name)
        callers = [
            (s, n) for s, nodes in scopes.items() for n in nodes.values() if scope in set(walk.called(n))
        ]
        return bool(callers) and all(
            n.op in CALLS and len(n.input) > at and is_fed(s, n.input[at], seen) for s, n in callers
        )

    for scope, nodes in scopes.items():
        for node in nodes.values():
            if node.op in RESTORES and not (node.input and is_fed(scope, node.input[0], frozenset())):
                where = "the graph" if scope is None else f"function {scope!r}"
                raise UnsafeModelError(
                    f"operator {node.op} (node {node.name!r} in {where}) reads a file of its own choice, "
                    "not the model's variables"
                )


def parsed(message: Any, data: bytes, what: str) -> Any:
    """Fill the protobuf `message` from `data`. Raises `LoadError` where `data` is nothing of the kind."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from google.protobuf.unknown_fields import UnknownFieldSet  # noqa: PLC0415

    try:
        message.ParseFromString(data)
    except DecodeError as e:
        raise LoadError(f"the {len(data)} bytes are no {what}, or are cut short: {e}") from None
    if len(UnknownFieldSet(message)):
        raise LoadError(f"the {len(data)} bytes are no {what}: they hold fields that it does not have")
    return message
