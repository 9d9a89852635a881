"""Values that stand in a record otherwise than a model takes them: one function a form, one value a call."""

from __future__ import annotations

import base64
import binascii
import datetime
import math
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from schemas.codecs.base import Code, UnfitError
from schemas.codecs.field_reading import UNITS, FieldReading
from schemas.codecs.matrix import FLOATS, kind_of
from schemas.tensors import DType

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_US = datetime.timedelta(microseconds=1)
_YEAR_1, _YEAR_10000 = -719_162 * UNITS["d"], 2_932_897 * UNITS["d"]
"""In nanoseconds since 1970, as what ISO 8601 can say."""
_LONG = 2**64
_EXACT = 2.0**53  # from here on not each whole number is a double
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,6})?", re.ASCII)
_FLAGS = {"true": True, "false": False, "1": True, "0": False}
Convert = Callable[[Any], Any]


def converter(reading: FieldReading, dtype: DType, name: str) -> Convert | None:
    """What makes a record's value one that `dtype` takes, None where it is taken as it is.

    The function raises `UnfitError`, naming the field `name`. Raises `ValueError` for a form that does not
    lead to the dtype.
    """
    form = str(reading.form)
    makers: dict[str, Callable[[FieldReading, DType, str], Convert]] = {
        "text": _from_text,
        "number": _to_text,
        "flag": _from_flag,
        "base64": _from_base64,
        "timestamp": _from_timestamp,
        "decimal": _from_decimal,
    }
    return makers[form](reading, dtype, name) if form else None


def _from_text(reading: FieldReading, dtype: DType, name: str) -> Convert:
    if dtype is DType.TEXT:
        raise ValueError("the model takes text as it is: leave out from = 'text'")
    if dtype is DType.BOOL:
        return lambda value: _flag(value, name)

    def convert(value: Any) -> Any:
        return text_number(value, name) if isinstance(value, str) else value

    return convert


def text_number(text: str, name: str) -> float:
    """The number in a text: an integer where it is whole and below 2**64, else the nearest double."""
    bare = text.strip()
    if not _NUMBER.fullmatch(bare):
        raise UnfitError(Code.WRONG_TYPE, f"field {name!r} holds {kind_of(text)}, which is no number")
    number = float(bare)
    if not _EXACT <= abs(number) <= _LONG:
        return number  # as exact as the text, or beyond any integer that a model takes
    exact = Decimal(bare)
    return int(exact) if exact == exact.to_integral_value() and abs(exact) < _LONG else number


def _to_text(reading: FieldReading, dtype: DType, name: str) -> Convert:
    if dtype is not DType.TEXT:
        raise ValueError(f"the model takes a {dtype.value}, and from = 'number' makes text of a number")

    def convert(value: Any) -> Any:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float) and not math.isfinite(value):
            raise UnfitError(Code.NOT_FINITE, f"field {name!r} holds {value!r}, which is not a finite number")
        if isinstance(value, float) and not -_LONG / 2 < value < _LONG:
            # a float as large as that may stand for an integer too long for 64 bits: see json_text
            reason = f"field {name!r} holds {value!r}, of which not all digits are known"
            raise UnfitError(Code.WRONG_TYPE, reason)
        return repr(value) if isinstance(value, int | float) else value

    return convert


def _from_flag(reading: FieldReading, dtype: DType, name: str) -> Convert:
    if dtype is DType.TEXT:
        raise ValueError("the model takes text, and from = 'flag' makes a flag or a number")
    if dtype is DType.BOOL:
        return lambda value: _flag(value, name)
    return lambda value: int(_flag(value, name))


def _flag(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return value == 1
    if isinstance(value, str) and (found := _FLAGS.get(value.strip().lower())) is not None:
        return found
    raise UnfitError(Code.WRONG_TYPE, f"field {name!r} holds {_shown(value)}, neither true nor false")


def _from_base64(reading: FieldReading, dtype: DType, name: str) -> Convert:
    if dtype is DType.TEXT:
        return lambda value: _bytes(value, name)

    def convert(value: Any) -> Any:
        (number,) = packed_numbers(value, dtype, (1,), name)
        return number

    return convert


def packed_numbers(value: Any, dtype: DType, shape: tuple[int, ...], name: str) -> list:
    """Numbers packed little-endian, as numpy's `tobytes`, in the nesting of `shape`."""
    data = _bytes(value, name)
    kind = dtype.numpy.newbyteorder("<")
    wanted = int(np.prod(shape)) * kind.itemsize
    if (wanted >= 0 and len(data) != wanted) or len(data) % kind.itemsize:
        raise UnfitError(
            Code.WRONG_SHAPE,
            f"field {name!r} holds {len(data)} bytes, which are not the wanted number of {dtype.value}",
        )
    return np.frombuffer(data, kind).reshape(shape).tolist()


def _bytes(value: Any, name: str) -> Any:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise UnfitError(Code.WRONG_TYPE, f"field {name!r} holds {_shown(value)} where base64 belongs")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise UnfitError(
            Code.WRONG_TYPE, f"field {name!r} holds {kind_of(value)}, which is not base64"
        ) from None


def _from_timestamp(reading: FieldReading, dtype: DType, name: str) -> Convert:
    if dtype in (DType.TEXT, DType.BOOL):
        raise ValueError(f"the model takes a {dtype.value}, and a timestamp makes a number")
    unit = UNITS[reading.unit or "ms"]
    own = UNITS[reading.record_unit] if reading.record_unit else None

    def convert(value: Any) -> Any:
        nanoseconds = _nanoseconds(value, own, name)
        return float(nanoseconds / unit) if dtype in FLOATS else nanoseconds // unit

    return convert


def _nanoseconds(value: Any, own: int | None, name: str) -> Fraction:
    """Since 1970. `own`: nanoseconds of the unit in which the record has numbers."""
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value.strip())
        except ValueError:
            reason = f"field {name!r} holds {kind_of(value)}, which is no time by ISO 8601"
            raise UnfitError(Code.WRONG_TYPE, reason) from None
    if isinstance(value, datetime.datetime):
        whole = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        return Fraction((whole - _EPOCH) // _US * 1_000)
    if isinstance(value, datetime.date):
        return Fraction((value - _EPOCH.date()).days * UNITS["d"])
    if isinstance(value, int | float) and not isinstance(value, bool):
        if own is None:
            reason = f"field {name!r} holds a number where a time in text belongs: declare its record_unit"
            raise UnfitError(Code.WRONG_TYPE, reason)
        try:
            found = Fraction(value) * own
        except (ValueError, OverflowError):
            raise UnfitError(Code.NOT_FINITE, f"field {name!r} holds {value!r}, which is no time") from None
        if not _YEAR_1 <= found < _YEAR_10000:  # milliseconds read as seconds are in the year 50,000
            reason = (
                f"field {name!r} holds {_shown(value)}, no time of the years 1 to 9999 in its record_unit"
            )
            raise UnfitError(Code.WRONG_TYPE, reason)
        return found
    raise UnfitError(Code.WRONG_TYPE, f"field {name!r} holds {_shown(value)} where a time belongs")


def _from_decimal(reading: FieldReading, dtype: DType, name: str) -> Convert:
    if dtype in (DType.TEXT, DType.BOOL):
        raise ValueError(f"the model takes a {dtype.value}, and a decimal makes a number")
    power = Fraction(10) ** reading.scale

    def convert(value: Any) -> Any:
        if isinstance(value, Decimal):  # its scale is its own
            exact = Fraction(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            exact = value / power
        elif isinstance(value, str | bytes):
            exact = int.from_bytes(_bytes(value, name), "big", signed=True) / power
        else:
            reason = f"field {name!r} holds {_shown(value)} where the digits of a decimal belong"
            raise UnfitError(Code.WRONG_TYPE, reason)
        if exact.denominator == 1 and abs(exact) < _LONG:  # Python does not write out integers of any length
            return int(exact)
        try:
            return float(exact)
        except OverflowError:
            raise UnfitError(Code.NOT_FINITE, f"field {name!r} is beyond any {dtype.value}") from None

    return convert


def _shown(value: Any) -> str:
    return f"{value!r:.20}" if isinstance(value, int | float) else kind_of(value)
