"""What commands that load a model here are told of it: options that they share, declared once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from millrace.options import (
    BatchDependent,
    Constants,
    DataType,
    Fields,
    Inputs,
    InputsPath,
    ModelPath,
    ModelType,
    Outputs,
    PublishedPath,
    Pypmml,
    RequireVerification,
    Signature,
    Smoke,
    TrainingOperators,
)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The options as they were given."""

    path: ModelPath
    data_type: DataType = "records"
    model_type: ModelType = ""
    field: Fields = None
    inputs: Inputs = None
    inputs_file: InputsPath = None
    constants: Constants = None
    outputs: Outputs = None
    signature: Signature = ""
    smoke: Smoke = None
    batch_dependent: BatchDependent = False
    training_operators: TrainingOperators = False
    pypmml: Pypmml = False
    require_verification: RequireVerification = False

    def said(self) -> dict[str, Any]:
        """As `millrace.checking.described` takes them. Raises what a wrong one raises."""
        from millrace.inputs_file import read_inputs  # noqa: PLC0415
        from millrace.smoke_file import smoke_rows  # noqa: PLC0415
        from millrace.values import parse_fields, parse_inputs, parse_outputs, with_constants  # noqa: PLC0415

        file = read_inputs(self.inputs_file)
        return {
            "data_type": self.data_type,
            "model_type": self.model_type,
            "fields": parse_fields(self.field),
            "inputs": (*with_constants(parse_inputs(self.inputs), self.constants), *file.inputs),
            "readings": file.readings,
            "outputs": parse_outputs(self.outputs),
            "signature": self.signature,
            "smoke_rows": smoke_rows(self.smoke),
            "batch_dependent": self.batch_dependent,
            "training_operators": self.training_operators,
            "pypmml": self.pypmml,
            "require_verification": self.require_verification,
        }


@dataclass(frozen=True, slots=True)
class TypedModelOptions(ModelOptions):
    """The same of a model to be published: the type of the records must be named, and it may be in MLflow."""

    path: PublishedPath
    data_type: DataType = field()
