"""What a reader of record files gives, and which format a file has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from schemas.codecs.base import Codec
from schemas.errors import SettingsError
from schemas.tensors import BadRecord

ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".avro": "avro",
}


@dataclass(frozen=True, slots=True)
class FileBatch:
    """Payloads of n records as a topic would hold them, and those that could not become one.

    `unreadable`: by index, with `b""` in the place of the payload.
    """

    payloads: Sequence[bytes]
    unreadable: dict[int, BadRecord] = field(default_factory=dict)


class RecordFile(Protocol):
    """A file of records, read from its beginning. `codec` decodes its payloads."""

    @property
    def codec(self) -> Codec: ...

    def batches(self, size: int) -> Iterator[FileBatch]:
        """The records in order, at most `size` in a batch. Raises `SourceError` for a damaged file."""
        ...


def format_of(path: Path, given: str, known: Sequence[str], option: str) -> str:
    """`given`, or what the file's ending says. Raises `SettingsError` unless it is one of `known`."""
    found = given or ENDINGS.get(path.suffix.lower(), "")
    if found in known:
        return found
    said = f"{given!r} is no format" if given else f"the ending of {path.name} does not tell a format"
    raise SettingsError(f"{said}; give {option} {', '.join(known[:-1])} or {known[-1]}")
