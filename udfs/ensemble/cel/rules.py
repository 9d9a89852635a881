"""CEL rules over records: parsed once, evaluated a batch at a time.

The language is that of the Common Expression Language, as cel-python implements it, with the comparisons of
`cel_operators`. The one variable is `record`. JSON integers that fit into 64 bits are `int`, all other
numbers `double`; objects are maps, arrays lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import celpy
import numpy as np
from celpy import celtypes
from celpy.evaluation import CELEvalError, base_functions
from lark import Tree
from numpy.typing import NDArray

from schemas.errors import PlanError
from udfs.ensemble.cel.columns import NotCoveredError
from udfs.ensemble.cel.compiler import VARIABLE, ColumnRule, bare, fits_int, to_double
from udfs.ensemble.cel.operators import OPERATORS

_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter", "min", "reduce"})
_TYPES = frozenset(
    {"bool", "bytes", "double", "duration", "int", "list", "map", "null_type", "string", "timestamp", "type"}
    | {"uint"}
)
_FUNCTIONS = frozenset(base_functions) | _TYPES | {"has", "dyn"}


class CelRule:
    """One rule. Raises `PlanError` for an expression that cannot be parsed, or names what does not exist.

    `fields`: the fields of the record that it looks at; None where it looks at the record as a whole.
    `by_columns`: whether batches are evaluated as columns where types allow, or always record by record.
    """

    def __init__(self, when: str) -> None:
        self.when = when
        try:
            environment = celpy.Environment()
            self._tree = environment.compile(when)
            self._program = environment.program(self._tree, functions=OPERATORS)
        except Exception as e:  # lark's and cel-python's errors have no root of their own
            where = f" (line {e.line}, column {e.column})" if isinstance(e, celpy.CELParseError) else ""
            raise PlanError(f"the rule {when!r} is no CEL expression{where}") from None
        strange = sorted(_strange(self._tree))
        if strange:
            raise PlanError(f"the rule {when!r} names {', '.join(strange)}; rules are about {VARIABLE!r}")
        self.fields = _fields(self._tree)
        self._columns = ColumnRule.of(self._tree)
        self.by_columns = self._columns is not None

    def holds(self, records: Sequence[Any]) -> NDArray[np.bool_]:
        """For each record whether the rule is true of it; an evaluation that fails is not true."""
        if self._columns is None:
            return self._one_by_one(records)
        true = np.zeros(len(records), dtype=bool)
        for rows, part in self._columns.groups(records):
            try:
                true[rows] = self._columns.holds(part)
            except NotCoveredError:
                true[rows] = self._one_by_one([records[row] for row in rows])
        return true

    def _one_by_one(self, records: Sequence[Any]) -> NDArray[np.bool_]:
        return np.fromiter((self.holds_one(record) for record in records), dtype=bool, count=len(records))

    def holds_one(self, record: Mapping[str, Any]) -> bool:
        """The same by cel-python, for one record: right for every expression, some 100 us or more."""
        try:
            answer = self._program.evaluate({VARIABLE: to_cel(record)})
        except CELEvalError:
            return False
        except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, AttributeError):
            return False  # what a function of cel-python raised past its own error values
        return isinstance(answer, (celtypes.BoolType, bool)) and bool(answer)


def to_cel(value: Any) -> Any:  # noqa: PLR0911
    """A JSON value for cel-python."""
    if value is None:
        return None
    if isinstance(value, bool):
        return celtypes.BoolType(value)
    if isinstance(value, int):
        return celtypes.IntType(value) if fits_int(value) else celtypes.DoubleType(to_double(value))
    if isinstance(value, float):
        return celtypes.DoubleType(value)
    if isinstance(value, str):
        return celtypes.StringType(value)
    if isinstance(value, list):
        return celtypes.ListType([to_cel(v) for v in value])
    return celtypes.MapType({celtypes.StringType(k): to_cel(v) for k, v in value.items()})


def _fields(tree: Tree) -> frozenset[str] | None:
    """The record's fields behind `record.NAME`; None where `record` stands in another way."""
    selected = [str(dot.children[1]) for dot in _all(tree, "member_dot") if _is_ident(bare(dot.children[0]))]
    mentioned = [ident for ident in _all(tree, "ident") if _is_ident(ident)]
    return frozenset(selected) if len(selected) == len(mentioned) else None


def _strange(tree: Tree) -> set[str]:
    """Names that mean nothing: variables but `record` and those of macros, and unknown functions."""
    calls = list(_all(tree, "member_dot_arg"))
    bound = {VARIABLE} | _TYPES
    for call in calls:
        if str(call.children[1]) in _MACROS and len(call.children) > 2:
            first = bare(call.children[2].children[0])
            bound |= {str(first.children[0])} if _is_ident(first, None) else set()
    named = {str(ident.children[0]) for ident in _all(tree, "ident")} - bound
    called = {str(call.children[1]) for call in calls} - _MACROS
    called |= {str(call.children[0]) for call in _all(tree, "ident_arg")}
    dotted = {f".{node.children[0]}" for kind in ("dot_ident", "dot_ident_arg") for node in _all(tree, kind)}
    return named | (called - _FUNCTIONS) | dotted


def _is_ident(node: Any, name: str | None = VARIABLE) -> bool:
    return isinstance(node, Tree) and node.data == "ident" and name in (None, str(node.children[0]))


def _all(tree: Tree, kind: str) -> Iterator[Tree]:
    return (node for node in tree.iter_subtrees() if node.data == kind)
