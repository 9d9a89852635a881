"""How much an SQL expression may make of what it reads, told from the expression alone.

DuckDB's memory limit does not cover the values of one batch: one event's number in `repeat(x, n)` took
gigabytes, and so did constants alone. So each function that makes values without a fixed size has a rule
here, and one without a rule is refused. The size of a value is reckoned as `Size`: how many times the bytes
of a row it may have, and how many bytes beside that, which constants and values of a fixed size make.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import FeatureError
from udfs.features import sql_functions as of

MOST = 64.0
"""How many times the bytes of a row an expression may make."""
MOST_BYTES = 1 << 16
"""The bytes that an expression may make for a row beside that."""
SHORT_BYTES = 64

_FIXED_BYTES = 16  # of a number, a time, an identifier; and of what a list or text takes beside its content
_ELEMENT_BYTES = 8  # the least that an element of a list counts as
_MOST_SIZE = 1000  # of sizes that an expression gives itself, such as the number of repetitions
_MOST_WILDCARDS = 8
_PLACE_BYTES = 400  # of a number in a text, written out in full
_CHARACTER_BYTES = 4
_EACH = "\0"  # no column's name


@dataclass(frozen=True, slots=True)
class Size:
    """At most `times` the bytes of a row, and `more` bytes."""

    times: float = 0.0
    more: float = 0.0

    def __add__(self, other: Size) -> Size:
        return Size(self.times + other.times, self.more + other.more)

    def __mul__(self, by: float) -> Size:
        return Size(self.times * by, self.more * by)

    def most(self, *others: Size) -> Size:
        """What is as large as each of these."""
        every = (self, *others)
        return Size(max(s.times for s in every), max(s.more for s in every))


Sizes = Mapping[str, Size | None]
"""Column or parameter, in lower case -> its size; None where it is fixed."""
Expand = Callable[[str], Sequence[tuple[Any, Sequence[str]]]]


def fixed(return_types: set[str | None]) -> bool:
    """Whether a function gives values of a fixed size only."""
    return None not in return_types and return_types <= of.FIXED_TYPES


class Growth:
    """`fixed`: functions whose values have a fixed size. `expand`: the parsed expressions that a macro stands
    for, with their parameters; nothing for what is none."""

    def __init__(self, fixed: frozenset[str], expand: Expand) -> None:
        self._fixed, self._expand = fixed, expand

    def of(self, node: Any, sizes: Sizes) -> Size:
        """The size of an expression's value, for a row. Raises `FeatureError` where the expression may make
        too much, or nobody knows how much; the message says what it does."""
        size = self._of(node, sizes)
        if size.times > MOST:
            raise FeatureError(f"may make {size.times:.0f} times what it reads, and {MOST:.0f} is the most")
        if size.more > MOST_BYTES:
            raise FeatureError(
                f"may make {size.more:.0f} bytes beside what it reads, and {MOST_BYTES} are the most"
            )
        return size

    def _of(self, node: Any, sizes: Sizes) -> Size:  # noqa: PLR0911
        match node["class"]:
            case "CONSTANT":
                return _each(sizes) * len((_literal(node) or "").encode())
            case "COLUMN_REF":
                names = [name.lower() for name in node["column_names"]]
                name = next((name for name in names if name in sizes), None)
                return Size(1.0) if name is None else sizes[name] or _one(sizes)
            case "CAST":
                return self._cast(node, sizes)
            case "CASE":
                parts = [part[key] for part in node["case_checks"] for key in ("when_expr", "then_expr")]
                return Size().most(*(self.of(part, sizes) for part in (*parts, node["else_expr"])))
            case "OPERATOR":
                inner = _sum(self.of(child, sizes) for child in node["children"])
                return _one(sizes) if node["type"] in of.TRUTHS else inner
            case "COLLATE":
                return self.of(node["child"], sizes)
            case "FUNCTION":
                return self._call(node, sizes)
        for key in ("left", "right", "input", "lower", "upper"):  # comparisons
            if node.get(key) is not None:
                self.of(node[key], sizes)
        for child in node.get("children") or ():
            self.of(child, sizes)
        return _one(sizes)

    def _cast(self, node: Any, sizes: Sizes) -> Size:
        inner, wanted = self.of(node["child"], sizes), str(node["type_expr"].get("type_name")).upper()
        if "ARRAY" in _types(node["type_expr"]):
            raise FeatureError("casts to an array, whose length no value has to have: cast to a list")
        if wanted in of.FIXED_TYPES:
            return _one(sizes)
        return inner * (8 if wanted in of.BITS else 2)

    def _call(self, node: Any, sizes: Sizes) -> Size:  # noqa: PLR0911, PLR0912
        name = node["function_name"].lower()
        arguments = [argument["expression"] for argument in node["arguments"]]
        if len(node.get("qualified_name", {}).get("path", ())) > 1:
            raise FeatureError(f"calls {name}() as a method or of a schema: write {name}(column)")
        if name in of.UNBOUNDED:
            raise FeatureError(f"calls {name}(), whose time or size has no bound")
        if (name in of.LOOPS or name in of.FILTERS) and len(arguments) > 1:
            return self._loop(name, arguments, sizes)
        given = [self.of(argument, sizes) for argument in arguments if argument["class"] != "LAMBDA"]
        total = _sum(given)
        if name in of.SIZED:
            return _sized(name, arguments, given, sizes)
        if name in of.FACTORS:
            return total * of.FACTORS[name]
        if name in of.REPLACES:
            return total * (1 + len(_text(name, arguments, *range(1, min(len(arguments), 3)))))
        if name == "concat_ws":
            return (given[0] * len(given) if given else Size()) + total
        if name in of.JOINS:
            return total * (1 + len(_text(name, arguments, 1)))
        if name in of.AGGREGATES:
            return total if _text(name, arguments, 1).lower() in of.AGGREGATED else _unknown(name)
        if name in of.LIKE:
            if sum(_text(name, arguments, 1).count(c) for c in "%_*?[") > _MOST_WILDCARDS:
                raise FeatureError(f"has a pattern of more than {_MOST_WILDCARDS} wildcards")
            return _one(sizes)
        if name in of.JSON_PATHS:
            if any(part in _text(name, arguments, 1) for part in ("..", "**")):
                raise FeatureError(f"calls {name}() with a path that finds the same part many times")
            return total
        if name in ("format", "printf"):
            places, width = _places(name, _text(name, arguments, 0))
            return total * places + _each(sizes) * places * width
        if name in of.SHORT:
            return total + _each(sizes) * SHORT_BYTES
        if name in of.SUMS:
            return total + (_one(sizes) if name[0].isalpha() else Size())
        if name in self._fixed:
            return _one(sizes)
        return self._macro(name, arguments, given, sizes)

    def _macro(self, name: str, arguments: Sequence[Any], given: Sequence[Size], sizes: Sizes) -> Size:
        found = [(d, p) for d, p in self._expand(name) if len(p) == len(arguments)] or self._expand(name)
        if not found or any(argument["class"] == "LAMBDA" for argument in arguments):
            return _unknown(name)
        one = _one(sizes)
        given = [*given, *[one.most(*given)] * max(len(p) for _, p in found)]
        # what is no larger than a number may be read for each element of a list
        known = [None if size.most(one) == one else size for size in given]
        around: Sizes = {_EACH: _each(sizes)}
        return Size().most(
            *(
                self.of(d, {**around, **dict(zip((n.lower() for n in p), known, strict=False))})
                for d, p in found
            )
        )

    def _loop(self, name: str, arguments: Sequence[Any], sizes: Sizes) -> Size:
        """A list's lambda, reckoned for all elements together: each counts as `_ELEMENT_BYTES` at least."""
        listed, function = self.of(arguments[0], sizes), arguments[1]
        if function["class"] != "LAMBDA":
            return _unknown(name)
        parameters = [n.lower() for n in _names(function["lhs"])]
        inner: dict[str, Size | None] = {column: None for column, size in sizes.items() if size is None}
        # an element, then its index; whatever else has a size would be made anew for each element
        inner |= {_EACH: listed * (1 / _ELEMENT_BYTES)} | dict.fromkeys(parameters) | {parameters[0]: listed}
        outer = sorted({n.lower() for n in _names(function["expr"])} & {c for c, s in sizes.items() if s})
        if outer := [column for column in outer if column not in parameters]:
            raise FeatureError(f"reads {outer[0]!r}, which has no fixed size, for each element of a list")
        body = self.of(function["expr"], inner)
        return listed if name in of.FILTERS else listed.most(body)


def _each(sizes: Sizes) -> Size:
    """One byte for each time that this part of the expression is computed for a row."""
    return sizes.get(_EACH) or Size(more=1.0)


def _one(sizes: Sizes) -> Size:
    return _each(sizes) * _FIXED_BYTES


def _sum(sizes: Iterable[Size]) -> Size:
    return sum(sizes, Size())


def _sized(name: str, arguments: Sequence[Any], given: Sequence[Size], sizes: Sizes) -> Size:
    size, total = _size_of(name, arguments), _sum(given)
    if name == "repeat":
        return given[0] * size if given else total
    if name in of.PADS:
        return total + _each(sizes) * size * _CHARACTER_BYTES
    return total + (_one(sizes) + (given[2] if name in of.RESIZES and len(given) > 2 else Size())) * size


def _unknown(name: str) -> Size:
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


def _places(name: str, template: str) -> tuple[int, int]:
    """How many values a template takes at most, and the bytes that each may have beside its own."""
    if re.search(r"\d{4}|\*|\{[^{}]*\{", template):
        raise FeatureError(f"calls {name}() with a width that is too large, or comes from the row")
    width = max(map(int, re.findall(r"\d+", template)), default=0)
    return 1 + template.count("{") + template.count("%"), _PLACE_BYTES + _CHARACTER_BYTES * width


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


def _types(node: Any) -> set[str]:
    """The names of the types within a type."""
    if isinstance(node, list):
        return {name for part in node for name in _types(part)}
    if not isinstance(node, dict):
        return set()
    inner = {name for part in node.values() for name in _types(part)}
    return {str(node["type_name"]).upper(), *inner} if "type_name" in node else inner
