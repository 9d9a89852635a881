"""Which outputs of an ONNX model are served, of which types and shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import LoadError, PredictError
from schemas.tensors import DType, Output
from udfs.models.runtimes.base import WantedSignature
from udfs.models.runtimes.onnx.calls import Calling, InputTensor, call
from udfs.models.runtimes.onnx.document import Answer
from udfs.models.runtimes.onnx.session import OverdueError, Session
from udfs.models.runtimes.onnx.tensors import BFLOAT16, Element, answered, element_of, fed

PROBE_ROWS = 3


@dataclass(frozen=True, slots=True)
class Chosen:
    """An answer to fetch, and what is made of it: (class, name in the result), class "" for all of it."""

    answer: Answer
    parts: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Fetch:
    """A tensor to fetch, `(n, *shape)`, and the outputs made of it: all of it, or one column (its index).

    One that is the `same` for all records is fetched as `shape`.
    """

    tensor: str
    element: Element
    shape: tuple[int, ...]
    outputs: tuple[tuple[Output, int | None], ...]
    same: bool = False

    def columns(self, result: NDArray, count: int) -> dict[str, NDArray]:
        """Output name -> column. Raises `PredictError` for another shape than was found at loading."""
        if self.same and result.shape == self.shape:
            result = np.broadcast_to(result, (count, *self.shape))
        if result.shape != (count, *self.shape):
            declared = ", ".join(["n", *map(str, self.shape)])
            raise PredictError(
                f"output {self.tensor!r} has shape {result.shape} for {count} records, not ({declared})"
            )
        plain = answered(result, self.element)
        return {o.name: plain if at is None else plain[:, at] for o, at in self.outputs}


def chosen(offered: Sequence[Answer], wanted: WantedSignature) -> list[Chosen]:
    """The wanted outputs, or all. Of a ZipMap each class is an output `output_class`. Raises `LoadError`."""
    found: dict[str, tuple[Answer, str]] = {}
    for a in offered:
        found |= {f"{a.name}_{c}": (a, c) for c in a.classes} if a.classes else {a.name: (a, "")}
    pairs = list(wanted.outputs) or [(name, name) for name in found]
    made: dict[str, Chosen] = {}
    for name, alias in pairs:
        if name not in found:
            raise LoadError(f"the model has no output {name!r}: it has {', '.join(map(repr, found))}")
        answer, part = found[name]
        made.setdefault(answer.name, Chosen(answer, [])).parts.append((part, alias or name))
    names = [alias for c in made.values() for _, alias in c.parts]
    if not names or len(set(names)) < len(names):
        raise LoadError("the model has no outputs, or two of one name: give them different ones")
    return list(made.values())


def fetches(
    session: Session, feeds: Sequence[InputTensor], wanted: Sequence[Chosen], how: Calling
) -> list[Fetch]:
    """The tensors to fetch, with the shapes that they have in a call. Raises `LoadError`."""
    told = session.outputs()
    elements: dict[str, Element] = {}
    for c in wanted:
        kind = told[c.answer.tensor][0]
        element = element_of(kind)
        if element is None or element.name == BFLOAT16:
            raise LoadError(
                f"output {c.answer.name!r} holds {kind}, which no record can hold: "
                "export it as a tensor of another type, or choose others by --output"
            )
        elements[c.answer.tensor] = element
    shapes = _shapes(session, feeds, list(elements), how)
    made = []
    for c in wanted:
        tensor = c.answer.tensor
        shape = shapes[tensor]
        outputs = _outputs(c, elements[tensor].dtype, shape)
        made.append(Fetch(tensor, elements[tensor], shape, outputs, tensor in how.same))
    return made


def _outputs(wanted: Chosen, dtype: DType, shape: tuple[int, ...]) -> tuple[tuple[Output, int | None], ...]:
    answer = wanted.answer
    if not answer.classes:
        return tuple((Output(alias, dtype, shape), None) for _, alias in wanted.parts)
    if shape != (len(answer.classes),):
        raise LoadError(
            f"output {answer.name!r} has {len(answer.classes)} classes and {shape} numbers a record: "
            "export the model again"
        )
    return tuple((Output(alias, dtype), answer.classes.index(part)) for part, alias in wanted.parts)


def _shapes(
    session: Session, feeds: Sequence[InputTensor], tensors: Sequence[str], how: Calling
) -> dict[str, tuple[int, ...]]:
    """The shapes behind the batch dimension: as a call shows, or as declared where it fails on blank rows.

    Files declare shapes that their models do not answer with; an operator may know no blank text.
    """
    rows = how.batch or PROBE_ROWS
    arrays = {}
    for f in feeds:
        i = f.bound.input
        blank = f.known[0] if f.known else "" if i.dtype is DType.TEXT else 0
        arrays[i.name] = fed(
            np.full((rows, *i.shape), blank, i.dtype.numpy), f.element, i.name, f.bound.inner
        )
    try:
        results = call(session, tensors, arrays, rows, how)
    except OverdueError as e:
        raise LoadError(str(e)) from e
    except PredictError as e:
        declared = _declared(session.outputs(), tensors, how.same)
        if declared is None:
            raise LoadError(f"the outputs have no known shape, and a call on blank rows failed: {e}") from e
        return declared
    for name, result in zip(tensors, results, strict=True):
        if name not in how.same and (result.ndim == 0 or len(result) != rows):
            raise LoadError(
                f"output {name!r} has shape {result.shape} for {rows} records: not one row a record: "
                "choose others by --output"
            )
    return {
        name: r.shape if name in how.same else r.shape[1:] for name, r in zip(tensors, results, strict=True)
    }


def _declared(
    told: Mapping[str, tuple[str, list[int | str | None]]], tensors: Sequence[str], same: Collection[str]
) -> dict[str, tuple[int, ...]] | None:
    shapes = {}
    for name in tensors:
        _, shape = told[name]
        behind = shape if name in same else shape[1:]
        inner = tuple(d for d in behind if isinstance(d, int))
        if (not shape and name not in same) or len(inner) < len(behind):
            return None
        shapes[name] = inner
    return shapes
