"""Parquet files of history, of events or of feature rows: finding them, and reading them by column name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from schemas.errors import StoreError
from schemas.features.declarations import FeatureType, TimeUnit
from schemas.features.feature_batch import ARROW, CREATED, TIMESTAMP
from schemas.features.time_units import in_ms
from udfs.io.s3 import S3Options

Types = Mapping[str, FeatureType]
Units = Mapping[str, TimeUnit]

_MS: Units = {}
_ROWS = 50_000


def file_system(location: str, options: S3Options) -> tuple[fs.FileSystem, str]:
    """Where `location` (`s3://...`, `file:` or a path) is, and its path there. Empty options leave the choice
    to the usual chain of credentials."""
    if not location.startswith("s3://"):
        return fs.LocalFileSystem(), location.removeprefix("file://").removeprefix("file:")
    scheme, _, host = options.endpoint.rpartition("://")
    chosen = {
        "access_key": options.access_key,
        "secret_key": options.secret_key,
        "region": options.region or ("us-east-1" if options.endpoint else ""),
        "endpoint_override": host,
        "scheme": scheme or ("https" if host else ""),
    }
    given = {name: value for name, value in chosen.items() if value}
    return fs.S3FileSystem(
        **given, request_timeout=options.timeout_s, connect_timeout=options.timeout_s
    ), location.removeprefix("s3://")


def find_files(location: str, options: S3Options) -> list[str]:
    """Visible files, as `file_system` of `location` knows them, in order. `location`: a file, a folder (with
    all below it) or a glob. Raises `StoreError` where the store does not answer."""
    files, path = file_system(location, options)
    fixed = path.split("*", 1)[0]
    base = path.rstrip("/") if fixed == path else fixed.rpartition("/")[0]
    try:
        if fixed == path and files.get_file_info(path).type == fs.FileType.File:
            return [path]
        found = files.get_file_info(fs.FileSelector(base, recursive=True, allow_not_found=True))
    except (OSError, pa.ArrowException) as e:
        raise StoreError(f"history at {location} cannot be listed: {e}") from e
    names = (f.path for f in found if f.type == fs.FileType.File and is_visible(f.path[len(base) :]))
    return sorted(n for n in names if fixed == path or fnmatchcase(n, path))


def read_batches(
    files: fs.FileSystem, path: str, types: Types, nullable: Sequence[str], units: Units = _MS
) -> Iterator[pa.RecordBatch]:
    """The columns of `types`, whatever else the file has; a missing one of `nullable` is null, so that files
    from before a new feature stay readable. Timestamps become epoch milliseconds; `units`: of those that are
    bare integers, where it is another unit.

    Raises `StoreError` for what is no Parquet, lacks another column, or has one of another type.
    """
    try:
        with files.open_input_file(path) as opened:
            file = parquet_file(opened)
            present = [name for name in types if name in file.schema_arrow.names]
            lacking = [name for name in types if name not in present and name not in nullable]
            if lacking:
                raise StoreError(f"history: {path} has no column {', '.join(lacking)}")
            for batch in by_row_group(file, present):
                yield conform(batch, types, path, units)
    except (OSError, pa.ArrowException) as e:
        raise StoreError(f"history: {path} cannot be read: {e}") from e


def parquet_file(opened: pa.NativeFile) -> pq.ParquetFile:
    """For `by_row_group`. Raises an `ArrowException` for what is no Parquet."""
    return pq.ParquetFile(opened, pre_buffer=True)


def by_row_group(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of these columns; None: of all. The columns of a group are fetched together, where each alone
    is a request to the store, and no more than a group is in memory."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(_ROWS, row_groups=[group], columns=columns)


def read_rows(location: str, types: Types, options: S3Options) -> Iterator[pa.RecordBatch]:
    """The rows of one view: entity and features as in `types`, then both times. Features that a file does not
    have are null."""
    files, _ = file_system(location, options)
    whole = {**types, TIMESTAMP: FeatureType.TIMESTAMP, CREATED: FeatureType.TIMESTAMP}
    for path in find_files(location, options):
        yield from read_batches(files, path, whole, list(types))


def conform(batch: pa.RecordBatch, types: Types, where: str, units: Units = _MS) -> pa.RecordBatch:
    """The columns of `types` in their order and in our Arrow types; those that are missing are null."""
    columns = [
        _as_declared(batch.column(name), kind, f"{where}, column {name}", units.get(name, "ms"))
        if name in batch.schema.names
        else pa.nulls(batch.num_rows, ARROW[kind])
        for name, kind in types.items()
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(types))


def check_schema(location: str, view: str, columns: Types, options: S3Options) -> None:
    """Raises `StoreError` where the newest file of a view holds a column of another type than is declared."""
    found = find_files(f"{location.rstrip('/')}/{view}", options)
    if not found:
        return
    files, _ = file_system(location, options)
    try:
        schema = pq.read_schema(found[-1], filesystem=files)
    except (OSError, pa.ArrowException) as e:
        raise StoreError(f"history: {found[-1]} cannot be read: {e}") from e
    known = {name: kind for name, kind in columns.items() if name in schema.names}
    times = {TIMESTAMP: FeatureType.TIMESTAMP, CREATED: FeatureType.TIMESTAMP}
    conform(_none(schema), {**known, **times}, found[-1])


def _none(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, t) for t in schema.types], schema=schema)


def _as_declared(column: pa.Array, kind: FeatureType, where: str, unit: TimeUnit) -> pa.Array:
    target, found = ARROW[kind], column.type
    if kind is FeatureType.TIMESTAMP and pa.types.is_timestamp(found):
        return pc.cast(column, pa.timestamp("ms", found.tz), safe=False).cast(pa.int64())
    if pa.types.is_dictionary(found):
        column, found = column.dictionary_decode(), found.value_type
    if not (found.equals(target) or _widens(found, target)):
        raise StoreError(f"history: {where} is {found}, but {kind} is declared")
    return in_ms(column.cast(target), unit)


def _widens(found: pa.DataType, target: pa.DataType) -> bool:
    """Without loss: smaller numbers of a kind, other string and list layouts; nothing but nulls."""
    if pa.types.is_null(found):
        return True
    if pa.types.is_list(target):
        return (pa.types.is_list(found) or pa.types.is_large_list(found)) and (
            found.value_type.equals(target.value_type) or _widens(found.value_type, target.value_type)
        )
    if pa.types.is_string(target):
        return pa.types.is_large_string(found)
    if pa.types.is_int64(target):
        return pa.types.is_integer(found) and not pa.types.is_uint64(found)
    if pa.types.is_float64(target):
        return pa.types.is_floating(found) or (pa.types.is_integer(found) and found.bit_width <= 32)
    return False


def is_visible(path: str) -> bool:
    """Whether readers take it: Flink hides what it has not committed."""
    return not any(step.startswith((".", "_")) for step in path.split("/") if step)
