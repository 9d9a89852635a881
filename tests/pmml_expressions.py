# ruff: noqa: E501 - tables
"""A second opinion on the expressions of PMML: one row at a time, from the standard's text.

It shares no code with the runtime. The definitions are those of https://dmg.org/pmml/v4-4-1/
(Transformations, Functions, BuiltinFunctions). None is a missing value. NaN is a result that is none:
arithmetic hands it on, and what would hide it raises `UndefinedError`. An integer that needs more than 64
bits, or a fraction where an integer belongs, raises it too.
"""

from __future__ import annotations

import math
import operator
import re
import statistics
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import partial, reduce
from typing import Any

import numpy as np

Row = Mapping[str, Any]
Functions = Mapping[str, ET.Element]
_EPOCH = datetime(1970, 1, 1)


class UndefinedError(Exception):
    """The row has no result."""


def typed(value: Any, kind: str | None) -> Any:  # noqa: PLR0911 - one for each type
    """A value in a type of the standard."""
    if value is None or kind is None:
        return value
    if kind == "string":
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind == "boolean":
        return value in ("true", "1") if isinstance(value, str) else bool(value)
    if kind == "double":
        return float(value)
    if kind == "float":
        return np.float32(value)
    if kind == "integer":
        number = float(value) if isinstance(value, str) else value
        if isinstance(number, (float, np.float32)) and (not math.isfinite(number) or number != int(number)):
            raise UndefinedError
        return int(value) if isinstance(value, (str, int)) else int(number)
    if kind == "date":
        return date.fromisoformat(value)
    raise NotImplementedError(kind)


def evaluate(element: ET.Element, row: Row, functions: Functions) -> Any:  # noqa: PLR0911 - one for each kind
    """The value of an expression; the fields of `row` are in their types."""
    tag = element.tag
    if tag == "Constant":
        return (
            None if element.get("missing") == "true" else typed(element.text or "", element.get("dataType"))
        )
    if tag == "FieldRef":
        return _or_else(row[element.get("field", "")], element.get("mapMissingTo"), _like(row, element))
    if tag == "Apply":
        return _apply(element, row, functions)
    value = row.get(element.get("field", ""))
    if tag == "NormContinuous":
        return _norm_continuous(element, value)
    if tag == "NormDiscrete":
        told = None if value is None else float(_defined(value) == _as(element.get("value", ""), value))
        return _or_else(told, element.get("mapMissingTo"), float)
    if tag == "Discretize":
        return _discretize(element, value)
    if tag == "MapValues":
        return _map_values(element, row)
    raise NotImplementedError(tag)


def _like(row: Row, element: ET.Element) -> Callable[[str], Any]:
    kinds = row["types"]
    return lambda text: typed(text, kinds[element.get("field", "")])


def _or_else(value: Any, text: str | None, read: Callable[[str], Any]) -> Any:
    return read(text) if value is None and text is not None else value


def _as(text: str, value: Any) -> Any:
    """A constant in the type of a value."""
    names = {bool: "boolean", int: "integer", float: "double", np.float32: "float", str: "string"}
    return typed(text, names[type(value)])


def _defined(value: Any) -> Any:
    if isinstance(value, (float, np.float32)) and math.isnan(value):
        raise UndefinedError
    return value


def _norm_continuous(element: ET.Element, value: Any) -> float | None:
    mapped = element.get("mapMissingTo")
    points = [(float(p.get("orig", "")), float(p.get("norm", ""))) for p in element.findall("LinearNorm")]
    if value is None:
        return _or_else(None, mapped, float)
    x = float(value)
    (first, below), (last, above) = points[0], points[-1]
    treatment = element.get("outliers", "asIs")
    if x < first or x > last:
        if treatment == "asMissingValues":
            return _or_else(None, mapped, float)
        if treatment == "asExtremeValues":
            return below if x < first else above
    at = max(k for k in range(len(points) - 1) if k == 0 or x >= points[k][0])
    (a, low), (b, high) = points[at], points[at + 1]
    return low + (x - a) * ((high - low) / (b - a))


def _discretize(element: ET.Element, value: Any) -> Any:
    kind = element.get("dataType")
    if value is None:
        return _or_else(None, element.get("mapMissingTo"), lambda text: typed(text, kind))
    x = _defined(value)
    for one in element.findall("DiscretizeBin"):
        interval = one.find("Interval")
        assert interval is not None
        closure = interval.get("closure", "")
        low, high = interval.get("leftMargin"), interval.get("rightMargin")
        above = low is None or (x > _as(low, x) if closure.startswith("open") else x >= _as(low, x))
        below = high is None or (x < _as(high, x) if closure.endswith("Open") else x <= _as(high, x))
        if above and below:
            return typed(one.get("binValue"), kind)
    return typed(element.get("defaultValue"), kind)


def _map_values(element: ET.Element, row: Row) -> Any:
    kind = element.get("dataType")
    pairs = [(p.get("field", ""), p.get("column", "")) for p in element.findall("FieldColumnPair")]
    values = [row[name] for name, _ in pairs]
    if None in values:
        return typed(element.get("mapMissingTo"), kind)
    for cells in element.findall("InlineTable/row"):
        said = [cells.findtext(column) for _, column in pairs]
        if all(s is not None and _as(s, v) == _defined(v) for s, v in zip(said, values, strict=True)):
            return typed(cells.findtext(element.get("outputColumn", "")), kind)
    return typed(element.get("defaultValue"), kind)


def _apply(element: ET.Element, row: Row, functions: Functions) -> Any:
    name = element.get("function", "")
    mapped, default = element.get("mapMissingTo"), element.get("defaultValue")
    if name == "if":
        return _if(list(element), row, functions)
    given: list[Any] = []
    for e in element:
        given.append(evaluate(e, row, functions))
        if mapped is None and (name, given[-1]) in (("and", False), ("or", True)):
            return given[-1]  # decided: a later argument does not count, whether it is defined or not
    kind = row["types"].get("result")
    if mapped is not None and None in given:
        return typed(mapped, kind)
    value = _call(functions[name], given, functions) if name in functions else _builtin(name, given)
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        raise UndefinedError
    if element.get("invalidValueTreatment") == "asMissing" and isinstance(value, float):
        value = value if math.isfinite(value) else None
    return _or_else(value, default, lambda text: typed(text, kind))


def _if(parts: Sequence[ET.Element], row: Row, functions: Functions) -> Any:
    truth = evaluate(parts[0], row, functions)
    if truth is None:
        return None
    if truth:
        return evaluate(parts[1], row, functions)
    return evaluate(parts[2], row, functions) if len(parts) == 3 else None


def _call(element: ET.Element, given: Sequence[Any], functions: Functions) -> Any:
    names = [p.get("name", "") for p in element.findall("ParameterField")]
    kinds = [p.get("dataType") for p in element.findall("ParameterField")]
    held = {n: typed(v, k) for n, v, k in zip(names, given, kinds, strict=True)}
    inner = held | {"types": dict(zip(names, kinds, strict=True)) | {"result": element.get("dataType")}}
    return typed(evaluate(element[-1], inner, functions), element.get("dataType"))


def _together(values: Sequence[Any]) -> list[Any]:
    """Numbers in the type that they are computed in."""
    if any(isinstance(v, float) for v in values):
        return [float(v) for v in values]
    if any(isinstance(v, np.float32) for v in values):
        return [np.float32(v) for v in values]
    return [int(v) for v in values]


def _builtin(name: str, given: Sequence[Any]) -> Any:  # noqa: PLR0911 - one for each kind
    if name in _LOGIC:
        return _LOGIC[name](given)
    if name in ("isIn", "isNotIn"):
        if given[0] is None:
            return None
        found = any(_same(_defined(given[0]), v) for v in given[1:] if v is not None)
        return found == (name == "isIn")
    if name in _OVER_ALL:
        there = [v for v in given if v is not None]
        return _OVER_ALL[name](_together(there)) if there else None
    if name == "concat":
        there = [typed(v, "string") for v in given if v is not None]
        return "".join(there) if there else None
    if None in given:
        return None
    if name in _COMPARE:
        a, b = given if isinstance(given[0], (str, bool)) else _together(given)
        return _COMPARE[name](_defined(a), _defined(b))
    if name in _TEXT:
        return _TEXT[name](*given)
    return _number(name, given)


def _number(name: str, given: Sequence[Any]) -> Any:
    values = _together(given)
    if name in _EXACT:
        with np.errstate(all="ignore"):
            return _EXACT[name](*values)
    if name in _ROUNDED:
        value = values[0]
        if isinstance(value, int) or not math.isfinite(value):
            return abs(value) if name == "abs" else value
        return type(value)(_ROUNDED[name](value))
    if (name in ("ln", "log10") and values[0] == 0) or (name == "ln1p" and values[0] == -1):
        return -math.inf
    try:
        found = _REAL[name](*(float(v) for v in values))
    except (ValueError, ZeroDivisionError, OverflowError):
        return math.nan
    return np.float32(found) if isinstance(values[0], np.float32) and len(values) == 1 else found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (str, bool)):
        return bool(a == b)
    left, right = _together([a, b])
    return bool(left == right)


def _divided(a: Any, b: Any) -> Any:
    a, b = (float(a), float(b)) if isinstance(a, int) else (a, b)
    if b == 0:
        return (
            math.nan if a == 0 or math.isnan(a) else type(a)(math.copysign(math.inf, a) * math.copysign(1, b))
        )
    return a / b


def _modulo(a: Any, b: Any) -> Any:
    if b == 0:
        if isinstance(b, int):
            raise UndefinedError
        return math.nan
    return a % b if isinstance(a, int) else type(a)(float(a) % float(b))


def _three(given: Sequence[Any], decisive: bool) -> bool | None:
    if decisive in [v for v in given if v is not None]:
        return decisive
    return None if None in given else not decisive


def _threshold(a: Any, b: Any) -> int:
    return int(_defined(a) > _defined(b))


def _least(values: Sequence[Any], choose: Callable[..., Any]) -> Any:
    return math.nan if any(math.isnan(v) for v in values) else choose(values)


_LOGIC: dict[str, Callable[[Sequence[Any]], Any]] = {
    "and": lambda v: _three(v, False), "or": lambda v: _three(v, True),
    "not": lambda v: None if v[0] is None else not v[0],
    "isMissing": lambda v: v[0] is None, "isNotMissing": lambda v: v[0] is not None,
    "isValid": lambda v: v[0] is not None and v[0] == v[0], "isNotValid": lambda v: v[0] is None or v[0] != v[0],
}  # fmt: skip
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "equal": lambda a, b: bool(a == b), "notEqual": lambda a, b: bool(a != b), "lessThan": lambda a, b: bool(a < b),
    "lessOrEqual": lambda a, b: bool(a <= b), "greaterThan": lambda a, b: bool(a > b),
    "greaterOrEqual": lambda a, b: bool(a >= b),
}  # fmt: skip
_OVER_ALL: dict[str, Callable[[Sequence[Any]], Any]] = {
    "sum": partial(reduce, operator.add), "product": partial(reduce, operator.mul), "min": lambda v: _least(v, min), "max": lambda v: _least(v, max),
    "avg": lambda v: _divided(reduce(operator.add, v), type(v[0])(len(v))),
    "median": lambda v: _least([float(one) for one in v], statistics.median),
}  # fmt: skip
_EXACT: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": _divided, "modulo": _modulo,
    "threshold": _threshold,
}  # fmt: skip
_ROUNDED: dict[str, Callable[[Any], Any]] = {
    "abs": abs, "floor": math.floor, "ceil": math.ceil, "rint": lambda v: round(float(v)),
    "round": lambda v: math.floor(v) + (v - math.floor(v) >= 0.5),
}  # fmt: skip
_NORMAL = statistics.NormalDist()
_REAL: dict[str, Callable[..., float]] = {
    "pow": math.pow, "atan2": math.atan2, "hypot": math.hypot, "exp": math.exp, "expm1": math.expm1, "ln": math.log,
    "ln1p": math.log1p, "log10": math.log10, "sqrt": math.sqrt, "sin": math.sin, "cos": math.cos, "tan": math.tan,
    "asin": math.asin, "acos": math.acos, "atan": math.atan, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh,
    "erf": math.erf, "stdNormalCDF": _NORMAL.cdf, "stdNormalPDF": _NORMAL.pdf, "stdNormalIDF": _NORMAL.inv_cdf,
    "normalCDF": lambda x, m, s: statistics.NormalDist(m, s).cdf(x),
    "normalPDF": lambda x, m, s: statistics.NormalDist(m, s).pdf(x),
    "normalIDF": lambda p, m, s: statistics.NormalDist(m, s).inv_cdf(p),
}  # fmt: skip
_TEXT: dict[str, Callable[..., Any]] = {
    "uppercase": str.upper, "lowercase": str.lower, "trimBlanks": str.strip, "stringLength": len,
    "substring": lambda text, at, size: text[at - 1 : at - 1 + size],
    "replace": lambda text, pattern, by: re.sub(pattern, by, text),
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
    "formatNumber": lambda number, pattern: pattern % number,
    "formatDatetime": lambda day, pattern: day.strftime(pattern),
    "dateDaysSinceYear": lambda day, year: (day - date(year, 1, 1)).days,
    "dateSecondsSinceYear": lambda day, year: (day - date(year, 1, 1)).days * 86_400,
    "dateSecondsSinceMidnight": lambda day: 0,
}  # fmt: skip
