"""RuleSetModel: the rules that apply to a row, in order or by their weights."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.columns import Column, Mask
from udfs.models.runtimes.pmml.compiler.elements import (
    choice,
    describe,
    number,
    predicate_of,
    refuse,
    required,
    text_of,
)
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.predicates import MAX_NESTING, Truth, compile_predicate, holds
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, labels_of

_MAX_RULES = 20_000


@dataclass(frozen=True, slots=True)
class _Rule:
    """A simple rule with the conditions of the compound rules around it. `category`: an index."""

    conditions: tuple[Truth, ...]
    name: str
    category: int
    weight: float

    def applies(self, batch: Batch) -> Mask:
        found = holds(self.conditions[0], batch)
        for condition in self.conditions[1:]:
            found &= holds(condition, batch)
        return found


def compile_rule_set(place: Place) -> Scorer:
    """A RuleSetModel, by the first of its selection methods."""
    place.expect("classification")
    rule_set = required(place.element, "RuleSet")
    method = choice(
        required(rule_set, "RuleSelectionMethod"), "criterion", ("firstHit", "weightedSum", "weightedMax")
    )
    categories = place.categories()
    rules: list[_Rule] = []

    def read(parent: ET.Element, around: tuple[Truth, ...]) -> None:
        for element in parent:
            if element.tag == "SimpleRule":
                condition = compile_predicate(predicate_of(element), place.scope)
                rules.append(
                    _Rule(
                        (*around, condition),
                        element.get("id", str(len(rules) + 1)),
                        categories.place(text_of(element, "score")),
                        number(element, "weight", 1.0),
                    )
                )
            elif element.tag == "CompoundRule":
                if len(around) >= MAX_NESTING:
                    refuse(f"{describe(element)} is nested too deeply")
                read(element, (*around, compile_predicate(predicate_of(element), place.scope)))
            if len(rules) > _MAX_RULES:
                refuse(f"a RuleSet has more than {_MAX_RULES} rules")

    read(rule_set, ())
    default = (
        -1 if rule_set.get("defaultScore") is None else categories.place(rule_set.get("defaultScore", ""))
    )
    width = len(categories.names)
    names = tuple(rule.name for rule in rules)
    first = method == "firstHit"

    def score(batch: Batch) -> Result:
        hit = np.full(batch.count, -1, np.int64)  # the rule that decides, for its id
        weights = np.zeros((batch.count, width))
        best = np.full(batch.count, -np.inf)
        for k, rule in enumerate(rules):
            applies = rule.applies(batch)
            if first:
                hit[applies & (hit < 0)] = k
                continue
            if method == "weightedSum":
                weights[applies, rule.category] += rule.weight
            better = applies & (rule.weight > best)
            best[better] = rule.weight
            hit[better] = k
        label = np.where(hit < 0, default, np.array([r.category for r in rules] or [0])[hit])
        if method == "weightedSum":
            label = np.where(hit < 0, default, np.argmax(weights, axis=1))

        def entity(rank: int) -> Column:
            return labels_of(hit, names)

        return Result(label=label, entity=entity)

    return Scorer(
        "classification",
        score,
        categories=tuple(categories.names),
        entities=1 if method != "weightedSum" else 0,
    )
