"""Loading a graph of models: every node by the steps of a model alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from schemas.errors import DigestError
from udfs.io.limits import Limits
from udfs.models.composite.descriptor import graph_digest
from udfs.models.composite.model_graph import load, named, wanted_outputs
from udfs.models.composite.nodes import Node
from udfs.models.composite.runtime import GraphRuntime
from udfs.models.composite.structure import in_order
from udfs.models.descriptor import Publication
from udfs.models.digest import Digest
from udfs.models.load_steps import LoadSteps
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature


def fetch_nodes(
    publication: Publication, steps: LoadSteps, scratch: Path
) -> tuple[dict[str, Artifact], Digest]:
    """The content of each node, by its name, and what identifies the graph.

    Nothing is fetched before its structure is known to be right; `policy.max_bytes` bounds the sum. Each
    node has a folder of its own in `scratch`. Raises the `ModelError` of the step that failed, with the
    node's name.
    """
    graph = publication.graph
    assert graph is not None
    fetched: dict[str, Artifact] = {}
    digests: dict[str, Digest] = {}
    for node in _in_order(publication, steps):
        if node.combine:
            continue
        with named(node):
            folder = scratch / node.name
            with steps.step("fetch"):
                folder.mkdir()
            taken = sum(d.size for d in digests.values())
            fetched[node.name], digests[node.name] = steps.fetch(_alone(publication, node), folder, taken)
    with steps.step("digest"):
        digest = graph_digest(graph, digests)
        _check(publication, digest)
    return fetched, digest


def load_graph(publication: Publication, steps: LoadSteps, fetched: Mapping[str, Artifact]) -> GraphRuntime:
    """The graph as one runtime, of what `fetch_nodes` gave. Raises `ModelError`, with the node's name."""
    graph = publication.graph
    assert graph is not None
    order = _in_order(publication, steps)

    def load_node(node: Node, wanted: WantedSignature) -> Runtime:
        return steps.load(node.model_type, fetched[node.name], wanted)

    with steps.step("load"):
        return load(graph, order, publication.wanted(steps.policy.fields), load_node)


def _in_order(publication: Publication, steps: LoadSteps) -> list[Node]:
    assert publication.graph is not None
    with steps.step("graph"):
        return list(in_order(publication.graph, wanted_outputs(publication.outputs), Limits()))


def _alone(publication: Publication, node: Node) -> Publication:
    return replace(
        publication,
        name=f"{publication.name}/{node.name}",
        model_type=node.model_type,
        graph=None,
        data=node.data,
        location=node.location,
        sha256=node.sha256,
        size=node.size,
    )


def _check(publication: Publication, digest: Digest) -> None:
    if publication.size and publication.size != digest.size:
        raise DigestError(f"the graph holds {digest.size} bytes, published were {publication.size}")
    if publication.sha256 and publication.sha256 != digest.sha256:
        raise DigestError(f"the graph has the SHA-256 {digest.sha256}, published was {publication.sha256}")
