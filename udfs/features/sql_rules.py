"""What an SQL expression of a step may be: one expression over the row, the same whenever it is computed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import FeatureError
from schemas.expression_bounds import ExpressionBounds
from udfs.features.sql_growth import Growth, Size, Sizes, fixed

ROW = "events"
"""The name by which expressions may call the row: `events.amount` is `amount`."""

_ALLOWED = frozenset(
    {
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "FUNCTION",
        "LAMBDA",
        "OPERATOR",
        "TYPE",
    }
)
BOUNDS = ExpressionBounds(brackets=32, nodes=20_000, depth=400)
"""Of an expression as it is written, and of its tree as JSON, in which an operation is some four deep."""

_NAMED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "a list of columns",
    "PARAMETER": "a parameter",
}


@dataclass(frozen=True, slots=True)
class Functions:
    """`scalar`: those that may be called. `unsteady`: those whose value changes from call to call or from
    query to query. `macros`: name -> the expressions that it stands for, and their parameters. `fixed`: those
    whose values have a fixed size."""

    scalar: frozenset[str]
    unsteady: frozenset[str]
    macros: Mapping[str, Sequence[tuple[str, Sequence[str]]]]
    fixed: frozenset[str] = frozenset()


def functions_of(catalogue: Sequence[tuple[Any, ...]]) -> Functions:
    """From rows of `duckdb_functions()`: name, type, stability, macro's definition, parameters, type
    returned."""
    scalar, unsteady = set[str](), set[str]()
    returned: dict[str, set[str | None]] = {}
    macros: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for name, kind, stability, definition, parameters, gives in catalogue:
        if kind == "macro":
            macros.setdefault(name.lower(), []).append((definition, parameters or ()))
        elif kind == "scalar":
            scalar.add(name.lower())
            returned.setdefault(name.lower(), set()).add(gives)
            if stability != "CONSISTENT":
                unsteady.add(name.lower())
    steady = frozenset(name for name, types in returned.items() if fixed(types))
    return Functions(frozenset(scalar), frozenset(unsteady), macros, steady)


class Parser:
    """`serialize`: DuckDB's `json_serialize_sql`."""

    def __init__(self, serialize: Any, functions: Functions) -> None:
        self._serialize, self._functions = serialize, functions
        self._frame = self._parts("1")[0]
        self._growth = Growth(functions.fixed, self._expanded)

    def columns(self, sql: str, known: Sequence[str]) -> set[str]:
        """Which of `known` the expression reads. Raises `FeatureError` where it is none, or may not be used:
        the message says what it is or does."""
        return self._columns(sql, known, frozenset())

    def growth(self, sql: str, sizes: Sizes) -> Size:
        """How much the expression may make for a row, see `sql_growth`; for one that `columns` took. `sizes`:
        column -> its own. Raises `FeatureError` where it is too much."""
        (selected,) = self._parts(sql)[1]
        return self._growth.of(selected, {name.lower(): size for name, size in sizes.items()})

    def _expanded(self, name: str) -> list[tuple[Any, Sequence[str]]]:
        return [
            (self._parts(definition)[1][0], parameters)
            for definition, parameters in self._functions.macros.get(name, ())
        ]

    def _columns(self, sql: str, known: Sequence[str], within: frozenset[str]) -> set[str]:
        frame, selected = self._parts(sql)
        if frame != self._frame or len(selected) != 1 or selected[0]["alias"]:
            raise FeatureError("is not one expression over the row")
        names = {name.lower(): name for name in known}
        found = set[str]()
        for node, local in _walk(selected[0], frozenset()):
            kind = node["class"]
            if kind not in _ALLOWED:
                raise FeatureError(f"is or holds {_NAMED.get(kind, kind.lower())}, not only the row")
            if kind == "COLUMN_REF":
                path = [part.lower() for part in node["column_names"]]
                name = path[1] if len(path) > 1 and path[0] == ROW else path[0]
                if name in names:
                    found.add(names[name])
                elif name not in local:
                    raise FeatureError(f"reads {'.'.join(path)!r}; there are {', '.join(known)}")
            elif kind == "FUNCTION":
                self._may_call(node["function_name"].lower(), within)
        return found

    def _may_call(self, name: str, within: frozenset[str]) -> None:
        known = self._functions
        if name in known.unsteady:
            raise FeatureError(f"calls {name}(), which gives another value each time")
        for definition, parameters in () if name in within else known.macros.get(name, ()):
            try:
                self._columns(definition, parameters, within | {name})
            except FeatureError as e:
                raise FeatureError(f"calls {name}(), which {e}") from None
        if name not in known.scalar and name not in known.macros:
            raise FeatureError(f"calls {name}(), which is no function of one row")

    def _parts(self, sql: str) -> tuple[Any, list[Any]]:
        """The query around the expressions, and these."""
        if excess := BOUNDS.of_text(sql):
            raise FeatureError(excess)
        try:
            parsed = json.loads(self._serialize(f"SELECT {sql}"))
            excess = BOUNDS.of_tree(parsed, _inner)
        except RecursionError:
            excess = "is nested too deep"
        if excess:
            raise FeatureError(excess)
        if parsed["error"]:
            raise FeatureError(f"cannot be read: {one_line(parsed['error_message'])}")
        (statement, *more) = parsed["statements"]
        node = statement["node"]
        selected = node.pop("select_list", [])
        return _placeless([node, more]), selected


def _inner(node: Any) -> Any:
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return (part for part in parts if isinstance(part, (dict, list)))


def one_line(message: str) -> str:
    """The first sentence of what DuckDB says, without the kind of error before it."""
    said = message.strip().splitlines()[0]
    kind, colon, rest = said.partition(" Error: ")
    return (rest if colon and kind.replace(" ", "").isalpha() else said).rstrip("!. ")


def _walk(node: Any, local: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """Every expression in `node`, with the names that lambdas around it have given."""
    if isinstance(node, list):
        for part in node:
            yield from _walk(part, local)
    elif isinstance(node, dict):
        if "class" in node:
            if node["class"] == "LAMBDA":
                # of the JSON arrow, which looks the same, the left side is a column
                local |= {n["column_names"][0].lower() for n in _references(node["lhs"])}
                yield node, local
                # how the parameters are held together is none of the caller's functions
                for reference in _references(node["lhs"]):
                    yield reference, local
                yield from _walk(node["expr"], local)
                return
            yield node, local
        for part in node.values():
            yield from _walk(part, local)


def _references(node: Any) -> list[Any]:
    return [found for found, _ in _walk(node, frozenset()) if found["class"] == "COLUMN_REF"]


def _placeless(node: Any) -> Any:
    if isinstance(node, list):
        return [_placeless(part) for part in node]
    if isinstance(node, dict):
        return {k: _placeless(v) for k, v in node.items() if not k.startswith("query_location")}
    return node
