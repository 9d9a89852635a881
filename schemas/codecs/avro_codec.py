"""Avro records: bare, or behind a schema registry's 5 bytes (a zero, the writer schema's id big-endian)."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fastavro
import orjson

from schemas.codecs.avro_logical import Convert, converter
from schemas.codecs.base import Code, UnfitError, check_size, parse_each
from schemas.codecs.declared import assemble_declared
from schemas.codecs.field_reading import Readings
from schemas.codecs.json_codec import OBJECTS
from schemas.codecs.matrix import assemble
from schemas.errors import CodecError
from schemas.tensors import Decoded, Input

_HEADER = struct.Struct(">bI")


class AvroCodec:
    """Decodes records written with `schema`, or with one of `writers` and read as `schema`.

    `schema`: path of the reader's .avsc. `writers`: registry id -> path of the writer's .avsc; given exactly
    where payloads carry the header. Times are milliseconds and dates days since 1970, as integers, whatever
    their unit on the wire; decimals are numbers, enums texts, bytes and fixed are no numbers.
    Raises `CodecError` for schemas that cannot be read or matched, and for two kinds that a few bytes can
    turn into unbounded work: recursive ones, and arrays of items that take no bytes.
    """

    def __init__(
        self, schema: str, writers: Mapping[int, str] | None = None, max_bytes: int = 1 << 20
    ) -> None:
        self._reader, self._convert = _load(schema)
        self._writers = {i: _load(path)[0] for i, path in writers.items()} if writers is not None else None
        if self._writers is not None and not self._writers:
            raise CodecError(f"no writer schema is given for {schema}: name one for each registry id in use")
        self._max_bytes = max_bytes

    def decode(self, payloads: Sequence[bytes], inputs: Sequence[Input], readings: Readings = ()) -> Decoded:
        records, kept, bad = parse_each(payloads, self._parse)
        if readings:
            return assemble_declared(records, inputs, readings, access=OBJECTS, kept=kept, bad=bad)
        return assemble(records, inputs, OBJECTS, kept, bad)

    def to_json(self, payload: bytes) -> bytes | None:
        try:
            return orjson.dumps(self._parse(payload), default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME)
        except (UnfitError, TypeError):
            return None

    def split(self, content: io.BytesIO, count: int) -> Iterator[bytes]:
        """The payloads of `count` records that stand one after another, as in a block of a container file.

        Raises whatever fastavro raises for damaged bytes, EOFError and IndexError among it.
        """
        data, start = content.getbuffer(), content.tell()
        for _ in range(count):
            fastavro.schemaless_reader(content, self._reader, None)
            end = content.tell()
            yield bytes(data[start:end])
            start = end

    def _parse(self, payload: bytes) -> dict:
        check_size(payload, self._max_bytes)
        stream = io.BytesIO(payload)
        writer, reader = self._reader, None
        if self._writers is not None:
            writer, reader = self._writer(stream), self._reader
        try:
            record: Any = fastavro.schemaless_reader(stream, writer, reader)
        except Exception as e:  # damaged bytes surface as many kinds, EOFError and IndexError among them
            raise UnfitError(
                Code.UNPARSABLE, f"not Avro of its schema: {type(e).__name__} {e!s:.120}"
            ) from None
        if left := len(payload) - stream.tell():
            raise UnfitError(Code.UNPARSABLE, f"not Avro of its schema: {left} bytes are left over")
        return record if self._convert is None else self._convert(record)

    def _writer(self, stream: io.BytesIO) -> Any:
        assert self._writers is not None
        head = stream.read(_HEADER.size)
        if len(head) < _HEADER.size or head[0] != 0:
            raise UnfitError(
                Code.UNPARSABLE, "the payload has no schema registry header (a zero byte and an id)"
            )
        _, schema_id = _HEADER.unpack(head)
        try:
            return self._writers[schema_id]
        except KeyError:
            known = ", ".join(map(str, sorted(self._writers)))
            raise UnfitError(
                Code.UNPARSABLE, f"schema id {schema_id} is not among the configured ones: {known}"
            ) from None


def _load(path: str) -> tuple[Any, Convert | None]:
    """The schema without logical types, parsed, and what makes their values of those of the wire."""
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise CodecError(f"cannot read the Avro schema {path}: {e}") from e
    try:
        if not isinstance(raw, dict) or raw.get("type") != "record":
            raise CodecError(f"the Avro schema {path} is no record: features are fields of a record")
        parsed = fastavro.parse_schema(_without_logical(raw))
        _Bounded(path).visit(parsed)
    except CodecError:
        raise
    except Exception as e:
        raise CodecError(f"the Avro schema {path} is not valid: {type(e).__name__} {e}") from e
    return parsed, converter(raw)


def _without_logical(part: Any) -> Any:
    """The schema without logical types: their values are converted apart, see `avro_logical`."""
    if isinstance(part, list):
        return [_without_logical(p) for p in part]
    if isinstance(part, dict):
        return {
            k: v if k == "default" else _without_logical(v) for k, v in part.items() if k != "logicalType"
        }
    return part


class _Bounded:
    """Refuses what fastavro would follow without end: it recurses in C, down to a crash of the process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._empty: dict[str, bool] = {"null": True}  # type name -> its values take no bytes

    def visit(self, part: Any, within: tuple[str, ...] = ()) -> bool:
        """Whether values of this type take no bytes. `part` is parsed: its names are full names."""
        if isinstance(part, str):
            if part in within:
                raise CodecError(f"the Avro schema {self._path} is recursive at {part}: flatten it")
            return self._empty.get(part, False)
        if isinstance(part, list):
            for branch in part:
                self.visit(branch, within)
            return False  # the index of the branch takes a byte
        kind = part["type"]
        if kind in ("record", "error"):
            inner = (*within, part["name"])
            sizes = [self.visit(f["type"], inner) for f in part["fields"]]
            self._empty[part["name"]] = all(sizes)
            return all(sizes)
        if kind == "fixed":
            self._empty[part["name"]] = part["size"] == 0
            return part["size"] == 0
        if kind == "array" and self.visit(part["items"], within):
            raise CodecError(f"the Avro schema {self._path} has an array of items that take no bytes")
        if kind == "map":
            self.visit(part["values"], within)
        return self._empty.get(kind, False) if isinstance(kind, str) else self.visit(kind, within)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(type(value).__name__)
