"""Which record field each PMML field is read from."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from schemas.errors import InputsError
from schemas.tensors import DType, Input
from udfs.models.runtimes.base import PartialInput, Range, WantedSignature
from udfs.models.runtimes.pmml.document import Document, Field

_TYPES = {"double": DType.FLOAT64, "float": DType.FLOAT64, "integer": DType.INT64, "boolean": DType.BOOL}
_NUMBERS = {DType.FLOAT32, DType.FLOAT64, DType.INT32, DType.INT64}


def record_inputs(document: Document, wanted: WantedSignature) -> tuple[Input, ...]:
    """One scalar input a mining field, named for it, read from the record field of the same name.

    The descriptor's inputs may name another record field for a PMML field, or give one wide input whose
    fields stand for all PMML fields in the order of the mining schema. Where neither says anything and the
    PMML names are mere positions (`field_0`, `field_1`, ...), the record's fields are taken by position.
    Raises `InputsError`.
    """
    active = document.active
    if not active:
        raise InputsError("the model reads no fields")
    given = {p.name: p for p in wanted.inputs}
    names = [f.name for f in active]
    unknown = [name for name in given if name not in names]
    if len(wanted.inputs) == 1 and unknown and len(wanted.inputs[0].fields) == len(active):
        return tuple(_input(f, None, r) for f, r in zip(active, wanted.inputs[0].fields, strict=True))
    if unknown:
        raise InputsError(f"the model has no input {unknown}; it reads {names}")
    by_position = {} if given else _positions(names, tuple(wanted.fields))
    return tuple(_input(f, given.get(f.name), by_position.get(f.name, f.name)) for f in active)


def declared_values(document: Document, inputs: Sequence[Input]) -> dict[str, list[Any]]:
    """The valid values that the document declares, by input, as that input takes them."""
    convert: dict[DType, Callable[[str], Any]] = {DType.TEXT: str, DType.BOOL: lambda v: v.lower() == "true"}
    found = {}
    for field, i in zip(document.active, inputs, strict=True):
        with suppress(ValueError):  # a value that is no number of its type cannot be tried
            if field.values:
                found[i.name] = [convert.get(i.dtype, float)(v) for v in field.values]
    return found


def declared_ranges(document: Document, inputs: Sequence[Input]) -> dict[str, Range]:
    """The intervals that the document declares, by input."""
    pairs = zip(document.active, inputs, strict=True)
    return {i.name: field.interval for field, i in pairs if field.interval is not None}


def _positions(names: list[str], fields: tuple[str, ...]) -> dict[str, str]:
    """PMML name -> record field where the names are one stem with the numbers 0..k-1 or 1..k."""
    if len(fields) != len(names) or set(names) <= set(fields):
        return {}
    matches = [re.fullmatch(r"(\D*?)(\d+)", name) for name in names]
    found = [m for m in matches if m is not None]
    if len(found) != len(names) or len({m[1] for m in found}) > 1:
        return {}
    numbers = [int(m[2]) for m in found]
    first = min(numbers)
    if first > 1 or sorted(numbers) != list(range(first, first + len(names))):
        return {}
    return {name: fields[number - first] for name, number in zip(names, numbers, strict=True)}


def _input(field: Field, given: PartialInput | None, record_field: str) -> Input:
    dtype = _TYPES.get(field.data_type, DType.TEXT)
    if given is None:
        return Input(field.name, dtype, (), (record_field,))
    if given.shape not in (None, ()) or len(given.fields) > 1:
        raise InputsError(f"input {field.name!r} is one value of one record field in PMML")
    if given.dtype:
        try:
            asked = DType(given.dtype)
        except ValueError:
            raise InputsError(f"input {field.name!r} has the unknown dtype {given.dtype!r}") from None
        if asked is not dtype and not {asked, dtype} <= _NUMBERS:
            raise InputsError(f"input {field.name!r} is {field.data_type} in the model, not {given.dtype}")
        dtype = asked
    return Input(field.name, dtype, (), given.fields or (record_field,))
