"""From settings to the codec of records whose schemas a registry knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from schemas.codecs.base import Codec
from schemas.codecs.debezium_codec import DebeziumCodec
from schemas.codecs.json_text import parse_object
from schemas.codecs.parsed import ParsedCodec
from schemas.codecs.registered.lookup import Lookup, RegisteredSchema, SchemaType
from schemas.codecs.registered.registered_codec import (
    MakeParser,
    Parser,
    RegisteredCodec,
    RegisteredJsonCodec,
    SchemaParsers,
)
from schemas.errors import CodecError

if TYPE_CHECKING:
    from schemas.codecs.factory import CodecSpec


def registered_codec(spec: CodecSpec, lookup: Lookup) -> Codec:
    """The codec of `spec.kind` behind ids that `lookup` knows. Raises `CodecError`."""
    makers: Mapping[str, Callable[[], MakeParser]] = {
        "avro": lambda: _avro(spec),
        "json": lambda: lambda number, found: lambda body: body,
        "protobuf": lambda: _protobuf(spec),
    }
    if spec.kind == "debezium":
        events: dict[str, MakeParser] = {
            SchemaType.AVRO: _avro(spec),
            SchemaType.JSON: lambda number, found: parse_object,
            SchemaType.PROTOBUF: _as_objects(_protobuf(spec)),
        }
        parsers = SchemaParsers(lookup, events, spec.max_bytes)
        return RegisteredCodec(DebeziumCodec(parsers), parsers)
    if spec.kind not in makers:
        raise CodecError(
            f"no schema registry has schemas of {spec.kind!r}: use debezium, {', '.join(makers)}"
        )
    parsers = SchemaParsers(lookup, {spec.kind.upper(): makers[spec.kind]()}, spec.max_bytes)
    if spec.kind == "json":
        return RegisteredCodec(RegisteredJsonCodec(parsers, spec.max_bytes), parsers)
    if spec.kind == "avro":
        return RegisteredCodec(ParsedCodec(parsers), parsers)
    from schemas.codecs.protobuf_codec import MESSAGES  # noqa: PLC0415
    from schemas.codecs.protobuf_values import message_json  # noqa: PLC0415

    return RegisteredCodec(ParsedCodec(parsers, MESSAGES, message_json), parsers)


def _avro(spec: CodecSpec) -> MakeParser:
    from schemas.codecs.avro_schema import schema_file  # noqa: PLC0415
    from schemas.codecs.registered.avro_records import avro_parser  # noqa: PLC0415

    reader = schema_file(spec.schema) if spec.schema else None
    return lambda number, found: avro_parser(number, found, reader)


def _protobuf(spec: CodecSpec) -> MakeParser:
    from schemas.codecs.protobuf_codec import message_type, parse_message  # noqa: PLC0415
    from schemas.codecs.registered.protobuf_records import protobuf_parser  # noqa: PLC0415

    if bool(spec.message) != bool(spec.descriptor_set):
        raise CodecError("give both message and descriptor_set, or neither: the registry has the messages")
    if not spec.message:
        return lambda number, found: protobuf_parser(number, found, None)
    kind = message_type(spec.descriptor_set, spec.message)
    return lambda number, found: protobuf_parser(number, found, lambda body: parse_message(kind, body))


def _as_objects(make: MakeParser) -> MakeParser:
    from schemas.codecs.protobuf_values import plain  # noqa: PLC0415

    def made(number: int, found: RegisteredSchema) -> Parser:
        parse = make(number, found)
        return lambda body: plain(parse(body))

    return made
