"""`millrace publish`: check a model and put it into the model stream."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from millrace.options import (
    INLINE_LIMIT,
    BatchDependent,
    Bootstrap,
    Client,
    Constants,
    DataType,
    Fields,
    Inputs,
    ModelPath,
    ModelsTopic,
    ModelType,
    Name,
    Outputs,
    Signature,
    Smoke,
    Timeout,
    ToFolder,
    either,
)

Upload = Annotated[
    str,
    typer.Option(
        "--upload",
        envvar="MILLRACE_UPLOAD",
        help="Where larger models go: s3://bucket/prefix, file:/folder.",
    ),
]
Version = Annotated[
    int,
    typer.Option(
        "--version",
        min=0,
        help="By default the time of publishing in epoch milliseconds, in a folder at least one above the "
        "highest there; so later ones are higher. A job refuses one that is not above the served one.",
    ),
]


def publish(
    path: ModelPath,
    *,
    data_type: DataType,
    name: Name = "",
    version: Version = 0,
    model_type: ModelType = "",
    description: Annotated[str, typer.Option("--description")] = "",
    field: Fields = None,
    inputs: Inputs = None,
    constants: Constants = None,
    outputs: Outputs = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="NAME=NUMBER as measured, e.g. accuracy=0.6.")
    ] = None,
    signature: Signature = "",
    smoke: Smoke = None,
    batch_dependent: BatchDependent = False,
    force: Annotated[
        bool, typer.Option("--force", help="Serve it although an equal or newer version was seen.")
    ] = False,
    to_folder: ToFolder = None,
    bootstrap: Bootstrap = None,
    topic: ModelsTopic = "models",
    client: Client = None,
    timeout: Timeout = 30.0,
    upload: Upload = "",
    inline_limit: Annotated[
        int,
        typer.Option("--inline-limit", min=0, help="Bytes up to which a model travels in its descriptor."),
    ] = INLINE_LIMIT,
    s3_endpoint: Annotated[str, typer.Option("--s3-endpoint", envvar="MILLRACE_S3_ENDPOINT")] = "",
    s3_region: Annotated[str, typer.Option("--s3-region", envvar="MILLRACE_S3_REGION")] = "",
    s3_path_style: Annotated[bool, typer.Option("--s3-path-style", envvar="MILLRACE_S3_PATH_STYLE")] = False,
) -> None:
    """Check a model here with the code that jobs load models with, and announce it to them."""
    from millrace.smoke_file import smoke_rows  # noqa: PLC0415
    from millrace.values import (  # noqa: PLC0415
        parse_fields,
        parse_inputs,
        parse_metrics,
        parse_outputs,
        parse_pairs,
        with_constants,
    )

    either(to_folder, bootstrap, "--to-folder")
    metrics, settings = parse_metrics(metric), parse_pairs(client, "--client")
    rows = smoke_rows(smoke)
    inline_limit = max(inline_limit - sum(map(len, rows)), 0)  # both travel in the descriptor
    fields, given, wanted = parse_fields(field), parse_inputs(inputs), parse_outputs(outputs)
    given = with_constants(given, constants)
    from millrace.announce import ModelStream  # noqa: PLC0415
    from millrace.checking import check  # noqa: PLC0415
    from millrace.placement import place  # noqa: PLC0415
    from millrace.render import print_checked  # noqa: PLC0415
    from udfs.io.s3 import S3Options  # noqa: PLC0415
    from udfs.models.descriptor import build  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="millrace-") as scratch:
        checked = check(
            path,
            Path(scratch),
            data_type=data_type,
            name=name,
            model_type=model_type,
            fields=fields,
            inputs=given,
            outputs=wanted,
            signature=signature,
            inline_limit=inline_limit,
            smoke_rows=rows,
            batch_dependent=batch_dependent,
        )
        model = checked.announcement
        options = S3Options(endpoint=s3_endpoint, region=s3_region, path_style=s3_path_style)
        placed = place(checked, upload, inline_limit, options)
        stream = ModelStream(to_folder, bootstrap, topic, settings, timeout)
        created_ms, next_version = stream.moment(model.data_type)
        version = version or next_version
        descriptor = build(
            data_type=model.data_type,
            name=model.name,
            model_type=model.model_type,
            description=description,
            data=model.data,
            location=placed.location,
            graph=placed.graph,
            version=version,
            created_ms=created_ms,
            sha256=model.sha256,
            size=model.size,
            # With --field the order is in no other place, so the descriptor carries it to the job.
            inputs=checked.stated_inputs() if fields else given,
            outputs=model.outputs,
            metrics=metrics,
            signature=signature,
            force=force,
            smoke_rows=rows,
            batch_dependent=batch_dependent,
        )
        where = stream.send(model.data_type, model.name, version, created_ms, descriptor)
        print_checked(checked, version)
    for location in placed.uploaded:
        typer.echo(f"Content: {location} (a root of it must be among the job's allowed roots)")
    typer.echo(f"Published: {where}")
