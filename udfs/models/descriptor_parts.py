"""The parts of a descriptor that a model and a node of a graph have in common, read and checked.

`about` begins the messages. All raise `DescriptorError`.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from schemas.errors import DescriptorError
from schemas.expression_bounds import ExpressionBounds
from schemas.model_pb2 import GraphNode, ModelDescriptor, ModelInput, ModelOutput
from schemas.names import excess_of_name
from schemas.tensors import LIST, DType
from udfs.models.runtimes.base import PartialInput

_SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_SMOKE_ROWS = 1024
MAX_SMOKE_BYTES = 512 * 1024
"""Of a descriptor's smoke rows in all: it must stay below what Kafka takes for a message."""

_NESTED = ExpressionBounds(nodes=sys.maxsize, depth=64)
_DTYPES = frozenset(d.value for d in DType)


def content(message: ModelDescriptor | GraphNode, about: str) -> tuple[bytes | None, str | None]:
    """`(data, location)`, one of them None."""
    kind = message.WhichOneof("content")
    if kind == "data" and message.data:
        return message.data, None
    if kind == "location" and message.location.strip():
        return None, message.location.strip()
    data, location = (message.DESCRIPTOR.fields_by_name[n].number for n in ("data", "location"))
    raise DescriptorError(
        f"{about} carries no model: give data (field {data}) or location (field {location})"
    )


def fingerprint(message: ModelDescriptor | GraphNode, inline: bytes | None, about: str) -> tuple[str, int]:
    """SHA-256 and size in bytes as published, or of the `inline` content."""
    sha256 = message.sha256.strip().lower()
    if sha256 and not _SHA256.fullmatch(sha256):
        raise DescriptorError(f"{about} has the sha256 {sha256!r}, which is not 64 hex digits")
    if inline is None:
        return sha256, message.size
    if message.size and message.size != len(inline):
        raise DescriptorError(f"{about} says {message.size} bytes and carries {len(inline)}")
    return sha256 or hashlib.sha256(inline).hexdigest(), len(inline)


def partial_inputs(given: Iterable[ModelInput], about: str) -> tuple[PartialInput, ...]:
    inputs = []
    for i in given:
        if not i.name:
            raise DescriptorError(f"{about} has an input without a name")
        if i.dtype and i.dtype not in _DTYPES:
            known = ", ".join(sorted(_DTYPES))
            raise DescriptorError(f"{about}: input {i.name!r} has the dtype {i.dtype!r}; known are {known}")
        shape = tuple(i.shape)
        if any(n < 1 for n in shape) and shape != LIST:
            raise DescriptorError(f"{about}: input {i.name!r} has the shape {shape}; sizes are 1 or more")
        fields = tuple(i.fields)
        if len(set(fields)) != len(fields) or not all(fields):
            raise DescriptorError(f"{about}: input {i.name!r} has a repeated or an empty field name")
        if shape and len(fields) > 1 and shape != (len(fields),):
            raise DescriptorError(f"{about}: input {i.name!r} of shape {shape} is given {len(fields)} fields")
        constant = i.constant if isinstance(i, ModelInput) else ""
        _check_constant(constant, fields, f"{about}: input {i.name!r}")
        inputs.append(PartialInput(i.name, i.dtype or None, shape or None, fields, constant))
    unique((i.name for i in inputs), "input", about)
    return tuple(inputs)


def json_value(text: str) -> Any:
    """The value of a JSON text. Raises `ValueError`, also for lists deeper than any input has dimensions."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if excess := _NESTED.of_tree(value, _parts):
        raise ValueError(f"it {excess}")
    return value


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _check_constant(constant: str, fields: tuple[str, ...], about: str) -> None:
    if not constant:
        return
    if fields:
        raise DescriptorError(f"{about} has a constant and fields; it can have one of them")
    try:
        json_value(constant)
    except ValueError as e:
        raise DescriptorError(f"{about} has the constant {constant[:40]!r}, which is no JSON: {e}") from None


def output_names(given: Iterable[ModelOutput], about: str) -> tuple[tuple[str, str], ...]:
    """Pairs of a model output and its name in the result."""
    given = list(given)
    if any(not o.name for o in given):
        raise DescriptorError(f"{about} has an output without a name")
    outputs = tuple((o.name, o.alias or o.name) for o in given)
    for _, alias in outputs:
        check_name(alias, "output", about)
    unique((alias for _, alias in outputs), "output", about)
    return outputs


def check_name(name: str, what: str, about: str) -> None:
    """A name that stands in every result and event: short, and of nothing that is not seen."""
    if excess := excess_of_name(name):
        raise DescriptorError(f"{about} has the {what} {excess}")
    if not name.isprintable():
        raise DescriptorError(f"{about} has the {what} {name!r}, with characters that are not printed")


def smoke_rows_of(message: ModelDescriptor, about: str) -> tuple[bytes, ...]:
    """Records for the smoke test, each one JSON object; whether they fit the model is found at loading."""
    rows = tuple(message.smoke_rows)
    if len(rows) > MAX_SMOKE_ROWS:
        raise DescriptorError(f"{about} has {len(rows)} smoke rows; give at most {MAX_SMOKE_ROWS}")
    if (size := sum(map(len, rows))) > MAX_SMOKE_BYTES:
        raise DescriptorError(f"{about} has {size:,} bytes of smoke rows; give at most {MAX_SMOKE_BYTES:,}")
    return rows


def unique(names: Iterable[str], what: str, about: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DescriptorError(f"{about} names the {what} {name!r} twice")
        seen.add(name)
