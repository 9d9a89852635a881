"""A graph of models on the wire, read and checked node by node, and what identifies it."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping

from schemas.errors import DescriptorError
from schemas.model_pb2 import GraphNode, ModelDescriptor, ModelGraph, ModelInput
from udfs.models.composite.nodes import MEAN, Graph, Node, NodeInput, OutputRef
from udfs.models.descriptor_parts import content, fingerprint, output_names, partial_inputs, unique
from udfs.models.digest import Digest

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def parse_graph(message: ModelDescriptor, about: str) -> Graph:
    """The descriptor's graph, each node read for itself; how they fit together is checked at loading.

    `about` begins the messages. Raises `DescriptorError`.
    """
    if not message.graph.nodes:
        raise DescriptorError(f"{about} is of modeltype GRAPH and has no nodes; give graph (field 18)")
    if message.WhichOneof("content") or message.inputs or message.signature:
        raise DescriptorError(f"{about} is a graph: content, inputs and signature stand in its nodes")
    nodes = tuple(_node(n, about) for n in message.graph.nodes)
    unique((n.name for n in nodes), "node", about)
    fields = tuple(message.graph.fields)
    unique(fields, "field", about)
    return Graph(nodes, fields)


def graph_message(graph: Graph, digests: Mapping[str, Digest] | None = None) -> ModelGraph:
    """The graph for the wire; with `digests` (node -> digest), without content and with these instead.

    Raises `ValueError` or `TypeError` for values that the wire cannot hold.
    """
    message = ModelGraph(fields=graph.fields)
    for node in graph.nodes:
        n = message.nodes.add(
            name=node.name,
            modeltype=ModelDescriptor.ModelType.Value(node.model_type),
            sha256=node.sha256,
            size=node.size,
            signature=node.signature,
            combine=GraphNode.Combine.Value(node.combine or "NONE"),
            of=map(str, node.of),
            weights=node.weights,
        )
        for i in node.inputs:
            n.inputs.add(
                name=i.name,
                dtype=i.dtype or "",
                shape=i.shape or (),
                fields=i.fields,
                of=map(str, i.of),
                constant=i.constant,
            )
        for output, alias in node.outputs:
            n.outputs.add(name=output, alias=alias)
        if digests is not None:
            if not node.combine:
                n.sha256, n.size = digests[node.name]
        elif node.data is not None:
            n.data = node.data
        elif node.location is not None:
            n.location = node.location
    return message


def graph_digest(graph: Graph, digests: Mapping[str, Digest]) -> Digest:
    """What identifies the whole: SHA-256 over the graph with the digest of each node in place of its content.

    It is the same wherever the contents lie. The size is the sum of the nodes' sizes, in bytes.
    """
    whole = graph_message(graph, digests).SerializeToString(deterministic=True)
    return Digest(hashlib.sha256(whole).hexdigest(), sum(d.size for d in digests.values()))


def stated_digest(graph: Graph) -> Digest | None:
    """`graph_digest` by what the descriptor says; None where a location has no digest or no size."""
    models = [n for n in graph.nodes if not n.combine]
    if not all(n.sha256 and n.size for n in models):
        return None
    return graph_digest(graph, {n.name: Digest(n.sha256, n.size) for n in models})


def _node(message: GraphNode, about: str) -> Node:
    if not _NAME.fullmatch(message.name):
        raise DescriptorError(f"{about}: a node's name is letters, digits, _ and -, not {message.name!r}")
    about = f"{about}, node {message.name!r}"
    if message.combine not in GraphNode.Combine.values():
        raise DescriptorError(f"{about} has the unknown combine {message.combine}")
    if message.combine != GraphNode.NONE:
        return _combination(message, about)
    if message.of or message.weights:
        raise DescriptorError(f"{about} is a model, and 'of' and 'weights' are for combine; wire its inputs")
    if message.modeltype not in ModelDescriptor.ModelType.values() or (
        message.modeltype == ModelDescriptor.GRAPH
    ):
        raise DescriptorError(f"{about} has the modeltype {message.modeltype}, which is not of one model")
    data, location = content(message, about)
    sha256, size = fingerprint(message, data, about)
    return Node(
        name=message.name,
        model_type=ModelDescriptor.ModelType.Name(message.modeltype),
        data=data,
        location=location,
        sha256=sha256,
        size=size,
        signature=message.signature,
        inputs=_inputs(message, about),
        outputs=output_names(message.outputs, about),
    )


def _combination(message: GraphNode, about: str) -> Node:
    combine = GraphNode.Combine.Name(message.combine)
    if message.WhichOneof("content") or message.inputs or message.outputs or message.signature:
        raise DescriptorError(
            f"{about} combines others by {combine}, and is a model too; it can be one of them"
        )
    of, weights = _refs(message.of, about), tuple(message.weights)
    if len(of) < 2:
        raise DescriptorError(f"{about} combines {len(of)} outputs; name two or more in 'of'")
    if weights and (combine != MEAN or len(weights) != len(of)):
        raise DescriptorError(f"{about} has {len(weights)} weights for the {combine} of {len(of)} outputs")
    if weights and not (all(w >= 0 for w in weights) and 0 < sum(weights) < math.inf):
        said = f"{about} has the weights {weights}; they are 0 or more, not all 0, and have a finite sum"
        raise DescriptorError(said)
    return Node(name=message.name, combine=combine, of=of, weights=weights)


def _inputs(message: GraphNode, about: str) -> tuple[NodeInput, ...]:
    # A row of fields and outputs has a width that only the loaded nodes tell, so the shape is left out here.
    stated = [
        ModelInput(
            name=i.name, dtype=i.dtype, shape=[] if i.of else i.shape, fields=i.fields, constant=i.constant
        )
        for i in message.inputs
    ]
    for i in message.inputs:
        if any(n < 1 for n in i.shape):
            raise DescriptorError(f"{about}: input {i.name!r} has the shape {tuple(i.shape)}, below 1")
        if i.constant and i.of:
            raise DescriptorError(f"{about}: input {i.name!r} has a constant and outputs; it can have one")
    return tuple(
        NodeInput(p.name, p.dtype, tuple(i.shape) or None, p.fields, _refs(i.of, about), p.constant)
        for p, i in zip(partial_inputs(stated, about), message.inputs, strict=True)
    )


def _refs(texts: Iterable[str], about: str) -> tuple[OutputRef, ...]:
    texts = list(texts)
    unique(texts, "output", about)
    return tuple(OutputRef.read(text, about) for text in texts)
