"""What a SavedModel's meta graph offers: its signatures, and what must run once before they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.errors import LoadError
from udfs.models.runtimes.base import WantedSignature
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, Reached, node_of

SERVE = "serve"
DEFAULT_SIGNATURE = "serving_default"
INIT_SIGNATURE = "__saved_model_init_op"
INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})
MAX_LOOKS = 10_000_000  # parts of an initialiser times nodes; beyond, all parts are kept
_TABLES = ("HashTable", "MutableHashTable", "MutableDenseHashTable", "AnonymousHashTable", "AnonymousMutable")


def serving_graph(saved: Any) -> tuple[Any, tuple[str, ...]]:
    """The meta graph with the tag `serve` and the fewest others, or the only one; and a note on the choice.

    Raises `LoadError` where there is none, and where two are equally good.
    """
    graphs = list(saved.meta_graphs)
    if not graphs:
        raise LoadError("the SavedModel has no graph: it is damaged")
    there = ", ".join(map(_tags, graphs[:8]))
    serving = [g for g in graphs if SERVE in g.meta_info_def.tags]
    if len(graphs) == 1:
        said = f"the SavedModel's only graph is served, and its tag is {there}, not {SERVE}"
        return graphs[0], () if serving else (said,)
    if not serving:
        raise LoadError(
            f"no graph of the SavedModel has the tag {SERVE} (there are {there}): export it for serving"
        )
    fewest = min(len(g.meta_info_def.tags) for g in serving)
    best = [g for g in serving if len(g.meta_info_def.tags) == fewest]
    if len(best) > 1:
        raise LoadError(
            f"{len(best)} graphs of the SavedModel are equally for serving ({there}): "
            f"keep one with the tag {SERVE}"
        )
    return best[0], (f"of the SavedModel's {len(graphs)} graphs ({there}) {_tags(best[0])} is served",)


def _tags(meta: Any) -> str:
    tags = sorted(meta.meta_info_def.tags, key=lambda tag: (tag != SERVE, tag))
    return "+".join(ascii(tag[:40])[1:-1] for tag in tags[:8]) or "(none)"


def signature_of(meta: Any, wanted: str) -> Any:
    """The signature `wanted`, else the only one, else `serving_default`. Raises `LoadError`."""
    # names with two underscores are TensorFlow's own: initialisers and the like
    callable_ = {k: s for k, s in meta.signature_def.items() if not k.startswith("__") and s.outputs}
    if not callable_:
        raise LoadError(
            "the SavedModel has no signature that can be called: save it with "
            "tf.saved_model.save(model, path, signatures=...), a Keras model with model.export(path)"
        )
    name = wanted or (next(iter(callable_)) if len(callable_) == 1 else DEFAULT_SIGNATURE)
    if name not in callable_:
        there = ", ".join(map(repr, sorted(callable_)))
        raise LoadError(f"the SavedModel has no signature {name!r}: it has {there}; choose by --signature")
    return callable_[name]


def outputs_of(signature: Any, wanted: WantedSignature) -> dict[str, str]:
    """Output name in the result -> tensor name. Raises `LoadError`."""
    pairs = list(wanted.outputs) or [(key, key) for key in sorted(signature.outputs)]
    fetches: dict[str, str] = {}
    for key, alias in pairs:
        if key not in signature.outputs:
            there = ", ".join(map(repr, sorted(signature.outputs)))
            raise LoadError(f"the signature has no output {key!r}: it has {there}; choose by --output")
        if not signature.outputs[key].name:
            raise LoadError(
                f"output {key!r} is sparse or ragged, and a result has one value of a fixed shape a record: "
                "export it dense (to_tensor with a shape), or choose other outputs by --output"
            )
        fetches[alias or key] = signature.outputs[key].name
    if len(fetches) != len(pairs):
        raise LoadError("two outputs would have the same name: give them different ones")
    return fetches


def initialisers(meta: Any) -> list[str]:
    """Names of the operators that loading must run after the variables are restored."""
    found = [
        info.name
        for key, signature in meta.signature_def.items()
        if key == INIT_SIGNATURE
        for info in signature.outputs.values()
    ]
    for key in INIT_COLLECTIONS:
        if not found and key in meta.collection_def:
            found = list(meta.collection_def[key].node_list.value)
    return found


def fillers(walk: GraphWalk, meta: Any, scoring: Reached) -> list[str]:
    """The parts of the initialisers that fill what scoring reads.

    An initialiser of many tables is taken apart at its groups (`NoOp`). Left out are those of tables and
    variables that scoring does not reach; what names neither is kept.
    """
    parts: list[str] = []
    todo, seen = [node_of(name) for name in reversed(initialisers(meta))], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        node = walk.nodes.get(name)
        if node is None:
            raise LoadError(f"the SavedModel's initialiser {name!r} is not in its graph: it is damaged")
        if node.op == "NoOp":
            todo.extend(node_of(i) for i in reversed(node.input))
        else:
            parts.append(name)
    inside = any(holds_state(n) for f in scoring.functions for n in walk.functions[f].node_def)
    if inside or len(parts) * len(walk.nodes) > MAX_LOOKS:
        return parts
    kept = []
    for name in parts:
        states = {n for n in walk.reach([name]).nodes if holds_state(walk.nodes[n])}
        if not states or states & scoring.nodes:
            kept.append(name)
    return kept


def holds_state(node: Any) -> bool:
    """Whether a node makes a variable or a table."""
    return node.op in VARIABLES or node.op.startswith(_TABLES)


def union(parts: Sequence[Reached]) -> Reached:
    """All that one of `parts` reaches."""
    return Reached({n for part in parts for n in part.nodes}, {f for part in parts for f in part.functions})
