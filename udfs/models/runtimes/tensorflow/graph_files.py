"""Which tensors can only be a file name that the loader itself feeds, and what is read from such a file."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, Reached, node_of

_PART = rb"(?:-|\d{1,18},\d{1,18})"
_PARTS = re.compile(rb"((?:\d{1,18} ){1,254})" + _PART + rb"(?::" + _PART + rb"){0,253}")
_MOST = 1 << 62
CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


class FedTensors:
    """The tensors that are always one of `roots` (tensors of the main graph, `name:0`).

    `among`: what can run; `order`: its functions, each behind those it calls. One pass over nodes and calls:
    an argument of a function is such a tensor where every call of it passes one.
    """

    def __init__(self, walk: GraphWalk, among: Reached, order: Sequence[str], roots: Collection[str]) -> None:
        self._fed: dict[str | None, set[str]] = {}
        self._roots = {node_of(r) for r in roots if r in (node_of(r), f"{node_of(r)}:0")}
        arguments: dict[str, list[bool]] = {}
        self._scope(walk, None, [walk.nodes[n] for n in among.nodes], self._roots, arguments)
        for name in reversed(order):
            function = walk.functions[name]
            names = [a.name for a in function.signature.input_arg]
            passed = arguments.get(name, [])
            fed = {n for n, good in zip(names, passed, strict=False) if good}
            self._scope(walk, name, function.node_def, fed, arguments)

    def holds(self, scope: str | None, reference: str) -> bool:
        """Whether `reference`, as read in `scope` (a function, None for the main graph), is one."""
        return _first(reference) and node_of(reference) in self._fed[scope]

    def _scope(
        self,
        walk: GraphWalk,
        scope: str | None,
        nodes: Iterable[Any],
        fed: set[str],
        arguments: dict[str, list[bool]],
    ) -> None:
        nodes = list(nodes)
        copies: dict[str, list[str]] = {}
        for node in nodes:
            # a node that is fed over is what is fed, whatever stands behind it
            if node.op == "Identity" and node.input and _first(node.input[0]):
                copies.setdefault(node_of(node.input[0]), []).append(node.name)
        todo, known = list(fed), set(fed)
        while todo:
            for copy in copies.get(todo.pop(), ()):
                if copy not in known:
                    known.add(copy)
                    todo.append(copy)
        self._fed[scope] = known
        for node in nodes:
            for callee in dict.fromkeys(walk.called(node)):
                passed: list[bool] = []  # what is handed on by an attribute is not known
                if node.op in CALLS and node.attr["f"].func.name == callee:
                    data = (i for i in node.input if not i.startswith("^"))
                    passed = [self.holds(scope, i) for i in data]
                before = arguments.get(callee, passed)
                arguments[callee] = [a and b for a, b in zip(before, passed, strict=False)]


def _first(reference: str) -> bool:
    """Whether a reference is to a node's only or first output: `x`, `x:0`, `x:output:0`."""
    name, _, rest = reference.partition(":")
    return not name.startswith("^") and (rest in ("", "0") or rest.rpartition(":")[2] == "0")


def possible_parts(constant: Any) -> bool:
    """Whether a node says what parts of which shapes a checkpoint's values are (`3 2 0,1:-`, or nothing for a
    whole), as a constant in which all are possible: TensorFlow ends the process for a shape that is not."""
    if constant is None or constant.op != "Const":
        return False
    for text in constant.attr["value"].tensor.string_val:
        found = _PARTS.fullmatch(text)
        if text and (found is None or math.prod(map(int, found[1].split())) > _MOST):
            return False
    return True
