"""A CEL expression as operations on columns, for the part of the language whose columns have one type each.

A `TypedColumn` has one type and may have failed in some rows, as an evaluation in CEL may. What is not
covered raises `NotCoveredError`, when the expression is read or when a type turns up that an operation has no
rule for; the caller then goes record by record. What is covered gives what cel-python with `operators` gives.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Path = tuple[str, ...]
Mask = NDArray[np.bool_]

_SAFE = 2**62  # sums and differences of integers below this, and products, cannot overflow
_EXACT = 2**53  # integers up to this are doubles without rounding
_DTYPES = {"int": np.int64, "double": np.float64, "bool": np.bool_, "string": object, "null": object}
NUMBERS = frozenset({"int", "double"})


class NotCoveredError(Exception):
    """Not for columns. The caller falls back; it never leaves `CelRule`."""


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """Values of one type: int, double, bool, string, null or `failed`. `bad`: rows whose evaluation failed,
    and whose value means nothing."""

    kind: str
    values: NDArray
    bad: Mask


class Columns:
    """The values of n records at the paths of an expression; all records have the same type at each."""

    def __init__(self, count: int, kinds: Mapping[Path, str], values: Mapping[Path, Sequence[Any]]) -> None:
        self.count = count
        self.good = np.zeros(count, dtype=bool)
        self._kinds, self._values = kinds, values

    def has(self, path: Path) -> TypedColumn:
        return TypedColumn("bool", np.full(self.count, self._kinds[path] != "missing"), self.good)

    def at(self, path: Path) -> TypedColumn:
        kind = self._kinds[path]
        if kind == "missing":
            return self.failed()
        if kind not in _DTYPES:
            raise NotCoveredError(kind)
        return TypedColumn(kind, np.array(self._values[path], dtype=_DTYPES[kind]), self.good)

    def characters(self) -> int:
        """Of all texts."""
        return sum(sum(map(len, self._values[p])) for p, kind in self._kinds.items() if kind == "string")

    def constant(self, kind: str, value: Any) -> TypedColumn:
        return TypedColumn(kind, np.full(self.count, value, dtype=_DTYPES[kind]), self.good)

    def failed(self) -> TypedColumn:
        return TypedColumn("failed", self.good, ~self.good)


Step = Callable[[Columns], TypedColumn]


def truth(column: TypedColumn) -> Mask:
    """Where a rule holds: true, and not failed; a value that is no bool is not true."""
    return column.values & ~column.bad if column.kind == "bool" else np.zeros(len(column.bad), dtype=bool)


def equal(a: TypedColumn, b: TypedColumn) -> TypedColumn:
    bad = a.bad | b.bad
    if "failed" in (a.kind, b.kind):
        return TypedColumn("failed", bad, np.ones_like(bad))
    if a.kind == b.kind == "null":
        return TypedColumn("bool", np.ones_like(bad), bad)
    if a.kind != b.kind and not {a.kind, b.kind} <= NUMBERS:
        return TypedColumn("bool", np.zeros_like(bad), bad)
    _check_exact(a, b)
    return TypedColumn("bool", (a.values == b.values).astype(bool), bad)


def unequal(a: TypedColumn, b: TypedColumn) -> TypedColumn:
    same = equal(a, b)
    return same if same.kind == "failed" else TypedColumn("bool", ~same.values, same.bad)


def ordering(compare: Callable[[Any, Any], Any]) -> Callable[[TypedColumn, TypedColumn], TypedColumn]:
    def ordered(a: TypedColumn, b: TypedColumn) -> TypedColumn:
        bad = a.bad | b.bad
        comparable = a.kind == b.kind or {a.kind, b.kind} <= NUMBERS
        if not comparable or a.kind in ("null", "failed"):
            return TypedColumn("failed", bad, np.ones_like(bad))
        _check_exact(a, b)
        return TypedColumn("bool", compare(a.values, b.values).astype(bool), bad)

    return ordered


def arithmetic(name: str) -> Callable[[TypedColumn, TypedColumn], TypedColumn]:
    def computed(a: TypedColumn, b: TypedColumn) -> TypedColumn:
        bad = a.bad | b.bad
        if a.kind == b.kind == "double" and name != "%":
            with np.errstate(all="ignore"):
                return TypedColumn("double", _BINARY[name](a.values, b.values), bad)
        if a.kind == b.kind == "int":
            return _integers(name, a.values, b.values, bad)
        if "string" in (a.kind, b.kind) and "failed" not in (a.kind, b.kind):
            raise NotCoveredError(f"string {name}")
        return TypedColumn("failed", bad, np.ones_like(bad))

    return computed


def negative(a: TypedColumn) -> TypedColumn:
    if a.kind == "int":
        _check_small(a.values)
    elif a.kind != "double":
        return _only_failed(a, "-")
    return TypedColumn(a.kind, -a.values, a.bad)


def inverse(a: TypedColumn) -> TypedColumn:
    return TypedColumn("bool", ~a.values, a.bad) if a.kind == "bool" else _only_failed(a, "!")


def logical(settles: bool) -> Callable[[TypedColumn, TypedColumn], TypedColumn]:
    """`&&`, which false settles whatever the other side is, and `||`, which true does."""

    def combined(a: TypedColumn, b: TypedColumn) -> TypedColumn:
        (va, fa), (vb, fb) = _logic(a), _logic(b)
        settled = ((va == settles) & ~fa) | ((vb == settles) & ~fb)
        return TypedColumn("bool", settled if settles else ~settled, (fa | fb) & ~settled)

    return combined


def chosen(condition: TypedColumn, yes: TypedColumn, no: TypedColumn) -> TypedColumn:
    if condition.kind == "failed":
        return condition
    if condition.kind != "bool":
        raise NotCoveredError("? of no bool")
    if "failed" in (yes.kind, no.kind):
        kind, values = (no.kind, no.values) if yes.kind == "failed" else (yes.kind, yes.values)
    elif yes.kind == no.kind:
        kind, values = yes.kind, np.where(condition.values, yes.values, no.values)
    else:
        raise NotCoveredError("? of two types")
    return TypedColumn(kind, values, condition.bad | np.where(condition.values, yes.bad, no.bad))


def member(items: Sequence[Step]) -> Callable[[Columns, TypedColumn], TypedColumn]:
    """`in` a list of constants: whether one of them is equal."""

    def found(columns: Columns, a: TypedColumn) -> TypedColumn:
        if a.kind == "failed":
            return a
        hits = [equal(a, item(columns)).values for item in items]
        return TypedColumn("bool", np.logical_or.reduce([columns.good, *hits]), a.bad)

    return found


def text(name: str) -> Callable[[TypedColumn, TypedColumn], TypedColumn]:
    """`startsWith`, `endsWith` and `contains` of strings."""
    method = _TEXT[name]

    def tried(a: TypedColumn, b: TypedColumn) -> TypedColumn:
        bad = a.bad | b.bad
        if "failed" in (a.kind, b.kind):
            return TypedColumn("failed", bad, np.ones_like(bad))
        if not a.kind == b.kind == "string":
            raise NotCoveredError(f"{name} of {a.kind}, {b.kind}")
        return TypedColumn("bool", np.fromiter(map(method, a.values, b.values), bool, len(bad)), bad)

    return tried


def size(a: TypedColumn) -> TypedColumn:
    if a.kind != "string":
        return _only_failed(a, "size of ")
    return TypedColumn("int", np.fromiter(map(len, a.values), np.int64, len(a.values)), a.bad)


def double(a: TypedColumn) -> TypedColumn:
    if a.kind not in NUMBERS:
        return _only_failed(a, "double of ")
    return TypedColumn("double", a.values.astype(np.float64), a.bad)


_TEXT: dict[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def _integers(name: str, a: NDArray, b: NDArray, bad: Mask) -> TypedColumn:
    _check_small(a)
    _check_small(b)
    if name in "+-":
        return TypedColumn("int", _BINARY[name](a, b), bad)
    if name == "*":
        if len(a) and (np.abs(a.astype(np.float64)) * np.abs(b.astype(np.float64))).max() >= _SAFE:
            raise NotCoveredError("a product that may overflow")
        return TypedColumn("int", a * b, bad)
    divisor = np.where(b == 0, 1, b)
    quotient = np.abs(a) // np.abs(divisor) * np.sign(a) * np.sign(divisor)  # towards zero
    return TypedColumn("int", quotient if name == "/" else a - quotient * divisor, bad | (b == 0))


def _logic(a: TypedColumn) -> tuple[NDArray, Mask]:
    if a.kind not in ("bool", "failed"):
        raise NotCoveredError(f"logic of {a.kind}")
    return a.values, a.bad


def _only_failed(a: TypedColumn, name: str) -> TypedColumn:
    if a.kind != "failed":
        raise NotCoveredError(f"{name}{a.kind}")
    return a


def _check_small(values: NDArray) -> None:
    if len(values) and not (values.min() > -_SAFE and values.max() < _SAFE):
        raise NotCoveredError("integers that may overflow")


def _check_exact(a: TypedColumn, b: TypedColumn) -> None:
    """numpy compares an integer with a double as doubles."""
    if a.kind != b.kind:
        whole = (a if a.kind == "int" else b).values
        if len(whole) and not (whole.min() >= -_EXACT and whole.max() <= _EXACT):
            raise NotCoveredError("integers that are no doubles")
