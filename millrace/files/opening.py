"""From a path and a format to the file's reader."""

from __future__ import annotations

from pathlib import Path

from millrace.files.base import RecordFile, format_of
from schemas.codecs.field_reading import Form
from schemas.codecs.reading_plan import read_fields
from schemas.errors import SettingsError
from schemas.tensors import DType
from udfs.models.loaded_model import LoadedModel

FORMATS = ("csv", "jsonl", "parquet", "avro")


def open_records(
    path: Path, given: str, model: LoadedModel, scratch: Path, *, delimiter: str = "", max_bytes: int
) -> RecordFile:
    """The reader of a file of records for a model.

    Raises `SettingsError` where the format is not known, and `SourceError` where the file is not of it.
    """
    kind = format_of(path, given, FORMATS, "--format")
    if delimiter and kind != "csv":
        raise SettingsError(f"--delimiter is for CSV, and {path.name} is read as {kind}")
    if kind == "csv":
        from millrace.files.csv_records import CsvRecords  # noqa: PLC0415

        split = delimiter or ("\t" if path.suffix.lower() == ".tsv" else ",")
        if len(split) != 1:
            raise SettingsError(f"--delimiter is one character, not {delimiter!r}")
        return CsvRecords(path, _types(model), split, max_bytes)
    if kind == "jsonl":
        from millrace.files.json_records import JsonLines  # noqa: PLC0415

        return JsonLines(path, max_bytes)
    if kind == "parquet":
        from millrace.files.parquet_records import ParquetRecords  # noqa: PLC0415

        return ParquetRecords(path, read_fields(model.inputs, model.readings), max_bytes)
    from millrace.files.avro_records import AvroRecords  # noqa: PLC0415

    return AvroRecords(path, scratch, max_bytes)


def _types(model: LoadedModel) -> dict[str, DType | None]:
    """How the model's fields stand in a CSV file, None for lists: a cell of one is JSON."""
    declared = {r.name: r for r in model.readings}
    types: dict[str, DType | None] = {}
    for i in model.inputs:
        listed = len(i.fields) == 1 and i.shape not in ((), (1,))
        for name in i.fields:
            reading = declared.get(name)
            if reading is None or reading.form is Form.AS_IS:
                field = name if reading is None else str(reading.path[0])
                types[field] = None if listed else i.dtype
            elif reading.form in (Form.NUMBER, Form.DECIMAL) or reading.record_unit:
                types[str(reading.path[0])] = DType.FLOAT64
            else:
                types[str(reading.path[0])] = DType.TEXT
    return types
