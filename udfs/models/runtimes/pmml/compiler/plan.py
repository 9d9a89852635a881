"""A whole document compiled: what it reads, what it gives, and how."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from udfs.models.runtimes.pmml.compiler.association import item_list
from udfs.models.runtimes.pmml.compiler.batch import Batch, Reals, Symbol
from udfs.models.runtimes.pmml.compiler.columns import Column, Mask
from udfs.models.runtimes.pmml.compiler.elements import refuse, text_of
from udfs.models.runtimes.pmml.compiler.expressions import derive
from udfs.models.runtimes.pmml.compiler.fields import (
    DataField,
    Treatment,
    data_field,
    input_symbol,
    treatment,
)
from udfs.models.runtimes.pmml.compiler.gathering import AsItIs
from udfs.models.runtimes.pmml.compiler.known_values import known_values
from udfs.models.runtimes.pmml.compiler.model import TARGETS, ModelCompiler, mining_fields
from udfs.models.runtimes.pmml.compiler.outputs import OutputField, Outputs, compile_outputs, label_symbol
from udfs.models.runtimes.pmml.compiler.place import NYOKA, Exporter, R
from udfs.models.runtimes.pmml.compiler.results import Scorer
from udfs.models.runtimes.pmml.compiler.scope import Reading, Scope
from udfs.models.runtimes.pmml.compiler.types import Type
from udfs.models.runtimes.pmml.compiler.vocabulary import check_vocabulary

_SHORTENED = frozenset({
    "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
})  # fmt: skip
_OF_TREES = ("TreeModel", "MiningModel")
_INPUTS = ("active", "supplementary", "group", "order")


@dataclass(frozen=True, slots=True)
class InputField:
    """A field that the model reads. `optional`: the document says what happens where it is missing.
    `many`: it is a list of texts.
    """

    declared: DataField
    rule: Treatment
    optional: bool
    many: bool = False


@dataclass(frozen=True, slots=True)
class Scores:
    """`columns`: by output name. `refused`: reason -> the rows that cannot be scored, for that reason."""

    columns: dict[str, Column]
    refused: Mapping[str, Mask]


class Plan:
    """A compiled document. `inputs` and `outputs` in their order; scores any number of rows at once.

    `known`: by field, values that the document asks for.
    """

    def __init__(self, inputs: tuple[InputField, ...], outputs: tuple[OutputField, ...], scorer: Scorer,
                 known: Mapping[str, tuple[Any, ...]], checked: tuple[Symbol, ...]) -> None:  # fmt: skip
        self._checked = checked
        # A finite number of which any will do is never refused.
        self._doubtful = tuple(s for s in checked if not isinstance(s.compute, AsItIs))
        self.inputs = inputs
        self.known = known
        self.outputs = outputs
        self.scorer = scorer

    def score(self, columns: Mapping[str, Column], count: int, reals: Reals | None = None) -> Scores:
        """Score `count` rows of columns by field name, as the records hold them. `reals`: see `Batch`."""
        batch = Batch(count, columns, reals=reals)
        with np.errstate(all="ignore"):  # what has no value is found in the results, not by a warning
            for symbol in (
                self._checked if reals is None else self._doubtful
            ):  # also those that no part of the model asks for in these rows
                symbol.column(batch)
            found = {o.symbol.name: o.symbol.column(batch) for o in self.outputs}
        for output in self.outputs:
            if output.blank:
                found[output.symbol.name] = Column(found[output.symbol.name].values)
        return Scores(found, batch.refused)


def compile_document(root: ET.Element, model: ET.Element) -> Plan:
    """Compile `model`, one of the models of the document `root` (elements with local names, no extensions).

    Raises `UnprovenModelError` where anything in the document is not known.
    """
    check_vocabulary(root)
    dictionary = {}
    for element in root.findall("DataDictionary/DataField"):
        declared = data_field(element)
        if declared.name in dictionary:
            refuse(f"the field {declared.name!r} is declared twice")
        dictionary[declared.name] = declared
    reading = Reading()
    top = Scope(None, derive, reading, _functions(root))
    for element in root.findall("TransformationDictionary/DerivedField"):
        top.add_derived(element)
    inputs = _inputs(model, dictionary, top)
    compiled = ModelCompiler(dictionary, Exporter(exporter(root), rounds_to_float(root, model))).compile(
        model, top
    )
    outputs = _final(compiled.outputs, compiled.scorer, dictionary)
    # The standard: a field that is not active is not needed to score, unless something reads it.
    unread = {e.get("name") for e in mining_fields(model, _INPUTS[1:])} - reading.asked
    inputs = [(one, rule) for one, rule in inputs if one.name not in unread]
    listed = item_list(model)
    checked = tuple(top.find(declared.name) for declared, _ in inputs if declared.name != listed)
    declared_inputs = tuple(
        InputField(one, rule, _has_rule(one, rule) or reading.tolerated(one.name), one.name == listed)
        for one, rule in inputs
    )  # fmt: skip
    return Plan(declared_inputs, outputs, compiled.scorer, known_values(root, dictionary), checked)


def exporter(root: ET.Element) -> str:
    """The name of the program that wrote the document, in lower case; empty where it does not say."""
    application = root.find("Header/Application")
    return "" if application is None else application.get("name", "").lower()


def rounds_to_float(root: ET.Element, model: ET.Element) -> bool:
    """Whether a library's float32 trees are declared double: Nyoka and R's pmml do so with XGBoost's.

    Nyoka writes the thresholds of scikit-learn's trees, which are doubles, with the digits of a float32: at a
    threshold nobody can tell any more which way the library goes, so these are refused.
    """
    if exporter(root) in R:
        return any(e.get("algorithmName") == "xgboost" for e in model.iter() if e.tag in _OF_TREES)
    if exporter(root) != NYOKA:
        return False
    names = {e.get("modelName", "") for e in model.iter() if e.tag in _OF_TREES}
    if names & _SHORTENED:
        refuse(
            "Nyoka writes the thresholds of scikit-learn's trees with 7 digits, so that values next to one "
            "are scored otherwise than by scikit-learn; export the model with sklearn2pmml"
        )
    return any(name.startswith("XGB") for name in names)


def _has_rule(declared: DataField, rule: Treatment) -> bool:
    return rule.missing_value is not None or bool(declared.missing_texts)


def _functions(root: ET.Element) -> dict[str, ET.Element]:
    found: dict[str, ET.Element] = {}
    for element in root.findall("TransformationDictionary/DefineFunction"):
        name = text_of(element, "name")
        if name in found:
            refuse(f"the function {name!r} is defined twice")
        found[name] = element
    return found


def _inputs(
    model: ET.Element, dictionary: dict[str, DataField], top: Scope
) -> list[tuple[DataField, Treatment]]:
    found: list[tuple[DataField, Treatment]] = []
    listed = [text_of(e, "name") for e in model.findall("MiningSchema/MiningField")]
    for name, times in Counter(listed).items():
        if times > 1:
            refuse(f"the mining field {name!r} is listed twice")
    residuals = model.iterfind("Output/OutputField[@feature='residual']")
    observed = {field.get("targetField") for field in residuals}
    targets = [
        e
        for e in mining_fields(model, TARGETS)
        if observed and (e.get("name") in observed or None in observed)
    ]
    items = item_list(model)
    for element in [*mining_fields(model, _INPUTS), *targets]:
        name = text_of(element, "name")
        if top.has(name):
            if name in dictionary:
                refuse(f"the field {name!r} is both an input and a derived field")
            continue  # a derived field of the document, restated in the mining schema
        declared = dictionary.get(name)
        if declared is None:
            refuse(f"the mining field {name!r} is not in the data dictionary")
        rule = treatment(element, declared.kind, declared.optype)
        if name == items:  # a list: no expression reads it
            values = (declared.valid, declared.invalid, declared.missing_texts)
            if declared.kind is not Type.STRING or any(values) or not rule.plain:
                refuse(f"the list of items {name!r} is not of texts, or says which of them are valid")
            found.append((declared, rule))
            continue
        top.add(input_symbol(declared, rule, element.get("usageType", "active") == "active"))
        found.append((declared, rule))
    return found


def _final(
    outputs: tuple[OutputField, ...], scorer: Scorer, dictionary: dict[str, DataField]
) -> tuple[OutputField, ...]:
    """The final outputs, each target's predicted value among them; where none is declared, all there is."""
    kept: dict[str, OutputField] = {}
    for output in outputs:
        if output.final:
            kept[output.symbol.name] = output
        else:
            kept.pop(output.symbol.name, None)
    made = list(kept.values())
    told = {o.target for o in made if o.target is not None}
    scorers: dict[str, Scorer] = {scorer.target or "": scorer, **scorer.by_target}
    for name, one in scorers.items():
        if name in told or one.rules is not None:
            continue
        title = f"predicted_{name}" if name else "predictedValue"
        if any(o.symbol.name == title for o in made):
            refuse(f"an output is called {title!r} and is not the predicted value")
        made.append(OutputField(label_symbol(title, one, dictionary.get(name)), True, name))
        if not kept and one.probable:
            made.extend(
                _probabilities(one, dictionary, "probability" if one is scorer else f"probability_{name}")
            )
    if not made:
        refuse("a model that predicts no value declares no output")
    twice = [name for name, times in Counter(o.symbol.name for o in made).items() if times > 1]
    if twice:
        refuse(f"two results would be called {twice[0]!r}; declare the outputs")
    return tuple(made)


def _probabilities(scorer: Scorer, dictionary: dict[str, DataField], name: str) -> list[OutputField]:
    """The outputs of a classifier that declares none: the probability of the label, and of each category.

    `name`: what they begin with, another for each target, since two may have a category in common.
    """
    element = ET.Element("Model")
    declared = ET.SubElement(element, "Output")
    ET.SubElement(declared, "OutputField", name=name, feature="probability", dataType="double")
    for category in scorer.categories:
        ET.SubElement(declared, "OutputField", name=f"{name}_{category}", feature="probability",
                      dataType="double", value=category)  # fmt: skip
    around = Outputs(scorer, Scope(None, derive, Reading(), {}), dictionary, {})
    return list(compile_outputs(element, around))
