"""The plan that declared readings are compiled to: for each input a function of a parsed record."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from schemas.codecs.base import Code, UnfitError
from schemas.codecs.conversions import converter, packed_numbers
from schemas.codecs.field_reading import FieldReading, Form, Path, Readings, path_text
from schemas.codecs.matrix import FLOATS, Access, kind_of, scalar
from schemas.errors import InputsError
from schemas.tensors import LIST, DType, Input

Read = Callable[[Any, list], None]
"""Adds a record's flat values to a list; raises `UnfitError`."""


def compiled(inputs: Sequence[Input], readings: Readings, access: Access) -> list[Read]:
    """What reads each input out of a parsed record. Raises `InputsError` where a declaration does not fit."""
    declared = {r.name: r for r in readings}
    return [_input(i, declared, access) for i in inputs]


def check_readings(inputs: Sequence[Input], readings: Readings, given: Collection[str] = ()) -> None:
    """Raise `InputsError` where a declaration does not fit the inputs, or no input reads it.

    `given`: fields that inputs read or that calls are given without them.
    """
    compiled(inputs, readings, Access(lambda fields: lambda record: None, lambda record, field: None))
    read = {field for i in inputs for field in i.fields}
    if unread := [r.name for r in readings if r.name not in read and r.name not in given]:
        raise InputsError(
            f"no input reads the declared field {unread[0]!r}; they read {', '.join(sorted(read))}"
        )


def read_fields(inputs: Sequence[Input], readings: Readings) -> set[str]:
    """The record's own fields that inputs are made of: of a path, its first."""
    declared = {r.name: r for r in readings}
    found: set[str] = set()
    for name in {field for i in inputs for field in i.fields}:
        reading = declared.get(name)
        if reading is None:
            found.add(name)
        elif reading.constant is None:
            found.add(str(reading.path[0]))
    return found


def _input(wanted: Input, declared: Mapping[str, FieldReading], access: Access) -> Read:
    shape = wanted.shape if len(wanted.fields) == 1 else ()
    fields = [
        _field(declared.get(name) or FieldReading(name, (name,)), wanted, shape, access)
        for name in wanted.fields
    ]
    if shape == LIST:  # one value a record: the list
        (only,) = fields

        def listed(record: Any, into: list) -> None:
            into.append([])
            only(record, into[-1])

        return listed
    if len(fields) == 1:
        return fields[0]

    def row(record: Any, into: list) -> None:
        for field in fields:
            field(record, into)

    return row


def _field(reading: FieldReading, wanted: Input, shape: tuple[int, ...], access: Access) -> Read:
    dtype, name = wanted.dtype, path_text(reading.path)
    try:
        convert = converter(reading, dtype, name)
    except ValueError as e:
        raise InputsError(f"field {reading.name!r} of input {wanted.name!r}: {e}") from None
    if (reading.keep or reading.pad is not None) and (not shape or shape == LIST):
        holds = "a list of any length" if shape else f"one {dtype.value}"
        raise InputsError(
            f"field {reading.name!r} of input {wanted.name!r} is {holds}: pad and keep are for lists of a "
            "fixed length"
        )
    shaped = _shaped(reading, shape, dtype, name, convert, element=_element(reading, wanted, shape))
    constant, default = (_fixed(reading, v, wanted, shaped) for v in (reading.constant, reading.default))
    if constant is not None:
        return lambda record, into: into.extend(constant)
    if default is None and (reading.missing or wanted.optional):
        default = _missing(reading, wanted, shape)
    path, look = reading.path, access.look
    if len(path) == 1 and default is None:

        def plain(record: Any, into: list) -> None:
            try:
                value = look(record, path[0])  # type: ignore[arg-type]
            except KeyError:
                raise UnfitError(Code.MISSING_FIELD, f"field {name!r} is missing") from None
            shaped(value, into)

        return plain

    def read(record: Any, into: list) -> None:
        try:
            value = walk(record, path, look)
        except KeyError:
            if default is None:
                raise UnfitError(Code.MISSING_FIELD, f"field {name!r} is missing") from None
            value = None
        if default is not None and (value is None or value != value):  # noqa: PLR0124 - NaN
            into.extend(default)
        else:
            shaped(value, into)

    return read


def _missing(reading: FieldReading, wanted: Input, shape: tuple[int, ...]) -> list:
    """What stands for a value that is missing to the model: see `schemas.tensors.Input`."""
    if wanted.optional:
        return [None]
    if wanted.dtype not in FLOATS:
        raise InputsError(
            f"the model takes no missing value in the field {reading.name!r} of input {wanted.name!r}: "
            "give a default"
        )
    return [math.nan] * max(math.prod(shape), 0)


def _element(reading: FieldReading, wanted: Input, shape: tuple[int, ...]) -> Any:
    """What stands for a null in a list, None where it is refused: a default that is one value for all."""
    if not shape or isinstance(reading.default, list | tuple):
        return None
    value = math.nan if reading.default is None and reading.missing else reading.default
    if value is None or (wanted.dtype in FLOATS and value != value):  # noqa: PLR0124 - NaN
        return value
    try:
        return scalar(value, wanted.dtype, reading.name)
    except UnfitError:  # told of the list as a whole
        return None


def walk(record: Any, path: Path, look: Callable[[Any, str], Any]) -> Any:
    """The value at a path; None where it, or what it is in, is null.

    Raises `KeyError` where it is absent and `UnfitError` where something else stands in the way.
    """
    value = record
    for at, step in enumerate(path):
        if value is None:
            return None
        if isinstance(step, int):
            if not isinstance(value, list | tuple):
                where = path_text(path[:at])
                raise UnfitError(
                    Code.WRONG_TYPE, f"field {where!r} holds {kind_of(value)} where a list belongs"
                )
            if step >= len(value):
                raise KeyError(step)
            value = value[step]
        elif isinstance(value, list | tuple | str | bytes | int | float):
            where = path_text(path[:at])
            raise UnfitError(
                Code.WRONG_TYPE, f"field {where!r} holds {kind_of(value)} where an object belongs"
            )
        else:
            value = look(value, step)
    return value


Shaped = Callable[[Any, list], None]


def _shaped(
    reading: FieldReading,
    shape: tuple[int, ...],
    dtype: DType,
    name: str,
    convert: Callable[[Any], Any] | None,
    *,
    element: Any = None,
) -> Shaped:
    """Adds the flat values of one field's value, converted and checked. `element`: for a null in a list."""
    if not shape and element is not None:
        one = _shaped(reading, shape, dtype, name, convert)

        def filled(value: Any, into: list) -> None:
            if value is None or value != value:  # noqa: PLR0124 - NaN
                into.append(element)
            else:
                one(value, into)

        return filled
    if not shape:
        if convert is None:
            return lambda value, into: into.append(scalar(value, dtype, name))
        if reading.form is Form.BASE64 and dtype is DType.TEXT:
            return lambda value, into: into.append(
                scalar(None, dtype, name) if value is None else convert(value)
            )
        return lambda value, into: into.append(scalar(None if value is None else convert(value), dtype, name))
    size, inner = shape[0], _shaped(reading, shape[1:], dtype, name, convert, element=element)
    as_it_is = _shaped(FieldReading(reading.name, reading.path), shape[1:], dtype, name, None)
    fill = _filling(reading, shape[1:], dtype)

    def sequence(value: Any, into: list) -> None:
        each = inner
        if reading.form is Form.BASE64 and isinstance(value, str | bytes) and dtype is not DType.TEXT:
            value, each = packed_numbers(value, dtype, shape, name), as_it_is
        if value is None and element is not None and size >= 0:  # a row of a matrix
            into.extend([element] * math.prod(shape))
            return
        if value is None:
            raise UnfitError(Code.NULL, f"field {name!r} is null")
        if not isinstance(value, list | tuple):
            what = "a list" if size < 0 else f"a list of {size}"
            raise UnfitError(Code.WRONG_SHAPE, f"field {name!r} holds {kind_of(value)} where {what} belongs")
        short = size - len(value)
        if size >= 0 and short < 0 and reading.keep:
            value = value[:size] if reading.keep == "first" else value[-size:]
        elif size >= 0 and short and (short < 0 or fill is None):
            raise UnfitError(
                Code.WRONG_SHAPE, f"field {name!r} holds a list of {len(value)} where {size} belong"
            )
        if fill is not None and short > 0 and reading.pad_at == "start":
            into.extend(fill * short)
        for part in value:
            each(part, into)
        if fill is not None and short > 0 and reading.pad_at == "end":
            into.extend(fill * short)

    return sequence


def _filling(reading: FieldReading, inner: tuple[int, ...], dtype: DType) -> list | None:
    if reading.pad is None:
        return None
    try:
        return [scalar(reading.pad, dtype, reading.name)] * math.prod(inner)
    except UnfitError as e:
        raise InputsError(f"the padding of {reading.name!r} does not fit: {e.reason}") from None


def _fixed(reading: FieldReading, value: Any, wanted: Input, shaped: Shaped) -> list | None:
    """The flat values of a default or a constant, which is given as the model takes it; None for none."""
    if value is None:
        return None
    if isinstance(value, float) and math.isnan(value) and wanted.dtype in FLOATS:
        return [math.nan] * (math.prod(wanted.shape) if len(wanted.fields) == 1 else 1)
    flat: list[Any] = []
    shape = wanted.shape if len(wanted.fields) == 1 else ()
    try:
        if shape and not isinstance(value, list | tuple):  # one number stands for all
            flat = [scalar(value, wanted.dtype, reading.name)] * max(math.prod(shape), 0)
        else:
            _shaped(FieldReading(reading.name, reading.path), shape, wanted.dtype, reading.name, None)(
                value, flat
            )
    except UnfitError as e:
        raise InputsError(f"the value given for {reading.name!r} does not fit: {e.reason}") from None
    return flat
