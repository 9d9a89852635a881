"""Output fields: what of a model's result goes out, and under which names."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Column, either, some
from udfs.models.runtimes.pmml.compiler.elements import (
    EXPRESSIONS,
    children,
    describe,
    flag,
    refusal,
    refuse,
    text_of,
    whole,
)
from udfs.models.runtimes.pmml.compiler.expressions import Expression, Site, compile_expression, converted
from udfs.models.runtimes.pmml.compiler.fields import DataField
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, number_column
from udfs.models.runtimes.pmml.compiler.rule_outputs import rule_output
from udfs.models.runtimes.pmml.compiler.scope import Scope
from udfs.models.runtimes.pmml.compiler.types import Type, parse, type_named

_ENTITY = ("entityId", "clusterId")
_AFFINITY = ("affinity", "clusterAffinity", "entityAffinity")
_RANKED = ("entityId", "affinity", "reasonCode")  # not by the older names, whose rank is not read alike


@dataclass(frozen=True, slots=True)
class OutputField:
    """`final`: it is a result of the whole document. `target`: whose predicted value it is, if so;
    the empty text where the target has no name. `blank`: where it is missing, it is the empty text.
    """

    symbol: Symbol
    final: bool = True
    target: str | None = None
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is needed to compile the output fields of one model. `displays`: see `display_values`."""

    scorer: Scorer
    scope: Scope
    dictionary: dict[str, DataField]
    displays: dict[str, dict[str, str]]


def compile_outputs(element: ET.Element, around: Outputs) -> tuple[OutputField, ...]:
    """The output fields; each may read those before it, and the predicted value by the target's name."""
    scorer, scope = around.scorer, around.scope
    for name, one in {(scorer.target or ""): scorer, **scorer.by_target}.items():
        if name:
            scope.add(label_symbol(name, one, around.dictionary.get(name)))
    made: list[OutputField] = []
    for field in element.findall("Output/OutputField"):
        output = _output(field, around)
        if any(output.symbol.name == o.symbol.name for o in made):
            refuse(f"the output {output.symbol.name!r} is declared twice")
        scope.add(output.symbol)
        made.append(output)
    return tuple(made)


def label_symbol(name: str, scorer: Scorer, declared: DataField | None, wanted: Type | None = None) -> Symbol:
    """The predicted value as a symbol, in the target's type."""
    kind = declared.kind if declared is not None else None
    if scorer.function == "regression":
        made = Expression(scorer.kind, lambda batch: _value(scorer.result(batch)))
        if kind is Type.FLOAT and wanted is None:
            kind = scorer.kind  # a double is not made worse than it is
        target = wanted or (kind if kind is not None and kind.real else scorer.kind)
        return Symbol(name, target, converted(made, target, name).compute, "continuous", 1)
    kinds = [k for k in (wanted, kind) if k is not None]
    for one in [*kinds, Type.STRING]:
        values = [parse(c, one) for c in scorer.categories]
        if all(v is not None for v in values):
            break
    table = np.empty(len(values) + 1, one.numpy)
    table[:-1] = values
    table[-1] = "" if one is Type.STRING else 0

    def label(batch: Batch) -> Column:
        found = scorer.result(batch).label
        assert found is not None
        lacking = found < 0
        return Column(table[found], lacking if some(lacking) else None)

    return Symbol(name, one, label, "categorical", 1)


def _value(result: Result) -> Column:
    assert result.value is not None
    return result.value


def _output(field: ET.Element, around: Outputs) -> OutputField:
    name = text_of(field, "name")
    feature = field.get("feature", "predictedValue")
    named = field.get("dataType")
    kind = None if named is None else type_named(named, f"the output {name!r}")
    final = flag(field, "isFinalResult", True)
    scorer = _scorer(field, around)
    if field.get("isMultiValued", "0") not in ("0", "false"):
        refuse(f"the output {name!r} has many values; ask for each in an output of its own, by its rank")
    rules = scorer.rules
    if rules is None and feature not in _RANKED and whole(field, "rank", 1) != 1:
        refuse(f"the output {name!r} asks for rank {field.get('rank')} of the feature {feature!r}")
    if feature == "predictedValue" and rules is None:
        target = field.get("targetField") or scorer.target
        declared = around.dictionary.get(target or "")
        symbol = label_symbol(name, scorer, declared, kind)
        return OutputField(symbol, final, (target or "") if field.get("segmentId") is None else None)
    if feature in ("transformedValue", "decision"):
        return OutputField(_transformed(field, name, kind, around.scope), final)
    if rules is not None:
        made = rule_output(field, scorer, rules)
    else:
        made = _FEATURES.get(feature, _unknown)(field, scorer, around)
    symbol_kind = kind if kind is not None and not (kind is Type.STRING and made.kind.real) else made.kind
    symbol = Symbol(name, symbol_kind, converted(made, symbol_kind, name).compute, "", 1)
    return OutputField(symbol, final, blank=rules is not None and symbol_kind is Type.STRING)


def _scorer(field: ET.Element, around: Outputs) -> Scorer:
    scorer = around.scorer
    segment = field.get("segmentId")
    if segment is not None:
        found = scorer.segments.get(segment)
        if found is None:
            refuse(f"{describe(field)} asks for the segment {segment!r}, which is not scored by itself")
        return found
    target = field.get("targetField")
    if target is not None and target != scorer.target:
        if target not in scorer.by_target:
            refuse(f"{describe(field)} asks for the target {target!r}, which the model does not predict")
        return scorer.by_target[target]
    return scorer


def _transformed(field: ET.Element, name: str, kind: Type | None, scope: Scope) -> Symbol:
    found = children(field, EXPRESSIONS)
    if len(found) != 1:
        refuse(f"the output {name!r} has no expression")
    made = compile_expression(found[0], Site(scope, wanted=kind))
    if kind is not None:
        made = converted(made, kind, name)
    return Symbol(name, made.kind, made.compute, field.get("optype", ""), made.depth + 1, strict=made.strict)


def _residual(field: ET.Element, scorer: Scorer, around: Outputs) -> Expression:
    """The observed value less the predicted one; of a category 1 where it was observed, else 0, less its
    probability."""
    name = field.get("targetField") or scorer.target
    top = around.scope.top()
    if name is None or not top.has(name):
        refuse(f"{describe(field)} asks for a residual, and the observed value is no target of the document")
    observed = top.find(name)
    if scorer.function != "regression":
        probability = _probability(field, scorer, around).compute
        if field.get("value") is None:
            refuse(f"{describe(field)} asks for a residual, and does not say of which category")
        value = parse(
            scorer.categories[category(scorer, field.get("value", ""), field, around)], observed.kind
        )

        def of_category(batch: Batch) -> Column:
            seen, share = observed.known(batch), probability(batch)
            return Column((seen.values == value) - share.values, either(seen.missing, share.missing))

        return Expression(Type.DOUBLE, of_category)
    if not observed.kind.numeric:
        refuse(f"{describe(field)} asks for the residual of a {observed.kind.value}")

    def residual(batch: Batch) -> Column:
        seen, said = observed.known(batch), _value(scorer.result(batch))
        return Column(seen.values - said.values, either(seen.missing, said.missing))

    return Expression(Type.DOUBLE, residual)


def _warning(field: ET.Element, scorer: Scorer, around: Outputs) -> Expression:
    """No text at all: a record that there is something to say about is refused with it."""
    none = Column(np.array("", object))
    return Expression(Type.STRING, lambda batch: none)


Feature = Callable[[ET.Element, Scorer, Outputs], Expression]


def _unknown(field: ET.Element, scorer: Scorer, around: Outputs) -> Expression:
    refuse(f"the feature {field.get('feature')!r} of {describe(field)} is not known")


def _probability(field: ET.Element, scorer: Scorer, around: Outputs) -> Expression:
    if not scorer.probable:
        refuse(f"{describe(field)} asks for a probability, and the model has none")
    value = field.get("value")
    if value is None:

        def of_label(batch: Batch) -> Column:
            result = scorer.result(batch)
            assert result.probabilities is not None and result.label is not None
            return number_column(result.probabilities[np.arange(batch.count), result.label])

        return Expression(Type.DOUBLE, of_label)
    return Expression(Type.DOUBLE, _share(scorer, category(scorer, value, field, around)))


def _share(scorer: Scorer, at: int) -> Compute:
    def share(batch: Batch) -> Column:
        probabilities = scorer.result(batch).probabilities
        assert probabilities is not None
        return number_column(probabilities[:, at])

    return share


def category(scorer: Scorer, value: str, field: ET.Element, around: Outputs) -> int:
    """The index of the category that `value` means."""
    if value in scorer.categories:
        return scorer.categories.index(value)
    declared = around.dictionary.get(scorer.target or "")
    if declared is not None:
        said = parse(value, declared.kind)
        for k, name in enumerate(scorer.categories):
            if said is not None and parse(name, declared.kind) == said:
                return k
    raise refusal(f"{describe(field)} asks for the category {value!r}, which the model does not predict")


def _confidence(field: ET.Element, scorer: Scorer, around: Outputs) -> Expression:
    at = None if field.get("value") is None else category(scorer, field.get("value", ""), field, around)
    if not scorer.confident:
        refuse(f"{describe(field)} asks for a confidence, and the model has none")

    def confidence(batch: Batch) -> Column:
        result = scorer.result(batch)
        assert result.confidence is not None and result.label is not None
        return number_column(result.confidence[np.arange(batch.count), result.label if at is None else at])

    return Expression(Type.DOUBLE, confidence)


def _display(field: ET.Element, scorer: Scorer, around: Outputs) -> Expression:
    declared = around.dictionary.get(scorer.target or "")
    named = [told for name, told in around.displays.items() if name in ("", scorer.target or name)]
    told = (scorer.titles, declared.displays if declared else {}, *named)
    shown = {value: text for one in told for value, text in one.items()}
    table = np.array([*(shown.get(c, c) for c in scorer.categories), ""], object)
    if scorer.function == "regression":
        refuse(f"{describe(field)} asks for the display value of a number")

    def display(batch: Batch) -> Column:
        label = scorer.result(batch).label
        assert label is not None
        lacking = label < 0
        return Column(table[label], lacking if some(lacking) else None)

    return Expression(Type.STRING, display)


def _entity(field: ET.Element, scorer: Scorer, around: Outputs) -> Expression:
    rank = whole(field, "rank", 1)
    count = scorer.entities if scorer.winner is None else 1
    if not 1 <= rank <= count:
        refuse(f"{describe(field)} asks for an entity of rank {rank}, and the model has {count}")
    if scorer.winner is not None:
        return Expression(Type.STRING, scorer.winner)

    def entity(batch: Batch) -> Column:
        ranked = scorer.result(batch).entity
        assert ranked is not None
        return ranked(rank)

    return Expression(Type.STRING, entity)


def _affinity(field: ET.Element, scorer: Scorer, around: Outputs) -> Expression:
    """Of the entity that is named, else of that of the rank."""
    if not scorer.near:
        refuse(f"{describe(field)} asks for an affinity, and the model has none")
    value, rank = field.get("value"), whole(field, "rank", 1)
    if value is not None and value not in scorer.affinities:
        refuse(f"{describe(field)} asks for the affinity to {value!r}, which the model has not")
    if value is not None and rank != 1:
        refuse(f"{describe(field)} asks for the affinity to {value!r} and by a rank")
    if not 1 <= rank <= scorer.entities:
        refuse(f"{describe(field)} asks for an affinity of rank {rank}, and the model has {scorer.entities}")
    at = None if value is None else scorer.affinities.index(value)

    def affinity(batch: Batch) -> Column:
        result = scorer.result(batch)
        if at is None:
            assert result.nearness is not None
            return number_column(result.nearness(rank))
        assert result.affinity is not None
        return number_column(result.affinity[:, at])

    return Expression(Type.DOUBLE, affinity)


def _reason(field: ET.Element, scorer: Scorer, around: Outputs) -> Expression:
    rank = whole(field, "rank", 1)
    if rank < 1 or not scorer.reasons:
        refuse(f"{describe(field)} asks for reason {rank}, and the model has {scorer.reasons}")

    def reason(batch: Batch) -> Column:
        ranked = scorer.result(batch).reasons
        assert ranked is not None
        return ranked(rank)

    return Expression(Type.STRING, reason)


_FEATURES: dict[str, Feature] = {
    "probability": _probability, "confidence": _confidence, "predictedDisplayValue": _display,
    "reasonCode": _reason, "residual": _residual, "warning": _warning,
    **dict.fromkeys(_ENTITY, _entity), **dict.fromkeys(_AFFINITY, _affinity),
}  # fmt: skip
