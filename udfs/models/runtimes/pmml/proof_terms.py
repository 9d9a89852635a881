"""The parts of a proof: mining schema, predicates, regression terms. See `pmml_proof`."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

from udfs.models.runtimes.pmml.document import Document, Field, mining_fields

NUMERIC = frozenset({"double", "float", "integer"})
_ORDERED = {"lessThan", "lessOrEqual", "greaterThan", "greaterOrEqual"}
_EQUAL = {"equal", "notEqual"}
_UNARY = {"isMissing", "isNotMissing"}
_LINKS = {"identity", "log", "logit"}


def mining_schema_reasons(document: Document) -> Iterator[str]:
    """Input fields whose types or treatments have not been compared."""
    for field in document.active:
        if field.data_type not in NUMERIC | {"string", "boolean"}:
            yield f"field {field.name!r} is of type {field.data_type!r}"
        if field.data_type in NUMERIC and field.optype != "continuous":
            yield f"field {field.name!r} is a number with optype {field.optype!r}"
        if field.data_type not in NUMERIC and (field.optype != "categorical" or not field.values):
            yield f"field {field.name!r} is no categorical field with declared values"
    for schema in mining_fields(document.model):
        name = schema.get("name")
        if schema.get("outliers", "asIs") != "asIs":
            yield f"field {name!r} has a treatment of outliers"
        if schema.get("invalidValueTreatment", "returnInvalid") not in ("returnInvalid", "asIs"):
            yield f"field {name!r} has a treatment of invalid values that is not proven"
        categorical = any(f.name == name and f.optype != "continuous" for f in document.active)
        if categorical and schema.get("invalidValueTreatment") == "asIs":
            yield f"field {name!r} takes undeclared categories as they are"
        if schema.get("missingValueTreatment") == "returnInvalid" or schema.get("optype"):
            yield f"field {name!r} changes its optype or its treatment of missing values"
    for declared in document.root.findall("DataDictionary/DataField"):
        odd = [v for v in declared.findall("Value") if v.get("property", "valid") != "valid"]
        if odd or declared.find("Interval") is not None:
            yield f"field {declared.get('name')!r} declares intervals, missing or invalid values"


def predicate_reasons(predicate: ET.Element, fields: Mapping[str, Field]) -> Iterator[str]:
    """Reasons in one predicate, its parts included."""
    for part in predicate.iter():
        if part.tag == "CompoundPredicate":
            if part.get("booleanOperator") not in ("and", "or", "surrogate"):
                yield f"predicates combined by {part.get('booleanOperator')!r} are evaluated wrongly"
        elif part.tag in ("SimplePredicate", "SimpleSetPredicate"):
            yield from _comparison(part, fields)
        elif part.tag not in ("True", "False", "Array"):
            yield f"a predicate holds {part.tag}"


def _comparison(part: ET.Element, fields: Mapping[str, Field]) -> Iterator[str]:
    field = fields.get(part.get("field", ""))
    if field is None:
        yield f"a predicate asks field {part.get('field')!r}, which is not active"
        return
    if part.tag == "SimpleSetPredicate":
        array = part.find("Array")
        if (
            field.data_type != "string"
            or array is None
            or '"' in (array.text or "")
            or "\\" in (array.text or "")
        ):
            yield f"a set predicate on {field.name!r} is not over plain text values"
        elif not set((array.text or "").split()) <= set(field.values):
            yield f"a set predicate on {field.name!r} names undeclared values"
        return
    operator = part.get("operator", "")
    if operator in _UNARY:
        return
    numeric = field.data_type in NUMERIC
    if operator not in (_ORDERED | _EQUAL if numeric else _EQUAL):
        yield f"operator {operator!r} on {field.name!r} is not proven"
    elif numeric and not _finite(part.get("value")):
        yield f"a predicate compares {field.name!r} with {part.get('value')!r}"
    elif not numeric and part.get("value") not in field.values:
        yield f"a predicate compares {field.name!r} with an undeclared value"


def same_field_split(node: ET.Element) -> bool:
    """Whether all children of a node compare one and the same field, so that they are unknown together."""
    asked = set()
    for child in node.findall("Node"):
        predicate = next(e for e in child if e.tag not in ("ScoreDistribution", "Node", "Partition"))
        plain = predicate.tag == "SimpleSetPredicate" or (
            predicate.tag == "SimplePredicate" and predicate.get("operator") not in _UNARY
        )
        asked.add(predicate.get("field") if plain else None)
    return not asked or (len(asked) == 1 and None not in asked)


def regression_reasons(
    model: ET.Element, classes: tuple[str, ...], fields: Mapping[str, Field], document: Document
) -> Iterator[str]:
    """Reasons in a RegressionModel or a GeneralRegressionModel."""
    names = {
        e.get("name", e.get("field"))
        for tag in ("NumericPredictor", "CategoricalPredictor")
        for e in model.iter(tag)
    }
    names |= {e.get("name") for e in model.iter("Predictor")}
    for name in names - set(fields):
        yield f"it reads field {name!r}, which is not active"
    for name in {e.get("name") for e in model.iter("NumericPredictor")} & set(fields):
        if fields[str(name)].data_type not in NUMERIC:
            yield f"it multiplies field {name!r}, which is no number"
    if model.tag == "GeneralRegressionModel":
        yield from _general(model, classes)
        return
    if model.find(".//PredictorTerm") is not None:
        yield "it has interaction terms"
    method = model.get("normalizationMethod", "none")
    tables = model.findall("RegressionTable")
    if not classes:
        if method not in ("none", "softmax", "logit", "exp") or len(tables) != 1:
            yield f"a regression of {len(tables)} tables normalised by {method!r} is not proven"
        return
    if sorted(t.get("targetCategory", "") for t in tables) != sorted(classes):
        yield "its tables are not one for each class of the target"
    trivial = [not len(t) and float(t.get("intercept", "0")) == 0 for t in tables]
    binary = len(tables) == 2 and trivial == [False, True] and document.targets[0].optype == "categorical"
    if method != "softmax" and not (method == "logit" and binary):
        yield f"classification normalised by {method!r} over these tables is not proven"


def _general(model: ET.Element, classes: tuple[str, ...]) -> Iterator[str]:
    known = {"functionName", "modelType", "modelName", "algorithmName", "linkFunction", "distribution",
             "targetVariableName", "targetReferenceCategory", "isScorable"}  # fmt: skip
    if classes:
        yield "general regression for classification is not proven"
    if set(model.attrib) - known:
        yield f"its attributes {sorted(set(model.attrib) - known)} are not proven"
    if model.get("modelType") not in ("regression", "generalLinear", "generalizedLinear"):
        yield f"general regression of type {model.get('modelType')!r} is not proven"
    if model.get("linkFunction", "identity") not in _LINKS:
        yield f"link function {model.get('linkFunction')!r} is not proven"
    if model.find("FactorList/Predictor") is not None or model.find(".//Matrix") is not None:
        yield "general regression with factors is not proven"
    if model.find("EventValues") is not None or model.find("BaseCumHazardTables") is not None:
        yield "survival regression is not proven"


def _finite(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False
