"""What output fields say of the rules of an AssociationModel."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.association import Asked, Rules
from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.elements import choice, describe, refuse, whole
from udfs.models.runtimes.pmml.compiler.expressions import Expression
from udfs.models.runtimes.pmml.compiler.results import Scorer
from udfs.models.runtimes.pmml.compiler.types import Type

_ALGORITHMS = ("recommendation", "exclusiveRecommendation", "ruleAssociation")
_NUMBERS = ("confidence", "support", "lift", "leverage", "affinity")
_TEXTS = ("antecedent", "consequent", "rule", "ruleId")


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
