"""Options that several subcommands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from udfs.models.runtimes.catalogue import MODEL_TYPES

if TYPE_CHECKING:
    from udfs.io.s3 import S3Options

ModelPath = Annotated[
    Path,
    typer.Argument(
        help="A .pmml or .onnx file, a frozen graph, a SavedModel folder or archive, or the .toml file of a "
        "graph of models.",
        exists=True,
    ),
]
PublishedPath = Annotated[
    Path,
    typer.Argument(
        help="A .pmml or .onnx file, a frozen graph, a SavedModel folder or archive, the .toml file of a "
        "graph of models, or with --mlflow models:/NAME/VERSION or models:/NAME@ALIAS."
    ),
]
DataType = Annotated[str, typer.Option("--data-type", help="The type of the records that the model scores.")]
Name = Annotated[str, typer.Option("--name", help="The model's name; by default the data type.")]
ModelType = Annotated[
    str,
    typer.Option(
        "--type", help=f"One of {', '.join(MODEL_TYPES).lower()}; by default seen from the content."
    ),
]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", help="A record field, in the order of the columns; repeat, or use commas."),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", help="NAME[:DTYPE[SHAPE]][=FIELD,...], e.g. 'x:float32[2]=height,width'."),
]
Constants = Annotated[
    list[str] | None,
    typer.Option(
        "--constant",
        help="INPUT=JSON: an input of one value for all calls, such as keep_prob=1.0 or training=false.",
    ),
]
BatchDependent = Annotated[
    bool,
    typer.Option(
        "--batch-dependent",
        help="It is meant that answers depend on the records beside them, or on the calls before.",
    ),
]
TrainingOperators = Annotated[
    bool,
    typer.Option(
        "--training-operators",
        help="The job takes TensorFlow's operators of training (its setting training_operators).",
    ),
]
Pypmml = Annotated[
    bool,
    typer.Option(
        "--pypmml",
        help="PMML: the job lets pypmml score what the compiler refuses (its setting pypmml). Needs Java.",
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option("--output", help="NAME[=ALIAS]: an output, and its name in results."),
]
Signature = Annotated[str, typer.Option("--signature", help="The SavedModel's signature to serve.")]
InputsPath = Annotated[
    Path | None,
    typer.Option(
        "--inputs",
        help="TOML or JSON: how inputs are made of records (paths, defaults, conversions).",
        exists=True,
        dir_okay=False,
    ),
]
Smoke = Annotated[
    Path | None,
    typer.Option(
        "--smoke",
        help="JSON lines: records of the stream to try the model with, in the place of made-up ones.",
        exists=True,
        dir_okay=False,
    ),
]
SecondOpinion = Annotated[
    bool,
    typer.Option(
        "--second-opinion",
        help="PMML: compare with pypmml on made-up rows, and on the smoke rows, and say where they differ. "
        "Needs Java.",
    ),
]
RequireVerification = Annotated[
    bool,
    typer.Option(
        "--require-verification",
        help="PMML: refuse a document that holds no rows with results of its own (ModelVerification).",
    ),
]
Bootstrap = Annotated[
    str | None, typer.Option("--bootstrap", envvar="MILLRACE_BOOTSTRAP", help="Kafka, as HOST:PORT[,...].")
]
ModelsTopic = Annotated[
    str, typer.Option("--topic", envvar="MILLRACE_MODELS_TOPIC", help="The topic of the model stream.")
]
Client = Annotated[
    list[str] | None,
    typer.Option(
        "--client",
        envvar="MILLRACE_CLIENT",
        help="KEY=VALUE for the client, e.g. security.protocol=SSL.",
    ),
]
ToFolder = Annotated[
    Path | None,
    typer.Option("--to-folder", envvar="MILLRACE_MODELS_FOLDER", help="A folder as the model stream."),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds until Kafka must have answered.")]

RegistryUrl = Annotated[
    str,
    typer.Option(
        "--registry",
        envvar="MILLRACE_REGISTRY",
        help="The registry: sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE.",
    ),
]

MlflowUrl = Annotated[
    str,
    typer.Option(
        "--mlflow", envvar="MLFLOW_TRACKING_URI", help="The MLflow server that has the models, as a URL."
    ),
]

INLINE_LIMIT = 900_000
"""Bytes of content up to which a model travels inside its descriptor (Kafka's own limit is 1 MB)."""


def either(folder: Path | None, bootstrap: str | None, folder_option: str) -> None:
    """A usage error unless exactly one of a folder and Kafka is given."""
    if (folder is None) == (bootstrap is None):
        raise typer.BadParameter(f"give either {folder_option} or --bootstrap")


@dataclass(frozen=True, slots=True)
class S3Access:
    """The options that say how S3 is reached, as they were given."""

    s3_endpoint: Annotated[
        str,
        typer.Option(
            "--s3-endpoint", envvar="MILLRACE_S3_ENDPOINT", help="URL of the S3 service; empty: AWS."
        ),
    ] = ""
    s3_region: Annotated[
        str,
        typer.Option("--s3-region", envvar="MILLRACE_S3_REGION", help="Its region; empty: as AWS is set up."),
    ] = ""
    s3_path_style: Annotated[
        bool,
        typer.Option(
            "--s3-path-style",
            envvar="MILLRACE_S3_PATH_STYLE",
            help="The bucket stands in the path, not in the host.",
        ),
    ] = False

    def options(self) -> S3Options:
        """As what reads and writes S3 takes them."""
        from udfs.io.s3 import S3Options  # noqa: PLC0415

        return S3Options(endpoint=self.s3_endpoint, region=self.s3_region, path_style=self.s3_path_style)
