"""What a GraphDef's operators depend on: through edges, control edges, and calls into its functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

FLOAT, DOUBLE, INT, LONG, BOOL = 1, 2, 3, 9, 10
"""Element types as TensorFlow numbers them: DT_FLOAT, DT_DOUBLE, DT_INT32, DT_INT64, DT_BOOL."""


def attribute(node: Any, name: str, signature: Any = None) -> Any:
    """What a node says of an attribute, else the default in its operator's signature, else an empty one.

    Exports leave out what is as by default. Protobuf makes an empty entry of what is asked for by index, and
    TensorFlow takes no node that has one.
    """
    from tensorflow.core.framework.attr_value_pb2 import AttrValue  # noqa: PLC0415

    if name in node.attr:
        return node.attr[name]
    declared = () if signature is None else signature.attr
    return next((a.default_value for a in declared if a.name == name), AttrValue())


def input_type(node: Any, at: int) -> int:
    """The element type of a node's input number `at`, by what TensorFlow says of its operator; else 0."""
    from tensorflow.python.framework import op_def_registry  # noqa: PLC0415

    signature = op_def_registry.get(node.op)
    return 0 if signature is None else type_at(node, signature, signature.input_arg, at)


def type_at(node: Any, signature: Any, args: Iterable[Any], at: int) -> int:
    """The element type of number `at` of what a node reads or gives: `args` of its operator; 0: not known."""
    for arg in args:
        if arg.type_list_attr:
            types = attribute(node, arg.type_list_attr, signature).list.type
            if at < len(types):
                return int(types[at])
            at -= len(types)
            continue
        count = max(attribute(node, arg.number_attr, signature).i, 0) if arg.number_attr else 1
        if at < count:
            return int(attribute(node, arg.type_attr, signature).type if arg.type_attr else arg.type)
        at -= count
    return 0


def add_node(nodes: Any, name: str, op: str, inputs: Iterable[str], **types: int) -> Any:
    """A new node at the end of `nodes`; `types`: its attributes that are element types."""
    node = nodes.add(name=name, op=op, input=inputs)
    for attr, dtype in types.items():
        node.attr[attr].type = dtype
    return node


def scopes(graph_def: Any) -> list[tuple[Any, str]]:
    """The nodes of the main graph and of each function, with how the result of a node is named in it: a
    format of the node's name and the result's name in its operator."""
    return [(graph_def.node, "{}"), *((f.node_def, "{}:{}:0") for f in graph_def.library.function)]


def node_of(reference: str) -> str:
    """The node that an input reference (`x`, `x:1`, `x:out:0`, `^x`) points at."""
    return reference.removeprefix("^").partition(":")[0]


def named_functions(holder: Any) -> Iterator[str]:
    """The functions that the attributes of a node name, and those that these hand on to them."""
    for attr in holder.attr.values():
        kind = attr.WhichOneof("value")
        for func in (attr.func,) if kind == "func" else attr.list.func if kind == "list" else ():
            yield func.name
            yield from named_functions(func)


@dataclass(slots=True)
class Reached:
    """Names of the main graph's nodes and of the library's functions that something depends on."""

    nodes: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)

    def holds(self, name: str, scope: str | None) -> bool:
        """Whether the node `name` of a function, or with `scope` None of the main graph, is among them."""
        return name in self.nodes if scope is None else scope in self.functions


class GraphWalk:
    """An index over a GraphDef (unchanged by it). Later nodes of a repeated name are not seen."""

    def __init__(self, graph_def: Any) -> None:
        self.graph_def = graph_def
        self.nodes = {n.name: n for n in reversed(graph_def.node)}
        self.functions = {f.signature.name: f for f in reversed(graph_def.library.function)}

    def called(self, node: Any) -> Iterator[str]:
        """Names of the library functions that a node calls, branches into or holds as an attribute."""
        if node.op in self.functions:
            yield node.op
        yield from (name for name in named_functions(node) if name in self.functions)

    def reach(self, roots: Iterable[str]) -> Reached:
        """All that the nodes `roots` depend on, themselves included."""
        reached = Reached()
        todo = [node_of(root) for root in roots]
        calls: list[str] = []
        while todo:
            name = todo.pop()
            if name in reached.nodes or name not in self.nodes:
                continue
            reached.nodes.add(name)
            todo.extend(node_of(i) for i in self.nodes[name].input)
            calls.extend(self.called(self.nodes[name]))
        while calls:
            name = calls.pop()
            if name not in reached.functions:
                reached.functions.add(name)
                for node in self.functions[name].node_def:
                    calls.extend(self.called(node))
        return reached

    def pruned(self, kept: Reached) -> Any:
        """A new GraphDef of only what is in `kept`."""
        out = type(self.graph_def)()
        out.versions.CopyFrom(self.graph_def.versions)
        out.library.function.extend(self.functions[name] for name in sorted(kept.functions))
        out.node.extend(n for n in self.graph_def.node if n.name in kept.nodes)
        return out
