"""What is refused of a CEL expression before it is parsed, and before it is compiled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lark import Tree

from schemas.expression_bounds import ExpressionBounds
from udfs.ensemble.cel.compiler import bare

MACROS = frozenset({"all", "exists", "exists_one", "map", "filter", "min", "reduce"})

_QUOTES = ('"""', "'''", '"', "'")
_UNKNOWN_LENGTH = 10  # taken for lists whose length the record decides; a budget bounds what they really take


@dataclass(frozen=True, slots=True)
class CelBounds:
    """`text`: of the expression. `macros`: one within the other. `steps`: evaluation steps a record, as far
    as they can be told. `batch_steps` and `record_steps`: of an evaluation, for a micro-batch and one
    record; a step takes some 10 us. `value`: parts of a list or map, and characters of a text, that it may
    make."""

    text: ExpressionBounds = field(default_factory=ExpressionBounds)
    macros: int = 2
    steps: int = 10_000
    batch_steps: int = 200_000
    record_steps: int = 20_000
    value: int = 100_000


def excess_of_text(when: str, bounds: CelBounds) -> str:
    """What is too much, or does not end, in the text; "" for nothing."""
    return bounds.text.of_text(when) or _open_text(when)


def excess_of_tree(tree: Tree, bounds: CelBounds) -> str:
    """What is too much in a parsed expression; "" for nothing."""
    excess = bounds.text.of_tree(tree, _subtrees)
    if excess:
        return excess
    steps, macros = _cost(tree)
    if macros > bounds.macros:
        return f"has {macros} macros one within the other, and {bounds.macros} are the most"
    if steps > bounds.steps:
        return f"takes some {steps} steps a record, and {bounds.steps} are the most"
    return ""


def _subtrees(tree: Tree) -> Iterable[Tree]:
    return (child for child in tree.children if isinstance(child, Tree))


def _cost(tree: Tree) -> tuple[int, int]:
    """Steps of an evaluation, and macros one within the other. The tree's depth has a bound."""
    costs = [_cost(child) for child in _subtrees(tree)]
    steps, macros = 1 + sum(s for s, _ in costs), max((m for _, m in costs), default=0)
    if tree.data == "member_dot_arg" and str(tree.children[1]) in MACROS:
        times = _length(bare(tree.children[0]))
        within = sum(s for s, _ in costs[1:])
        return costs[0][0] + max(times, 1) * within, macros + 1
    return steps, macros


def _length(node: Any) -> int:
    if isinstance(node, Tree) and node.data == "list_lit":
        return sum(len(listed.children) for listed in node.children)
    return _UNKNOWN_LENGTH


def _open_text(when: str) -> str:
    """The parser looks for the end of a text by a regular expression, whose time doubles with each backslash
    where there is none."""
    at, end = 0, len(when)
    while at < end:
        if when.startswith("//", at):
            newline = when.find("\n", at)
            at = end if newline < 0 else newline
            continue
        quote = next((q for q in _QUOTES if when.startswith(q, at)), "")
        if not quote:
            at += 1
            continue
        closed = _closing(when, at + len(quote), quote)
        if closed < 0:
            return f"has a text that does not end, from character {at + 1} on"
        at = closed
    return ""


def _closing(when: str, at: int, quote: str) -> int:
    """The place behind the closing quote; -1 where there is none."""
    while at < len(when):
        if when[at] == "\\":
            at += 2
        elif when.startswith(quote, at):
            return at + len(quote)
        elif when[at] == "\n" and len(quote) == 1:
            return -1
        else:
            at += 1
    return -1
