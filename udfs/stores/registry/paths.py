"""JMESPath expressions into the answers of feature services: what is refused of them when they come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from schemas.expression_bounds import ExpressionBounds

BOUNDS = ExpressionBounds(characters=1000, brackets=16, nodes=500, depth=64)

_MOST_COPIES = 16
"""How often parts of an answer may stand in a value, by lists and hashes that are made of it."""


class PathError(Exception):
    """What is wrong with a path, as the end of a sentence about it."""


def compiled(path: str) -> ParsedResult:
    """The expression, ready to be used. Raises `PathError`."""
    if excess := BOUNDS.of_text(path):
        raise PathError(excess)
    try:
        found = jmespath.compile(path)
    except JMESPathError as e:
        raise PathError(f"is no JMESPath expression: {str(e).splitlines()[0]}") from None
    except (RecursionError, MemoryError, ValueError) as e:
        raise PathError(f"cannot be read: {type(e).__name__}") from None
    if excess := BOUNDS.of_tree(found.parsed, _inner):
        raise PathError(excess)
    copies = _copies(found.parsed)
    if copies > _MOST_COPIES:
        raise PathError(f"makes {copies} copies of a part of the answer, and {_MOST_COPIES} are the most")
    return found


def _inner(node: Any) -> Iterable[Any]:
    return [child for child in node.get("children", ()) if isinstance(child, dict)]


def _copies(node: Any) -> int:
    """At most. Lists and hashes that feed each other multiply; the tree's depth has a bound."""
    if node["type"] == "function_expression" and node.get("value") == "join":
        raise PathError("calls join(), whose result has no bound")
    copies = 1
    for child in _inner(node):
        copies *= _copies(child)
    if node["type"] in ("multi_select_list", "multi_select_dict"):
        copies *= max(len(node["children"]), 1)
    return copies
