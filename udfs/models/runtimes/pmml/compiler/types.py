"""The data types of PMML, and how their constants are written.

A column of each type is a numpy array: double float64, float float32, integer int64, boolean bool, string
object (`str`), date int64 (days since 1970), dateTime int64 (seconds since 1970), time int64 (seconds).
"""

from __future__ import annotations

import math
import re
import struct
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.elements import refuse, to_number

_WHOLE = re.compile(r"[+-]?\d+(\.0*)?$")
_BOUND = 2**63
_MOST_DIGITS = 4000
_FLOAT, _DOUBLE, _BITS = struct.Struct("<f"), struct.Struct("<d"), struct.Struct("<q")
_BEYOND_FLOAT, _HALF_WAY = (1 << 29) - 1, 1 << 28  # the bits of a double that a float32 has not
_EPOCH = datetime(1970, 1, 1)


class Type(StrEnum):
    """A data type that the compiler works with."""

    DOUBLE = "double"
    FLOAT = "float"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRING = "string"
    DATE = "date"
    TIME = "time"
    DATE_TIME = "dateTime"

    @property
    def numpy(self) -> np.dtype[Any]:
        return _NUMPY[self]

    @property
    def numeric(self) -> bool:
        return self in (Type.DOUBLE, Type.FLOAT, Type.INTEGER)

    @property
    def real(self) -> bool:
        return self in (Type.DOUBLE, Type.FLOAT)


_NUMPY: dict[Type, np.dtype[Any]] = {
    Type.DOUBLE: np.dtype(np.float64),
    Type.FLOAT: np.dtype(np.float32),
    Type.INTEGER: np.dtype(np.int64),
    Type.BOOLEAN: np.dtype(np.bool_),
    Type.STRING: np.dtype(object),
    Type.DATE: np.dtype(np.int64),
    Type.TIME: np.dtype(np.int64),
    Type.DATE_TIME: np.dtype(np.int64),
}


def type_named(name: str | None, what: str) -> Type:
    try:
        return Type(name or "")
    except ValueError:
        refuse(f"the data type {name!r} of {what} is not known")


def parse(text: str, kind: Type) -> Any:
    """The value of type `kind` that `text` says, as a Python or numpy scalar; None where it says none."""
    text = text.strip() if kind is not Type.STRING else text
    if kind is Type.STRING:
        return text
    if kind is Type.BOOLEAN:
        return {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}.get(
            text.lower()
        )
    if kind is Type.INTEGER:
        return _integer(text)
    if kind is Type.DOUBLE:
        value = to_number(text)
        return np.float64(value) if math.isfinite(value) else None
    if kind is Type.FLOAT:
        near = single(text)
        return np.float32(near) if math.isfinite(near) else None
    return moment(text, kind)


def constant(text: str, kind: Type, what: str) -> Any:
    """As `parse`, but refused where the text says no value of the type."""
    value = parse(text, kind)
    if value is None:
        refuse(f"{text!r} in {what} is no {kind.value}")
    return value


def _integer(text: str) -> int | None:
    if _WHOLE.match(text):
        digits = text.partition(".")[0]
        if len(digits) > _MOST_DIGITS:  # Python does not read integers of any length
            return None
        value = int(digits)
        return value if -_BOUND <= value < _BOUND else None
    value_as_float = to_number(text)
    if (
        math.isfinite(value_as_float)
        and value_as_float == int(value_as_float)
        and abs(value_as_float) < _BOUND
    ):
        return int(value_as_float)
    return None


def float32(text: str) -> np.float32:
    """The float32 nearest to a decimal text, rounded once (by way of a double it may be rounded twice)."""
    return np.float32(single(text))


def single(text: str) -> float:
    """As `float32`, as a double; NaN where the text says no number that a float32 can hold."""
    double = to_number(text)
    try:
        (near,) = _FLOAT.unpack(_FLOAT.pack(double))
    except OverflowError:
        return math.nan
    (bits,) = _BITS.unpack(_DOUBLE.pack(double))
    if bits & _BEYOND_FLOAT != _HALF_WAY or not math.isfinite(double):
        return near
    # The double is half way between two floats: there rounding twice can go wrong.
    exact, middle = Decimal(text.strip()), Decimal(double)
    if exact == middle:
        return near
    other = float(np.nextafter(np.float32(near), np.float32(math.copysign(math.inf, double - near))))
    return max(near, other) if exact > middle else min(near, other)


def moment(text: str, kind: Type) -> int | None:
    """A date, time or date with time as the standard (ISO 8601) writes it, in days or seconds."""
    try:
        if kind is Type.DATE:
            return (date.fromisoformat(text) - _EPOCH.date()).days
        if kind is Type.TIME:
            at = time.fromisoformat(text)
            return None if at.tzinfo else at.hour * 3600 + at.minute * 60 + at.second
        when = datetime.fromisoformat(text)
        return None if when.tzinfo else (when - _EPOCH) // timedelta(seconds=1)
    except ValueError:
        return None


def date_of(days: int) -> date:
    return _EPOCH.date() + timedelta(days=days)


def texts(values: NDArray, kind: Type) -> NDArray:
    """The values written as the standard writes them. Reals are refused before: each language differs."""
    if kind is Type.BOOLEAN:
        return np.where(values, "true", "false").astype(object)
    return np.array(values).astype(str).astype(object)
