"""How much an SQL expression may make of what it reads, told from the expression alone.

DuckDB's memory limit does not cover the values of one batch: one event's number in `repeat(x, n)` took
gigabytes. So each function that makes values without a fixed size has a rule here, and one without a rule is
refused. A growth is how many times the bytes of a row an expression's value may have; constants and values
of a fixed size count as nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.errors import FeatureError
from udfs.features import sql_functions as of

MOST = 64.0
"""The growth up to which an expression is used."""

_MOST_SIZE = 1000  # of sizes that an expression gives itself, such as the number of repetitions
_MOST_WILDCARDS = 8
_IN_LOOP = "\0"  # no column's name
_CONSTANT_BYTES = 8  # of a constant within a list's lambda, that count as one element

Sizes = Mapping[str, float]
Expand = Callable[[str], Sequence[tuple[Any, Sequence[str]]]]


def fixed(return_types: set[str | None]) -> bool:
    """Whether a function gives values of a fixed size only."""
    return None not in return_types and return_types <= of.FIXED_TYPES


class Growth:
    """`fixed`: functions whose values have a fixed size. `expand`: the parsed expressions that a macro stands
    for, with their parameters; nothing for what is none."""

    def __init__(self, fixed: frozenset[str], expand: Expand) -> None:
        self._fixed, self._expand = fixed, expand

    def of(self, node: Any, sizes: Sizes) -> float:
        """`sizes`: column or parameter, in lower case -> its growth. Raises `FeatureError` where the
        expression may make too much, or nobody knows how much; the message says what it does."""
        growth = self._of(node, sizes)
        if growth > MOST:
            raise FeatureError(f"may make {growth:.0f} times what it reads, and {MOST:.0f} is the most")
        return growth

    def _of(self, node: Any, sizes: Sizes) -> float:  # noqa: PLR0911
        match node["class"]:
            case "CONSTANT":
                return 0.0
            case "COLUMN_REF":
                names = [name.lower() for name in node["column_names"]]
                return next((sizes[name] for name in names if name in sizes), 1.0)
            case "CAST":
                inner = self.of(node["child"], sizes)
                return 0.0 if str(node["type_expr"].get("type_name")).upper() in of.FIXED_TYPES else 2 * inner
            case "CASE":
                parts = [part[key] for part in node["case_checks"] for key in ("when_expr", "then_expr")]
                return max(self.of(part, sizes) for part in (*parts, node["else_expr"]))
            case "OPERATOR":
                inner = sum(self.of(child, sizes) for child in node["children"])
                return 0.0 if node["type"] in of.TRUTHS else inner
            case "COLLATE":
                return self.of(node["child"], sizes)
            case "FUNCTION":
                return self._call(node, sizes)
        for key in ("left", "right", "input", "lower", "upper"):  # comparisons
            if node.get(key) is not None:
                self.of(node[key], sizes)
        for child in node.get("children") or ():
            self.of(child, sizes)
        return 0.0

    def _call(self, node: Any, sizes: Sizes) -> float:  # noqa: PLR0911, PLR0912
        name = node["function_name"].lower()
        arguments = [argument["expression"] for argument in node["arguments"]]
        if len(node.get("qualified_name", {}).get("path", ())) > 1:
            raise FeatureError(f"calls {name}() as a method or of a schema: write {name}(column)")
        if name in of.UNBOUNDED:
            raise FeatureError(f"calls {name}(), whose time or size has no bound")
        if name in of.LOOPS or name in of.FILTERS:
            return self._loop(name, arguments, sizes)
        growths = [self.of(argument, sizes) for argument in arguments if argument["class"] != "LAMBDA"]
        total = sum(growths)
        if name in of.SIZED:
            size = _size_of(name, arguments)
            anew = size / _CONSTANT_BYTES if _IN_LOOP in sizes else 0.0
            return (max(size, 1) if name == "repeat" else 1) * total + anew
        if name in of.FACTORS:
            return of.FACTORS[name] * total
        if name in of.REPLACES:
            return total * (1 + len(_text(name, arguments, *range(1, min(len(arguments), 3)))))
        if name == "concat_ws":
            return growths[0] * len(growths) + total
        if name in of.JOINS:
            return total * (1 + len(_text(name, arguments, 1)))
        if name in of.AGGREGATES:
            return total if _text(name, arguments, 1).lower() in of.AGGREGATED else _unknown(name)
        if name in of.LIKE:
            if sum(_text(name, arguments, 1).count(c) for c in "%_*?[") > _MOST_WILDCARDS:
                raise FeatureError(f"has a pattern of more than {_MOST_WILDCARDS} wildcards")
            return 0.0
        if name in of.JSON_PATHS:
            if any(part in _text(name, arguments, 1) for part in ("..", "**")):
                raise FeatureError(f"calls {name}() with a path that finds the same part many times")
            return total
        if name in ("format", "printf"):
            return total * _places(name, _text(name, arguments, 0))
        if name in of.SUMS:
            return total
        if name in self._fixed:
            return 0.0
        return self._macro(name, arguments, growths)

    def _macro(self, name: str, arguments: Sequence[Any], growths: Sequence[float]) -> float:
        found = [(d, p) for d, p in self._expand(name) if len(p) == len(arguments)] or self._expand(name)
        if not found or any(argument["class"] == "LAMBDA" for argument in arguments):
            return _unknown(name)
        most = max(growths, default=0.0)
        return max(
            self.of(d, {p.lower(): g for p, g in zip(p_, [*growths, *[most] * len(p_)], strict=False)})
            for d, p_ in found
        )

    def _loop(self, name: str, arguments: Sequence[Any], sizes: Sizes) -> float:
        listed, function = self.of(arguments[0], sizes), arguments[1]
        if function["class"] != "LAMBDA":
            return _unknown(name)
        parameters = [n.lower() for n in _names(function["lhs"])]
        inner = {column: 0.0 for column, size in sizes.items() if not size}
        # an element, then its index; whatever else has a size would be made anew for each element
        inner |= {_IN_LOOP: 1.0} | dict.fromkeys(parameters, 0.0) | dict.fromkeys(parameters[:1], 1.0)
        outer = sorted({n.lower() for n in _names(function["expr"])} & {c for c, s in sizes.items() if s})
        if outer := [column for column in outer if column not in parameters]:
            raise FeatureError(f"reads {outer[0]!r}, which has no fixed size, for each element of a list")
        body = self.of(function["expr"], inner)
        if name in of.FILTERS:
            return listed
        constants = sum(len(text) for text in _constants(function["expr"]))
        return max(listed, 1.0 if _constants(arguments[0]) else 0.0) * (
            max(body, 1.0) + constants / _CONSTANT_BYTES
        )


def _unknown(name: str) -> float:
    raise FeatureError(f"calls {name}(), and how much that makes is not known")


def _size_of(name: str, arguments: Sequence[Any]) -> int:
    most = 0
    for place in of.SIZED[name]:
        if place < len(arguments):
            text = _literal(arguments[place])
            if text is None or not re.fullmatch(r"-?\d{1,9}", text) or abs(int(text)) > _MOST_SIZE:
                raise FeatureError(
                    f"calls {name}() with a size that is no number written out, up to {_MOST_SIZE}"
                )
            most = max(most, abs(int(text)))
    return most


def _text(name: str, arguments: Sequence[Any], *places: int) -> str:
    """The last of the constants at these places. Raises `FeatureError` where one is none."""
    found = ""
    for place in places:
        text = _literal(arguments[place]) if place < len(arguments) else ""
        if text is None:
            raise FeatureError(
                f"calls {name}() with something else than a text written out at place {place + 1}"
            )
        found = text
    return found


def _places(name: str, template: str) -> int:
    if re.search(r"\d{4}|\*|\{[^{}]*\{", template):
        raise FeatureError(f"calls {name}() with a width that is too large, or comes from the row")
    return 1 + template.count("{") + template.count("%")


def _literal(node: Any) -> str | None:
    if node["class"] == "OPERATOR" and node["type"] == "OPERATOR_NEGATE":
        return None
    if node["class"] != "CONSTANT":
        return None
    literal = node.get("literal") or node.get("value") or {}
    return str(literal.get("text", literal.get("value", "")))


def _names(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for part in node for name in _names(part)]
    if not isinstance(node, dict):
        return []
    own = node["column_names"][:1] if node.get("class") == "COLUMN_REF" else []
    return [*own, *(name for part in node.values() for name in _names(part))]


def _constants(node: Any) -> list[str]:
    if isinstance(node, list):
        return [text for part in node for text in _constants(part)]
    if not isinstance(node, dict):
        return []
    own = [_literal(node) or ""] if node.get("class") == "CONSTANT" else []
    return [*own, *(text for part in node.values() for text in _constants(part))]
