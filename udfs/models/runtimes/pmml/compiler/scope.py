"""Which name means which value, at each place of a document. Resolved once, when the plan is made."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from udfs.models.runtimes.pmml.compiler.batch import Symbol
from udfs.models.runtimes.pmml.compiler.elements import refusal, refuse

_READING = ("field", "textField")
MAX_DEPTH = 120
"""How deep expressions may be nested, and how many derived fields may rest on each other."""


@dataclass(slots=True)
class Reading:
    """What the plan found out about missing values.

    `tolerant`: names whose missing values the document has a rule for. `rests_on`: name of a derived field ->
    names that its expression reads. `calls`: how many calls of the document's own functions were compiled.
    `words`: those that are counted in texts, by how the texts are split. `asked`: names that anything reads.
    `normalizations`: of elements, as they were compiled.
    """

    tolerant: set[str] = field(default_factory=set)
    rests_on: dict[str, set[str]] = field(default_factory=dict)
    calls: int = 0
    words: dict[tuple, set[str]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    normalizations: dict[Any, Any] = field(default_factory=dict)

    def tolerated(self, name: str) -> bool:
        """Whether anything that has a rule for missing values rests on the field."""
        reached, queue = set(), list(self.tolerant)
        while queue:
            one = queue.pop()
            if one == name:
                return True
            if one not in reached:
                reached.add(one)
                queue.extend(self.rests_on.get(one, ()))
        return False


Derive = Callable[[ET.Element, "Scope"], Symbol]


class Scope:
    """Symbols by name; what is not found here is looked up in `parent`.

    Derived fields are compiled when they are first asked for, so that their order does not matter.
    """

    def __init__(self, parent: Scope | None, derive: Derive, reading: Reading,
                 functions: Mapping[str, ET.Element]) -> None:  # fmt: skip
        self.parent, self.reading, self.functions = parent, reading, functions
        self.derive = derive
        self._symbols: dict[str, Symbol] = {}
        self._pending: dict[str, ET.Element] = {}
        self._definitions: dict[str, ET.Element] = {}
        self._under_way: list[str] = []
        self._readers: dict[str, list[str]] | None = None
        self.calls: tuple[str, ...] = () if parent is None else parent.calls

    def child(self) -> Scope:
        return Scope(self, self.derive, self.reading, self.functions)

    def top(self) -> Scope:
        return self if self.parent is None else self.parent.top()

    def add(self, symbol: Symbol) -> None:
        """Define a name here; it hides the same name outside."""
        self._symbols[symbol.name] = symbol
        self._pending.pop(symbol.name, None)

    def add_derived(self, element: ET.Element) -> None:
        name = element.get("name")
        if not name:
            refuse("a DerivedField has no name")
        if name in self._pending:
            refuse(f"the derived field {name!r} is defined twice in one place")
        self._pending[name] = self._definitions[name] = element

    def renew(self, treated: set[str], listed: set[str]) -> None:
        """Define anew here the document's own derived fields that rest on fields which are treated here once
        more; not those that are `listed`, which come as they are from outside."""
        top = self.top()
        queue, seen = list(treated), treated | listed
        while queue:
            for name in top.read_by(queue.pop()):
                if name not in seen and self.definition(name) is top._definitions[name]:
                    seen.add(name)
                    queue.append(name)
                    self.add_derived(top._definitions[name])

    def read_by(self, name: str) -> list[str]:
        """The derived fields of this scope whose expressions read a field."""
        if self._readers is None:
            self._readers = {}
            for reader, element in self._definitions.items():
                for read in {e.get(a) for e in element.iter() for a in _READING} - {None}:
                    self._readers.setdefault(str(read), []).append(reader)
        return self._readers.get(name, [])

    def has(self, name: str) -> bool:
        return (
            name in self._symbols
            or name in self._pending
            or (self.parent is not None and self.parent.has(name))
        )

    def find(self, name: str | None) -> Symbol:
        """The symbol that `name` means here. Refused where it means none, or rests on itself."""
        if name is None:
            refuse("a reference names no field")
        self.reading.asked.add(name)
        scope: Scope | None = self
        while scope is not None:
            found = scope._symbols.get(name)
            if found is not None:
                return found
            if name in scope._pending:
                return scope._compile(name)
            scope = scope.parent
        raise refusal(f"the field {name!r} is read and not defined")

    def _compile(self, name: str) -> Symbol:
        if name in self._under_way:
            refuse(f"the derived field {name!r} rests on itself")
        if len(self._under_way) >= MAX_DEPTH:
            refuse(f"more than {MAX_DEPTH} derived fields rest on each other")
        self._under_way.append(name)
        try:
            symbol = self.derive(self._pending[name], self)
        finally:
            self._under_way.pop()
        if symbol.depth > MAX_DEPTH:
            refuse(f"more than {MAX_DEPTH} derived fields rest on each other")
        self.add(symbol)
        return symbol

    def definition(self, name: str) -> ET.Element | None:
        """The DerivedField of that name, here or outside, whether it has been compiled or not."""
        found = self._definitions.get(name)
        return found if found is not None or self.parent is None else self.parent.definition(name)
