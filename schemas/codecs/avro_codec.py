"""Avro records: bare, or behind a schema registry's 5 bytes (a zero, the writer schema's id big-endian)."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import fastavro

from schemas.codecs.avro_logical import unmarked
from schemas.codecs.avro_resolution import check_units
from schemas.codecs.avro_schema import read_record, schema_file
from schemas.codecs.avro_wire import counted_from_zero
from schemas.codecs.base import Code, UnfitError, check_size
from schemas.codecs.parsed import ParsedCodec
from schemas.codecs.registered.framing import schema_id
from schemas.errors import CodecError


class AvroCodec(ParsedCodec):
    """Decodes records written with `schema`, or with one of `writers` and read as `schema`.

    `schema`: path of the reader's .avsc. `writers`: registry id -> path of the writer's .avsc; given exactly
    where payloads carry the header and no registry is asked. Times are milliseconds and dates days since
    1970, as integers, whatever their unit on the wire; decimals are numbers, enums texts, bytes and fixed
    are no numbers. Raises `CodecError` for schemas that cannot be read or matched, see `avro_schema`.
    """

    def __init__(
        self, schema: str, writers: Mapping[int, str] | None = None, max_bytes: int = 1 << 20
    ) -> None:
        super().__init__(self._record)
        self._reader = schema_file(schema, reads=writers is not None)
        self._writers = (
            None if writers is None else {i: schema_file(p, reads=False) for i, p in writers.items()}
        )
        for number, writer in (self._writers or {}).items():
            check_units(writer.parsed, self._reader.parsed, f"the schema of id {number}")
        if self._writers is not None and not self._writers:
            raise CodecError(f"no writer schema is given for {schema}: name one for each registry id in use")
        self._max_bytes = max_bytes

    @cached_property
    def _unmarked(self) -> Any:
        return counted_from_zero(unmarked(self._reader.parsed))

    def split(self, content: io.BytesIO, count: int) -> Iterator[bytes]:
        """The payloads of `count` records that stand one after another, as in a block of a container file.

        Raises whatever fastavro raises for damaged bytes, EOFError and IndexError among it, and `ValueError`
        for records of no bytes.
        """
        data, start = content.getbuffer(), content.tell()
        for _ in range(count):
            fastavro.schemaless_reader(content, self._unmarked, None)
            end = content.tell()
            if end == start:  # a block may say that it has any number of them
                raise ValueError("a record that takes no bytes")
            yield bytes(data[start:end])
            start = end

    def _record(self, payload: bytes) -> dict:
        check_size(payload, self._max_bytes)
        if self._writers is None:
            return read_record(payload, self._reader)
        found, body = schema_id(payload)
        try:
            writer = self._writers[found]
        except KeyError:
            known = ", ".join(map(str, sorted(self._writers)))
            raise UnfitError(
                Code.UNPARSABLE, f"schema id {found} is not among the configured ones: {known}"
            ) from None
        return read_record(body, writer, self._reader)
