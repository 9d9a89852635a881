"""One answer of several, element by element: mean, weighted mean, median, majority."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.errors import GraphError, PredictError
from schemas.tensors import Columns, DType, Input, Output
from udfs.models.composite.nodes import MAJORITY, MEAN

VALUE = "value"
_FLAT = ((), (1,))


class Combination:
    """A runtime whose inputs are outputs of other models, of one shape; its output is `value`.

    A `(n, 1)` column counts as `(n,)`. MEAN and MEDIAN take numbers and flags and give float64 (the median of
    an even number is the mean of the middle two). MAJORITY gives the commonest value, of equally common ones
    that of the first input; it takes texts, or numbers, of which the dtype is what holds them all.
    `columns` is (reference, output) each. Raises `GraphError`.
    """

    def __init__(
        self, combine: str, columns: Sequence[tuple[str, Output]], weights: Sequence[float] = ()
    ) -> None:
        shapes = {() if o.shape in _FLAT else o.shape for _, o in columns}
        if len(shapes) > 1:
            said = ", ".join(f"{ref} {o.shape}" for ref, o in columns)
            raise GraphError(f"outputs of different shapes cannot be combined: {said} a record")
        texts = [ref for ref, o in columns if o.dtype is DType.TEXT]
        if texts and (combine != MAJORITY or len(texts) < len(columns)):
            others = "text" if combine != MAJORITY else "numbers and text"
            raise GraphError(f"{combine} cannot be taken of {others}; {texts[0]} is text")
        (shape,) = shapes
        self.inputs = tuple(Input(ref, o.dtype, o.shape, (ref,)) for ref, o in columns)
        self._combine, self._shape = combine, shape
        self._weights = np.asarray(weights, np.float64) / sum(weights) if weights else None
        dtype = DType.FLOAT64 if combine != MAJORITY else _common([o.dtype for _, o in columns])
        self.outputs: tuple[Output, ...] = (Output(VALUE, dtype, shape),)

    def predict(self, columns: Columns) -> Columns:
        """Columns `(n, *shape)` to `value` of `(n, *shape)`. Raises `PredictError`."""
        dtype = self.outputs[0].dtype.numpy
        try:
            arrays = [columns[i.name].astype(dtype, copy=False) for i in self.inputs]
            values = np.stack([a.reshape(len(a), *self._shape) for a in arrays])
        except (KeyError, ValueError) as e:
            raise PredictError(f"the columns cannot be combined: {e}") from None
        if self._combine == MAJORITY:
            return {VALUE: _commonest(values)}
        if self._combine != MEAN:
            return {VALUE: np.median(values, axis=0)}
        if self._weights is None:
            return {VALUE: values.mean(axis=0)}
        return {VALUE: np.tensordot(self._weights, values, axes=1)}

    def close(self) -> None:
        """Nothing is held."""


def _common(dtypes: Sequence[DType]) -> DType:
    if DType.TEXT in dtypes:
        return DType.TEXT
    return DType(np.result_type(*(d.numpy for d in dtypes)).name)


def _commonest(values: NDArray) -> NDArray:
    """Of `(m, ...)` the value that most of the m share; `argmax` takes the first of equally common ones."""
    counts = np.stack([(values == one).sum(axis=0) for one in values])
    return np.take_along_axis(values, counts.argmax(axis=0)[np.newaxis], axis=0)[0]
