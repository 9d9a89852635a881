"""What commands that load a model here are told of it: options that they share, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

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
    Signature,
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
    batch_dependent: BatchDependent = False
    training_operators: TrainingOperators = False

    def said(self) -> dict[str, Any]:
        """As `millrace.checking.announced` takes them. Raises what a wrong one raises."""
        from millrace.inputs_file import read_inputs  # noqa: PLC0415
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
            "batch_dependent": self.batch_dependent,
            "training_operators": self.training_operators,
        }


def takes_model(command: Callable[..., None]) -> Callable[..., None]:
    """A command for Typer of a function whose first parameter is a `ModelOptions`: its options are those of
    the model, then the function's own."""
    hints = get_type_hints(ModelOptions, include_extras=True)
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = [
        inspect.Parameter(
            f.name,
            inspect.Parameter.KEYWORD_ONLY if f.name != "path" else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if f.name == "path" else f.default,
            annotation=hints[f.name],
        )
        for f in fields(ModelOptions)
    ]

    def run(path: Path, **given: Any) -> None:
        names = {f.name for f in fields(ModelOptions)} & set(given)
        model = ModelOptions(path, **{name: given.pop(name) for name in names})
        command(model, **given)

    parameters = [*shared, *own]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
