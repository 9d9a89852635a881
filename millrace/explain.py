"""`millrace explain results:0:41`: everything that is known of one result, and whether it comes out again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.option_groups import grouped
from millrace.options import (
    Bootstrap,
    Client,
    Fields,
    ModelsTopic,
    Pypmml,
    RegistryUrl,
    S3Access,
    Timeout,
    either,
)
from millrace.registered import AsJson, as_json
from schemas.errors import SourceError

if TYPE_CHECKING:
    from millrace.audited_streams import AuditedStreams, Place
    from millrace.auditing import Auditing

Roots = Annotated[
    list[str] | None,
    typer.Option(
        "--model-root",
        envvar="MILLRACE_MODEL_ROOTS",
        help="Where models may be loaded from, as the job's model_roots; repeat.",
    ),
]


@grouped
def explain(
    place: Annotated[
        str,
        typer.Argument(
            metavar="[PLACE]",
            help="TOPIC:PARTITION:OFFSET of a result; or of the record, whose result is then looked for.",
        ),
    ] = "",
    *,
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="Instead of one, score so many results again.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample.")] = 0,
    from_folder: Annotated[
        Path | None,
        typer.Option("--from-folder", help="A job's folder: results, records and models.", file_okay=False),
    ] = None,
    bootstrap: Bootstrap = None,
    topic: Annotated[
        str, typer.Option("--results", envvar="MILLRACE_RESULTS_TOPIC", help="The topic of results.")
    ] = "results",
    models_topic: ModelsTopic = "models",
    client: Client = None,
    timeout: Timeout = 15.0,
    registry: RegistryUrl = "",
    model_store: Annotated[
        str,
        typer.Option(
            "--model-store",
            envvar="MILLRACE_MODEL_STORE",
            help="Where models lie by content, as the job's model_store.",
        ),
    ] = "",
    model_root: Roots = None,
    field: Fields = None,
    codec: Annotated[
        str, typer.Option("--codec", help="Of the records, as JSON, as the job's setting codec.")
    ] = '{"kind": "json"}',
    training_operators: Annotated[
        bool, typer.Option("--training-operators", help="As the job's setting of the data type.")
    ] = False,
    pypmml: Pypmml = False,
    s3: S3Access,
    json_: AsJson = False,
) -> None:
    """Show who scored a result, and score it again.

    Shown are the record, its features, the model and the plan. Scoring again is by the job's code, from what
    is stored.

    It ends with 1 where the same record, model and code give other bits, unless numbers differ as they do
    between sizes of micro-batches. With --sample it does so for many, and counts what cannot be scored again,
    by reason.
    """
    either(from_folder, bootstrap, "--from-folder")
    if bool(place) == bool(sample):
        raise typer.BadParameter("give either a place, TOPIC:PARTITION:OFFSET, or --sample")
    from millrace.auditing import AuditOptions, auditing  # noqa: PLC0415
    from millrace.values import parse_fields, parse_pairs  # noqa: PLC0415

    options = AuditOptions(
        registry=registry,
        model_store=model_store,
        model_roots=tuple(model_root or ()),
        fields=parse_fields(field),
        codec=codec,
        training=training_operators,
        pypmml=pypmml,
        s3=s3.options(),
    )
    if from_folder is not None:
        from millrace.audited_streams import JobFolder  # noqa: PLC0415

        streams: AuditedStreams = JobFolder(from_folder.resolve())
    else:
        from millrace.audited_streams import Topics  # noqa: PLC0415

        assert bootstrap is not None
        settings = parse_pairs(client, "--client")
        streams = Topics(bootstrap, topic, models_topic, settings, timeout)
    with auditing(streams, options) as audits:
        if sample:
            _sampled(audits, sample, seed, json_)
        else:
            _explained(audits, _place(place), topic, json_)


def _place(text: str) -> Place:
    source, partition, offset = (["", "", "", *text.rsplit(":", 2)])[-3:]
    digits = partition.isdecimal() and offset.isdecimal() and len(partition) <= 9 and len(offset) <= 18
    if not (source and digits):
        raise typer.BadParameter(f"{text!r} is not TOPIC:PARTITION:OFFSET", param_hint="PLACE")
    return source, int(partition), int(offset)


def _explained(audits: Auditing, place: Place, results: str, json_: bool) -> None:
    from millrace.explained import show  # noqa: PLC0415

    line = audits.result(place, results)
    if line is None:
        raise SourceError(
            f"there is no result at {':'.join(map(str, place))}, nor one of a record there: it may be "
            "older than what the topic keeps"
        )
    found = audits.explained(line)
    if json_:
        as_json(found)
    else:
        show(found)
    if found["again"]["verdict"] == "different":
        raise typer.Exit(1)


def _sampled(audits: Auditing, count: int, seed: int, json_: bool) -> None:
    from millrace.explained import show_sample  # noqa: PLC0415

    found: dict[str, Any] = audits.sampled(count, seed)
    if not found["results"]:
        raise SourceError("there are no results")
    if json_:
        as_json(found)
    else:
        show_sample(found)
    if found["different"]:
        raise typer.Exit(1)
