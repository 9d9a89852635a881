"""From what a data type's settings say to its codec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.codecs.base import Codec
from schemas.errors import CodecError


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """Which codec, and what it needs. `max_bytes` bounds one record; by default, its result still fits into
    the 1 MiB that Kafka takes by default.

    debezium: change events as JSON, of which the row after the change is the record.
    protobuf: `descriptor_set` (path of a FileDescriptorSet) and `message` (full name).
    avro: `schema` (path of the reader's .avsc); with `registry_header` also `writers`, id -> path of .avsc.
    """

    kind: str = "json"
    max_bytes: int = 1_000_000
    descriptor_set: str = ""
    message: str = ""
    schema: str = ""
    registry_header: bool = False
    writers: Mapping[int, str] = field(default_factory=dict)


def make_codec(spec: CodecSpec) -> Codec:
    """Build the codec. Raises `CodecError`. fastavro and protobuf are imported only where they are used."""
    if spec.max_bytes < 1:
        raise CodecError(f"max_bytes is {spec.max_bytes}: give the bytes that one record may have")
    if spec.kind == "json":
        from schemas.codecs.json_codec import JsonCodec  # noqa: PLC0415

        return JsonCodec(spec.max_bytes)
    if spec.kind == "debezium":
        from schemas.codecs.debezium_codec import DebeziumCodec  # noqa: PLC0415

        return DebeziumCodec(spec.max_bytes)
    if spec.kind == "protobuf":
        if not spec.descriptor_set or not spec.message:
            raise CodecError("the protobuf codec needs descriptor_set (a path) and message (a full name)")
        from schemas.codecs.protobuf_codec import ProtobufCodec  # noqa: PLC0415

        return ProtobufCodec(spec.descriptor_set, spec.message, spec.max_bytes)
    if spec.kind == "avro":
        if not spec.schema:
            raise CodecError("the avro codec needs schema, the path of the reader's .avsc")
        if spec.writers and not spec.registry_header:
            raise CodecError("writers are given without registry_header: only its id can choose among them")
        from schemas.codecs.avro_codec import AvroCodec  # noqa: PLC0415

        return AvroCodec(spec.schema, spec.writers if spec.registry_header else None, spec.max_bytes)
    raise CodecError(f"unknown codec {spec.kind!r}: use json, debezium, protobuf or avro")
