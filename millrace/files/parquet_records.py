"""Parquet: each row as the JSON object that a producer of these records would send.

Null and NaN are null. Timestamps and durations are milliseconds, dates days since 1970, times of day
milliseconds, decimals numbers with all their digits, bytes base64, maps objects whose keys are
such values as texts.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millrace.files.base import FileBatch
from schemas.codecs.base import Code
from schemas.codecs.json_codec import JsonCodec
from schemas.errors import SourceError
from schemas.tensors import BadRecord

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MS = datetime.timedelta(milliseconds=1)
_UNSAID = (ValueError, OverflowError, KeyError, TypeError)
"""What Arrow raises for a time beyond the years 1 to 9999, an unknown zone, and text that is no UTF-8."""


class ParquetRecords:
    """Reads the columns `fields` that the file has, or all where it is None.

    Raises `SourceError` for a file that is no Parquet or has none of the fields, or two
    columns of one name.
    """

    def __init__(self, path: Path, fields: Collection[str] | None, max_bytes: int = 1 << 20) -> None:
        self.codec = JsonCodec(max_bytes)
        self._path = path
        try:
            names = pq.read_schema(path).names
        except (pa.ArrowException, OSError) as e:
            raise SourceError(f"cannot read {path} as Parquet: {e}") from e
        self._columns = names if fields is None else [name for name in names if name in fields]
        if twice := next((name for name, count in Counter(self._columns).items() if count > 1), None):
            raise SourceError(f"{path} has two columns of the name {twice!r}: rename one")
        if fields and not self._columns:
            raise SourceError(
                f"{path} has none of the fields that the model reads ({', '.join(sorted(fields)[:10])}); "
                f"its columns are {', '.join(names[:10])}"
            )

    def batches(self, size: int) -> Iterator[FileBatch]:
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(batch_size=size, columns=self._columns):
                    yield _batch(batch)
        except (pa.ArrowException, OSError) as e:
            raise SourceError(f"{self._path} is damaged: {e}") from e


def _batch(batch: pa.RecordBatch) -> FileBatch:
    try:
        return FileBatch(_payloads(batch))
    except _UNSAID:  # find out which
        payloads, unreadable = [], {}
        for row in range(batch.num_rows):
            try:
                payloads += _payloads(batch.slice(row, 1))
            except _UNSAID as e:
                reason = f"the row has a value that no record can have: {type(e).__name__} {e!s:.120}"
                unreadable[row] = BadRecord(row, Code.UNPARSABLE.value, reason)
                payloads.append(b"")
        return FileBatch(payloads, unreadable)


def _payloads(batch: pa.RecordBatch) -> list[bytes]:
    rows = batch.to_pylist() if batch.num_columns else [{}] * batch.num_rows
    for name, change in ((f.name, change) for f in batch.schema if (change := _objects(f.type)) is not None):
        for row in rows:
            row[name] = change(row[name])
    if any(_infinite(column) for column in batch.columns):
        # orjson would write null for infinity, which is not missing but wrong
        return [json.dumps(_explicit(row), default=_spelled).encode() for row in rows]
    return [orjson.dumps(row, default=_json, option=orjson.OPT_PASSTHROUGH_DATETIME) for row in rows]


def _objects(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """What makes objects of the maps in values of a type, which Arrow gives as pairs; None without maps."""
    if pa.types.is_map(kind):
        inner = _objects(kind.item_type) or _same
        return lambda value: value if value is None else {_key(k): inner(v) for k, v in value}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        each = _objects(kind.value_type)
        return None if each is None else lambda value: value if value is None else [each(v) for v in value]
    if pa.types.is_struct(kind):
        parts = {f.name: change for f in kind if (change := _objects(f.type)) is not None}
        if parts:
            return lambda value: (
                value if value is None else value | {k: c(value[k]) for k, c in parts.items()}
            )
    return None


def _same(value: Any) -> Any:
    return value


def _key(key: Any) -> str:
    """What stands for a value of that kind, as text."""
    if isinstance(key, str):
        return key
    return orjson.dumps(key, default=_json, option=orjson.OPT_PASSTHROUGH_DATETIME).decode().strip('"')


def _infinite(column: pa.Array) -> bool:
    if isinstance(column, pa.ExtensionArray):  # a tensor for example
        return _infinite(column.storage)
    if pa.types.is_struct(column.type):
        return any(_infinite(part) for part in column.flatten())
    if pa.types.is_nested(column.type):
        return _infinite(column.items if pa.types.is_map(column.type) else column.flatten())
    return bool(pa.types.is_floating(column.type) and pc.any(pc.is_inf(_wide(column))).as_py())


def _wide(column: pa.Array) -> pa.Array:
    return column.cast(pa.float32()) if pa.types.is_float16(column.type) else column


def _explicit(value: Any) -> Any:
    """NaN as null; infinity stays, for `json` to write and the codec to refuse."""
    if isinstance(value, dict):
        return {name: _explicit(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_explicit(part) for part in value]
    value = float(value) if isinstance(value, np.float16) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _spelled(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else _json(value)


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(f"{value:f}".encode())
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).__sub__(_EPOCH) // _MS
    if isinstance(value, datetime.date):
        return (value - _EPOCH.date()).days
    if isinstance(value, datetime.time):
        value = datetime.timedelta(
            hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
        )
    if isinstance(value, datetime.timedelta):
        return value // _MS
    if isinstance(value, np.float16):  # numbers of half precision are NumPy's in Arrow
        return float(value)
    raise TypeError(type(value).__name__)
