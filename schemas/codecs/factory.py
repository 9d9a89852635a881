"""From what a data type's settings say to its codec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from schemas.codecs.base import Codec
from schemas.codecs.registered.lookup import Lookup
from schemas.errors import CodecError


@dataclass(frozen=True, slots=True)
class RegistrySpec:
    """How a schema registry is reached, which speaks Confluent's protocol. Without `url` there is none.

    `url`: with the path of the protocol, if there is one. `user`, `password`: basic authentication.
    `ca_file`: of who signed its certificate, where the system does not know them; `cert_file`, `key_file`:
    the job's own, in PEM. `timeout_s`: of one request. `wait_s`: how long records wait for a registry that
    is out of reach before the job fails, and starts again from its last checkpoint; less than Flink's
    `task.cancellation.timeout` (180 s). `unknown_s`: how long an id that the registry did not know is not
    asked for again.
    """

    url: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    timeout_s: float = 5.0
    wait_s: float = 120.0
    unknown_s: float = 30.0


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """Which codec, and what it needs. `max_bytes` bounds one record; by default, its result still fits into
    the 1 MiB that Kafka takes by default.

    debezium: change events, of which the row after the change is the record; as JSON without a registry.
    protobuf: `descriptor_set` (path of a FileDescriptorSet) and `message` (full name). avro: `schema` (path
    of the reader's .avsc); with `registry_header` also `writers`, id -> path of .avsc. With
    `schema_registry` records begin with the id of a schema that it knows: then `schema`, or `message` and
    its `descriptor_set`, may be left out, and each record is read as its own schema has it.
    """

    kind: str = "json"
    max_bytes: int = 1_000_000
    descriptor_set: str = ""
    message: str = ""
    schema: str = ""
    registry_header: bool = False
    writers: Mapping[int, str] = field(default_factory=dict)
    schema_registry: RegistrySpec = field(default_factory=RegistrySpec)

    @property
    def raw_json(self) -> bool:
        """Whether payloads are JSON objects as they are, to which a result can append."""
        return self.kind == "json" and not self.schema_registry.url


def make_codec(spec: CodecSpec, lookup: Lookup | None = None) -> Codec:
    """Build the codec. `lookup`: who asks the spec's registry; `udfs.io.record_codecs` makes both.

    Raises `CodecError`. What a codec needs is imported only where it is used.
    """
    if spec.max_bytes < 1:
        raise CodecError(f"max_bytes is {spec.max_bytes}: give the bytes that one record may have")
    if spec.kind not in CODECS:
        raise CodecError(f"unknown codec {spec.kind!r}: use one of {', '.join(CODECS)}")
    if not spec.schema_registry.url:
        return CODECS[spec.kind](spec)
    if lookup is None:
        raise CodecError("the codec's schema registry needs somebody who asks it")
    if spec.registry_header or spec.writers:
        raise CodecError("give either a schema registry or writers: both say what ids mean")
    from schemas.codecs.registered.making import registered_codec  # noqa: PLC0415

    return registered_codec(spec, lookup)


def _json(spec: CodecSpec) -> Codec:
    from schemas.codecs.json_codec import JsonCodec  # noqa: PLC0415

    return JsonCodec(spec.max_bytes)


def _debezium(spec: CodecSpec) -> Codec:
    from schemas.codecs.debezium_codec import DebeziumCodec, json_event  # noqa: PLC0415

    return DebeziumCodec(json_event(spec.max_bytes))


def _protobuf(spec: CodecSpec) -> Codec:
    if not spec.descriptor_set or not spec.message:
        raise CodecError("the protobuf codec needs descriptor_set (a path) and message (a full name)")
    from schemas.codecs.protobuf_codec import ProtobufCodec  # noqa: PLC0415

    return ProtobufCodec(spec.descriptor_set, spec.message, spec.max_bytes)


def _avro(spec: CodecSpec) -> Codec:
    if not spec.schema:
        raise CodecError("the avro codec needs schema, the path of the reader's .avsc")
    if spec.writers and not spec.registry_header:
        raise CodecError("writers are given without registry_header: only its id can choose among them")
    from schemas.codecs.avro_codec import AvroCodec  # noqa: PLC0415

    return AvroCodec(spec.schema, spec.writers if spec.registry_header else None, spec.max_bytes)


CODECS: Mapping[str, Callable[[CodecSpec], Codec]] = {
    "json": _json,
    "debezium": _debezium,
    "protobuf": _protobuf,
    "avro": _avro,
}
"""`CodecSpec.kind` -> what makes the codec of records that no schema registry knows."""
