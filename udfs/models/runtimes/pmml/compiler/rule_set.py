"""RuleSetModel: the rules that apply to a row, in order or by their weights."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from functools import partial

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
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, labels_of, number_column
from udfs.models.runtimes.pmml.compiler.types import Type, parse

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


@dataclass(frozen=True, slots=True)
class _RuleSet:
    """`default`: the category where no rule applies, -1 for none, and `unsure` its confidence. `width`: how
    many categories there are, of which the dictionary lists the first `declared`."""

    rules: list[_Rule]
    default: int
    unsure: float
    width: int
    declared: int

    def decided(self, batch: Batch, first: bool) -> Result:
        """By the first rule that applies, or by the first of those with the greatest weight."""
        hit = np.full(batch.count, -1, np.int64)
        best = np.full(batch.count, -np.inf)
        sure = np.full((batch.count, self.width), np.nan)
        for k, rule in enumerate(self.rules):
            applies = rule.applies(batch)
            if first:
                new = applies & np.isnan(sure[:, rule.category])
                sure[new, rule.category] = rule.confidence
            better = applies & ((hit < 0) if first else (rule.weight > best))
            best[better] = rule.weight
            hit[better] = k
        # The last is for where no rule applies.
        label = np.array([*(rule.category for rule in self.rules), self.default])[hit]
        confidence = np.array([*(rule.confidence for rule in self.rules), self.unsure])[hit]
        rows = np.flatnonzero(label >= 0)
        sure[rows, label[rows]] = confidence[rows]
        names = tuple(rule.name for rule in self.rules)

        def entity(rank: int) -> Column:
            return labels_of(hit, names)

        return Result(label=label, entity=entity, confidence=sure)

    def added(self, batch: Batch) -> Result:
        """By the greatest sum of the weights of a category's rules."""
        count = np.zeros(batch.count)
        totals = np.zeros((batch.count, self.width))
        heard = np.zeros((batch.count, self.width), bool)
        for rule in self.rules:
            applies = rule.applies(batch)
            count += applies
            totals[applies, rule.category] += rule.weight
            heard[applies, rule.category] = True
        none = count == 0
        # A category that no rule speaks for does not win over one with a sum of 0 or less.
        said = np.where(heard, totals, -np.inf)
        label = np.where(none, self.default, np.argmax(said, axis=1))
        top = said.max(axis=1)
        # Of equal sums the category that the dictionary has first wins; of others nobody can say.
        equal = heard & (said == top[:, None])
        label[(equal.sum(axis=1) > 1) & (label >= self.declared)] = -1
        sure = np.full((batch.count, self.width), np.nan)
        rows = np.flatnonzero(label >= 0)
        sure[rows, label[rows]] = np.where(none, self.unsure, top / np.maximum(count, 1))[rows]
        return Result(label=label, confidence=sure)


def compile_rule_set(place: Place) -> Scorer:
    """A RuleSetModel, by the first of its selection methods (PMML 4.4, RuleSet).

    Its confidence is that of the rule that decides, else the default one; of a sum that of the winner over
    the number of rules that apply. By `firstHit` each category has the confidence of its first rule. Of a
    regression the scores are numbers, each a category of its own.
    """
    place.expect("classification", "regression")
    element = required(place.element, "RuleSet")
    method = choice(
        required(element, "RuleSelectionMethod"), "criterion", ("firstHit", "weightedSum", "weightedMax")
    )
    numeric = place.function == "regression"
    categories = Categories(None, place.kind) if numeric else place.categories()
    declared = len(categories.names)
    rules = _rules(element, place, categories)
    # A rule whose predicate is unknown for a missing value does not apply, so a record may lack any field.
    place.scope.reading.tolerant |= {e.get("field", "") for e in element.iter() if "field" in e.attrib}
    said = element.get("defaultScore")
    default = -1 if said is None else categories.place(said)
    if not categories.names:
        refuse("a RuleSet has neither rules nor a default score")
    unsure = number(element, "defaultConfidence", np.nan)
    rule_set = _RuleSet(rules, default, unsure, len(categories.names), declared)
    names = tuple(categories.names)
    if method == "weightedSum":
        # The standard adds up confidences, other evaluators weights: known where these are the same.
        alike = all(rule.weight == rule.confidence for rule in rules)
        scorer = Scorer("classification", rule_set.added, categories=names, confident=alike)
    else:
        decided = partial(rule_set.decided, first=method == "firstHit")
        scorer = Scorer("classification", decided, categories=names, entities=1, confident=True)
    return _as_numbers(scorer, place.kind) if numeric else scorer


def _as_numbers(scorer: Scorer, kind: Type) -> Scorer:
    """The predicted category is a number."""
    numbers = np.array([*(parse(name, kind) for name in scorer.categories), np.nan], kind.numpy)
    inner = scorer.score

    def score(batch: Batch) -> Result:
        result = inner(batch)
        return replace(result, value=number_column(numbers[result.label]))

    return replace(scorer, function="regression", score=score, kind=kind, categories=())


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
