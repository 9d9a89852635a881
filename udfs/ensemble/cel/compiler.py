"""From a parsed CEL expression to operations on columns, and from records to columns of one type each."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import celpy
import numpy as np
from celpy import celtypes
from lark import Tree
from numpy.typing import NDArray

from udfs.ensemble.cel import columns as cel
from udfs.ensemble.cel.columns import Columns, NotCoveredError, Path, Step, TypedColumn

VARIABLE = "record"

_INT64 = 2**63
_PASSING = frozenset(
    {"expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary", "member"}
    | {"primary", "paren_expr"}
)
_BINARY: dict[str, Callable[[TypedColumn, TypedColumn], TypedColumn]] = {
    "conditionalor": cel.logical(True),
    "conditionaland": cel.logical(False),
    "relation_eq": cel.equal,
    "relation_ne": cel.unequal,
    "relation_lt": cel.ordering(operator.lt),
    "relation_le": cel.ordering(operator.le),
    "relation_gt": cel.ordering(operator.gt),
    "relation_ge": cel.ordering(operator.ge),
    "addition_add": cel.arithmetic("+"),
    "addition_sub": cel.arithmetic("-"),
    "multiplication_mul": cel.arithmetic("*"),
    "multiplication_div": cel.arithmetic("/"),
    "multiplication_mod": cel.arithmetic("%"),
}
_UNARY = {"unary_not": cel.inverse, "unary_neg": cel.negative, "size": cel.size, "double": cel.double}
_KINDS: dict[type, str] = {bool: "bool", int: "int", float: "double", str: "string", type(None): "null"}
_MISSING = object()


class ColumnRule:
    """An expression over columns. `paths`: the places in a record that it looks at. `searches`: how many
    times it looks through a text."""

    def __init__(self, tree: Tree) -> None:
        """Raises `NotCoveredError`."""
        self.paths: dict[Path, None] = {}
        self.searches = 0
        self._environment = celpy.Environment()
        self._step = self._compiled(tree)

    @classmethod
    def of(cls, tree: Tree) -> ColumnRule | None:
        """The rule; None where its expression is not covered."""
        try:
            return cls(tree)
        except NotCoveredError:
            return None

    def holds(self, columns: Columns) -> NDArray[np.bool_]:
        """Where the rule is true. Raises `NotCoveredError`."""
        return cel.truth(self._step(columns))

    def groups(self, records: Sequence[Any]) -> Iterator[tuple[NDArray[np.intp], Columns]]:
        """The records in groups that have the same type at each path, with their indices."""
        values = {path: [_value(record, path) for record in records] for path in self.paths}
        kinds = {path: list(map(_kind, found)) for path, found in values.items()}
        signatures = zip(*kinds.values(), strict=True) if kinds else repeat((), len(records))
        groups: dict[tuple[str, ...], list[int]] = {}
        for row, signature in enumerate(signatures):
            groups.setdefault(signature, []).append(row)
        for signature, rows in groups.items():
            of_group = dict(zip(self.paths, signature, strict=True))
            part = {
                path: _typed(of_group[path], [found[row] for row in rows]) for path, found in values.items()
            }
            yield np.array(rows, dtype=np.intp), Columns(len(rows), of_group, part)

    def _compiled(self, tree: Any) -> Step:  # noqa: PLR0911
        node = bare(tree)
        name, children = (node.data, node.children) if isinstance(node, Tree) else ("", [])
        if name == "expr" and len(children) == 3:
            condition, yes, no = map(self._compiled, children)
            return lambda columns: cel.chosen(condition(columns), yes(columns), no(columns))
        if name in ("conditionalor", "conditionaland"):
            return self._binary(name, *children)
        if name in ("relation", "addition", "multiplication"):
            operation, right = children
            if operation.data == "relation_in":
                return self._in_list(operation.children[0], right)
            return self._binary(operation.data, operation.children[0], right)
        if name == "unary":
            return self._unary(children[0].data, children[1])
        if name == "literal":
            return self._literal(node)
        if name == "member_dot":
            path = self._path(node)
            return lambda columns: columns.at(path)
        if name == "member_dot_arg":
            return self._method(*children)
        if name == "ident_arg":
            return self._function(*children)
        raise NotCoveredError(name)

    def _binary(self, name: str, left: Tree, right: Tree) -> Step:
        operation, a, b = _BINARY[name], self._compiled(left), self._compiled(right)
        return lambda columns: operation(a(columns), b(columns))

    def _unary(self, name: str, operand: Tree) -> Step:
        operation, a = _UNARY[name], self._compiled(operand)
        return lambda columns: operation(a(columns))

    def _in_list(self, left: Tree, right: Tree) -> Step:
        node = bare(right)
        if node.data != "list_lit" or any(bare(item).data != "literal" for item in _arguments(node)):
            raise NotCoveredError("in, of no list of literals")
        a, found = self._compiled(left), cel.member([self._compiled(item) for item in _arguments(node)])
        return lambda columns: found(columns, a(columns))

    def _method(self, on: Tree, method: Any, arguments: Any = None) -> Step:
        given = [] if arguments is None else arguments.children
        if str(method) == "size" and not given:
            return self._unary("size", on)
        if str(method) in ("startsWith", "endsWith", "contains") and len(given) == 1:
            self.searches += 1
            operation, a, b = cel.text(str(method)), self._compiled(on), self._compiled(given[0])
            return lambda columns: operation(a(columns), b(columns))
        raise NotCoveredError(f".{method}")

    def _function(self, function: Any, arguments: Any = None) -> Step:
        given = [] if arguments is None else arguments.children
        if str(function) in ("size", "double") and len(given) == 1:
            return self._unary(str(function), given[0])
        if str(function) == "has" and len(given) == 1:
            path = self._path(bare(given[0]))
            return lambda columns: columns.has(path)
        raise NotCoveredError(f"{function}()")

    def _path(self, node: Any) -> Path:
        names: list[str] = []
        while isinstance(node, Tree) and node.data == "member_dot":
            names.append(str(node.children[1]))
            node = bare(node.children[0])
        if not (
            isinstance(node, Tree) and node.data == "ident" and str(node.children[0]) == VARIABLE and names
        ):
            raise NotCoveredError("no field of the record")
        path = tuple(reversed(names))
        self.paths[path] = None
        return path

    def _literal(self, node: Tree) -> Step:
        try:
            value = self._environment.program(node).evaluate({})
        except celpy.CELEvalError:
            return Columns.failed
        for known, kind, plain in _CONSTANTS:
            if type(value) is known:
                constant = plain(value)
                return lambda columns: columns.constant(kind, constant)
        raise NotCoveredError(f"the constant {value!r}")


_CONSTANTS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (celtypes.BoolType, "bool", bool),
    (celtypes.IntType, "int", int),
    (celtypes.DoubleType, "double", float),
    (celtypes.StringType, "string", str.__str__),
    (type(None), "null", lambda _: None),
)


def bare(node: Any) -> Any:
    """The node below those that only pass on their one child, as cel-python's grammar nests them."""
    while isinstance(node, Tree) and len(node.children) == 1 and node.data in _PASSING:
        node = node.children[0]
    return node


def fits_int(value: int) -> bool:
    """Whether a JSON integer is an `int` of CEL; else it is a `double`."""
    return -_INT64 <= value < _INT64


def to_double(value: int) -> float:
    """The nearest double of an integer of any length."""
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _arguments(list_literal: Tree) -> list[Tree]:
    return [item for listed in list_literal.children for item in listed.children]


def _value(record: Any, path: Path) -> Any:
    for name in path:
        if type(record) is not dict or name not in record:
            return _MISSING
        record = record[name]
    return record


def _kind(value: Any) -> str:
    if value is _MISSING:
        return "missing"
    kind = _KINDS.get(type(value), "other")
    return "double" if kind == "int" and not fits_int(value) else kind


def _typed(kind: str, values: list[Any]) -> list[Any]:
    return [to_double(v) if type(v) is int else v for v in values] if kind == "double" else values
