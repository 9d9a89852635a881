"""What a call of a model is fed, each kind made of the columns of a micro-batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import PredictError
from schemas.tensors import Columns, Input
from udfs.models.runtimes.narrowing import narrowed


class TensorFeed(Protocol):
    """One input of a model: the record's inputs that it reads, and the tensors (`x:0`) that it fills."""

    @property
    def inputs(self) -> tuple[Input, ...]: ...

    @property
    def tensors(self) -> tuple[str, ...]: ...

    def arrays(self, columns: Columns, count: int) -> list[NDArray]:
        """The arrays for `tensors`, of `count` records. Raises `PredictError` where a value does not fit."""
        ...


@dataclass(frozen=True, slots=True)
class Dense:
    """A column as it is: `dtype` is the tensor's, `inner` its shape behind the batch dimension."""

    input: Input
    tensor: str
    dtype: np.dtype
    inner: tuple[int, ...]

    @property
    def inputs(self) -> tuple[Input, ...]:
        return (self.input,)

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.tensor,)

    def arrays(self, columns: Columns, count: int) -> list[NDArray]:
        column = np.ascontiguousarray(columns[self.input.name], self.input.dtype.numpy)
        if column.ndim != 1 + len(self.inner):
            column = column.reshape(-1, *self.inner)
        return [column if column.dtype == self.dtype else narrowed(self.input.name, column, self.dtype)]


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value at every call."""

    tensor: str
    value: NDArray

    @property
    def inputs(self) -> tuple[Input, ...]:
        return ()

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.tensor,)

    def arrays(self, columns: Columns, count: int) -> list[NDArray]:
        return [self.value]


@dataclass(frozen=True, slots=True)
class Idle:
    """Zeros for an input that the graph must be given and that no chosen output is made of."""

    tensor: str
    dtype: np.dtype
    shape: tuple[int | None, ...]

    @property
    def inputs(self) -> tuple[Input, ...]:
        return ()

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.tensor,)

    def arrays(self, columns: Columns, count: int) -> list[NDArray]:
        shape = [count if n == 0 and d is None else d or 1 for n, d in enumerate(self.shape)]
        return [np.full(shape, "", object) if self.dtype == object else np.zeros(shape, self.dtype)]


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of any length as a ragged tensor: all values, and where each record's begin."""

    input: Input
    values: str
    splits: str
    dtype: np.dtype
    splits_dtype: np.dtype

    @property
    def inputs(self) -> tuple[Input, ...]:
        return (self.input,)

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.values, self.splits)

    def arrays(self, columns: Columns, count: int) -> list[NDArray]:
        values, lengths = _joined(self.input, columns, self.dtype)
        return [values, np.concatenate([[0], np.cumsum(lengths)]).astype(self.splits_dtype)]


@dataclass(frozen=True, slots=True)
class Sparse:
    """Lists of any length as a sparse matrix, each record's values in the first columns of its row.

    `width` is that of the matrix, None for that of the longest list.
    """

    input: Input
    indices: str
    values: str
    shape: str
    dtype: np.dtype
    width: int | None

    @property
    def inputs(self) -> tuple[Input, ...]:
        return (self.input,)

    @property
    def tensors(self) -> tuple[str, ...]:
        return (self.indices, self.values, self.shape)

    def arrays(self, columns: Columns, count: int) -> list[NDArray]:
        values, lengths = _joined(self.input, columns, self.dtype)
        longest = int(lengths.max(initial=0))
        if self.width is not None and longest > self.width:
            raise PredictError(
                f"input {self.input.name!r} holds {longest} values, and the model takes at most {self.width}"
            )
        rows = np.repeat(np.arange(count), lengths)
        at = np.arange(len(values)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        indices = np.stack([rows, at], axis=1).astype(np.int64)
        return [indices, values, np.array([count, longest if self.width is None else self.width], np.int64)]


def _joined(wanted: Input, columns: Columns, dtype: np.dtype) -> tuple[NDArray, NDArray]:
    """All values of a column of lists, and how many each record has."""
    lists = columns[wanted.name]
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    parts = [np.asarray(part, wanted.dtype.numpy) for part in lists]
    values = np.concatenate(parts) if parts else np.empty(0, wanted.dtype.numpy)
    return narrowed(wanted.name, values, dtype), lengths
