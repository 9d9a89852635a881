"""Which record field each PMML field is read from."""

from __future__ import annotations

import re
from collections.abc import Sequence

from schemas.errors import InputsError
from schemas.tensors import LIST, DType, Input
from udfs.models.runtimes.base import PartialInput, WantedSignature
from udfs.models.runtimes.pmml.compiler.plan import InputField
from udfs.models.runtimes.pmml.compiler.types import STARTS, Type

# Floats are read as doubles: they are rounded once, to the nearest float32, and not by each codec.
_TYPES = {
    Type.DOUBLE: DType.FLOAT64,
    Type.FLOAT: DType.FLOAT64,
    Type.INTEGER: DType.INT64,
    Type.BOOLEAN: DType.BOOL,
}
_INTEGERS = {DType.INT32, DType.INT64}
_NUMBERS = {DType.FLOAT32, DType.FLOAT64, DType.INT32, DType.INT64}


def record_inputs(reads: Sequence[InputField], wanted: WantedSignature) -> tuple[Input, ...]:
    """One scalar input a mining field, named for it, read from the record field of the same name; a list of
    texts where it holds the items of an AssociationModel.

    The descriptor's inputs may name another record field for a PMML field, or give one wide input whose
    fields stand for all PMML fields in the order of the mining schema. Where neither says anything and the
    PMML names are mere positions (`field_0`, `field_1`, ...), the record's fields are taken by position.
    An input is optional where the document says what happens if it is missing. Raises `InputsError`.
    """
    if not reads:
        raise InputsError("the model reads no fields")
    given = {p.name: p for p in wanted.inputs}
    names = [f.declared.name for f in reads]
    unknown = [name for name in given if name not in names]
    if len(wanted.inputs) == 1 and unknown and len(wanted.inputs[0].fields) == len(reads):
        return tuple(_input(f, None, r) for f, r in zip(reads, wanted.inputs[0].fields, strict=True))
    if unknown:
        raise InputsError(f"the model has no input {unknown}; it reads {names}")
    by_position = {} if given else _positions(names, tuple(wanted.fields))
    return tuple(
        _input(f, given.get(name), by_position.get(name, name)) for f, name in zip(reads, names, strict=True)
    )


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


def _input(field: InputField, given: PartialInput | None, record_field: str) -> Input:
    name, kind = field.declared.name, field.declared.kind
    dtype, shape = _TYPES.get(kind, DType.TEXT), LIST if field.many else ()
    if given is None:
        return Input(name, dtype, shape, (record_field,), field.optional)
    if field.many and (given.shape not in (None, LIST) or len(given.fields) > 1):
        raise InputsError(f"input {name!r} is a list of texts in one record field")
    if (not field.many and given.shape not in (None, ())) or len(given.fields) > 1:
        raise InputsError(f"input {name!r} is one value of one record field in PMML")
    if given.dtype:
        try:
            asked = DType(given.dtype)
        except ValueError:
            raise InputsError(f"input {name!r} has the unknown dtype {given.dtype!r}") from None
        # Else a text. Avro and Parquet hold dates as days since 1970.
        counts = (kind in STARTS or kind is Type.DATE) and asked in _INTEGERS
        if asked is not dtype and not counts and not {asked, dtype} <= _NUMBERS:
            raise InputsError(f"input {name!r} is {kind.value} in the model, not {given.dtype}")
        dtype = asked
    return Input(name, dtype, shape, given.fields or (record_field,), field.optional)
