"""The PMML runtime: one call of the evaluator a block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from schemas.errors import InputsError, LoadError, PredictError, UnprovenModelError
from schemas.tensors import Columns, DType, Input, Output
from udfs.models.runtimes.base import Artifact, Range, WantedSignature
from udfs.models.runtimes.pmml.document import Document, parse
from udfs.models.runtimes.pmml.forest import mend
from udfs.models.runtimes.pmml.inputs import declared_ranges, declared_values, record_inputs
from udfs.models.runtimes.pmml.jvm import JvmModel
from udfs.models.runtimes.pmml.proof import missing_allowed, unproven

_NUMERIC = {"double", "float", "integer", "real"}
_SHOWN = 5  # rows that an error names


class PmmlRuntime:
    """A PMML model in the JVM of this process. Made by `load`."""

    def __init__(
        self, model: JvmModel, inputs: Sequence[Input], outputs: Sequence[tuple[str, Output]], missing: bool
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(output for _, output in outputs)
        self._model = model
        self._results = tuple(outputs)  # the model's own name, and what it is called here
        self._missing = missing
        self._plain = all(i.dtype in (DType.FLOAT64, DType.FLOAT32) for i in self.inputs)
        self._names = [i.name for i in self.inputs]
        self.valid_values: dict[str, list[Any]] = {}
        self.ranges: dict[str, Range] = {}

    def predict(self, columns: Columns) -> Columns:
        """Score n records: `(n,)` columns in, `(n,)` columns out. NaN and None are missing values.

        Raises `PredictError` for infinite inputs, and, naming rows, where the model has no prediction
        (a missing or invalid value without a rule for it).
        """
        try:
            arrays = [np.asarray(columns[name]) for name in self._names]
        except KeyError as e:
            raise PredictError(f"input column {e} is missing") from None
        count = len(arrays[0]) if arrays else 0
        if any(a.shape != (count,) for a in arrays):
            shapes = {n: a.shape for n, a in zip(self._names, arrays, strict=True)}
            raise PredictError(f"input columns are not of one length and dimension: {shapes}")
        if count == 0:
            return {o.name: np.empty(0, o.dtype.numpy) for o in self.outputs}
        self._refuse_rows(arrays)
        answer = orjson.loads(self._model.predict(self._block(arrays)))
        rows = answer["data"]
        if len(rows) != count:
            raise PredictError(f"the evaluator answered {len(rows)} rows for {count}")
        place = {name: i for i, name in enumerate(answer["columns"])}
        return {
            output.name: _column(name, output.dtype, [row[place[name]] for row in rows])
            for name, output in self._results
        }

    def close(self) -> None:
        self._model.close()

    def _refuse_rows(self, arrays: Sequence[np.ndarray]) -> None:
        for i, a in zip(self.inputs, arrays, strict=True):
            if a.dtype.kind == "f":
                if np.isinf(a).any():  # JSON has no infinity: it would be taken for a missing value
                    raise PredictError(f"input {i.name!r} is infinite in {_rows(np.isinf(a))}")
                absent = None if self._missing else np.isnan(a)
            elif a.dtype.kind == "O" and not self._missing:
                absent = np.array([v is None for v in a])
            else:
                absent = None
            if absent is not None and absent.any():
                raise PredictError(
                    f"input {i.name!r} is missing in {_rows(absent)}, and the evaluator is not known to "
                    "treat missing values of this model as the standard says; fill them before"
                )

    def _block(self, arrays: Sequence[np.ndarray]) -> str:
        data: Any
        if self._plain:
            data = np.ascontiguousarray(np.column_stack(arrays), np.float64)
        else:
            data = list(
                zip(*(_values(a, i.dtype) for a, i in zip(arrays, self.inputs, strict=True)), strict=True)
            )
        return orjson.dumps(
            {"columns": self._names, "data": data}, option=orjson.OPT_SERIALIZE_NUMPY
        ).decode()


def load(artifact: Artifact, wanted: WantedSignature) -> PmmlRuntime:
    """Check, mend and load a PMML document.

    Raises `UnsafeModelError`, `LoadError`, `InputsError`, `UnprovenModelError`.
    """
    if artifact.data is not None:
        data = artifact.data
    elif artifact.path is not None and artifact.path.is_file():
        data = artifact.path.read_bytes()
    else:
        raise LoadError(f"a PMML model is one file, and {artifact.path} is none")
    document = parse(data)
    reasons = unproven(document)
    if reasons:
        raise UnprovenModelError(
            f"the {document.model.tag} cannot be shown to be scored right: " + "; ".join(reasons[:8])
        )
    inputs = record_inputs(document, wanted)
    mended = Document(mend(document.root), document.model, document.fields)
    model = JvmModel(mended.text())
    try:
        outputs = _outputs(model, document, wanted)
    except BaseException:
        model.close()
        raise
    runtime = PmmlRuntime(model, inputs, outputs, missing_allowed(document))
    runtime.valid_values = declared_values(document, inputs)
    runtime.ranges = declared_ranges(document, inputs)
    return runtime


def _outputs(model: JvmModel, document: Document, wanted: WantedSignature) -> list[tuple[str, Output]]:
    """(name in the model, output), those wanted or all. A label is a number where the target is one."""
    numeric_target = any(t.data_type in _NUMERIC for t in document.targets)
    labels = {
        f.get("name") for f in document.outputs if f.get("feature", "predictedValue") == "predictedValue"
    }
    types = {}
    for name, data_type in model.outputs():
        numeric = data_type in _NUMERIC or (name in labels and numeric_target)
        types[name] = DType.FLOAT64 if numeric else DType.TEXT
    if not types:
        raise LoadError("the model has no outputs")
    unknown = [name for name, _ in wanted.outputs if name not in types]
    if unknown:
        raise InputsError(f"the model has no output {unknown}; it has {sorted(types)}")
    pairs = wanted.outputs or [(name, name) for name in types]
    return [(name, Output(alias or name, types[name])) for name, alias in pairs]


def _values(array: np.ndarray, dtype: DType) -> list[Any]:
    if array.dtype.kind == "f":
        return [None if math.isnan(v) else v for v in array.tolist()]
    return [str(v) if v is not None and dtype is DType.TEXT else v for v in array.tolist()]


def _column(name: str, dtype: DType, values: list[Any]) -> np.ndarray:
    if dtype is DType.TEXT:
        column = np.array([_label(v) for v in values], dtype=object)
        empty = np.array([v is None for v in values])
    else:
        column = np.array(values, dtype=np.float64)
        empty = ~np.isfinite(column)
    if empty.any():
        raise PredictError(
            f"the model has no {name!r} for {_rows(empty)}: a value is missing or not valid there"
        )
    return column


def _label(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value if value is None else str(value)


def _rows(mask: np.ndarray) -> str:
    rows = np.flatnonzero(mask)
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"rows {', '.join(map(str, rows[:_SHOWN]))}{more}"
