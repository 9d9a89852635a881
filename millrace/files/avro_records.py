"""Avro container files: each record's bytes as they are, decoded as a job does with the file's schema."""

from __future__ import annotations

import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro

from millrace.files.base import FileBatch
from schemas.codecs.avro_codec import AvroCodec
from schemas.errors import CodecError, SourceError


class AvroRecords:
    """Reads a container file. `scratch`: a folder for its schema, which the codec reads from a file.

    Raises `SourceError` for a file that is none, or whose schema a job would refuse.
    """

    def __init__(self, path: Path, scratch: Path, max_bytes: int = 1 << 20) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                schema = json.loads(fastavro.reader(file).metadata["avro.schema"])
        except Exception as e:  # what the file says is a schema may be anything
            raise SourceError(f"cannot read {path} as an Avro container file: {e}") from e
        written = scratch / "schema.avsc"
        written.write_text(json.dumps(schema), encoding="utf-8")
        try:
            self.codec = AvroCodec(str(written), max_bytes=max_bytes)
        except CodecError as e:
            raise SourceError(f"{path}: {str(e).replace(str(written), 'in it')}") from None

    def batches(self, size: int) -> Iterator[FileBatch]:
        payloads: list[bytes] = []
        for payload in self._payloads():
            payloads.append(payload)
            if len(payloads) == size:
                yield FileBatch(payloads)
                payloads = []
        if payloads:
            yield FileBatch(payloads)

    def _payloads(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                block: Any
                for block in fastavro.block_reader(file):
                    if block.num_records < 0:
                        raise ValueError(f"a block of {block.num_records} records")
                    yield from self.codec.split(block.bytes_, block.num_records)
        except (OSError, ValueError, EOFError, IndexError, MemoryError, zlib.error, lzma.LZMAError) as e:
            raise SourceError(f"{self._path} is damaged: {type(e).__name__} {e}") from e
