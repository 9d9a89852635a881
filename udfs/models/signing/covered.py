"""What of a descriptor a signature covers, worked out from the message alone: nothing in it is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from schemas.model_pb2 import GraphNode, ModelDescriptor
from udfs.models.signing.faults import SignatureError, SignatureFault
from udfs.models.signing.statement import SINGLE, Covered, Resource

_SERVE = ModelDescriptor.SERVE


def publication_of(message: ModelDescriptor) -> Covered:
    """Raises `SignatureError` for a model of which the descriptor has neither content nor digest."""
    digest, size = message.sha256.strip().lower(), message.size
    if message.operation == _SERVE and message.HasField("data"):
        digest, size = hashlib.sha256(message.data).hexdigest(), len(message.data)
    plan = hashlib.sha256(message.plan.encode()).hexdigest() if message.plan else ""
    return Covered(
        data_type=message.dataType.strip(),
        name=message.name.strip(),
        version=message.version,
        operation=_operation(message),
        force=message.force,
        plan=plan,
        digest=digest or plan,
        size=size,
        descriptor=descriptor_digest(message),
    )


def resources_of(message: ModelDescriptor) -> tuple[Resource, ...]:
    """The artifacts by name and digest; for what is no model the plan, or else the descriptor itself.

    Raises `SignatureError` as `publication_of`.
    """
    if message.operation == _SERVE:
        return tuple(sorted(_artifacts(message), key=lambda r: r.name))
    if message.plan:
        return (Resource("plan", hashlib.sha256(message.plan.encode()).hexdigest()),)
    return (Resource("descriptor", descriptor_digest(message)),)


def descriptor_digest(message: ModelDescriptor) -> str:
    """SHA-256 of the message without contents, locations and what tells who signed: content is known by its
    digest, and may be moved. Fields in the order of their numbers, keys of maps in theirs."""
    bare = ModelDescriptor()
    bare.CopyFrom(message)
    for holder in (bare, *bare.graph.nodes):
        holder.ClearField("data")
        holder.ClearField("location")
    bare.ClearField("bundle")
    bare.ClearField("signer")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def _artifacts(message: ModelDescriptor) -> Iterator[Resource]:
    if message.modeltype != ModelDescriptor.GRAPH:
        yield Resource(SINGLE, _digest(message, "the model"))
        return
    for node in message.graph.nodes:
        if node.combine == GraphNode.NONE:
            yield Resource(node.name, _digest(node, f"the node {node.name!r}"))


def _digest(holder: ModelDescriptor | GraphNode, what: str) -> str:
    if holder.HasField("data"):
        return hashlib.sha256(holder.data).hexdigest()
    stated = holder.sha256.strip().lower()
    if not stated:
        raise SignatureError(
            SignatureFault.UNREADABLE,
            f"{what} travels by location without its sha256; give it, for a signature is over the content",
        )
    return stated


def _operation(message: ModelDescriptor) -> str:
    known = message.operation in ModelDescriptor.Operation.values()
    return ModelDescriptor.Operation.Name(message.operation) if known else str(message.operation)
