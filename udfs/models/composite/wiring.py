"""From the answers of some nodes to the inputs of another: which column, in which shape and dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import GraphError
from schemas.tensors import Columns, DType, Input, Output
from udfs.models.composite.nodes import OutputRef
from udfs.models.runtimes.base import Runtime

RECORD = ""
Answers = dict[str, Columns]
"""Node -> its output columns for the micro-batch; `RECORD` -> the columns of the record."""

_FLAT = ((), (1,))
_FLOATS = frozenset({DType.FLOAT32, DType.FLOAT64})
# What a dtype may become on the way, besides itself. Integers are never made of what may not be one.
_BECOMES = {
    DType.FLOAT32: _FLOATS,
    DType.FLOAT64: _FLOATS,
    DType.INT32: _FLOATS | {DType.INT64},
    DType.INT64: _FLOATS,
    DType.BOOL: _FLOATS | {DType.INT32, DType.INT64},
    DType.TEXT: frozenset[DType](),
}


@dataclass(frozen=True, slots=True)
class ValueSource:
    """An output of a loaded node, a column of the record, or with `element` one column of such a vector."""

    node: str
    output: Output
    element: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.output.shape if self.element is None else ()

    def __str__(self) -> str:
        return str(OutputRef(self.node, self.output.name, self.element))

    def column(self, answers: Answers) -> NDArray:
        """`(n, *shape)`, not a copy."""
        column = answers[self.node][self.output.name]
        return column if self.element is None else column[:, self.element]

    def elements(self) -> list[ValueSource]:
        """A vector by its elements, anything else as it is."""
        if self.element is not None or len(self.shape) != 1 or self.shape in _FLAT:
            return [self]
        return [ValueSource(self.node, self.output, at) for at in range(self.shape[0])]


def source(ref: OutputRef, loaded: Mapping[str, Runtime]) -> ValueSource:
    """What a reference means. Raises `GraphError` where the node has no such output."""
    outputs = {o.name: o for o in loaded[ref.node].outputs}
    there = f"node {ref.node!r} has {', '.join(f'{o.name} {list(o.shape)}' for o in outputs.values())}"
    if not ref.output and len(outputs) != 1:
        raise GraphError(f"{ref} can be any of several outputs, name one; {there}")
    if ref.output and ref.output not in outputs:
        raise GraphError(f"there is no output {ref}; {there}")
    output = outputs[ref.output or next(iter(outputs))]
    if ref.element is not None and (len(output.shape) != 1 or ref.element >= output.shape[0]):
        raise GraphError(f"there is no element {ref}; {there}")
    return ValueSource(ref.node, output, ref.element)


def feed(who: str, wanted: Input, parts: list[ValueSource]) -> Callable[[Answers], NDArray]:
    """How an input gets its column from `parts`, without a copy where one part is as wanted.

    Raises `GraphError` for shapes and dtypes that do not fit.
    """
    for part in parts:
        given = part.output.dtype
        if given is not wanted.dtype and wanted.dtype not in _BECOMES[given]:
            raise GraphError(f"{who} takes {wanted.dtype.value}, which {given.value} of {part} cannot become")
    dtype, inner = wanted.dtype.numpy, wanted.shape
    vector = ValueSource(parts[0].node, parts[0].output)
    whole = vector if len(parts) > 1 and parts == vector.elements() else parts[0] if len(parts) == 1 else None
    if whole is not None and (whole.shape == inner or (whole.shape in _FLAT and inner in _FLAT)):
        if wanted.optional and whole.output.dtype is wanted.dtype:
            return whole.column  # with what is missing in it, which no other dtype may hold
        if whole.shape == inner:
            return lambda answers: whole.column(answers).astype(dtype, copy=False)
        return lambda answers: whole.column(answers).astype(dtype, copy=False).reshape(-1, *inner)
    if inner != (len(parts),) or len(parts) == 1 or any(p.shape not in _FLAT for p in parts):
        said = ", ".join(f"{part} {list(part.shape)}" for part in parts)
        raise GraphError(f"{who} takes {list(inner)} a record, and is given {said}")
    return lambda answers: np.column_stack([p.column(answers) for p in parts]).astype(dtype, copy=False)
