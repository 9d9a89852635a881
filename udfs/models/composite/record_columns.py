"""The record fields that several models read, decoded once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.errors import GraphError
from schemas.tensors import DType, Input, Output
from udfs.models.composite.wiring import RECORD, ValueSource

_INTEGERS = (DType.INT32, DType.INT64)
_FLOATS = {DType.FLOAT32, DType.FLOAT64}


def merged(needs: Iterable[tuple[str, Input]]) -> tuple[tuple[Input, ...], dict[str, ValueSource]]:
    """Inputs over the record that hold each field of `needs` (who reads, what) once, and where it is.

    Fields that make one row of a model stay together where they can, so that the row reaches that model as it
    was decoded. A field that is read in several dtypes is decoded in the one from which the others follow as
    if they had been decoded themselves: an integer where one is asked for (the narrower), else float64.
    A field is optional where each of its readers takes it missing, in one dtype.
    Raises `GraphError` where no dtype or shape fits all.
    """
    needs = list(needs)
    dtypes, shapes = _agreed(needs)
    place: dict[str, ValueSource] = {}
    inputs: list[Input] = []
    names = set(dtypes)
    for who, i in sorted(needs, key=lambda need: -len(need[1].fields)):
        together = {dtypes[f] for f in i.fields}
        fits = len(together) == 1 or together <= _FLOATS
        if len(i.fields) > 1 and fits and not any(f in place for f in i.fields):
            name = i.name
            while name in names:
                name = f"{who}/{name}"
            names.add(name)
            dtype = DType.FLOAT64 if len(together) > 1 else dtypes[i.fields[0]]
            inputs.append(Input(name, dtype, (len(i.fields),), i.fields))
            row = ValueSource(RECORD, Output(name, inputs[-1].dtype, inputs[-1].shape))
            place.update(zip(i.fields, row.elements(), strict=True))
    needed = {f for _, i in needs for f in i.fields if not i.optional or i.dtype is not dtypes[f]}
    for field, dtype in dtypes.items():
        if field not in place:
            inputs.append(Input(field, dtype, shapes[field], (field,), field not in needed))
            place[field] = ValueSource(RECORD, Output(field, dtype, shapes[field]))
    return tuple(inputs), place


def _agreed(
    needs: Sequence[tuple[str, Input]],
) -> tuple[dict[str, DType], dict[str, tuple[int, ...]]]:
    """The dtype and shape in which each field is decoded, by field in order of appearance."""
    asked: dict[str, list[tuple[str, DType, tuple[int, ...]]]] = {}
    for who, i in needs:
        for field in i.fields:
            asked.setdefault(field, []).append((who, i.dtype, i.shape if len(i.fields) == 1 else ()))
    dtypes, shapes = {}, {}
    for field, readers in asked.items():
        dtype = _narrowest({dtype for _, dtype, _ in readers})
        if dtype is None or len({shape for _, _, shape in readers}) > 1:
            said = ", ".join(f"{d.value}{list(shape) or ''} for {who}" for who, d, shape in readers)
            raise GraphError(f"no record can have a field {field!r} that is {said}")
        dtypes[field], shapes[field] = dtype, readers[0][2]
    return dtypes, shapes


def _narrowest(dtypes: set[DType]) -> DType | None:
    if len(dtypes) == 1:
        return next(iter(dtypes))
    if not dtypes <= {*_INTEGERS, *_FLOATS}:
        return None
    return next((d for d in _INTEGERS if d in dtypes), DType.FLOAT64)
