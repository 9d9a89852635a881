"""The rules of an AssociationModel, and what output fields say of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.elements import choice, describe, number, refuse, whole
from udfs.models.runtimes.pmml.compiler.expressions import Expression
from udfs.models.runtimes.pmml.compiler.results import Scorer
from udfs.models.runtimes.pmml.compiler.types import Type

_ALGORITHMS = ("recommendation", "exclusiveRecommendation", "ruleAssociation")
_NUMBERS = ("confidence", "support", "lift", "leverage", "affinity")
_TEXTS = ("antecedent", "consequent", "rule", "ruleId")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rule an output is of: that of `rank` (from 1) of those that `algorithm` selects, by `basis`."""

    algorithm: str
    basis: str
    descending: bool
    rank: int


@dataclass(slots=True)
class Rules:
    """The rules of a model, in the order of the document. `asked`: what outputs ask for, in the order of the
    columns of `Result.chosen`, each with the places of the rules as it ranks them."""

    elements: list[ET.Element]
    itemsets: dict[str, list[str]]
    asked: dict[Asked, NDArray[np.int64]] = field(default_factory=dict)

    def ask(self, asked: Asked) -> int:
        """The column of `Result.chosen` that has the rule."""
        if asked not in self.asked:
            numbers = self.numbers(asked.basis)
            # Of equals the earlier rule.
            self.asked[asked] = np.argsort(-numbers if asked.descending else numbers, kind="stable")
        return list(self.asked).index(asked)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """`(rules,)`: their confidence, support and the like. Refused where a rule does not say it."""
        return np.array([number(rule, name) for rule in self.elements], np.float64)

    def ids(self) -> list[str]:
        """Their ids, or where they have none their places from 1."""
        return [rule.get("id", str(k)) for k, rule in enumerate(self.elements, 1)]

    def texts(self, side: str) -> list[str]:
        """The items of the antecedent or the consequent of each rule, separated by commas.

        Refused where an item holds a comma and stands beside others.
        """
        sets = [self.itemsets[rule.get(side, "")] for rule in self.elements]
        if any(len(items) > 1 and any("," in item for item in items) for items in sets):
            refuse("an item holds a comma, by which the items of a rule are told apart")
        return [",".join(items) for items in sets]


def rule_output(field: ET.Element, scorer: Scorer, rules: Rules) -> Expression:
    """A feature of the rule that the field asks for (PMML 4.4, Output); where there is none it is missing."""
    feature = field.get("feature", "predictedValue")
    if feature == "ruleValue":  # up to PMML 4.1
        feature = choice(field, "ruleFeature", (*_TEXTS, *_NUMBERS), "consequent")
    if feature not in (*_TEXTS, *_NUMBERS, "entityId"):
        refuse(f"the feature {feature!r} of {describe(field)} is none of a rule")
    asked = Asked(
        choice(field, "algorithm", _ALGORITHMS, "exclusiveRecommendation"),
        choice(field, "rankBasis", _NUMBERS, "confidence"),
        choice(field, "rankOrder", ("descending", "ascending"), "descending") == "descending",
        whole(field, "rank", 1),
    )
    if asked.rank < 1:
        refuse(f"{describe(field)} asks for the rule of rank {asked.rank}")
    at = rules.ask(asked)
    table: NDArray = (
        rules.numbers(feature) if feature in _NUMBERS else np.array(_texts(feature, rules), object)
    )
    # What stands where there is no rule.
    table = np.append(table, np.array([0.0 if feature in _NUMBERS else ""], table.dtype))

    def value(batch: Batch) -> Column:
        chosen = scorer.result(batch).chosen
        assert chosen is not None
        lacking = chosen[:, at] < 0
        return Column(table[chosen[:, at]], lacking if lacking.any() else None)

    return Expression(Type.DOUBLE if feature in _NUMBERS else Type.STRING, value)


def _texts(feature: str, rules: Rules) -> list[str]:
    if feature in ("antecedent", "consequent"):
        return rules.texts(feature)
    if feature == "rule":
        sides = zip(rules.texts("antecedent"), rules.texts("consequent"), strict=True)
        return [f"{{{given}}}->{{{told}}}" for given, told in sides]
    return rules.ids()
