"""How long and how deep an expression may be that a stranger wrote: looked at before anything recursive
is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class ExpressionBounds:
    """`characters` of the text, `brackets` open at once in it, `nodes` of its tree, and the tree's
    `depth`."""

    characters: int = 4000
    brackets: int = 24
    nodes: int = 5000
    depth: int = 300

    def of_text(self, text: str) -> str:
        """What is too much of the text; "" for nothing. Takes linear time. Brackets within texts count
        too."""
        if len(text) > self.characters:
            return f"has {len(text)} characters, and {self.characters} are the most"
        opened = most = 0
        for character in text:
            if character in _OPEN:
                opened += 1
                most = max(most, opened)
            elif character in _CLOSE:
                opened -= 1
        if most > self.brackets:
            return f"has {most} brackets open at once, and {self.brackets} are the most"
        return ""

    def of_tree(self, root: T, children: Callable[[T], Iterable[T]]) -> str:
        """What is too much of the tree; "" for nothing. Takes linear time and no recursion."""
        waiting = deque([(root, 1)])
        nodes = 0
        while waiting:
            node, depth = waiting.pop()
            nodes += 1
            if nodes > self.nodes:
                return f"has more than {self.nodes} parts"
            if depth > self.depth:
                return f"is nested, or chained, more than {self.depth} deep"
            waiting.extend((child, depth + 1) for child in children(node))
        return ""


def shown(text: str) -> str:
    """The text in quotes for a message, cut where it is long."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}... ({len(text)} characters)"
