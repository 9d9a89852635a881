"""What a registry knows of a schema, and how codecs ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SchemaType(StrEnum):
    """As registries write it."""

    AVRO = "AVRO"
    JSON = "JSON"
    PROTOBUF = "PROTOBUF"


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """`text`: the schema as it was registered; of protobuf a FileDescriptorProto in base64 where the
    registry can give that. `references`: by the name under which the schema refers to them."""

    type: str
    text: str
    references: Mapping[str, RegisteredSchema] = field(default_factory=dict)


class UnknownSchemaError(Exception):
    """The registry has no schema of this id, or is not asked for it now, as the message then says. Codecs
    catch it; the record is a dead letter."""


Lookup = Callable[[int], RegisteredSchema]
"""The schema of an id. Raises `UnknownSchemaError`, and `CodecError` for one that is too large; waits where
the registry is out of reach, and raises `SchemaRegistryError` when it has waited for too long."""
