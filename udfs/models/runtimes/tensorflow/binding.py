"""From the inputs that a model declares to what each call is fed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.errors import InputsError
from schemas.tensors import LIST, Input
from udfs.models.runtimes.base import PartialInput, WantedSignature
from udfs.models.runtimes.tensor_inputs import ModelTensor, bound_inputs, is_of_the_call
from udfs.models.runtimes.tensorflow.element_types import input_dtype
from udfs.models.runtimes.tensorflow.example_feed import Examples, Feature, example_inputs
from udfs.models.runtimes.tensorflow.feeds import Constant, Dense, Idle, Ragged, Sparse, TensorFeed

_PARTS: Mapping[int, tuple[list[int | None], ...]] = {2: ([None], [None]), 3: ([None, 2], [None], [2])}
"""Shapes of the values and row splits of a ragged tensor; of indices, values and shape of a sparse one."""


@dataclass(frozen=True, slots=True)
class Declared:
    """An input as a model declares it: its name and the tensors it fills.

    `parts` has one tensor, or the values and row splits of a ragged one, or the indices, values and shape of
    a sparse one, whose number of columns is `width`. `features`: of serialized examples in the one tensor.
    `needed`: whether a chosen output is made of it.
    """

    name: str
    parts: tuple[str, ...]
    width: int | None = None
    features: tuple[Feature, ...] | None = None
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Bound:
    """`feeds` in the order of the declared inputs; `batch`: how many records a call takes, None for any."""

    feeds: tuple[TensorFeed, ...]
    batch: int | None


def bind(
    declared: Sequence[Declared], tensors: Mapping[str, ModelTensor], graph: Any, wanted: WantedSignature
) -> Bound:
    """What to feed a model whose inputs are `declared`.

    `tensors`: name of a tensor (`x:0`) -> as the model declares it, under the input's name; `graph` has them.
    Raises `InputsError`.
    """
    given = {p.name: p for p in wanted.inputs}
    features = {f.name: d for d in declared for f in d.features or ()}
    known = [d.name for d in declared if d.needed]
    every = {d.name for d in declared}
    if strange := [n for n in given if n not in every and n not in features]:
        there = ", ".join(map(repr, [*known, *features])) or "none"
        raise InputsError(f"the model has no input {strange[0]!r}: it has {there}")
    constants = {d.name for d in declared if _is_constant(d, given.get(d.name), tensors)}
    plain = [d for d in declared if d.needed and _is_plain(d) and d.name not in constants]
    alone = len([d for d in declared if d.needed and d.name not in constants]) == 1
    names = {d.name for d in plain}
    dense = bound_inputs(
        [tensors[d.parts[0]] for d in plain],
        WantedSignature(
            [p for p in wanted.inputs if p.name in names],
            (),
            wanted.fields if alone else (),
            wanted.signature,
        ),
        fixed_batch=True,
    )
    by_name = {b.input.name: b for b in dense}
    feeds: list[TensorFeed] = []
    for d in declared:
        types = [_numpy(graph, part) for part in d.parts]
        if d.name in constants:
            feeds.append(_constant_feed(graph, d, given[d.name]))
        elif not d.needed:
            feeds += [Idle(p, t, _shape(graph, p)) for p, t in zip(d.parts, types, strict=True)]
        elif d.features is not None:
            feeds.append(Examples(d.parts[0], tuple(example_inputs(d.features, given))))
        elif len(d.parts) > 1 and (odd := _odd_part(graph, d)):
            raise InputsError(
                f"input {d.name!r} is a list of any length, and its part {odd} is of a shape that no list "
                "has: export the model again"
            )
        elif len(d.parts) == 2:
            feeds.append(Ragged(_list(graph, d, d.parts[0], given), *d.parts, *types))
        elif len(d.parts) == 3:
            feeds.append(Sparse(_list(graph, d, d.parts[1], given), *d.parts, types[1], d.width))
        else:
            b = by_name[d.name]
            feeds.append(Dense(b.input, d.parts[0], types[0], b.inner))
    if not any(feed.inputs for feed in feeds):
        raise InputsError("the chosen outputs are made of no input that records could give: choose others")
    read = [i.name for feed in feeds for i in feed.inputs]
    if len(set(read)) < len(read):
        raise InputsError(
            "two features of examples have the name of one input: export the model without examples"
        )
    return Bound(tuple(feeds), next((b.batch for b in dense if b.batch is not None), None))


def _odd_part(graph: Any, d: Declared) -> str:
    """A part that says to be of another shape than it is fed in, which guards believe; "" for none."""
    for part, shape in zip(d.parts, _PARTS[len(d.parts)], strict=True):
        if not graph.get_tensor_by_name(part).shape.is_compatible_with(shape):
            return part
    return ""


def _is_plain(d: Declared) -> bool:
    return len(d.parts) == 1 and d.features is None


def _is_constant(d: Declared, given: PartialInput | None, tensors: Mapping[str, ModelTensor]) -> bool:
    tensor = tensors.get(d.parts[0])
    if given is None or (given.fields and (not _is_plain(d) or tensor is None)):
        return False
    return is_of_the_call(given, None if tensor is None else tensor.shape)


def _constant_feed(graph: Any, d: Declared, given: PartialInput) -> Constant:
    tensor = graph.get_tensor_by_name(d.parts[0])
    about = f"the constant {given.constant} of input {d.name!r}"
    if len(d.parts) > 1:
        raise InputsError(f"{about} cannot be given: the input is ragged or sparse")
    try:
        value = np.array(json.loads(given.constant), object)
        dtype = tensor.dtype.as_numpy_dtype
        kinds = {"f": (int, float), "V": (int, float), "b": (bool,), "O": (str,)}
        allowed = kinds.get(np.dtype(dtype).kind, (int,))
        if not all(type(v) in allowed for v in value.flat):
            raise ValueError(f"the model takes {tensor.dtype.name}")
        made = value if np.dtype(dtype) == object else value.astype(dtype)
    except (ValueError, TypeError, OverflowError) as e:
        raise InputsError(f"{about} cannot be used: {e}") from None
    if not tensor.shape.is_compatible_with(made.shape):
        raise InputsError(f"{about} has the shape {made.shape}, and the model takes {tensor.shape}")
    return Constant(d.parts[0], made)


def _list(graph: Any, d: Declared, values: str, given: Mapping[str, PartialInput]) -> Input:
    tensor = graph.get_tensor_by_name(values)
    dtype = input_dtype(tensor.dtype)
    if dtype is None:
        raise InputsError(
            f"input {d.name!r} is of type {tensor.dtype.name}, which no record field holds: export another"
        )
    fields = given[d.name].fields if d.name in given else ()
    if len(fields) > 1:
        raise InputsError(f"input {d.name!r} is a list of any length: give it one field, which holds a list")
    return Input(d.name, dtype, LIST, fields or (d.name,))


def _numpy(graph: Any, name: str) -> np.dtype:
    return np.dtype(graph.get_tensor_by_name(name).dtype.as_numpy_dtype)


def _shape(graph: Any, name: str) -> tuple[int | None, ...]:
    shape = graph.get_tensor_by_name(name).shape
    return (None,) if shape.rank is None else tuple(shape.as_list())
