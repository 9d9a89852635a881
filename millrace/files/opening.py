"""From a path and a format to the file's reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from millrace.files.base import RecordFile, format_of
from schemas.errors import SettingsError
from schemas.tensors import DType, Input

FORMATS = ("csv", "jsonl", "parquet", "avro")


def open_records(
    path: Path, given: str, inputs: Sequence[Input], scratch: Path, *, delimiter: str = "", max_bytes: int
) -> RecordFile:
    """The reader of a file of records for a model with these inputs.

    Raises `SettingsError` where the format is not known, and `SourceError` where the file is not of it.
    """
    kind = format_of(path, given, FORMATS, "--format")
    if delimiter and kind != "csv":
        raise SettingsError(f"--delimiter is for CSV, and {path.name} is read as {kind}")
    if kind == "csv":
        from millrace.files.csv_records import CsvRecords  # noqa: PLC0415

        types: dict[str, DType] = {field: i.dtype for i in inputs for field in i.fields}
        split = delimiter or ("\t" if path.suffix.lower() == ".tsv" else ",")
        if len(split) != 1:
            raise SettingsError(f"--delimiter is one character, not {delimiter!r}")
        return CsvRecords(path, types, split, max_bytes)
    if kind == "jsonl":
        from millrace.files.json_records import JsonLines  # noqa: PLC0415

        return JsonLines(path, max_bytes)
    if kind == "parquet":
        from millrace.files.parquet_records import ParquetRecords  # noqa: PLC0415

        return ParquetRecords(path, {field for i in inputs for field in i.fields}, max_bytes)
    from millrace.files.avro_records import AvroRecords  # noqa: PLC0415

    return AvroRecords(path, scratch, max_bytes)
