"""Which inputs an output's value is made of, through the functions that a graph calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from udfs.models.runtimes.tensorflow.graph_files import CALLS
from udfs.models.runtimes.tensorflow.graph_walk import GraphWalk, node_of

_FOLLOWED = 100_000  # pairs of a result and an argument of one call; one of more is made of all it takes
_PASSES = 8  # over a loop of the old kind; one that has not settled then counts as made of everything


class Dataflow:
    """The inputs behind each tensor, as sets of bits: bit n stands for the input number n.

    `order`: all functions, each behind those it calls; `inputs`: tensors of the main graph (`name:0`).
    What an operator gives is made of all that it takes, but for calls, of which each result is followed.
    """

    def __init__(self, walk: GraphWalk, order: Sequence[str], inputs: Sequence[str]) -> None:
        self._walk = walk
        self._results: dict[str, tuple[Sequence[int], int]] = {}
        for name in order:
            self._results[name] = self._function(name)
        leaves = {node_of(tensor): 1 << n for n, tensor in enumerate(inputs)}
        self._main = self._scope(walk.nodes.values(), leaves)
        self._leaves = leaves

    def behind(self, tensor: str) -> int:
        """The inputs that the main graph's `tensor` is made of."""
        return _read(self._main, self._leaves, tensor)

    def _function(self, name: str) -> tuple[Sequence[int], int]:
        """For each result the arguments it is made of, and those that what must run beside it needs."""
        function = self._walk.functions[name]
        leaves = {a.name: 1 << n for n, a in enumerate(function.signature.input_arg)}
        values = self._scope(function.node_def, leaves)
        results = [
            _read(values, leaves, function.ret[o.name]) if o.name in function.ret else 0
            for o in function.signature.output_arg
        ]
        beside = 0
        for node in function.control_ret.values():
            beside |= _all(values.get(node, ()))
        return results, beside

    def _scope(self, nodes: Iterable[Any], leaves: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Node -> what each of its outputs is made of (one for all where they are alike)."""
        nodes = [n for n in nodes if n.name not in leaves]
        made: dict[str, tuple[int, ...]] = {}
        for turn in range(_PASSES):
            changed = False
            for node in _inputs_first(nodes) if not turn else nodes:
                value = self._made(node, made, leaves)
                if made.get(node.name) != value:
                    made[node.name] = value
                    changed = True
            if not changed:
                return made
        everything = 0
        for bit in leaves.values():
            everything |= bit
        return {node.name: (everything,) for node in nodes}

    def _made(
        self, node: Any, made: Mapping[str, tuple[int, ...]], leaves: Mapping[str, int]
    ) -> tuple[int, ...]:
        taken = [_read(made, leaves, i) for i in node.input]
        callee = node.attr["f"].func.name if node.op in CALLS and "f" in node.attr else node.op
        data = [t for t, i in zip(taken, node.input, strict=True) if not i.startswith("^")]
        results, beside = self._results.get(callee, ((), 0))
        followed = 0 < len(results) * len(data) <= _FOLLOWED
        if followed and len(data) == len(self._walk.functions[callee].signature.input_arg):
            control = _all(t for t, i in zip(taken, node.input, strict=True) if i.startswith("^"))
            always = control | _chosen(data, beside)
            found = [always | _chosen(data, bits) for bits in results]
            # by a function's own name results are called as they are in it, and not by number
            return tuple(found) if node.op in CALLS else (_all(found),)
        return (_all(taken),)


def _chosen(taken: Sequence[int], bits: int) -> int:
    found = 0
    for n, value in enumerate(taken):
        if bits >> n & 1:
            found |= value
    return found


def _all(values: Iterable[int]) -> int:
    found = 0
    for value in values:
        found |= value
    return found


def _read(made: Mapping[str, tuple[int, ...]], leaves: Mapping[str, int], reference: str) -> int:
    name = node_of(reference)
    if name in leaves:
        return leaves[name]
    outputs = made.get(name, (0,))
    if reference.startswith("^") or len(outputs) == 1:
        return _all(outputs)
    at = reference.rpartition(":")[2]
    parts = reference.split(":")
    # in a function, a result is called by name and, in lists, number: `call:output:2`, or `f:result:0`
    if len(parts) == 3 and parts[1] != "output":
        return _all(outputs)
    index = int(at) if at.isdecimal() else 0
    return outputs[index] if index < len(outputs) else _all(outputs)


def _inputs_first(nodes: Sequence[Any]) -> list[Any]:
    """The nodes, each behind those it reads, as far as there is no loop."""
    names = {n.name: n for n in nodes}
    order: list[Any] = []
    state: dict[str, int] = {}
    for first in nodes:
        stack = [(first, False)]
        while stack:
            node, left = stack.pop()
            if left:
                order.append(node)
                continue
            if node.name in state:
                continue
            state[node.name] = 1
            stack.append((node, True))
            stack.extend((names[r], False) for r in map(node_of, node.input) if r in names and r not in state)
    return order
