"""A model announcement: descriptor bytes of the model stream, read and checked for contradictions."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from schemas.errors import DescriptorError
from schemas.model_pb2 import ModelDescriptor
from schemas.tensors import DType
from udfs.runtimes.base import PartialInput, Wanted

SERVE = "SERVE"
WITHDRAW = "WITHDRAW"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_DTYPES = frozenset(d.value for d in DType)


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a publisher says about a model. Exactly one of `data` and `location` is set, none to withdraw.

    `version` 0 and `created_ms` 0 (epoch milliseconds) mean: not given. `sha256` (lower-case hex) and `size`
    (bytes) are of the artifact, derived from inline data; "" and 0 where a location came without them.
    `outputs` pairs a model output with its name in the result. `name` is "" only in a withdrawal of whatever
    model serves the data type.
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

    def wanted(self, fields: Sequence[str] = ()) -> Wanted:
        """What a runtime is asked for; `fields` are the data type's record fields from the settings."""
        return Wanted(self.inputs, self.outputs, tuple(fields), self.signature)


def parse(data: bytes) -> Announcement:
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
    about = f"the descriptor for {data_type!r}"
    if message.operation not in ModelDescriptor.Operation.values():
        raise DescriptorError(f"{about} has the unknown operation {message.operation}")
    operation = ModelDescriptor.Operation.Name(message.operation)
    if message.modeltype not in ModelDescriptor.ModelType.values():
        known = ", ".join(ModelDescriptor.ModelType.keys())
        raise DescriptorError(f"{about} has the unknown modeltype {message.modeltype}; known are {known}")
    if message.created_ms < 0:
        raise DescriptorError(f"{about} was created at {message.created_ms} ms, before 1970")
    inline, location = (None, None) if operation == WITHDRAW else _content(message, about)
    sha256, size = _fingerprint(message, inline, about)
    return Announcement(
        name=message.name.strip() or ("" if operation == WITHDRAW else data_type),
        data_type=data_type,
        model_type=ModelDescriptor.ModelType.Name(message.modeltype),
        description=message.description,
        version=message.version,
        created_ms=message.created_ms,
        sha256=sha256,
        size=size,
        location=location,
        data=inline,
        inputs=_inputs(message, about),
        outputs=_outputs(message, about),
        metrics=_metrics(message, about),
        operation=operation,
        signature=message.signature,
        force=message.force,
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
) -> bytes:
    """Descriptor bytes for a publisher, checked by `parse` before they are handed out.

    Size and digest of inline data are filled in. Raises `DescriptorError`.
    """
    if data is not None and location is not None:
        raise DescriptorError(f"a model for {data_type!r} travels as data or by location, not both")
    if data is not None:
        sha256, size = sha256 or hashlib.sha256(data).hexdigest(), size or len(data)
    try:
        message = ModelDescriptor(
            name=name or ("" if operation == WITHDRAW else data_type),
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
        )
        for i in inputs:
            message.inputs.add(name=i.name, dtype=i.dtype or "", shape=i.shape or (), fields=i.fields)
        for output, alias in outputs:
            message.outputs.add(name=output, alias=alias)
    except (ValueError, TypeError) as e:
        raise DescriptorError(f"no descriptor can be made for {data_type!r}: {e}") from None
    if data is not None:
        message.data = data
    elif location is not None:
        message.location = location
    # Deterministic bytes: the same announcement is the same message, whatever the order of the metrics.
    encoded = message.SerializeToString(deterministic=True)
    parse(encoded)
    return encoded


def _content(message: ModelDescriptor, about: str) -> tuple[bytes | None, str | None]:
    kind = message.WhichOneof("content")
    if kind == "data" and message.data:
        return message.data, None
    if kind == "location" and message.location.strip():
        return None, message.location.strip()
    raise DescriptorError(f"{about} carries no model: give data (field 5) or location (field 6)")


def _fingerprint(message: ModelDescriptor, inline: bytes | None, about: str) -> tuple[str, int]:
    sha256 = message.sha256.strip().lower()
    if sha256 and not _SHA256.fullmatch(sha256):
        raise DescriptorError(f"{about} has the sha256 {sha256!r}, which is not 64 hex digits")
    if inline is None:
        return sha256, message.size
    if message.size and message.size != len(inline):
        raise DescriptorError(f"{about} says {message.size} bytes and carries {len(inline)}")
    return sha256 or hashlib.sha256(inline).hexdigest(), len(inline)


def _inputs(message: ModelDescriptor, about: str) -> tuple[PartialInput, ...]:
    inputs = []
    for i in message.inputs:
        if not i.name:
            raise DescriptorError(f"{about} has an input without a name")
        if i.dtype and i.dtype not in _DTYPES:
            known = ", ".join(sorted(_DTYPES))
            raise DescriptorError(f"{about}: input {i.name!r} has the dtype {i.dtype!r}; known are {known}")
        shape = tuple(i.shape)
        if any(n < 1 for n in shape):
            raise DescriptorError(f"{about}: input {i.name!r} has the shape {shape}; sizes are 1 or more")
        fields = tuple(i.fields)
        if len(set(fields)) != len(fields) or not all(fields):
            raise DescriptorError(f"{about}: input {i.name!r} has a repeated or an empty field name")
        if shape and len(fields) > 1 and shape != (len(fields),):
            raise DescriptorError(f"{about}: input {i.name!r} of shape {shape} is given {len(fields)} fields")
        inputs.append(PartialInput(i.name, i.dtype or None, shape or None, fields))
    _unique((i.name for i in inputs), "input", about)
    return tuple(inputs)


def _outputs(message: ModelDescriptor, about: str) -> tuple[tuple[str, str], ...]:
    if any(not o.name for o in message.outputs):
        raise DescriptorError(f"{about} has an output without a name")
    outputs = tuple((o.name, o.alias or o.name) for o in message.outputs)
    _unique((alias for _, alias in outputs), "output", about)
    return outputs


def _metrics(message: ModelDescriptor, about: str) -> tuple[tuple[str, float], ...]:
    metrics = tuple(sorted(message.metrics.items()))
    for name, value in metrics:
        if not math.isfinite(value):
            raise DescriptorError(f"{about}: the metric {name!r} is {value}; give a finite number")
    return metrics


def _unique(names: Iterable[str], what: str, about: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DescriptorError(f"{about} names the {what} {name!r} twice")
        seen.add(name)
