"""A model element compiled with what surrounds it: mining schema, transformations, targets, outputs."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from udfs.models.runtimes.pmml.compiler.elements import choice, describe, refuse, text_of
from udfs.models.runtimes.pmml.compiler.fields import USAGES, DataField, inherited, treatment
from udfs.models.runtimes.pmml.compiler.mining import CHAINS
from udfs.models.runtimes.pmml.compiler.outputs import Outputs, compile_outputs
from udfs.models.runtimes.pmml.compiler.place import CompiledModel, Exporter, Place
from udfs.models.runtimes.pmml.compiler.results import Scorer
from udfs.models.runtimes.pmml.compiler.scope import MAX_DEPTH, Scope
from udfs.models.runtimes.pmml.compiler.targets import display_values, with_targets

TARGETS = ("target", "predicted")
_PLAIN = frozenset({"name", "usageType", "importance", "optype"})
FUNCTIONS = ("classification", "regression", "clustering", "mixed", "associationRules")
_COMPILERS = {
    "TreeModel": "trees.compile_tree",
    "RegressionModel": "regression.compile_regression",
    "MiningModel": "mining.compile_mining",
    "GeneralRegressionModel": "general_regression.compile_general_regression",
    "ClusteringModel": "clustering.compile_clustering",
    "NearestNeighborModel": "neighbours.compile_neighbours",
    "SupportVectorMachineModel": "support_vectors.compile_support_vectors",
    "NeuralNetwork": "neural_network.compile_neural_network",
    "NaiveBayesModel": "naive_bayes.compile_naive_bayes",
    "RuleSetModel": "rule_set.compile_rule_set",
    "Scorecard": "scorecard.compile_scorecard",
    "AssociationModel": "association.compile_association",
    "AnomalyDetectionModel": "anomaly.compile_anomaly",
}
MODELS = frozenset(_COMPILERS)
_OF_SEVERAL = ("NeuralNetwork", "NearestNeighborModel")
_DEFAULTS = ("defaultValue", "priorProbability")


def mining_fields(element: ET.Element, usages: tuple[str, ...]) -> list[ET.Element]:
    """The mining fields of some usages, in order."""
    fields = element.findall("MiningSchema/MiningField")
    return [f for f in fields if choice(f, "usageType", USAGES, "active") in usages]


@dataclass(frozen=True, slots=True)
class ModelCompiler:
    """Compiles models over one data dictionary."""

    dictionary: Mapping[str, DataField]
    exporter: Exporter

    def compile(self, element: ET.Element, outer: Scope, level: int = 0) -> CompiledModel:
        """A model whose inputs are already defined in `outer`."""
        if level > MAX_DEPTH // 4:
            refuse("models are nested too deeply")
        if level and element.tag == "AssociationModel":
            refuse("an AssociationModel is inside another model")
        if element.get("isScorable", "true") in ("false", "0"):
            refuse(f"the {element.tag} says that it must not be scored")
        scope = self.inside(element, outer) if level else self.outermost(element, outer)
        if scope is outer:
            scope = outer.child()  # its outputs and its target are its own
        scorer = self._scorer(element, scope, level)
        outputs = compile_outputs(
            element, Outputs(scorer, scope, dict(self.dictionary), display_values(element))
        )
        return CompiledModel(scorer, (*scorer.inner_outputs, *outputs))

    def outermost(self, element: ET.Element, outer: Scope) -> Scope:
        """The scope of the document's model, with its transformations."""
        scope = outer.child()
        for derived in element.findall("LocalTransformations/DerivedField"):
            scope.add_derived(derived)
        return scope

    def inside(self, element: ET.Element, outer: Scope) -> Scope:
        """The scope of an inner model: its mining schema over the outer fields, and its transformations."""
        plain = element.find("LocalTransformations") is None
        if plain and all(_PLAIN.issuperset(f.attrib) for f in element.iterfind("MiningSchema/MiningField")):
            self._inherit(element, outer, outer)
            return outer
        scope = outer.child()
        treated = self._inherit(element, outer, scope)
        scope.renew(treated, {text_of(f, "name") for f in mining_fields(element, ("active",))})
        for derived in element.findall("LocalTransformations/DerivedField"):
            scope.add_derived(derived)
        return scope

    def _scorer(self, element: ET.Element, scope: Scope, level: int) -> Scorer:
        place = self._place(element, scope, level)
        scorer = _compiler(element.tag)(place)
        if scorer.target is None and place.target is not None:
            scorer = replace(scorer, target=place.target.name)
        if any(element.find(f"Targets/Target/TargetValue[@{name}]") is not None for name in _DEFAULTS):
            # The standard: they are for records that lack a value, where nothing else is said of that.
            scope.reading.tolerant.update(text_of(f, "name") for f in mining_fields(element, ("active",)))
        return with_targets(scorer, element)

    def _place(self, element: ET.Element, scope: Scope, level: int) -> Place:
        names = _targets(element)
        targets = tuple(self.dictionary[n] for n in names if n in self.dictionary)
        context = element.get("x-mathContext", "double")
        if context not in ("double", "float"):
            refuse(f"x-mathContext={context!r} of the {element.tag} is not known")

        def compile_inner(child: ET.Element, around: Scope) -> CompiledModel:
            return self.compile(child, around, level + 1)

        function = choice(element, "functionName", FUNCTIONS)
        return Place(
            element, scope, function, targets, context == "float", compile_inner, self.inside, self.exporter
        )

    def _inherit(self, element: ET.Element, outer: Scope, scope: Scope) -> set[str]:
        """The fields of an inner model are those of the outer one, treated once more where it says so; the
        names of those that are."""
        treated: set[str] = set()
        for field in mining_fields(element, ("active",)):
            name = text_of(field, "name")
            if not outer.has(name):
                made_here = element.findall("LocalTransformations/DerivedField")
                if all(d.get("name") != name for d in made_here):
                    refuse(f"{describe(field)} of an inner model is not defined around it")
                continue
            if _PLAIN.issuperset(field.attrib):
                continue
            symbol = outer.find(name)
            rule = treatment(field, symbol.kind, symbol.optype)
            if not rule.plain:
                scope.add(inherited(symbol, self.dictionary.get(name), rule))
                treated.add(name)
                if rule.missing_value is not None:
                    scope.reading.tolerant.add(name)
        return treated


def _targets(element: ET.Element) -> list[str]:
    """The names of a model's targets. Refused where there are several and its kind knows one."""
    names = [text_of(f, "name") for f in mining_fields(element, TARGETS)]
    said = element.get("targetFieldName", element.get("targetVariableName"))
    if said is not None and names:
        if said not in names:
            refuse(f"the {element.tag} says that its target is {said!r}, which is none of its mining schema")
        names = [said]
    method = element.find("Segmentation[@multipleModelMethod]")
    chain = method is not None and method.get("multipleModelMethod") in CHAINS
    if len(names) > 1 and not chain and element.tag not in _OF_SEVERAL:
        refuse(f"a {element.tag} has several targets: {', '.join(names)}")
    return names


def _compiler(tag: str) -> Callable[[Place], Scorer]:
    said = _COMPILERS.get(tag)
    if said is None:
        refuse(f"the model {tag!r} is not known")
    module, _, name = said.partition(".")
    # Here and not at the top: most documents hold two or three kinds of model.
    found = importlib.import_module(f"{__package__}.{module}")
    return getattr(found, name)
