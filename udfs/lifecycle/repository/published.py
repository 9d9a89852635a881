"""Descriptors of the model stream as what the registry keeps of them, and back."""

from __future__ import annotations

from collections.abc import Callable

from schemas.errors import LocationError
from schemas.model_pb2 import ModelDescriptor
from udfs.models.descriptor import DECIDE, PLAN_NAME, SERVE, Publication, parse
from udfs.stores.registry.model_records import (
    Metric,
    ModelColumn,
    RegisteredModel,
    RegisteredPlan,
    StoredContent,
)


def model_of(descriptor: bytes) -> RegisteredModel | None:
    """The model that is published; None for what publishes none, or does not name its version and digest.

    Raises `DescriptorError`.
    """
    said = parse(descriptor)
    if said.operation != SERVE or not said.version or not said.sha256:
        return None
    return RegisteredModel(
        said.data_type,
        said.name,
        said.version,
        said.sha256,
        model_type=said.model_type,
        created=said.created_ms,
        description=said.description,
        size=said.size,
        inputs=tuple(
            ModelColumn(i.name, i.dtype or "", i.shape or (), i.fields) for i in said.inputs if not i.constant
        ),
        outputs=tuple(ModelColumn(alias, "") for _, alias in said.outputs),
        metrics=tuple(Metric(name, value, measured=said.created_ms) for name, value in said.metrics),
        descriptor=without_content(descriptor),
    )


def plan_of(descriptor: bytes) -> RegisteredPlan | None:
    """The plan that is published; None for what publishes none. Raises `DescriptorError`."""
    said = parse(descriptor)
    if said.operation != DECIDE:
        return None
    name = said.name or PLAN_NAME
    return RegisteredPlan(
        said.data_type, name, said.version, said.sha256, said.plan, said.created_ms, said.description
    )


def contents_of(descriptor: bytes) -> list[StoredContent]:
    """Where the contents lie that a descriptor names by location and digest."""
    message = ModelDescriptor.FromString(descriptor)
    return [
        StoredContent(holder.sha256.strip().lower(), holder.location.strip(), holder.size)
        for holder in (message, *message.graph.nodes)
        if holder.HasField("location") and holder.sha256
    ]


def without_content(descriptor: bytes) -> bytes:
    """The descriptor, with the digest of each content in its place."""
    message = ModelDescriptor.FromString(descriptor)
    said = parse(descriptor)
    if said.graph is None:
        message.sha256, message.size = said.sha256, said.size
    for holder in (message, *message.graph.nodes):
        holder.ClearField("data")
        holder.ClearField("location")
    if said.graph is not None:
        for node, read in zip(message.graph.nodes, said.graph.nodes, strict=True):
            node.sha256, node.size = read.sha256, read.size
    return message.SerializeToString(deterministic=True)


def with_content(descriptor: bytes, location_of: Callable[[str], str | None]) -> Publication:
    """What was published, to be loaded from where `location_of` says that a digest lies.

    Raises `LocationError` where it does not know one.
    """
    message = ModelDescriptor.FromString(descriptor)
    alone = message.modeltype != ModelDescriptor.GRAPH
    for holder in (message,) if alone else message.graph.nodes:
        if not alone and holder.combine:
            continue
        location = location_of(holder.sha256)
        if location is None:
            raise LocationError(f"nobody knows where the content {holder.sha256[:16]} lies")
        holder.location = location
    return parse(message.SerializeToString(deterministic=True))
