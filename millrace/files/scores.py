"""Files of scores: one row a record in order, the outputs under their names, then what became of it.

The last three columns are `outcome` (`scored`, `failed`: the model failed on it, `refused`: a job would make
it a dead letter), `code` (why it was refused, as in a dead letter) and `reason`.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from millrace.files.base import format_of
from schemas.errors import SettingsError, SourceError
from schemas.tensors import DType, Output

FORMATS = ("csv", "jsonl", "parquet")
TOLD = ("outcome", "code", "reason")
_GROUP = 65_536  # rows of a Parquet row group
_ARROW = {
    DType.FLOAT32: pa.float32(),
    DType.FLOAT64: pa.float64(),
    DType.INT32: pa.int32(),
    DType.INT64: pa.int64(),
    DType.BOOL: pa.bool_(),
    DType.TEXT: pa.string(),
}


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one record."""

    outcome: str
    code: str = ""
    reason: str = ""


class ScoreFile(Protocol):
    """A file that is written a batch at a time."""

    def write(self, columns: Mapping[str, Sequence[Any]], told: Sequence[Told]) -> None:
        """N rows: by output its n values, None where a record has no scores, and what became of each."""
        ...

    def close(self) -> None: ...


@contextmanager
def open_scores(path: Path, given: str, outputs: Sequence[Output]) -> Iterator[ScoreFile]:
    """A file of scores, which stands under its name when all of it is written, and not before.

    Raises `SettingsError` for a format that is not known and for an output with the name of another column,
    `SourceError` where the file cannot be written.
    """
    kind = format_of(path, given, FORMATS, "--to-format")
    for o in outputs:
        if o.name in TOLD:
            raise SettingsError(
                f"the output {o.name!r} has the name of a column: give --output {o.name}=ALIAS"
            )
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        file = _WRITERS[kind](part, outputs)
        try:
            yield file
        finally:
            file.close()
        part.replace(path)
    except OSError as e:
        raise SourceError(f"cannot write {path}: {e}") from e
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


class CsvScores:
    """A header, then a line a record. A vector or a matrix is a JSON array in its cell."""

    def __init__(self, path: Path, outputs: Sequence[Output]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([o.name for o in outputs] + list(TOLD))

    def write(self, columns: Mapping[str, Sequence[Any]], told: Sequence[Told]) -> None:
        cells = [map(_cell, column) for column in columns.values()]
        rows = zip(*cells, *_told_columns(told), strict=True)
        self._writer.writerows(rows)

    def close(self) -> None:
        self._file.close()


class JsonScores:
    """A JSON object a record; what a record does not have is left out of its object."""

    def __init__(self, path: Path, outputs: Sequence[Output]) -> None:
        self._file = path.open("wb")

    def write(self, columns: Mapping[str, Sequence[Any]], told: Sequence[Told]) -> None:
        for row, one in enumerate(told):
            values = {n: c[row] for n, c in columns.items() if c[row] is not None}
            values |= {n: v for n in TOLD if (v := getattr(one, n))}
            self._file.write(orjson.dumps(values) + b"\n")

    def close(self) -> None:
        self._file.close()


class ParquetScores:
    """Columns of the outputs' types, lists for vectors and matrices, null for a record without scores."""

    def __init__(self, path: Path, outputs: Sequence[Output]) -> None:
        fields = [pa.field(o.name, _arrow(o)) for o in outputs]
        self._schema = pa.schema([*fields, *(pa.field(name, pa.string()) for name in TOLD)])
        self._writer = pq.ParquetWriter(path, self._schema)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, columns: Mapping[str, Sequence[Any]], told: Sequence[Told]) -> None:
        every = [*columns.values(), *_told_columns(told)]
        arrays = [pa.array(column, field.type) for column, field in zip(every, self._schema, strict=True)]
        self._waiting.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows += len(told)
        if self._rows >= _GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(
                pa.Table.from_batches(self._waiting, self._schema), row_group_size=_GROUP
            )
        self._waiting, self._rows = [], 0


_WRITERS: dict[str, Callable[[Path, Sequence[Output]], ScoreFile]] = {
    "csv": CsvScores,
    "jsonl": JsonScores,
    "parquet": ParquetScores,
}


def values_of(column: NDArray[Any]) -> list[Any]:
    """Python values of a column `(n, *shape)`. A float32 is told by its shortest digits, as in a result."""
    if column.dtype == "float32" and column.size:
        text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)
        return list(orjson.loads(text))
    return list(column.tolist())


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, list) else value


def _told_columns(told: Sequence[Told]) -> list[list[str | None]]:
    return [[getattr(one, name) or None for one in told] for name in TOLD]


def _arrow(output: Output) -> pa.DataType:
    kind = _ARROW[output.dtype]
    for _ in output.shape:
        kind = pa.list_(kind)
    return kind
