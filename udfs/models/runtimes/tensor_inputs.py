"""Which record fields make a tensor: from the tensor, the descriptor, and the settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.errors import InputsError
from schemas.tensors import DType, Input
from udfs.models.runtimes.base import PartialInput, WantedSignature


@dataclass(frozen=True, slots=True)
class ModelTensor:
    """An input as the model declares it. `dtype` None: of a type that no record field can hold.

    `shape` includes the batch dimension, None for a dimension or a whole shape that is not known.
    """

    name: str
    dtype: DType | None
    dtype_name: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class BoundInput:
    """An `Input` with `inner`, the shape behind the batch dimension in which the tensor takes it.

    `batch`: how many records the tensor takes at once, None for any number.
    """

    input: Input
    inner: tuple[int, ...]
    batch: int | None = None


def bound_inputs(
    tensors: Sequence[ModelTensor], wanted: WantedSignature, fixed_batch: bool = False
) -> list[BoundInput]:
    """Match a model's input tensors to record fields, in the order of `tensors`.

    What the descriptor gives wins where the model does not contradict it. A `(n,)` or `(n, 1)` tensor is a
    scalar field of the tensor's name. A `(n, k)` tensor is `wanted.fields` where it is the only input and
    there are k of them, else one field of the tensor's name holding k numbers. A tensor of a fixed first
    dimension is taken where `fixed_batch` says that the caller fills it up: of 1, or where the descriptor
    says the shape of one record. Raises `InputsError`.
    """
    known = dict.fromkeys(t.name for t in tensors)
    given = {p.name: p for p in wanted.inputs}
    if len(given) != len(wanted.inputs):
        raise InputsError("the descriptor gives an input twice")
    if strange := [name for name in given if name not in known]:
        raise InputsError(f"the model has no input {strange[0]!r}: it has {', '.join(map(repr, known))}")
    spare = tuple(wanted.fields) if len(tensors) == 1 else ()
    bound = [_bound(t, given.get(t.name) or PartialInput(t.name), spare, fixed_batch) for t in tensors]
    if len(batches := {b.batch for b in bound if b.batch is not None}) > 1:
        raise InputsError(
            f"the inputs take {' and '.join(map(str, sorted(batches)))} records at once: export them with a "
            "first dimension of any size"
        )
    return bound


def same_for_all(outputs: Iterable[str]) -> str:
    """A note on outputs that no record changes."""
    return f"the same for all records of a call, since no input changes it: {', '.join(outputs)}"


def is_of_the_call(given: PartialInput | None, shape: tuple[int | None, ...] | None) -> bool:
    """Whether a call is given a constant as it is, and records nothing of it. `shape` is the tensor's.

    A constant that is declared for records is given to them, unless the tensor has no dimension for them.
    """
    if given is None or not given.constant:
        return False
    if not given.fields:
        return True
    if shape is None:
        return given.shape is None
    if shape and shape[0] is None:
        return False
    try:
        return np.shape(json.loads(given.constant)) == shape
    except ValueError:  # of lists of different lengths
        return False


def _bound(tensor: ModelTensor, given: PartialInput, spare: tuple[str, ...], fixed_batch: bool) -> BoundInput:
    name = tensor.name
    dtype = _dtype(tensor, given)
    batch = _batch(tensor, given, spare, fixed_batch)
    inner = _inner(tensor, given, spare)
    fields = given.fields
    if len(set(fields)) != len(fields):
        raise InputsError(f"input {name!r} is given a field twice")
    shape: tuple[int, ...]
    allowed: tuple[int, ...]
    if inner in ((), (1,)):
        # where the tensor tells no rank, a shape of (1,) tells it, and says nothing of the record
        listed = tensor.shape is not None and given.shape == (1,) and inner == (1,)
        shape = (1,) if listed else ()
        allowed = (1,)
    else:
        shape = inner
        allowed = (1, inner[0]) if len(inner) == 1 else (1,)
    if not fields:
        fields = spare if shape in ((), inner) and len(spare) in allowed and len(inner) < 2 else (name,)
        if len(fields) == 1 and inner not in ((), (1,)):
            fields = (name,)
    if len(fields) not in allowed:
        raise InputsError(
            f"input {name!r} takes {_said(tensor.shape)}, and is given {len(fields)} fields: "
            f"give {' or '.join(map(str, allowed))}"
        )
    return BoundInput(Input(name, dtype, shape, fields), inner, batch)


def _dtype(tensor: ModelTensor, given: PartialInput) -> DType:
    if tensor.dtype is None:
        raise InputsError(
            f"input {tensor.name!r} is of type {tensor.dtype_name}, which no record field holds: "
            f"export it as one of {', '.join(d.value for d in DType)}, or choose outputs that do not need it"
        )
    if given.dtype and given.dtype != tensor.dtype.value:
        raise InputsError(
            f"input {tensor.name!r} is {tensor.dtype.value} in the model and {given.dtype} in the descriptor"
        )
    return tensor.dtype


def _batch(tensor: ModelTensor, given: PartialInput, spare: tuple[str, ...], fixed_batch: bool) -> int | None:
    """The tensor's fixed number of records, None where it takes any."""
    name, shape = tensor.name, tensor.shape
    if shape is None or (shape and shape[0] is None):
        return None
    if not shape and not fixed_batch:
        raise InputsError(
            f"input {name!r} has the shape (), which has no dimension for the number of records: export "
            "it with a first one of any size"
        )
    if not shape:
        raise InputsError(
            f"input {name!r} is one value for a whole call and not one a record: give that value, such as "
            f"--constant {name}={_sample(tensor.dtype)}, or export the model with a first dimension "
            "of any size"
        )
    said = given.shape is not None or len(given.fields or spare) > 1
    if fixed_batch and (shape[0] == 1 or (said and shape[0])):
        return shape[0]
    example = _example(tensor, [d or 1 for d in shape[1:]])
    raise InputsError(
        f"input {name!r} has the shape {_said(shape)}, which has no dimension for any number of "
        "records: export "
        f"it with one, or, where {shape[0]} is a number of records, say what one of them holds: {example}"
    )


def _sample(dtype: DType | None) -> str:
    return {DType.BOOL: "false", DType.TEXT: "'\"text\"'"}.get(dtype or DType.FLOAT32, "1.0")


def _example(tensor: ModelTensor, sizes: Sequence[int]) -> str:
    dtype = (tensor.dtype or DType.FLOAT32).value
    shape = f"[{' x '.join(map(str, sizes))}]" if sizes else ""
    return f"--input '{tensor.name}:{dtype}{shape}'"


def _inner(tensor: ModelTensor, given: PartialInput, spare: tuple[str, ...]) -> tuple[int, ...]:
    name, shape = tensor.name, tensor.shape
    inner = None if shape is None else shape[1:]
    if given.shape is not None:
        if inner is None or _agree(inner, given.shape):
            inner = given.shape
        elif {tuple(inner), given.shape} != {(), (1,)}:
            raise InputsError(
                f"input {name!r} takes {_said(shape)}, and the descriptor gives {given.shape} a record"
            )
    elif inner is None or inner == (None,):
        width = max(len(given.fields), 0 if given.fields else len(spare))
        if width > 1:
            inner = (width,)
    if inner is None or any(d is None or d < 1 for d in inner):
        example = _example(tensor, [4] if inner is None else [d or 4 for d in inner])
        raise InputsError(
            f"input {name!r} takes {_said(shape)}: give its shape or its fields in the descriptor, such as "
            f"{example}"
            + (f", or its value: --constant {name}={_sample(tensor.dtype)}" if inner is None else "")
            + ("; `pad` in a file of --inputs fills lists that are shorter" if inner == (None,) else "")
        )
    return tuple(d for d in inner if d is not None)


def _agree(inner: tuple[int | None, ...], given: tuple[int, ...]) -> bool:
    return len(inner) == len(given) and all(m in (None, g) for m, g in zip(inner, given, strict=True))


def _said(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "a shape that it does not tell"
    return "(" + ", ".join("n" if i == 0 and d is None else str(d or "?") for i, d in enumerate(shape)) + ")"
