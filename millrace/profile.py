"""`millrace profile`: statistics of a training file, which a stream is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from millrace.files.base import FileBatch, RecordFile
    from udfs.lifecycle.statistics.table import TableStatistics

BATCH = 8192


def profile(
    path: Annotated[
        Path, typer.Argument(help="CSV with a header, JSON lines or Parquet.", exists=True, dir_okay=False)
    ],
    *,
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            help="The file to write: .pb or .pbtxt for a DatasetFeatureStatisticsList, else Millrace's own.",
            dir_okay=False,
        ),
    ],
    form: Annotated[
        str, typer.Option("--format", help="csv, jsonl or parquet; by default seen from the ending.")
    ] = "",
    text: Annotated[
        list[str] | None,
        typer.Option("--text", help="A column of a CSV that is text although it looks like numbers; repeat."),
    ] = None,
    delimiter: Annotated[str, typer.Option("--delimiter", help="Of CSV; by default a comma, or a tab.")] = "",
    bins: Annotated[int, typer.Option("--bins", min=2, max=1024, help="Counted for each feature.")] = 64,
    max_bytes: Annotated[
        int, typer.Option("--max-bytes", min=1, help="Of one record, as the job's codec.max_bytes.")
    ] = 1_000_000,
) -> None:
    """Summarise each field of a file of records: what is missing, moments, quantiles, counts in bins.

    The file is read twice: to cut the bins at its quantiles, and to count. A stream is counted by the same
    code. Lines that are no records are left out and reported.
    """
    from millrace.files.base import format_of  # noqa: PLC0415
    from udfs.lifecycle.statistics.profile import profile as profile_of  # noqa: PLC0415

    if to.resolve() == path.resolve():
        raise typer.BadParameter("the statistics would replace the records", param_hint="--to")
    kind = format_of(path, form, ("csv", "jsonl", "parquet"), "--format")
    file = _opened(path, kind, frozenset(text or ()), delimiter, max_bytes)
    bad = Counter[str]()
    table = profile_of(lambda: _read(file, bad), bins)
    to.write_bytes(written(table, to, path.name))
    typer.echo(f"{table.rows:,} records, {len(table.features):,} features, {bad['last pass']:,} unreadable")
    typer.echo(f"Written: {to}")


def _opened(path: Path, kind: str, texts: frozenset[str], delimiter: str, max_bytes: int) -> RecordFile:
    from millrace.files.csv_records import CsvRecords  # noqa: PLC0415
    from millrace.files.json_records import JsonLines  # noqa: PLC0415
    from millrace.files.parquet_records import ParquetRecords  # noqa: PLC0415
    from schemas.tensors import DType  # noqa: PLC0415

    if kind == "jsonl":
        return JsonLines(path, max_bytes)
    if kind == "parquet":
        return ParquetRecords(path, None, max_bytes)
    split = delimiter or ("\t" if path.suffix.lower() == ".tsv" else ",")
    if len(split) != 1:
        raise typer.BadParameter(f"it is one character, not {delimiter!r}", param_hint="--delimiter")
    names = CsvRecords(path, {}, split, max_bytes).names()
    if unknown := sorted(texts - set(names)):
        raise typer.BadParameter(f"there is no column {unknown[0]!r}", param_hint="--text")
    types = {name: DType.TEXT if name in texts else DType.FLOAT64 for name in names}
    return CsvRecords(path, types, split, max_bytes)


def _read(file: RecordFile, bad: Counter[str]) -> Iterator[list[dict[str, Any]]]:
    """Batches of records that could be parsed; `bad` gets the number of those of this pass that could not."""
    bad.clear()
    for batch in file.batches(BATCH):
        records = _parsed(batch)
        bad["last pass"] += len(batch.payloads) - len(records)
        yield records


def _parsed(batch: FileBatch) -> list[dict[str, Any]]:
    import orjson  # noqa: PLC0415

    records = []
    for payload in batch.payloads:
        try:
            record = orjson.loads(payload)
        except orjson.JSONDecodeError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def written(table: TableStatistics, to: Path, name: str) -> bytes:
    """The statistics as the file's ending says: `.pb` or `.pbtxt` (TensorFlow's), else Millrace's own."""
    if to.suffix not in (".pb", ".pbtxt"):
        from udfs.lifecycle.statistics.table import write_statistics  # noqa: PLC0415

        return write_statistics(table)
    from google.protobuf import text_format  # noqa: PLC0415

    from udfs.lifecycle.statistics.exchange import to_proto  # noqa: PLC0415

    message = to_proto(table, name)
    if to.suffix == ".pb":
        return bytes(message.SerializeToString())
    return str(text_format.MessageToString(message)).encode()
