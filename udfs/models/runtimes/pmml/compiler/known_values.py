"""The values that a document asks its input fields for: what a row to try it with may hold."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import Any

from udfs.models.runtimes.pmml.compiler.association import item_list
from udfs.models.runtimes.pmml.compiler.elements import array_values, table_rows
from udfs.models.runtimes.pmml.compiler.fields import DataField
from udfs.models.runtimes.pmml.compiler.types import parse

_ENOUGH = 200
_LOOKED_AT = 20_000  # of what the document names; large forests name the same fields again and again
_COMPARED = ("ClusteringField", "KNNInput")
_NAMED = frozenset({"SimplePredicate", "CategoricalPredictor", "NormDiscrete", "PPCell"})


def known_values(root: ET.Element, dictionary: Mapping[str, DataField]) -> dict[str, tuple[Any, ...]]:
    """By field, values that stand in predicates, predictors and tables; at most so many as are useful."""
    found: dict[str, dict[Any, None]] = {name: {} for name in dictionary}
    for seen, (name, text) in enumerate(_told(root)):
        if seen >= _LOOKED_AT:
            break
        kept = found.get(name)
        if kept is not None and len(kept) < _ENOUGH:
            value = parse(text, dictionary[name].kind)
            if value is not None:
                kept[value] = None
    return {name: tuple(values) for name, values in found.items()}


def _told(root: ET.Element) -> Iterator[tuple[str, str]]:
    for element in root.iter():
        tag = element.tag
        if tag in _NAMED:
            name = element.get("field") or element.get("name") or element.get("predictorName") or ""
            text = element.get("value")
            if text is not None:
                yield name, text
        elif tag == "SimpleSetPredicate":
            array = element.find("Array")
            for text in [] if array is None else array_values(array):
                yield element.get("field", ""), text
        elif tag == "GeneralRegressionModel":
            for stratum in element.iterfind("BaseCumHazardTables/BaselineStratum"):
                yield element.get("baselineStrataVariable", ""), stratum.get("value", "")
        elif tag in ("ClusteringModel", "NearestNeighborModel"):
            if element.find("ComparisonMeasure[@kind='similarity']") is not None:
                yield from (
                    (f.get("field", ""), flag) for f in element.iter() if f.tag in _COMPARED for flag in "01"
                )
        elif tag == "AssociationModel":
            yield from _of_items(element)
        elif tag == "MapValues":
            yield from _of_table(element)


def _of_items(model: ET.Element) -> Iterator[tuple[str, str]]:
    listed = item_list(model)
    for item in model.iterfind("Item"):
        said = item.get("value", "")
        name, _, category = said.partition("=")
        yield item.get("field", listed or name), item.get("category", said if listed else category)
        yield from ((said, flag) for flag in ("T", "F") if not listed)


def _of_table(element: ET.Element) -> Iterator[tuple[str, str]]:
    table = element.find("InlineTable")
    pairs = [
        (p.get("field", ""), p.get("column", "").rpartition(":")[2])
        for p in element.findall("FieldColumnPair")
    ]
    for row in [] if table is None else table_rows(table):
        for name, column in pairs:
            if column in row:
                yield name, row[column]
