"""Comparisons and arithmetic as the CEL specification has them, for cel-python to use instead of its own.

cel-python 0.5 finds no overload for `1 == 1.0` and `1 < 1.5`, but one for `1.5 > 1`. The specification
(github.com/google/cel-spec, doc/langdef.md, "Equality" and "Ordering") compares numbers of all types by
value, and calls values of different kinds unequal. JSON writers do not tell 10 from 10.0, so rules need that.

Arithmetic takes two of the same type ("no automatic arithmetic conversions"; write `double(record.a)`), where
cel-python computes `1.5 + 1` and `true + true`; a division of doubles by zero is that of IEEE 754.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from celpy import celtypes
from celpy.evaluation import CELEvalError, base_functions

_LONGEST_TIME = 64
_DURATION = re.compile(r"[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|ms|s|m|h|d))+")
_KINDS: tuple[tuple[type, str], ...] = (
    (celtypes.BoolType, "bool"),  # before int, which it descends from
    (bool, "bool"),
    (celtypes.IntType, "number"),
    (celtypes.UintType, "number"),
    (celtypes.DoubleType, "number"),
    (int, "number"),
    (float, "number"),
    (celtypes.StringType, "string"),
    (str, "string"),
    (type(None), "null"),
)


def _kind(value: Any) -> str:
    """`bool`, `number`, `string`, `null`, or an empty string for what cel-python compares itself."""
    return next((kind for known, kind in _KINDS if isinstance(value, known)), "")


def equal(a: Any, b: Any) -> Any:
    failed = _error(a, b)
    if failed is not None:
        return failed
    kinds = {_kind(a), _kind(b)}
    if "" in kinds:
        return celtypes.BoolType(False) if len(kinds) == 2 else base_functions["_==_"](a, b)
    return celtypes.BoolType(len(kinds) == 1 and bool(_plain(a) == _plain(b)))


def unequal(a: Any, b: Any) -> Any:
    same = equal(a, b)
    return same if isinstance(same, CELEvalError) else celtypes.BoolType(not same)


def is_in(item: Any, container: Any) -> Any:
    """Whether an element (of a map: a key) equals the item."""
    failed = _error(item, container)
    if failed is not None:
        return failed
    if not isinstance(container, (list, dict)):
        raise TypeError(f"no such overload: in {type(container).__name__}")
    found = [equal(element, item) for element in container]
    errors = [one for one in found if isinstance(one, CELEvalError)]
    if any(one for one in found if not isinstance(one, CELEvalError)):
        return celtypes.BoolType(True)
    return errors[0] if errors else celtypes.BoolType(False)


def _ordering(name: str, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def ordered(a: Any, b: Any) -> Any:
        failed = _error(a, b)
        if failed is not None:
            return failed
        kind = _kind(a)
        if not kind and not _kind(b):
            return base_functions[name](a, b)
        if kind != _kind(b) or kind == "null":
            raise TypeError(f"no such overload: {type(a).__name__} {name} {type(b).__name__}")
        return celtypes.BoolType(compare(_plain(a), _plain(b)))

    return ordered


def _error(*values: Any) -> CELEvalError | None:
    return next((value for value in values if isinstance(value, CELEvalError)), None)


def _plain(value: Any) -> Any:
    """Python's own number or text, whose comparisons are exact for int with float."""
    if isinstance(value, (celtypes.BoolType, bool)):
        return bool(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return int(value)
    return None if value is None else str.__str__(value)


def _arithmetic(name: str) -> Callable[[Any, Any], Any]:
    def computed(a: Any, b: Any) -> Any:
        failed = _error(a, b)
        if failed is not None:
            return failed
        if not {_kind(a), _kind(b)} & {"number", "bool", "null"}:
            return base_functions[name](a, b)
        kinds = {_number(a), _number(b)}
        if kinds == {"double"} and name != "_%_":
            with np.errstate(all="ignore"):
                return celtypes.DoubleType(float(_DOUBLES[name](np.float64(a), np.float64(b))))
        if kinds in ({"int"}, {"uint"}):
            return base_functions[name](a, b)
        raise TypeError(f"no such overload: {type(a).__name__} {name} {type(b).__name__}")

    return computed


def _number(value: Any) -> str:
    if isinstance(value, (celtypes.BoolType, bool)):
        return "bool"
    if isinstance(value, celtypes.UintType):
        return "uint"
    return "int" if isinstance(value, int) else "double" if isinstance(value, float) else ""


def duration(value: Any) -> Any:
    """As cel-python's, which takes a time that doubles with each letter to find that a text is none."""
    if isinstance(value, str) and not (len(value) <= _LONGEST_TIME and _DURATION.fullmatch(value)):
        raise ValueError("no duration")
    return celtypes.DurationType(value)


def timestamp(value: Any) -> Any:
    """As cel-python's, of texts that are not too long to be one."""
    if isinstance(value, str) and len(value) > _LONGEST_TIME:
        raise ValueError("no timestamp")
    return celtypes.TimestampType(value)


_DOUBLES = {"_+_": operator.add, "_-_": operator.sub, "_*_": operator.mul, "_/_": operator.truediv}

OPERATORS: dict[str, Callable[..., Any]] = {
    "_==_": equal,
    "_!=_": unequal,
    "_in_": is_in,
    "_<_": _ordering("_<_", operator.lt),
    "_<=_": _ordering("_<=_", operator.le),
    "_>_": _ordering("_>_", operator.gt),
    "_>=_": _ordering("_>=_", operator.ge),
} | {name: _arithmetic(name) for name in ("_+_", "_-_", "_*_", "_/_", "_%_")}
OPERATORS |= {"duration": duration, "timestamp": timestamp}
