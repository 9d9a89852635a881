"""The PMML runtime: a compiled document behind the interface of all runtimes."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputsError, LoadError, PredictError, UnprovenModelError
from schemas.tensors import LIST, Columns, DType, Input, Output
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.compiler.batch import Reals
from udfs.models.runtimes.pmml.compiler.columns import Column, Mask, either, some
from udfs.models.runtimes.pmml.compiler.plan import Plan, Scores, compile_document
from udfs.models.runtimes.pmml.compiler.types import Type, texts
from udfs.models.runtimes.pmml.compiler.verification import check
from udfs.models.runtimes.pmml.document import Document, parse
from udfs.models.runtimes.pmml.inputs import record_inputs
from udfs.models.runtimes.pmml.samples import sample_columns

_FEW = 8
_DOUBLE = np.dtype(np.float64)
_SOME, _MANY = 4, 128  # real fields from which, and rows up to which, they are looked at together
_SHOWN = 5  # rows that an error names
_VALUES = 64  # of each input, to try a model with
_NOTHING = "a value is missing or not valid, so that the model has no {}"


class _Given(dict[str, Column]):
    """The record's columns by field; those of `reals` are made when they are asked for."""

    def __init__(self, reals: Reals | None) -> None:
        super().__init__()
        self._reals = reals

    def __missing__(self, name: str) -> Column:
        if self._reals is None or name not in self._reals[0]:
            raise KeyError(name)
        column = self[name] = Column(self._reals[1][self._reals[0][name]])
        return column


class PmmlRuntime:
    """A compiled PMML model. Made by `load`; it holds no process and no file.

    `verified`: the document holds rows with results of its own, and they are the same.
    """

    def __init__(self, plan: Plan, inputs: Sequence[Input], outputs: Sequence[tuple[str, Output]]) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(output for _, output in outputs)
        # The model's own name, what it is called here, its type in numpy, and its type in the document.
        kinds = {o.symbol.name: o.symbol.kind for o in plan.outputs}
        self._results = tuple((name, output, output.dtype.numpy, kinds[name]) for name, output in outputs)
        self._names = [f.declared.name for f in plan.inputs]
        self._plan: Plan | None = plan
        real = [k for k, field in enumerate(plan.inputs) if field.declared.kind.real]
        self._real, self._places = real, {self._names[k]: row for row, k in enumerate(real)}
        self._others = [k for k in range(len(plan.inputs)) if k not in set(real)]
        self._lists = {k for k, field in enumerate(plan.inputs) if field.many}
        self.verified = False
        self.notes: tuple[str, ...] = ()

    def predict(self, columns: Columns) -> Columns:
        """Score n records: `(n,)` columns in, `(n,)` columns out. NaN and None are missing values.

        Raises `PredictError`, with the rows at fault, for infinite inputs and where the model has no result
        (a missing or invalid value without a rule for it).
        """
        if self._plan is None:
            raise PredictError("the PMML model is closed")
        try:
            arrays = [np.asarray(columns[name]) for name in self._names]
        except KeyError as e:
            raise PredictError(f"input column {e} is missing") from None
        count = len(arrays[0]) if arrays else 0
        if {a.shape for a in arrays} != {(count,)}:
            shapes = {i.name: a.shape for i, a in zip(self.inputs, arrays, strict=True)}
            raise PredictError(f"input columns are not of one length and dimension: {shapes}")
        if count == 0:
            return {o.name: np.empty(0, o.dtype.numpy) for o in self.outputs}
        refused: dict[str, Mask] = {}
        reals = self._finite_reals(arrays) if count <= _MANY else None
        given = _Given(reals)
        for k in range(len(arrays)) if reals is None else self._others:
            if k in self._lists:
                given[self._names[k]] = Column(arrays[k])
                continue
            given[self._names[k]], infinite = _column(arrays[k])
            if infinite is not None:
                refused[f"input {self.inputs[k].name!r} is infinite"] = infinite
        try:
            scores = self._plan.score(given, count, reals)
        except RecursionError:
            raise PredictError(
                "too many parts of the PMML document rest on each other; simplify it and export again"
            ) from None
        return self._answer(scores, refused, count)

    def _finite_reals(self, arrays: Sequence[NDArray]) -> Reals | None:
        """All real fields at once; None where one is missing, infinite or of another type."""
        chosen = [arrays[k] for k in self._real] if self._others else arrays
        if len(chosen) < _SOME or [a for a in chosen if a.dtype is not _DOUBLE]:
            return None
        together = np.concatenate(chosen)
        if some(~np.isfinite(together)):
            return None
        return self._places, together.reshape(len(chosen), -1)

    def sample(self, count: int) -> Columns | None:
        """`count` rows of values that the model knows, to try it with; None where it is closed."""
        if self._plan is None:
            return None
        return sample_columns(self._plan, self.inputs, count, self.predict)

    @property
    def valid_values(self) -> dict[str, list[Any]]:
        """By input, values that occur together in rows with a result; what a process that proxies this model
        tries it with."""
        sample = self.sample(_VALUES)
        lists = {i.name for i in self.inputs if i.shape == LIST}
        return {
            name: list(chain.from_iterable(column)) if name in lists else column.tolist()
            for name, column in ({} if sample is None else sample).items()
        }

    def close(self) -> None:
        self._plan = None

    def _answer(self, scores: Scores, refused: dict[str, Mask], count: int) -> Columns:
        for reason, rows in scores.refused.items():
            refused[reason] = np.broadcast_to(rows, (count,))
        answer: dict[str, NDArray] = {}
        for name, output, dtype, kind in self._results:
            column = scores.columns[name]
            values = column.full(count)
            missing = column.missing
            if values.dtype.kind == "f":
                missing = either(missing, ~np.isfinite(values))
            if missing is not None and some(missing):
                refused[_NOTHING.format(repr(output.name))] = np.broadcast_to(missing, (count,))
            answer[output.name] = values if values.dtype is dtype else _as(values, output.dtype, kind)
        if any(rows.any() for rows in refused.values()):
            raise PredictError(_message(refused), _reasons(refused))
        return answer


def load(artifact: Artifact, wanted: WantedSignature) -> PmmlRuntime:
    """Check and compile a PMML document. Raises `UnsafeModelError`, `LoadError`, `InputsError`,
    `UnprovenModelError`."""
    with collected_later():
        return _compiled(artifact.content("a PMML model"), wanted)


@contextmanager
def collected_later() -> Iterator[None]:
    """Without the collector of cycles: it would go through a large document's elements again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _compiled(data: bytes, wanted: WantedSignature) -> PmmlRuntime:
    names = {name for name, _ in wanted.outputs}
    try:
        try:
            plan, verified = _checked(_document(data, names))
        except UnprovenModelError:
            if not names:
                raise
            document = _document(data, names)
            if not _leave_unwanted(document.model, names):
                raise
            plan, verified = _checked(document)
    except RecursionError:
        raise LoadError("the PMML document is nested too deeply; simplify it and export again") from None
    runtime = PmmlRuntime(plan, record_inputs(plan.inputs, wanted), _outputs(plan, wanted))
    runtime.verified = verified
    return runtime


def _document(data: bytes, wanted: set[str]) -> Document:
    document = parse(data)
    _leave_residuals(document.model, wanted)
    return document


def _checked(document: Document) -> tuple[Plan, bool]:
    """The document compiled, and whether it holds rows with results of its own."""
    plan = compile_document(document.root, document.model)
    return plan, check(plan, document.model)


def _leave_unwanted(model: Element, wanted: set[str]) -> bool:
    """Take out the outputs that nobody needs: neither the descriptor names them, nor do the document's own
    rows hold them, nor does an output that stays read them. False where there are none.

    R writes probabilities of support vector machines that have none.
    """
    needed = wanted | {e.get("field", "") for e in model.iterfind("ModelVerification//VerificationField")}
    left = False
    for outputs in model.findall("Output"):
        for output in reversed(outputs.findall("OutputField")):  # each may read those before it
            if output.get("name") in needed:
                needed.update(e.get("field", "") for e in output.iter())
            else:
                outputs.remove(output)
                left = True
    return left


def _leave_residuals(model: Element, wanted: set[str]) -> None:
    """Take out the residuals that are not among the wanted outputs: they need the observed target, which is
    not known when a record is scored. SAS writes them into each document."""
    for outputs in model.findall("Output") if wanted else ():
        outputs[:] = [o for o in outputs if o.get("feature") != "residual" or o.get("name") in wanted]


def _outputs(plan: Plan, wanted: WantedSignature) -> list[tuple[str, Output]]:
    """(name in the model, output), those wanted or all."""
    types = {o.symbol.name: _dtype(o.symbol.kind) for o in plan.outputs}
    unknown = [name for name, _ in wanted.outputs if name not in types]
    if unknown:
        raise InputsError(f"the model has no output {unknown}; it has {sorted(types)}")
    pairs = wanted.outputs or [(name, name) for name in types]
    return [(name, Output(alias or name, types[name])) for name, alias in pairs]


def _dtype(kind: Type) -> DType:
    if kind.real:
        return DType.FLOAT64
    return DType.INT64 if kind.whole else DType.TEXT


def _as(values: NDArray, dtype: DType, kind: Type) -> NDArray:
    if dtype is DType.TEXT and values.dtype != object:
        return texts(values, kind)
    return values.astype(dtype.numpy, copy=False)


def _all_finite(array: NDArray) -> bool:
    if len(array) <= _FEW:
        return all(map(math.isfinite, array.tolist()))  # a tenth of what numpy takes to begin
    return bool(np.isfinite(array).all())


def _column(array: NDArray) -> tuple[Column, Mask | None]:
    """A record's column with what is missing apart, and the rows that are infinite, if any."""
    if array.dtype.kind == "f":
        if _all_finite(array):
            return Column(array), None
        missing = np.isnan(array)
        infinite = np.isinf(array)
        values = np.where(missing | infinite, array.dtype.type(0), array)
        return Column(values, missing if missing.any() else None), infinite if infinite.any() else None
    if array.dtype != object:
        return Column(array), None
    missing = np.fromiter((v is None or v != v for v in array), bool, len(array))  # noqa: PLR0124 - NaN
    kinds = {type(v) for v, absent in zip(array, missing, strict=True) if not absent}
    fallback: Any = 0
    dtype: np.dtype = np.dtype(np.int64)
    if kinds and kinds <= {bool, np.bool_}:
        dtype = np.dtype(bool)
    elif kinds and kinds <= {int, np.int64, np.int32}:
        pass
    elif kinds and kinds <= {int, float, np.int64, np.int32, np.float64, np.float32}:
        dtype = np.dtype(np.float64)
    else:
        fallback, dtype = "", np.dtype(object)
    if not missing.any():
        return Column(array.astype(dtype)), None
    values = array.copy()
    values[missing] = fallback
    return Column(values.astype(dtype), missing), None


def _reasons(refused: dict[str, Mask]) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for reason, rows in refused.items():
        for row in np.flatnonzero(rows):
            reasons.setdefault(int(row), reason)
    return reasons


def _message(refused: dict[str, Mask]) -> str:
    return "; ".join(f"{reason} in {_rows(rows)}" for reason, rows in refused.items() if rows.any())


def _rows(mask: Mask) -> str:
    rows = np.flatnonzero(mask)
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"rows {', '.join(map(str, rows[:_SHOWN]))}{more}"
