"""`millrace score`: what a job would say of a file of records. Nothing is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from millrace.model_options import ModelOptions
from millrace.option_groups import grouped

Records = Annotated[
    Path,
    typer.Option(
        "--records",
        help="CSV with a header, JSON lines, Parquet or Avro.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]
To = Annotated[
    Path,
    typer.Option("--to", help="The file of scores to write: CSV, JSON lines or Parquet.", dir_okay=False),
]


@grouped
def score(
    model: ModelOptions,
    *,
    records: Records,
    to: To,
    form: Annotated[
        str, typer.Option("--format", help="csv, jsonl, parquet or avro; by default seen from the ending.")
    ] = "",
    to_form: Annotated[
        str, typer.Option("--to-format", help="csv, jsonl or parquet; by default seen from the ending.")
    ] = "",
    delimiter: Annotated[str, typer.Option("--delimiter", help="Of CSV; by default a comma, or a tab.")] = "",
    max_batch: Annotated[
        int,
        typer.Option("--max-batch", min=1, max=65_536, help="The most records that are scored in one call."),
    ] = 1024,
    max_bytes: Annotated[
        int, typer.Option("--max-bytes", min=1, help="Of one record, as the job's codec.max_bytes.")
    ] = 1_000_000,
) -> None:
    """Score a file of records with a model here, by the code of a job, and write a row a record in order.

    A row has the outputs under their names, then `outcome` (scored, failed or refused), `code` and `reason`.
    In CSV an empty cell is a missing field. What the model does not read is not looked at.
    """
    from millrace.checking import described  # noqa: PLC0415
    from millrace.files.base import format_of  # noqa: PLC0415
    from millrace.files.opening import FORMATS, open_records  # noqa: PLC0415
    from millrace.files.scores import FORMATS as TO_FORMATS  # noqa: PLC0415
    from millrace.files.scores import open_scores  # noqa: PLC0415
    from millrace.scoring_files import score_file, summary  # noqa: PLC0415

    format_of(records, form, FORMATS, "--format")  # a wrong name is told before a model is loaded
    format_of(to, to_form, TO_FORMATS, "--to-format")
    if to.resolve() == records.resolve():
        raise typer.BadParameter("the scores would replace the records: give another file", param_hint="--to")
    said = model.said()
    with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        scratch = Path(folder)
        loaded = described(model.path, scratch, **said).load()
        try:
            file = open_records(records, form, loaded, scratch, delimiter=delimiter, max_bytes=max_bytes)
            with open_scores(to, to_form, loaded.outputs) as into:
                counts = score_file(file, loaded, into, max_batch)
        finally:
            loaded.close()
    for line in summary(counts):
        typer.echo(line)
    typer.echo(f"Written: {to}")
