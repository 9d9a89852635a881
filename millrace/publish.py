"""`millrace publish`: check a model and put it into the model stream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millrace.model_options import TypedModelOptions
from millrace.option_groups import grouped
from millrace.options import INLINE_LIMIT, MlflowUrl, Name, RegistryUrl, S3Access
from millrace.stream_options import StreamOptions

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


@grouped
def publish(
    model: TypedModelOptions,
    *,
    name: Name = "",
    version: Version = 0,
    description: Annotated[
        str, typer.Option("--description", help="A sentence for those who read of the model.")
    ] = "",
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
    convert: Annotated[
        bool,
        typer.Option(
            "--convert",
            help="Run what `millrace check-model` says to run of a model of another library, such as "
            "XGBoost. Of a pickle that runs the code in it.",
        ),
    ] = False,
    mlflow: MlflowUrl = "",
    mlflow_alias: Annotated[
        str,
        typer.Option(
            "--mlflow-alias", help="Let this alias there stand for the version, once it is published."
        ),
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Serve it although an equal or newer version was seen.")
    ] = False,
    to: StreamOptions,
    upload: Upload = "",
    inline_limit: Annotated[
        int,
        typer.Option("--inline-limit", min=0, help="Bytes up to which a model travels in its descriptor."),
    ] = INLINE_LIMIT,
    save_signature: Annotated[
        Path | None, typer.Option("--save-signature", help="With --sign: put the bundle into this file too.")
    ] = None,
    s3: S3Access,
) -> None:
    """Check a model with the code that jobs load models with, and publish it on their model stream.

    A model of an MLflow registry keeps its name, version and description there, unless others are given, and
    brings its metrics, by data set, and the tags of its run.
    """
    from millrace.taken import TakenModel  # noqa: PLC0415
    from millrace.values import one_each, parse_metrics, parse_pairs  # noqa: PLC0415

    stream, signs = to.stream(), to.signer()
    metrics, said = parse_metrics(metric), model.said()
    taken = TakenModel.of(model.path, mlflow, s3.options())
    metrics |= {key: value for key, value in taken.metrics.items() if key not in metrics}
    registration = None
    if registry:
        from millrace.registering import Provenance, Registration  # noqa: PLC0415

        tags, views = {**taken.tags, **parse_pairs(tag, "--tag")}, tuple(view or ())
        known = Provenance(publisher, code_version, training_set, views, metrics, tags, taken.source)
        registration = Registration(registry, known)
    elif training_set or tag or view:
        raise typer.BadParameter("what is for the registry needs --registry", param_hint="--registry")
    from millrace.publishing import publish_model  # noqa: PLC0415
    from millrace.render import print_checked  # noqa: PLC0415

    published = publish_model(
        taken.path,
        stream,
        name=name or taken.name,
        version=version or taken.version,
        description=description or taken.description,
        metrics=one_each(metrics),
        force=force,
        convert=convert,
        upload=upload,
        inline_limit=inline_limit,
        signer=signs,
        s3=s3.options(),
        **said,
    )
    taken.published(mlflow_alias)
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
