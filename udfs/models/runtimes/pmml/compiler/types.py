"""The data types of PMML, and how their constants are written.

A column of each type is a numpy array: double float64, float float32, integer int64, boolean bool, string
object (`str`), date int64 (days since 1970), dateTime int64 (seconds since 1970), time int64 (seconds); a
counted type, as `dateDaysSince[1960]`, int64 (days or seconds since its own start).
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
_CLOCK = re.compile(r"(\d{1,15}):([0-5]\d):([0-5]\d)$", re.ASCII)
_BOUND = 2**63
_MOST_DIGITS = 4000
_EXACT = 2.0**53  # below it a double has place for a fraction
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
    TIME_SECONDS = "timeSeconds"
    DAYS_SINCE_0 = "dateDaysSince[0]"
    DAYS_SINCE_1960 = "dateDaysSince[1960]"
    DAYS_SINCE_1970 = "dateDaysSince[1970]"
    DAYS_SINCE_1980 = "dateDaysSince[1980]"
    DAYS_SINCE_1990 = "dateDaysSince[1990]"
    DAYS_SINCE_2000 = "dateDaysSince[2000]"
    DAYS_SINCE_2010 = "dateDaysSince[2010]"
    DAYS_SINCE_2020 = "dateDaysSince[2020]"
    SECONDS_SINCE_0 = "dateTimeSecondsSince[0]"
    SECONDS_SINCE_1960 = "dateTimeSecondsSince[1960]"
    SECONDS_SINCE_1970 = "dateTimeSecondsSince[1970]"
    SECONDS_SINCE_1980 = "dateTimeSecondsSince[1980]"
    SECONDS_SINCE_1990 = "dateTimeSecondsSince[1990]"
    SECONDS_SINCE_2000 = "dateTimeSecondsSince[2000]"
    SECONDS_SINCE_2010 = "dateTimeSecondsSince[2010]"
    SECONDS_SINCE_2020 = "dateTimeSecondsSince[2020]"

    @property
    def numpy(self) -> np.dtype[Any]:
        return _NUMPY[self]

    @property
    def numeric(self) -> bool:
        return self in (Type.DOUBLE, Type.FLOAT) or self.whole

    @property
    def real(self) -> bool:
        return self in (Type.DOUBLE, Type.FLOAT)

    @property
    def whole(self) -> bool:
        """Its numbers are integers."""
        return self is Type.INTEGER or self in STARTS

    @property
    def temporal(self) -> bool:
        return self in (Type.DATE, Type.TIME, Type.DATE_TIME)


def _starts() -> dict[Type, tuple[Type, int]]:
    made = {Type.TIME_SECONDS: (Type.TIME, 0)}
    for year in (0, 1960, 1970, 1980, 1990, 2000, 2010, 2020):
        # The year 0 of ISO 8601, a leap year, is before the first that Python knows.
        days = (date(year or 1, 1, 1) - _EPOCH.date()).days - (0 if year else 366)
        made[Type(f"dateDaysSince[{year}]")] = (Type.DATE, days)
        made[Type(f"dateTimeSecondsSince[{year}]")] = (Type.DATE_TIME, days * 86_400)
    return made


STARTS = _starts()
"""Of each counted type that of the moments that it counts to, and the number of that type where it starts."""
_NUMPY: dict[Type, np.dtype[Any]] = {
    Type.DOUBLE: np.dtype(np.float64),
    Type.FLOAT: np.dtype(np.float32),
    Type.INTEGER: np.dtype(np.int64),
    Type.BOOLEAN: np.dtype(np.bool_),
    Type.STRING: np.dtype(object),
    Type.DATE: np.dtype(np.int64),
    Type.TIME: np.dtype(np.int64),
    Type.DATE_TIME: np.dtype(np.int64),
    **dict.fromkeys(STARTS, np.dtype(np.int64)),
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
    return moment(text, kind) if kind.temporal else _counted(text, kind)


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
    if not math.isfinite(to_number(text)):
        return None
    value, exact = whole_at(text, up=True)
    return value if exact and -_BOUND <= value < _BOUND else None


def whole_at(text: str, up: bool) -> tuple[int, bool]:
    """The next integer from the finite number that a text says, upwards or downwards, however large; and
    whether it is that number."""
    value = to_number(text)
    exact = Decimal(text.strip()) if abs(value) >= _EXACT else value
    whole = math.ceil(exact) if up else math.floor(exact)
    return whole, whole == exact


def _counted(text: str, kind: Type) -> int | None:
    """Of a counted type: the number itself, or the moment as the standard writes it.

    Seconds since midnight go on beyond a day: the standard has 27:46:40 for 100,000.
    """
    number = _integer(text)
    if number is not None:
        return number
    if kind is Type.TIME_SECONDS and (clock := _CLOCK.match(text)) is not None:
        hours, minutes, seconds = map(int, clock.groups())
        return hours * 3600 + minutes * 60 + seconds
    of, start = STARTS[kind]
    at = moment(text, of)
    return None if at is None else at - start


def converts(source: Type, target: Type) -> bool:
    """Whether what the one says can be said by the other, where one of them is temporal or counted."""
    if source in STARTS and target in STARTS:
        return STARTS[source][0] is STARTS[target][0]
    if source in STARTS:
        return target.numeric or target is STARTS[source][0]
    if target in STARTS:
        return source.numeric or source in (Type.STRING, STARTS[target][0])
    return source is Type.STRING and target.temporal


def shift(source: Type, target: Type) -> int:
    """What is added to a number of the one type for the same moment in the other; 0 for plain numbers."""
    if (source in STARTS or source.temporal) and (target in STARTS or target.temporal):
        return STARTS.get(source, (source, 0))[1] - STARTS.get(target, (target, 0))[1]
    return 0


def reach(kind: Type) -> tuple[int, int]:
    """The least and the greatest number that a moment of the type can have: dates from the year 1 to 9999."""
    if kind is Type.TIME:
        return 0, 86_399
    first, last = (date.min - _EPOCH.date()).days, (date.max - _EPOCH.date()).days
    if kind is Type.DATE:
        return first, last
    return (first * 86_400, last * 86_400 + 86_399) if kind is Type.DATE_TIME else (-(2**62), 2**62)


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


def _written(number: int, kind: Type) -> str:
    if kind is Type.DATE:
        return date_of(number).isoformat()
    at = datetime_of(number)
    return at.time().isoformat() if kind is Type.TIME else at.isoformat()


def date_of(days: int) -> date:
    return _EPOCH.date() + timedelta(days=days)


def datetime_of(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def texts(values: NDArray, kind: Type) -> NDArray:
    """The values written as the standard writes them. Reals are refused before: each language differs."""
    if kind.temporal:
        flat = [_written(int(v), kind) for v in np.ravel(values)]
        out = np.empty(len(flat), object)
        out[:] = flat
        return out.reshape(np.shape(values))
    if kind is Type.BOOLEAN:
        return np.where(values, "true", "false").astype(object)
    return np.array(values).astype(str).astype(object)
