"""One call of an ONNX model: record columns to tensors, and to as many rows as it takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import PredictError
from schemas.tensors import Columns
from udfs.models.runtimes.onnx.session import Session
from udfs.models.runtimes.onnx.tensors import Element, fed
from udfs.models.runtimes.tensor_inputs import BoundInput


@dataclass(frozen=True, slots=True)
class InputTensor:
    """An input as it is bound to records, and the model's own element type of it.

    `known`: the values that it may have, none where they are not known.
    """

    bound: BoundInput
    element: Element
    known: tuple[str | int, ...] = ()


def tensors_of(feeds: Iterable[InputTensor], columns: Columns) -> dict[str, NDArray]:
    """Input name -> tensor `(n, *inner)`. Raises `PredictError`."""
    made = {}
    for f in feeds:
        name = f.bound.input.name
        try:
            made[name] = fed(columns[name], f.element, name, f.bound.inner)
        except KeyError:
            raise PredictError(f"the records have no column {name!r}, which the model reads") from None
        except (TypeError, ValueError) as e:
            raise PredictError(f"input {name!r} is not as the model takes it: {e}") from e
    return made


@dataclass(frozen=True, slots=True)
class Calling:
    """`constants`: what each call is given beside the records. `batch`: the rows it must have, 0 for any.

    `same`: the results that no record changes, of which a call gives one for all its records. `looks`: an
    operator ends the process where a record's input has no element.
    """

    constants: Mapping[str, NDArray]
    batch: int = 0
    same: Collection[str] = ()
    looks: bool = False


def call(
    session: Session, names: Sequence[str], arrays: Mapping[str, NDArray], count: int, how: Calling
) -> list[NDArray]:
    """Results for `count` rows. Raises `PredictError`.

    A call that is short of rows has its last one repeated: values that are surely valid.
    """
    if how.looks and (empty := [name for name, a in arrays.items() if not a.size]):
        raise PredictError(f"input {empty[0]!r} has no element, which the model's operators do not take")
    batch = how.batch
    if not batch:
        return session.run(names, {**arrays, **how.constants} if how.constants else arrays)
    parts = []
    for start in range(0, count, batch):
        some = {name: a[start : start + batch] for name, a in arrays.items()}
        missing = max(start + batch - count, 0)
        if missing:
            some = {n: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for n, a in some.items()}
        results = session.run(names, {**some, **how.constants})
        rows = [r for name, r in zip(names, results, strict=True) if name not in how.same]
        if any(r.ndim == 0 or len(r) != batch for r in rows):
            raise PredictError(f"the model does not answer with one row for each of {batch} records")
        parts.append(results)
    return [
        results[0] if name in how.same else np.concatenate(results)[:count]
        for name, results in zip(names, zip(*parts, strict=True), strict=True)
    ]
