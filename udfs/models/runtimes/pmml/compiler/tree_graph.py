"""Trees as one graph of tests on single fields, each with three ways on: yes, no and unknown.

All trees of an ensemble share the arrays. A reference to a leaf is `-1 - leaf`, one to a test its index. Each
predicate is brought to one of four tests, so that walking needs few cases; a test whose outcome is known on
the way is left out.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from udfs.models.runtimes.pmml.compiler.batch import Symbol
from udfs.models.runtimes.pmml.compiler.elements import (
    PREDICATES,
    children,
    choice,
    describe,
    refuse,
    to_number,
)
from udfs.models.runtimes.pmml.compiler.predicates import (
    MAX_NESTING,
    OPERATORS,
    comparand,
    ordered_members,
    set_members,
)
from udfs.models.runtimes.pmml.compiler.scope import Scope
from udfs.models.runtimes.pmml.compiler.types import Type, single

AT_MOST, EQUAL, AMONG, MISSING = range(4)
FORKING = ("weightedConfidence", "aggregateNodes")
"""Strategies by which a row goes several ways where a value is missing; see `tree_forks`."""
_MAX_TESTS = 20_000_000
_MAX_NESTED = 50_000
"""How often predicates three deep and deeper are looked at: with each level up to four times as often."""
_OPPOSITES = {
    "greaterThan": "lessOrEqual",
    "greaterOrEqual": "lessThan",
    "notEqual": "equal",
    "isNotMissing": "isMissing",
}


@dataclass(slots=True)
class SplitFeature:
    """A field that tests ask. `codes`: numbers of the texts that stand in tests; any other text is -1."""

    symbol: Symbol
    codes: dict[str, int] = field(default_factory=dict)
    kind: Type = field(init=False)
    real: bool = field(init=False)

    def __post_init__(self) -> None:
        self.kind, self.real = self.symbol.kind, self.symbol.kind.real


@dataclass(slots=True)
class TreeGraph:
    """Tests in the making. `constants` hold what a test compares with, before it is brought to a number.

    `rounded`: doubles are compared as the float32 nearest to them. `forks`: by number of a leaf the node at
    which a row stops because several of its children may apply.
    """

    rounded: bool = False
    features: list[SplitFeature] = field(default_factory=list)
    operators: list[int] = field(default_factory=list)
    asks: list[int] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    yes: list[int] = field(default_factory=list)
    no: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    leaves: list[ET.Element | None] = field(default_factory=list)
    forks: dict[int, ET.Element] = field(default_factory=dict)
    _nested: int = 0
    _places: dict[int, int] = field(default_factory=dict)
    _asked: dict[tuple[int, str | None], int] = field(default_factory=dict)
    _parsed: dict[tuple[int, str, str], tuple[int, Any]] = field(default_factory=dict)

    def leaf(self, node: ET.Element | None) -> int:
        """A reference to a new leaf; None stands for no prediction."""
        self.leaves.append(node)
        return -len(self.leaves)

    def feature(self, name: str | None, scope: Scope) -> int:
        asked = (id(scope), name)
        place = self._asked.get(asked)
        if place is None:
            symbol = scope.find(name)
            place = self._places.setdefault(id(symbol), len(self.features))
            if place == len(self.features):
                self.features.append(SplitFeature(symbol))
            self._asked[asked] = place
        return place

    def test(self, element: ET.Element, scope: Scope, yes: int, no: int, unknown: int, level: int = 0) -> int:  # noqa: PLR0917
        """A reference to where the predicate leads, given where its three outcomes lead."""
        tag = element.tag
        if tag == "SimplePredicate":
            return self._simple(element, scope, yes, no, unknown)
        if tag == "True" or yes == no == unknown:
            return yes
        if tag == "False":
            return no
        if tag == "CompoundPredicate":
            return self._compound(element, scope, yes, no, unknown, level)
        at = self.feature(element.get("field"), scope)
        if choice(element, "booleanOperator", ("isIn", "isNotIn")) == "isNotIn":
            yes, no = no, yes
        kind = self.features[at].kind
        return self.add(AMONG, at, frozenset(map(_plain, set_members(element, kind))), yes, no, unknown)

    def _simple(self, element: ET.Element, scope: Scope, yes: int, no: int, unknown: int) -> int:
        at = self.feature(element.get("field"), scope)
        operator = element.get("operator", "")
        if operator in _OPPOSITES:
            operator, yes, no = _OPPOSITES[operator], no, yes
        key = (at, operator, element.get("value", ""))
        parsed = self._parsed.get(key)
        if parsed is None:
            parsed = self._parsed[key] = self._normal(element, at)
        if parsed[0] == MISSING:
            scope.reading.tolerant.add(element.get("field", ""))
        return self.add(parsed[0], at, parsed[1], yes, no, unknown)

    def _normal(self, element: ET.Element, at: int) -> tuple[int, Any]:
        """The test that says the same as a predicate, or as its opposite."""
        operator = element.get("operator", "")
        if operator not in OPERATORS:
            choice(element, "operator", OPERATORS)  # refuses it
        operator = _OPPOSITES.get(operator, operator)
        if operator == "isMissing":
            return MISSING, None
        asked = self.features[at]
        members = ordered_members(element, operator, asked.symbol)
        if members is not None:
            return AMONG, frozenset(members)
        kind, value = asked.kind, None
        if asked.real:  # by far the most, so without detours
            said = element.get("value", "")
            value = single(said) if kind is Type.FLOAT else to_number(said)
        if value is None or not math.isfinite(value):
            value = _plain(comparand(element, operator, kind))
        if operator == "equal":
            return EQUAL, value
        if kind is Type.DOUBLE and self.rounded:
            value = float(np.float32(value))
        below = operator == "lessThan"
        if asked.real:
            # x < c says the same as x <= the number before c
            return AT_MOST, math.nextafter(value, -math.inf) if below else value
        return AT_MOST, value - 1 if below else value

    def _compound(  # noqa: PLR0917
        self, element: ET.Element, scope: Scope, yes: int, no: int, unknown: int, level: int
    ) -> int:
        if level > MAX_NESTING:
            refuse(f"predicates are nested more than {MAX_NESTING} deep")
        if level > 1:
            self._nested += 1
            if self._nested > _MAX_NESTED:
                refuse("the predicates of the trees are nested too deeply for how wide they are")
        operator = choice(element, "booleanOperator", ("and", "or", "xor", "surrogate"))
        parts = children(element, PREDICATES)
        if not parts:
            refuse("a CompoundPredicate holds no predicate")
        if operator == "surrogate":
            scope.reading.tolerant.update(p.get("field", "") for p in element.iter() if p.get("field"))
            for part in reversed(parts):
                unknown = self.test(part, scope, yes, no, unknown, level + 1)
            return unknown
        if operator == "xor":
            even, odd = no, yes
            for part in reversed(parts):
                even, odd = (
                    self.test(part, scope, odd, even, unknown, level + 1),
                    self.test(part, scope, even, odd, unknown, level + 1),
                )
            return even
        # `sure`: no part has been unknown so far; else `doubtful`.
        end = yes if operator == "and" else no
        sure, doubtful = end, unknown
        for part in reversed(parts):
            if operator == "and":
                then_sure = self.test(part, scope, sure, no, doubtful, level + 1)
                doubtful = (
                    doubtful if doubtful == no else self.test(part, scope, doubtful, no, doubtful, level + 1)
                )
            else:
                then_sure = self.test(part, scope, yes, sure, doubtful, level + 1)
                doubtful = (
                    doubtful
                    if doubtful == yes
                    else self.test(part, scope, yes, doubtful, doubtful, level + 1)
                )
            sure = then_sure
        return sure

    def add(self, operator: int, at: int, value: Any, yes: int, no: int, unknown: int) -> int:  # noqa: PLR0917
        """A test, unless its outcome makes no difference; what is known after it is not asked again."""
        asks, operators, constants = self.asks, self.operators, self.constants
        if yes >= 0 and asks[yes] == at:
            if operators[yes] == operator and constants[yes] == value:
                yes = self.yes[yes]
            elif operator == MISSING:
                yes = self.unknown[yes]
        if no >= 0 and asks[no] == at and operators[no] == operator and constants[no] == value:
            no = self.no[no]
        if operator == MISSING:
            unknown = no
        elif unknown >= 0 and asks[unknown] == at:
            unknown = self.yes[unknown] if operators[unknown] == MISSING else self.unknown[unknown]
        if yes == no == unknown:
            return yes
        if len(operators) >= _MAX_TESTS:
            refuse("the trees hold too many tests")
        operators.append(operator)
        asks.append(at)
        constants.append(value)
        self.yes.append(yes)
        self.no.append(no)
        self.unknown.append(unknown)
        return len(operators) - 1


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def build_tree(graph: TreeGraph, model: ET.Element, scope: Scope) -> int:
    """Add a TreeModel to the graph; the reference to where it begins."""
    strategy = choice(
        model, "missingValueStrategy",
        ("none", "nullPrediction", "lastPrediction", "defaultChild", *FORKING), "none",
    )  # fmt: skip
    none_true = choice(
        model, "noTrueChildStrategy", ("returnNullPrediction", "returnLastPrediction"), "returnNullPrediction"
    )
    nothing = graph.leaf(None)
    roots = model.findall("Node")
    if len(roots) != 1:
        refuse(f"{describe(model)} has {len(roots)} root nodes")
    nodes: list[tuple[ET.Element, ET.Element, list[int]]] = []  # with predicate and children, the last first
    stack: list[tuple[ET.Element, list[int]]] = [(roots[0], [])]
    while stack:  # not by recursion: trees may be as deep as they like
        node, siblings = stack.pop()
        siblings.append(len(nodes))
        kids, predicate = _parts(node)
        places: list[int] = []
        nodes.append((node, predicate, places))
        stack.extend([(kid, places) for kid in kids])
    wanted = strategy == "lastPrediction" or none_true == "returnLastPrediction"
    made = [0] * len(nodes)  # children stand behind their parents
    for at in range(len(nodes) - 1, -1, -1):
        node, _, places = nodes[at]
        if not places:
            made[at] = graph.leaf(node)
            continue
        last = graph.leaf(node) if wanted else nothing
        following = end = last if none_true == "returnLastPrediction" else nothing
        if strategy in FORKING:
            unknown: int | None = graph.leaf(None)
            graph.forks[len(graph.leaves) - 1] = node
        elif strategy == "defaultChild":
            unknown = _default(node, {nodes[k][0].get("id"): made[k] for k in places}, nothing)
        else:
            unknown = None if strategy == "none" else last if strategy == "lastPrediction" else nothing
        if len(places) == 2 and _are_opposite(nodes[places[1]][1], nodes[places[0]][1]):
            no, yes = made[places[0]], made[places[1]]
            lost = end if unknown is None else unknown
            made[at] = graph.test(nodes[places[1]][1], scope, yes, no, lost)
            continue
        for k in places:
            on_unknown = following if unknown is None else unknown
            following = graph.test(nodes[k][1], scope, made[k], following, on_unknown)
        made[at] = following
    if strategy != "none" or none_true == "returnLastPrediction":
        for _, predicate, _ in nodes:
            parts = (predicate,) if predicate.tag == "SimplePredicate" else predicate.iter()
            scope.reading.tolerant.update([p.get("field", "") for p in parts])
    return graph.test(nodes[0][1], scope, made[0], nothing, nothing)


def _are_opposite(one: ET.Element, other: ET.Element) -> bool:
    """Whether one is true where the other is false, as the two children of most nodes are."""
    if one.tag != "SimplePredicate" or other.tag != "SimplePredicate" or len(one.attrib) != 3:
        return False
    if one.get("field") != other.get("field") or one.get("value") != other.get("value"):
        return False
    first, second = one.get("operator", ""), other.get("operator", "")
    return _OPPOSITES.get(first) == second or _OPPOSITES.get(second) == first


def _parts(node: ET.Element) -> tuple[list[ET.Element], ET.Element]:
    kids: list[ET.Element] = []
    predicate = None
    for child in node:
        tag = child.tag
        if tag == "ScoreDistribution":  # by far the most
            continue
        if tag == "Node":
            kids.append(child)
        elif tag in PREDICATES:
            if predicate is not None:
                refuse(f"{describe(node)} has two predicates")
            predicate = child
        elif tag != "Partition":
            refuse(f"{describe(node)} holds a {tag}")
    if predicate is None:
        refuse(f"{describe(node)} has no predicate")
    return kids, predicate


def _default(node: ET.Element, made: dict[str | None, int], nothing: int) -> int:
    """Where an unknown predicate of a child leads: to the default child, one of `made` by id."""
    named = node.get("defaultChild")
    if named is None:
        return nothing
    if named not in made:
        refuse(f"{describe(node)} names the default child {named!r}, which it has not")
    return made[named]


def is_integer_like(kind: Type) -> bool:
    """Types whose values are 64-bit integers, more than a double can hold."""
    return kind.whole or kind.temporal
