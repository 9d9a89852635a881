"""Whether the nodes of a graph can work together, as far as it shows before any model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from schemas.errors import GraphError
from udfs.io.limits import Limits
from udfs.models.composite.nodes import Graph, Node, OutputRef


def in_order(graph: Graph, outputs: Sequence[OutputRef], limits: Limits) -> tuple[Node, ...]:
    """The nodes, each after those that it reads. `outputs`: what is wanted of the graph; empty: all ends.

    Raises `GraphError` for more nodes or a longer chain than allowed, a node that is read and not there, a
    cycle, a node that nobody reads, and a record field that looks like a reference.
    """
    if len(graph.nodes) > limits.max_nodes:
        raise GraphError(f"the graph has {len(graph.nodes)} nodes, allowed are {limits.max_nodes}")
    nodes = {n.name: n for n in graph.nodes}
    for node in graph.nodes:
        _check_references(node, nodes)
    for ref in outputs:
        if ref.node not in nodes:
            raise GraphError(f"the wanted output {ref} is of an unknown node; {_known(nodes)}")
    try:
        order = tuple(TopologicalSorter({n.name: _read(n) for n in graph.nodes}).static_order())
    except CycleError as e:
        raise GraphError(f"the nodes feed each other in a cycle: {' -> '.join(e.args[1])}") from None
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[read] for read in _read(nodes[name])), default=0)
    if max(depth.values()) > limits.max_depth:
        raise GraphError(f"the longest chain has {max(depth.values())} nodes, allowed are {limits.max_depth}")
    unread = [end for end in ends(graph) if outputs and end not in {ref.node for ref in outputs}]
    if unread:
        raise GraphError(
            f"nothing reads the node {unread[0]!r}, and it is no output: wire it or leave it out"
        )
    return tuple(nodes[name] for name in order)


def ends(graph: Graph) -> tuple[str, ...]:
    """The nodes that no other node reads, in the graph's order."""
    read = {name for node in graph.nodes for name in _read(node)}
    return tuple(n.name for n in graph.nodes if n.name not in read)


def _read(node: Node) -> list[str]:
    return [ref.node for ref in node.reads()]


def _check_references(node: Node, nodes: dict[str, Node]) -> None:
    for ref in node.reads():
        if ref.node not in nodes:
            raise GraphError(f"node {node.name!r} reads {ref} of an unknown node; {_known(nodes)}")
    for i in node.inputs:
        for field in i.fields:
            if field.split(".", 1)[0] in nodes and "." in field:
                raise GraphError(
                    f"node {node.name!r}, input {i.name!r}: {field!r} stands in 'fields', which are the "
                    "record's; a node's output stands in 'of'. If it is a field, rename the node"
                )


def _known(nodes: dict[str, Node]) -> str:
    return f"the graph has {', '.join(nodes)}"
