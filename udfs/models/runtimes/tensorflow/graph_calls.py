"""The calls between a graph's functions: no cycle, and no more than can be unfolded.

TensorFlow copies a called function into its caller, again and again, before it runs anything: a function that
calls itself ends the process, and thirty that each call the one before twice are a billion operators.
"""

from __future__ import annotations

from collections import Counter

from schemas.errors import UnsafeModelError
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, Reached

MAX_DEPTH = 100
MAX_UNFOLDED = 5_000_000


def callees_first(walk: GraphWalk, reached: Reached) -> list[str]:
    """The functions of `reached` such that each stands behind those it calls.

    Raises `UnsafeModelError` for a cycle, for a chain of more than `MAX_DEPTH` calls, and where the graph
    unfolds to more than `MAX_UNFOLDED` operators. Takes time linear in the graph.
    """
    calls = {
        name: Counter(c for node in walk.functions[name].node_def for c in walk.called(node))
        for name in reached.functions
    }
    waiting = {name: len(below) for name, below in calls.items()}
    callers: dict[str, list[str]] = {name: [] for name in calls}
    for name, below in calls.items():
        for callee in below:
            callers[callee].append(name)
    ready = [name for name, count in waiting.items() if not count]
    order: list[str] = []
    depth: dict[str, int] = {}
    size: dict[str, int] = {}
    while ready:
        name = ready.pop()
        order.append(name)
        depth[name] = 1 + max((depth[c] for c in calls[name]), default=0)
        unfolded = len(walk.functions[name].node_def) + sum(size[c] * n for c, n in calls[name].items())
        size[name] = min(unfolded, MAX_UNFOLDED + 1)
        if depth[name] > MAX_DEPTH:
            raise UnsafeModelError(
                f"function {name!r} calls functions {depth[name]} deep, and {MAX_DEPTH} are allowed: "
                "export the model with less nested functions"
            )
        for caller in callers[name]:
            waiting[caller] -= 1
            if not waiting[caller]:
                ready.append(caller)
    if len(order) < len(calls):
        left = min(calls.keys() - set(order))
        raise UnsafeModelError(
            f"function {left!r} calls itself, directly or through others, which ends the process: "
            "export the model with a loop (tf.while_loop) instead"
        )
    total = len(reached.nodes) + sum(size[c] for name in reached.nodes for c in walk.called(walk.nodes[name]))
    if total > MAX_UNFOLDED:
        raise UnsafeModelError(
            f"the graph unfolds to more than {MAX_UNFOLDED:,} operators, because its functions call "
            "each other "
            "many times over: export the model with loops (tf.while_loop) instead"
        )
    return order
