"""`millrace check-model`: would a job serve this model? Nothing is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path

import typer

from millrace.options import (
    BatchDependent,
    Constants,
    DataType,
    Fields,
    Inputs,
    InputsPath,
    ModelPath,
    ModelType,
    Name,
    Outputs,
    RequireVerification,
    SecondOpinion,
    Signature,
    Smoke,
    TrainingOperators,
)


def check_model(
    path: ModelPath,
    *,
    data_type: DataType = "records",
    name: Name = "",
    model_type: ModelType = "",
    field: Fields = None,
    inputs: Inputs = None,
    inputs_file: InputsPath = None,
    constants: Constants = None,
    outputs: Outputs = None,
    signature: Signature = "",
    smoke: Smoke = None,
    batch_dependent: BatchDependent = False,
    training_operators: TrainingOperators = False,
    second_opinion: SecondOpinion = False,
    require_verification: RequireVerification = False,
) -> None:
    """Check a model as a job would before serving it: what it may do, loading, trial, warm-up.

    Ends with 1 and the step and the reason where the model would be refused.
    """
    from millrace.checking import check  # noqa: PLC0415
    from millrace.inputs_file import read_inputs  # noqa: PLC0415
    from millrace.render import print_checked  # noqa: PLC0415
    from millrace.smoke_file import smoke_rows  # noqa: PLC0415
    from millrace.values import parse_fields, parse_inputs, parse_outputs, with_constants  # noqa: PLC0415

    said = read_inputs(inputs_file)
    with tempfile.TemporaryDirectory(prefix="millrace-") as scratch:
        checked = check(
            path,
            Path(scratch),
            data_type=data_type,
            name=name,
            model_type=model_type,
            fields=parse_fields(field),
            inputs=(*with_constants(parse_inputs(inputs), constants), *said.inputs),
            readings=said.readings,
            outputs=parse_outputs(outputs),
            signature=signature,
            smoke_rows=smoke_rows(smoke),
            batch_dependent=batch_dependent,
            training_operators=training_operators,
        )
        print_checked(checked)
        if second_opinion or require_verification:
            from millrace.pmml_opinion import opinion  # noqa: PLC0415

            fields = parse_fields(field)
            for line in opinion(checked, fields, smoke_rows(smoke), second_opinion, require_verification):
                typer.echo(line)
