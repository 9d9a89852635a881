"""`millrace publish`: check a model and put it into the model stream."""

from __future__ import annotations

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
    InputsPath,
    ModelPath,
    ModelsTopic,
    ModelType,
    Name,
    Outputs,
    Pypmml,
    RegistryUrl,
    S3Endpoint,
    S3PathStyle,
    S3Region,
    Signature,
    Smoke,
    Timeout,
    ToFolder,
    TrainingOperators,
    either,
)
from millrace.signing import Audience, Sign, ValidDays, signer

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
    description: Annotated[
        str, typer.Option("--description", help="A sentence for those who read of the model.")
    ] = "",
    field: Fields = None,
    inputs: Inputs = None,
    inputs_file: InputsPath = None,
    constants: Constants = None,
    outputs: Outputs = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", help="NAME=NUMBER[@DATA SET] as measured, e.g. accuracy=0.6@holdout; repeat."
        ),
    ] = None,
    registry: RegistryUrl = "",
    publisher: Annotated[
        str,
        typer.Option(
            "--publisher", envvar="MILLRACE_PUBLISHER", help="For the registry; by default the user."
        ),
    ] = "",
    code_version: Annotated[
        str,
        typer.Option(
            "--code-version",
            envvar="MILLRACE_CODE_VERSION",
            help="For the registry: of the code that trained the model.",
        ),
    ] = "",
    training_set: Annotated[
        str, typer.Option("--training-set", help="For the registry: the file, folder or bucket trained on.")
    ] = "",
    view: Annotated[
        list[str] | None,
        typer.Option(
            "--view",
            help="For the registry: NAME_vVERSION of a view in the training set; by default those that "
            "`millrace features model` says; repeat.",
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="For the registry: KEY=VALUE; repeat.")
    ] = None,
    signature: Signature = "",
    smoke: Smoke = None,
    batch_dependent: BatchDependent = False,
    training_operators: TrainingOperators = False,
    pypmml: Pypmml = False,
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
    sign: Sign = None,
    audience: Audience = None,
    valid_days: ValidDays = 90.0,
    save_signature: Annotated[
        Path | None, typer.Option("--save-signature", help="With --sign: put the bundle into this file too.")
    ] = None,
    s3_endpoint: S3Endpoint = "",
    s3_region: S3Region = "",
    s3_path_style: S3PathStyle = False,
) -> None:
    """Check a model with the code that jobs load models with, and publish it on their model stream."""
    from millrace.inputs_file import read_inputs  # noqa: PLC0415
    from millrace.smoke_file import smoke_rows  # noqa: PLC0415
    from millrace.values import (  # noqa: PLC0415
        one_each,
        parse_fields,
        parse_inputs,
        parse_metrics,
        parse_outputs,
        parse_pairs,
        with_constants,
    )

    either(to_folder, bootstrap, "--to-folder")
    signs = signer(sign, audience, valid_days)
    metrics, settings = parse_metrics(metric), parse_pairs(client, "--client")
    fields, given, wanted = parse_fields(field), parse_inputs(inputs), parse_outputs(outputs)
    said = read_inputs(inputs_file)
    given = (*with_constants(given, constants), *said.inputs)
    registration = None
    if registry:
        from millrace.registering import Provenance, Registration  # noqa: PLC0415

        tags = parse_pairs(tag, "--tag")
        known = Provenance(publisher, code_version, training_set, tuple(view or ()), metrics, tags)
        registration = Registration(registry, known)
    elif training_set or tag or view:
        raise typer.BadParameter("what is for the registry needs --registry", param_hint="--registry")
    from millrace.publishing import ModelStream, S3Options, publish_model  # noqa: PLC0415
    from millrace.render import print_checked  # noqa: PLC0415

    published = publish_model(
        path,
        ModelStream(to_folder, bootstrap, topic, settings, timeout),
        data_type=data_type,
        name=name,
        version=version,
        model_type=model_type,
        description=description,
        fields=fields,
        inputs=given,
        readings=said.readings,
        outputs=wanted,
        metrics=one_each(metrics),
        signature=signature,
        force=force,
        smoke_rows=smoke_rows(smoke),
        batch_dependent=batch_dependent,
        training_operators=training_operators,
        pypmml=pypmml,
        upload=upload,
        inline_limit=inline_limit,
        signer=signs,
        s3=S3Options(endpoint=s3_endpoint, region=s3_region, path_style=s3_path_style),
    )
    print_checked(published.checked, published.version)
    if save_signature is not None and signs is not None:
        from schemas.model_pb2 import ModelDescriptor  # noqa: PLC0415

        save_signature.write_bytes(ModelDescriptor.FromString(published.descriptor).bundle)
    for location in published.uploaded:
        typer.echo(f"Content: {location} (a root of it must be among the job's allowed roots)")
    typer.echo(f"Published: {published.place}")
    if registration is not None:
        registration.enter(published)
        typer.echo(f"Registered: {published.checked.stamp.name} version {published.version}")
