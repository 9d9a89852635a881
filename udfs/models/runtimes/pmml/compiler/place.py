"""Where a model stands in a document: what its compiler needs to know besides its own element."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from udfs.models.runtimes.pmml.compiler.elements import refuse
from udfs.models.runtimes.pmml.compiler.fields import DataField
from udfs.models.runtimes.pmml.compiler.outputs import OutputField
from udfs.models.runtimes.pmml.compiler.results import Scorer
from udfs.models.runtimes.pmml.compiler.scope import Scope
from udfs.models.runtimes.pmml.compiler.types import Type, parse


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """A model ready to score, and the output fields that it and the segments of its chain declare."""

    scorer: Scorer
    outputs: tuple[OutputField, ...]


NYOKA = "nyoka"
R = frozenset({"rattle/pmml", "r/pmml", "softwareag pmml generator"})
"""The names under which R's package pmml writes."""
SPARK = "apache spark mllib"


@dataclass(frozen=True, slots=True)
class Exporter:
    """The program that wrote the document, where its library computes otherwise than the document says.

    `rounded`: the library's trees compare values and thresholds as float32, declared as double.
    """

    name: str
    rounded: bool


@dataclass(frozen=True, slots=True)
class Place:
    """`element`: the model; `scope`: its inside, with its mining schema and transformations.

    `targets`: its target fields that the dictionary declares. `single`: it computes in float32. `compile`:
    compiles a model inside this one, in a scope of its own, which `inside` makes.
    """

    element: ET.Element
    scope: Scope
    function: str
    targets: tuple[DataField, ...]
    single: bool
    compile: Callable[[ET.Element, Scope], CompiledModel]
    inside: Callable[[ET.Element, Scope], Scope]
    exporter: Exporter

    @property
    def target(self) -> DataField | None:
        return self.targets[0] if self.targets else None

    @property
    def kind(self) -> Type:
        """The type that the model computes in."""
        return Type.FLOAT if self.single else Type.DOUBLE

    def categories(self) -> Categories:
        return Categories(self.target)

    def expect(self, *functions: str) -> None:
        """Refuse a model of another function."""
        if self.function not in functions:
            refuse(f"a {self.element.tag} of the function {self.function!r} is not known")


class Categories:
    """The categories of a target: those declared, in order, then others as they appear.

    A text that says the same value as a declared one (`1.0` for the integer `1`) means that one. `kind`: the
    type of the values, where it is not the target's.
    """

    def __init__(self, target: DataField | None, kind: Type | None = None) -> None:
        self._kind = kind or (target.kind if target is not None else Type.STRING)
        self.names: list[str] = list(target.labels) if target is not None else []
        self._places: dict[str, int] = {name: k for k, name in enumerate(self.names)}
        self._values = {parse(name, self._kind): k for name, k in self._places.items()}
        if len(self._places) < len(self.names):
            refuse(f"the target {target.name if target else ''!r} declares a value twice")

    def place(self, name: str) -> int:
        """The index of a category, which is new if it has not been seen."""
        found = self._places.get(name)
        if found is None:
            value = parse(name, self._kind)
            if value is None:
                refuse(f"the category {name!r} is no {self._kind.value}, which the target is")
            found = self._values.get(value)
            if found is None:
                found = self._values[value] = len(self.names)
                self.names.append(name)
            self._places[name] = found
        return found

    def places(self, names: Iterable[str]) -> list[int]:
        return [self.place(name) for name in names]
