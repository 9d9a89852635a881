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
from udfs.models.runtimes.pmml.compiler.place import Categories, Place
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
    confidence: float

    def applies(self, batch: Batch) -> Mask:
        found = holds(self.conditions[0], batch)
        for condition in self.conditions[1:]:
            found &= holds(condition, batch)
        return found


def compile_rule_set(place: Place) -> Scorer:
    """A RuleSetModel, by the first of its selection methods (PMML 4.4, RuleSet).

    Its confidence is that of the rule that decides, else the default one; of a sum that of the winner over
    the number of rules that apply. By `firstHit` each category has the confidence of its first rule.
    """
    place.expect("classification")
    rule_set = required(place.element, "RuleSet")
    method = choice(
        required(rule_set, "RuleSelectionMethod"), "criterion", ("firstHit", "weightedSum", "weightedMax")
    )
    categories = place.categories()
    # Of equal sums the category that the dictionary has first wins; of two that it has not, nobody can say.
    declared = len(categories.names)
    rules = _rules(rule_set, place, categories)
    # A rule whose predicate is unknown for a missing value does not apply, so a record may lack any field.
    place.scope.reading.tolerant |= {e.get("field", "") for e in rule_set.iter() if "field" in e.attrib}
    default = (
        -1 if rule_set.get("defaultScore") is None else categories.place(rule_set.get("defaultScore", ""))
    )
    unsure = number(rule_set, "defaultConfidence", np.nan)
    width = len(categories.names)
    names = tuple(rule.name for rule in rules)
    # The last is for where no rule applies.
    places = np.array([*(rule.category for rule in rules), default])
    confidences = np.array([*(rule.confidence for rule in rules), unsure])

    def score(batch: Batch) -> Result:
        rows = np.arange(batch.count)
        hit = np.full(batch.count, -1, np.int64)  # the rule that decides, for its id
        best = np.full(batch.count, -np.inf)
        sure = np.full((batch.count, width), np.nan)
        for k, rule in enumerate(rules):
            applies = rule.applies(batch)
            if method == "firstHit":
                new = applies & np.isnan(sure[:, rule.category])
                sure[new, rule.category] = rule.confidence
            better = applies & ((hit < 0) if method == "firstHit" else (rule.weight > best))
            best[better] = rule.weight
            hit[better] = k
        label = places[hit]
        told = label >= 0
        sure[rows[told], label[told]] = confidences[hit][told]

        def entity(rank: int) -> Column:
            return labels_of(hit, names)

        return Result(label=label, entity=entity, confidence=sure)

    def add(batch: Batch) -> Result:
        count = np.zeros(batch.count)
        totals = np.zeros((batch.count, width))
        heard = np.zeros((batch.count, width), bool)
        for rule in rules:
            applies = rule.applies(batch)
            count += applies
            totals[applies, rule.category] += rule.weight
            heard[applies, rule.category] = True
        none = count == 0
        # A category that no rule speaks for does not win over one with a sum of 0 or less.
        said = np.where(heard, totals, -np.inf)
        label = np.where(none, default, np.argmax(said, axis=1) if width else default)
        top = said.max(axis=1, initial=-np.inf)
        equal = heard & (said == top[:, None])
        label[(equal.sum(axis=1) > 1) & (label >= declared)] = -1
        sure = np.full((batch.count, width), np.nan)
        rows = np.flatnonzero(label >= 0)
        sure[rows, label[rows]] = np.where(none, unsure, top / np.maximum(count, 1))[rows]
        return Result(label=label, confidence=sure)

    if method == "weightedSum":
        # The standard adds up confidences, other evaluators weights: known where these are the same.
        return Scorer("classification", add, categories=tuple(categories.names),
                      confident=all(rule.weight == rule.confidence for rule in rules))  # fmt: skip
    return Scorer("classification", score, categories=tuple(categories.names), entities=1, confident=True)


def _rules(rule_set: ET.Element, place: Place, categories: Categories) -> list[_Rule]:
    """The simple rules of a RuleSet, in the order of the document."""
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
                        number(element, "confidence", 1.0),
                    )
                )
            elif element.tag == "CompoundRule":
                if len(around) >= MAX_NESTING:
                    refuse(f"{describe(element)} is nested too deeply")
                read(element, (*around, compile_predicate(predicate_of(element), place.scope)))
            if len(rules) > _MAX_RULES:
                refuse(f"a RuleSet has more than {_MAX_RULES} rules")

    read(rule_set, ())
    return rules
