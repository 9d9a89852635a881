"""`millrace check-model`: would a job serve this model? Nothing is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path

from millrace.options import (
    DataType,
    Fields,
    Inputs,
    ModelPath,
    ModelType,
    Name,
    Outputs,
    Signature,
    Smoke,
)


def check_model(
    path: ModelPath,
    *,
    data_type: DataType = "records",
    name: Name = "",
    model_type: ModelType = "",
    field: Fields = None,
    inputs: Inputs = None,
    outputs: Outputs = None,
    signature: Signature = "",
    smoke: Smoke = None,
) -> None:
    """Check a model as a job would before serving it: what it may do, loading, trial, warm-up.

    Ends with 1 and the step and the reason where the model would be refused.
    """
    from millrace.checking import check  # noqa: PLC0415
    from millrace.render import print_checked  # noqa: PLC0415
    from millrace.smoke_file import smoke_rows  # noqa: PLC0415
    from millrace.values import parse_fields, parse_inputs, parse_outputs  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="millrace-") as scratch:
        checked = check(
            path,
            Path(scratch),
            data_type=data_type,
            name=name,
            model_type=model_type,
            fields=parse_fields(field),
            inputs=parse_inputs(inputs),
            outputs=parse_outputs(outputs),
            signature=signature,
            smoke_rows=smoke_rows(smoke),
        )
        print_checked(checked)
