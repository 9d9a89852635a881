"""PMML that the compiler refuses, scored by pypmml where the document's own rows prove it right.

Only a job whose setting allows it comes here. pypmml is wrong in many documents, so a document without a
ModelVerification, or with a row of one that pypmml does not reproduce within its tolerances, stays refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputsError, PredictError, UnprovenModelError
from schemas.tensors import Columns, DType, Input, Output
from udfs.models.runtimes.base import WantedSignature
from udfs.models.runtimes.pmml.compiler.elements import refuse, text_of
from udfs.models.runtimes.pmml.compiler.fields import data_field, treatment
from udfs.models.runtimes.pmml.compiler.model import TARGETS, mining_fields
from udfs.models.runtimes.pmml.compiler.plan import InputField
from udfs.models.runtimes.pmml.compiler.verification import (
    Verification,
    differences,
    given,
    refuse_contradicted,
    verification,
)
from udfs.models.runtimes.pmml.document import Document
from udfs.models.runtimes.pmml.inputs import record_inputs
from udfs.models.runtimes.pmml.jvm import JvmModel

_TYPES = {"double": DType.FLOAT64, "float": DType.FLOAT64, "real": DType.FLOAT64, "integer": DType.INT64}


class PypmmlRuntime:
    """A model in the JVM that has reproduced its own verification. Made by `load_proven`.

    `rows`: those of the verification that lack nothing, by input, to try the model with.
    """

    verified = True

    def __init__(  # noqa: PLR0917
        self, model: JvmModel, names: Sequence[str], inputs: Sequence[Input],
        outputs: Sequence[tuple[str, Output]], rows: Columns, why: str,
    ) -> None:  # fmt: skip
        self.inputs = tuple(inputs)
        self.outputs = tuple(output for _, output in outputs)
        self.notes = (f"pypmml scores this model, in a JVM: the compiler refuses it, because {why}",)
        self._names, self._results, self._rows = list(names), tuple(outputs), rows
        self._model: JvmModel | None = model

    def predict(self, columns: Columns) -> Columns:
        """Score n records: `(n,)` columns in and out. Raises `PredictError`, with the rows at fault where a
        value is missing or infinite, or pypmml has no result."""
        if self._model is None:
            raise PredictError("the PMML model is closed")
        arrays = [np.asarray(columns[i.name]) for i in self.inputs]
        records = {n: a.tolist() for n, a in zip(self._names, arrays, strict=True)}
        _refuse_lacking(
            (f"input {one.name!r} is missing or infinite", values)
            for one, values in zip(self.inputs, records.values(), strict=True)
        )
        said = self._model.scored(records)
        _refuse_lacking((f"the model has no {o.name!r}", said[name]) for name, o in self._results)
        return {output.name: _array(said[name], output.dtype) for name, output in self._results}

    def sample(self, count: int) -> Columns | None:
        """`count` rows of the verification, repeated as often as needed; None where each lacks a value."""
        have = len(next(iter(self._rows.values())))
        return {n: v[np.arange(count) % have] for n, v in self._rows.items()} if have else None

    @property
    def valid_values(self) -> dict[str, list[Any]]:
        """By input, values of the verification's rows; a process that proxies this model tries these."""
        return {name: values.tolist() for name, values in self._rows.items() if len(values)}

    def close(self) -> None:
        model, self._model = self._model, None
        if model is not None:
            model.close()


def load_proven(document: Document, wanted: WantedSignature, why: str) -> PypmmlRuntime:
    """Let pypmml load the document and score its verification. `why`: the compiler's reason against it.

    Raises `UnprovenModelError` where there is no verification or pypmml contradicts it, `LoadError` where
    there is no Java or pypmml does not load the document, `InputsError`.
    """
    told = verification(document.model)
    if told is None:
        raise UnprovenModelError(f"{why}; pypmml scores only what holds rows of its own (ModelVerification)")
    fields = _fields(document)
    inputs = record_inputs(fields, wanted)
    model = JvmModel(document.text())
    try:
        types = dict(model.outputs())
        rows = {f.declared.name: given(f.declared, told) for f in fields}
        _prove(document, told, rows, model)
        unknown = [name for name, _ in wanted.outputs if name not in types]
        if unknown:
            raise InputsError(f"the model has no output {unknown}; it has {sorted(types)}")
        outputs = [
            (name, Output(alias or name, _TYPES.get(types[name], DType.TEXT)))
            for name, alias in wanted.outputs or [(name, name) for name in types]
        ]
        whole = [k for k in range(len(told.rows)) if all(rows[n][k] is not None for n in rows)]
        tried = {
            i.name: _array([values[k] for k in whole], i.dtype)
            for i, values in zip(inputs, rows.values(), strict=True)
        }
        return PypmmlRuntime(model, list(rows), inputs, outputs, tried, why)
    except BaseException:
        model.close()
        raise


def _fields(document: Document) -> list[InputField]:
    """What the model reads. Nothing is optional: how pypmml treats missing values is not proven."""
    declared = {e.get("name"): e for e in document.root.findall("DataDictionary/DataField")}
    found = []
    for element in mining_fields(document.model, ("active", "supplementary", "group", "order")):
        name = text_of(element, "name")
        if name not in declared:
            refuse(f"the mining field {name!r} is not in the data dictionary")
        field = data_field(declared[name])
        found.append(InputField(field, treatment(element, field.kind, field.optype), False))
    return found


def _prove(document: Document, told: Verification, rows: dict[str, list[Any]], model: JvmModel) -> None:
    """Refuse what does not reproduce every result that the verification lists."""
    said = model.scored(rows)
    predicted = [
        f.get("name", "")
        for f in document.model.iterfind("Output/OutputField")
        if f.get("feature", "predictedValue") == "predictedValue"
    ]
    targets = [text_of(f, "name") for f in mining_fields(document.model, TARGETS)]

    def result(name: str) -> list[Any] | None:
        names = [name, *([f"predicted_{name}", *predicted] if name in targets else [])]
        return next((said[n] for n in names if n in said), None)

    names = [f.name for f in told.fields if f.name not in rows]
    if absent := [name for name in names if result(name) is None]:
        refuse(f"the model's verification lists {', '.join(absent)}, and pypmml gives no such result")
    refuse_contradicted(differences(told, names, result), "pypmml contradicts the model's own verification")


def _refuse_lacking(columns: Iterable[tuple[str, list[Any]]]) -> None:
    """Of sentences and columns: raise `PredictError` with the rows that have no finite value, and why."""
    bad = {
        row: why
        for why, values in columns
        for row, value in enumerate(values)
        if value is None or (isinstance(value, float) and not math.isfinite(value))
    }
    if bad:
        raise PredictError("; ".join(sorted(set(bad.values()))), bad)


def _array(values: list[Any], dtype: DType) -> NDArray:
    if dtype is not DType.TEXT:
        return np.array(values, dtype.numpy)
    out = np.empty(len(values), object)
    out[:] = [str(v).lower() if isinstance(v, bool) else str(v) for v in values]
    return out
