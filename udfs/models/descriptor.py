"""A model publication: descriptor bytes of the model stream, read and checked for contradictions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.message import DecodeError

from schemas.codecs.field_reading import Readings
from schemas.errors import DescriptorError
from schemas.model_pb2 import ModelDescriptor
from schemas.plans.plan import read_plan
from udfs.models.composite.descriptor import graph_message, parse_graph, stated_digest
from udfs.models.composite.nodes import Graph
from udfs.models.descriptor_parts import (
    check_name,
    content,
    fingerprint,
    output_names,
    partial_inputs,
    smoke_rows_of,
)
from udfs.models.record_fields import field_message, readings_of
from udfs.models.runtimes.base import PartialInput, WantedSignature

SERVE = "SERVE"
WITHDRAW = "WITHDRAW"
DECIDE = "DECIDE"
EXPERIMENT = "EXPERIMENT"

PLAN_NAME = "plan"
"""The name of a plan that was given none. The data type would be the name of a model that was given none."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What a publisher says about a model. One of `data`, `location` and `graph` is set, none to unpublish.

    `version` 0 and `created_ms` 0 (epoch milliseconds) mean: not given. `sha256` (lower-case hex) and `size`
    (bytes) are of the artifact, derived from inline data; "" and 0 where a location came without them. Of a
    graph they are what `graph_digest` says. `outputs` pairs a model output with its name in the result.
    `name` is "" only in a withdrawal of whatever model serves the data type. `plan` is the JSON of a plan to
    DECIDE by, unchecked ("" is the default plan), `experiment` an order as JSON, unchecked.
    `batch_dependent`: an answer may depend on the records beside it, or on the calls before. `smoke_rows`:
    records as JSON objects to try the model with, where made-up ones would not do. `readings` declare how
    fields that inputs name are read. `signer` is the name of the key that signed it, put there by who
    verified that; "" where nobody did.
    """

    name: str
    data_type: str
    model_type: str = "TENSORFLOW"
    description: str = ""
    version: int = 0
    created_ms: int = 0
    sha256: str = ""
    size: int = 0
    location: str | None = None
    data: bytes | None = None
    inputs: tuple[PartialInput, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    metrics: tuple[tuple[str, float], ...] = ()
    operation: str = SERVE
    signature: str = ""
    force: bool = False
    plan: str = ""
    graph: Graph | None = None
    batch_dependent: bool = False
    smoke_rows: tuple[bytes, ...] = ()
    readings: Readings = ()
    experiment: str = ""
    signer: str = ""

    def wanted(self, fields: Sequence[str] = ()) -> WantedSignature:
        """What a runtime is asked for; `fields` are the data type's record fields from the settings."""
        constants = self.constants()
        inputs = (
            replace(p, constant=json.dumps(constants[p.name])) if p.name in constants else p
            for p in self.inputs
        )
        return WantedSignature(tuple(inputs), self.outputs, tuple(fields), self.signature)

    def constants(self) -> dict[str, Any]:
        """Input -> the value of the one field that it is made of, for those that are declared constant."""
        declared = {r.name: r.constant for r in self.readings if r.constant is not None}
        return {
            p.name: declared[p.fields[0]]
            for p in self.inputs
            if len(p.fields) == 1 and p.fields[0] in declared
        }


def parse(data: bytes) -> Publication:
    """Read one message of the model stream.

    An older producer's bytes (fields 1 to 6) are valid: name, size and digest are derived. Raises
    `DescriptorError` for anything that cannot be acted on.
    """
    message = ModelDescriptor()
    try:
        message.ParseFromString(data)
    except DecodeError as e:
        raise DescriptorError(f"not a ModelDescriptor ({len(data)} bytes): {e}") from None
    data_type = message.dataType.strip()
    if not data_type:
        raise DescriptorError("the descriptor names no dataType; set field 3 to the type of the records")
    check_name(data_type, "dataType", "the descriptor")
    about = f"the descriptor for {data_type!r}"
    check_name(message.name.strip(), "name", about)
    if message.operation not in ModelDescriptor.Operation.values():
        raise DescriptorError(f"{about} has the unknown operation {message.operation}")
    operation = ModelDescriptor.Operation.Name(message.operation)
    if message.modeltype not in ModelDescriptor.ModelType.values():
        known = ", ".join(ModelDescriptor.ModelType.keys())
        raise DescriptorError(f"{about} has the unknown modeltype {message.modeltype}; known are {known}")
    if message.created_ms < 0:
        raise DescriptorError(f"{about} was created at {message.created_ms} ms, before 1970")
    is_graph = message.modeltype == ModelDescriptor.GRAPH
    if message.HasField("graph") and not is_graph:
        raise DescriptorError(f"{about} carries a graph of models; its modeltype is GRAPH then")
    inline, location = content(message, about) if operation == SERVE and not is_graph else (None, None)
    graph = parse_graph(message, about) if operation == SERVE and is_graph else None
    texts = {DECIDE: message.plan, EXPERIMENT: message.experiment}
    hashed = texts[operation].encode() if operation in texts else inline
    sha256, size = fingerprint(message, hashed, about)
    if graph is not None and (digest := stated_digest(graph)) is not None:
        sha256, size = sha256 or digest.sha256, size or digest.size
    return Publication(
        name=message.name.strip() or _default_name(operation, data_type),
        data_type=data_type,
        model_type=ModelDescriptor.ModelType.Name(message.modeltype),
        description=message.description,
        version=message.version,
        created_ms=message.created_ms,
        sha256=sha256,
        size=size,
        location=location,
        data=inline,
        inputs=partial_inputs(message.inputs, about),
        outputs=output_names(message.outputs, about),
        metrics=_metrics(message, about),
        operation=operation,
        signature=message.signature,
        force=message.force,
        plan=message.plan,
        graph=graph,
        batch_dependent=message.batch_dependent,
        smoke_rows=smoke_rows_of(message, about),
        readings=readings_of(message, about),
        experiment=message.experiment,
        signer=message.signer,
    )


def build(
    *,
    data_type: str,
    name: str = "",
    model_type: str = "TENSORFLOW",
    description: str = "",
    data: bytes | None = None,
    location: str | None = None,
    version: int = 0,
    created_ms: int = 0,
    sha256: str = "",
    size: int = 0,
    inputs: Iterable[PartialInput] = (),
    outputs: Iterable[tuple[str, str]] = (),
    metrics: Mapping[str, float] | None = None,
    operation: str = SERVE,
    signature: str = "",
    force: bool = False,
    plan: str = "",
    graph: Graph | None = None,
    batch_dependent: bool = False,
    smoke_rows: Iterable[bytes] = (),
    readings: Readings = (),
    experiment: str = "",
) -> bytes:
    """Descriptor bytes for a publisher, checked by `parse` before they are handed out.

    Size and digest of inline data are filled in. Raises `DescriptorError`, and `PlanError` for a plan that
    cannot be read.
    """
    if operation == DECIDE:
        read_plan(plan)
    if sum(given is not None for given in (data, location, graph)) > 1:
        raise DescriptorError(
            f"a model for {data_type!r} travels as data, by location or as a graph, not both"
        )
    if data is not None:
        sha256, size = sha256 or hashlib.sha256(data).hexdigest(), size or len(data)
    if graph is not None and (digest := stated_digest(graph)) is not None:
        sha256, size = sha256 or digest.sha256, size or digest.size
    try:
        message = ModelDescriptor(
            name=name or _default_name(operation, data_type),
            description=description,
            dataType=data_type,
            modeltype=ModelDescriptor.ModelType.Value(model_type),
            version=version,
            created_ms=created_ms,
            sha256=sha256,
            size=size,
            metrics=dict(metrics or {}),
            operation=ModelDescriptor.Operation.Value(operation),
            signature=signature,
            force=force,
            plan=plan,
            graph=None if graph is None else graph_message(graph),
            batch_dependent=batch_dependent,
            smoke_rows=smoke_rows,
            record_fields=map(field_message, readings),
            experiment=experiment,
        )
        for i in inputs:
            message.inputs.add(
                name=i.name, dtype=i.dtype or "", shape=i.shape or (), fields=i.fields, constant=i.constant
            )
        for output, alias in outputs:
            message.outputs.add(name=output, alias=alias)
    except (ValueError, TypeError) as e:
        raise DescriptorError(f"no descriptor can be made for {data_type!r}: {e}") from None
    if data is not None:
        message.data = data
    elif location is not None:
        message.location = location
    # Deterministic bytes: the same publication is the same message, whatever the order of the metrics.
    encoded = message.SerializeToString(deterministic=True)
    parse(encoded)
    return encoded


def _default_name(operation: str, data_type: str) -> str:
    return {SERVE: data_type, DECIDE: PLAN_NAME}.get(operation, "")


def _metrics(message: ModelDescriptor, about: str) -> tuple[tuple[str, float], ...]:
    metrics = tuple(sorted(message.metrics.items()))
    for name, value in metrics:
        if not math.isfinite(value):
            raise DescriptorError(f"{about}: the metric {name!r} is {value}; give a finite number")
    return metrics
