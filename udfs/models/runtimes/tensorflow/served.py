"""What can be said of a served graph before it runs: what its outputs are made of, and what calls change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from udfs.models.runtimes.tensor_inputs import same_for_all
from udfs.models.runtimes.tensorflow.binding import Declared
from udfs.models.runtimes.tensorflow.dataflow import Dataflow
from udfs.models.runtimes.tensorflow.example_feed import ExampleParsers
from udfs.models.runtimes.tensorflow.graph_ops import CHANGES, DRAWS
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, Reached

TEXT = 7  # DT_STRING


@dataclass(frozen=True, slots=True)
class Facts:
    """`declared`: the inputs that the graph still has, their parts as tensors to feed, with what was found.

    `constants`: outputs that no input changes. `notes`: sentences for who publishes the model. `writes`: a
    call may write into the memory of what it is fed, then or later.
    """

    declared: list[Declared]
    constants: list[str]
    notes: list[str]
    writes: bool = False


@dataclass(frozen=True, slots=True)
class ServedGraph:
    """`order`: the graph's functions, each behind those it calls; `scoring`: what each call runs."""

    walk: GraphWalk
    order: Sequence[str]
    scoring: Reached


def inspect(
    served: ServedGraph,
    declared: Sequence[Declared],
    fed: Mapping[str, str],
    fetches: Mapping[str, str],
) -> Facts:
    """Facts of a pruned graph. `fed`: tensor of `declared` -> the one that is fed; `fetches`: outputs."""
    walk, order, scoring = served.walk, served.order, served.scoring
    left = [
        replace(d, parts=tuple(fed[p] for p in d.parts))
        for d in declared
        if all(_node(fed[p]) in scoring.nodes for p in d.parts)
    ]
    parts = [[p for p in d.parts if _node(p) in walk.nodes] for d in left]
    tensors = [p for ps in parts for p in ps]
    flow = Dataflow(walk, order, tensors)
    made_of = {name: flow.behind(tensor) for name, tensor in fetches.items()}
    read = 0
    for bits in made_of.values():
        read |= bits
    bit = {tensor: 1 << n for n, tensor in enumerate(tensors)}
    known = []
    parsers = ExampleParsers(walk)
    for d, there in zip(left, parts, strict=True):
        needed = any(read & bit[p] for p in there)
        features = None
        if needed and len(d.parts) == 1 and walk.nodes[_node(d.parts[0])].attr["dtype"].type == TEXT:
            features = parsers.features_of(d.parts[0])
        known.append(replace(d, needed=needed, features=features))
    constants = [name for name, bits in made_of.items() if not bits]
    running = {n.op for n in _running(walk, scoring)}
    notes = _notes(running, known, declared, constants)
    return Facts(known, constants, notes, writes=bool(running & CHANGES))


def _node(tensor: str) -> str:
    return tensor.partition(":")[0]


def _notes(
    running: Collection[str],
    known: Sequence[Declared],
    declared: Sequence[Declared],
    constants: Sequence[str],
) -> list[str]:
    notes = []
    asked = {d.name for d in known if d.needed}
    if idle := [d.name for d in declared if d.name not in asked]:
        notes.append(f"not asked of records, since no chosen output is made of it: {', '.join(idle)}")
    if constants:
        notes.append(same_for_all(constants))
    if changed := sorted(CHANGES.intersection(running)):
        notes.append(
            f"each call changes what the model keeps ({', '.join(changed)}): "
            "results depend on the calls before"
        )
    if drawn := sorted(DRAWS.intersection(running)):
        notes.append(
            f"the model draws random numbers ({', '.join(drawn)}): where results are made of them, the same "
            "record gets another one at each call"
        )
    return notes


def _running(walk: GraphWalk, scoring: Reached) -> list[Any]:
    return [walk.nodes[n] for n in scoring.nodes if n in walk.nodes] + [
        n for f in scoring.functions if f in walk.functions for n in walk.functions[f].node_def
    ]
