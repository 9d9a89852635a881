"""AssociationModel: the rules that apply to a record's items, ranked."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol, slices
from udfs.models.runtimes.pmml.compiler.elements import refuse, text_of
from udfs.models.runtimes.pmml.compiler.place import Place
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer
from udfs.models.runtimes.pmml.compiler.rule_outputs import Rules
from udfs.models.runtimes.pmml.compiler.types import Type, constant

_FLAGS = {"T": True, "true": True, "1": True, "F": False, "false": False, "0": False}

Items = Callable[[Batch], NDArray[np.bool_]]


def compile_association(place: Place) -> Scorer:
    """An AssociationModel (PMML 4.4, Association Rules: Scoring Procedure).

    A record's items are a list in one field, where the mining schema groups records to transactions, else
    fields that hold whether they are there, or a category that is the item.
    """
    place.expect("associationRules")
    element = place.element
    if place.targets or element.find("Targets") is not None:
        refuse("an AssociationModel has a target")
    ids = [text_of(item, "id") for item in element.findall("Item")]
    names = {i: text_of(item, "value") for i, item in zip(ids, element.findall("Item"), strict=True)}
    at = {i: k for k, i in enumerate(ids)}
    if len(at) < len(ids):
        refuse("two items have one id")
    itemsets: dict[str, list[str]] = {}
    for one in element.findall("Itemset"):
        refs = [text_of(ref, "itemRef") for ref in one.findall("ItemRef")]
        name = text_of(one, "id")
        if name in itemsets or any(ref not in at for ref in refs):
            refuse(f"the itemset {name!r} is there twice, or holds an item that is not listed")
        itemsets[name] = refs
    rules = element.findall("AssociationRule")
    if not rules or any(
        text_of(r, side) not in itemsets for r in rules for side in ("antecedent", "consequent")
    ):
        refuse("an AssociationModel has no rules, or one of an itemset that is not listed")
    items = _items(place, element.findall("Item"))
    held = _Held(items, [[at[ref] for ref in refs] for refs in itemsets.values()], len(at))
    position = {name: k for k, name in enumerate(itemsets)}
    sides = {s: np.array([position[r.get(s, "")] for r in rules]) for s in ("antecedent", "consequent")}
    known = Rules(rules, {name: [names[ref] for ref in refs] for name, refs in itemsets.items()})

    def score(batch: Batch) -> Result:
        present = held.items(batch)
        chosen = np.full((batch.count, len(known.asked)), -1, np.int64)
        for some in slices(batch.count, held.width + 2 * len(rules)):
            sets = held.sets(present[some])
            given, told = sets[:, sides["antecedent"]], sets[:, sides["consequent"]]
            selected = {"recommendation": given, "exclusiveRecommendation": given & ~told,
                        "ruleAssociation": given & told}  # fmt: skip
            for k, (asked, order) in enumerate(known.asked.items()):
                count = np.cumsum(selected[asked.algorithm][:, order], axis=1, dtype=np.int32)
                place_of = np.argmax(count == asked.rank, axis=1)
                enough = count[:, -1] >= asked.rank
                chosen[some, k] = np.where(enough, order[place_of], -1)
        return Result(chosen=chosen)

    return Scorer("associationRules", score, rules=known)


class _Held:
    """Which itemsets a record's items hold."""

    def __init__(self, items: Items, sets: list[list[int]], count: int) -> None:
        self.items = items
        # An item that each record has makes no itemset empty.
        self._flat = np.array([k for refs in sets for k in [count, *refs]], np.int64)
        self._starts = np.cumsum([0, *(len(refs) + 1 for refs in sets[:-1])])
        self.width = len(self._flat)

    def sets(self, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """`(n, itemsets)` of items `(n, items + 1)`."""
        return np.logical_and.reduceat(present[:, self._flat], self._starts, axis=1)


def _items(place: Place, items: list[ET.Element]) -> Items:
    listed = item_list(place.element)
    if listed is not None:
        if any(item.get("field", listed) != listed for item in items):
            refuse("an item is of another field than the list of items")
        return _of_list(listed, [item.get("category", item.get("value", "")) for item in items])
    parts = [_part(place, item) for item in items]

    def present(batch: Batch) -> NDArray[np.bool_]:
        out = np.ones((batch.count, len(parts) + 1), bool)
        for k, (symbol, value) in enumerate(parts):
            column = symbol.known(batch)
            if value is not None:
                out[:, k] = column.values == value
            elif symbol.kind is Type.BOOLEAN:
                out[:, k] = column.values
            else:
                out[:, k] = _flag(batch, symbol)
            if column.missing is not None:
                out[column.mask(batch.count), k] = False
        return out

    place.scope.reading.tolerant |= {symbol.name for symbol, _ in parts}
    return present


def _flag(batch: Batch, symbol: Symbol) -> NDArray[np.bool_]:
    """A field of texts or numbers that says whether the item is there."""
    column = symbol.column(batch)
    values = column.full(batch.count)
    if symbol.kind is Type.STRING:
        true = np.isin(values, [text for text, flag in _FLAGS.items() if flag])
        false = np.isin(values, [text for text, flag in _FLAGS.items() if not flag])
    else:
        true, false = values == 1, values == 0
    unfit = ~true & ~false & ~column.mask(batch.count)
    batch.refuse(unfit, f"the field {symbol.name!r} does not say whether its item is there")
    return true


def _part(place: Place, item: ET.Element) -> tuple[Symbol, object | None]:
    """The field of an item and the category that it is; None where the field says whether it is there."""
    name, category = item.get("field"), item.get("category")
    if name is None:
        said = text_of(item, "value")
        if category is not None:
            refuse(f"the item {said!r} is a category of no field")
        name = said
        if not place.scope.has(said):
            name, _, category = said.partition("=")
            if not place.scope.has(name) or not category:
                refuse(f"the item {said!r} is neither a field nor a category of one")
    elif category is None:
        refuse(f"the item {item.get('value')!r} says its field and no category")
    symbol = place.scope.find(name)
    return symbol, None if category is None else constant(category, symbol.kind, "an Item")


def item_list(model: ET.Element) -> str | None:
    """The field that holds a record's items as a list: the one active field of an AssociationModel, where
    another field groups rows to transactions; None where there is none."""
    fields = model.findall("MiningSchema/MiningField") if model.tag == "AssociationModel" else []
    groups = [f for f in fields if f.get("usageType") == "group"]
    if not groups:
        return None
    active = [f for f in fields if f.get("usageType", "active") == "active"]
    if len(groups) > 1 or len(active) != 1:
        refuse(f"an AssociationModel has {len(groups)} fields that group and {len(active)} that are items")
    return text_of(active[0], "name")


def _of_list(name: str, values: list[str]) -> Items:
    places = {value: k for k, value in enumerate(values)}
    if len(places) < len(values):
        refuse("two items have one value")

    def present(batch: Batch) -> NDArray[np.bool_]:
        lists = batch.inputs[name].values
        lengths = np.fromiter(map(len, lists), np.int64, batch.count)
        found = np.fromiter((places.get(v, -1) for one in lists for v in one), np.int64, int(lengths.sum()))
        rows = np.repeat(np.arange(batch.count), lengths)[found >= 0]
        out = np.zeros((batch.count, len(values) + 1), bool)
        out[rows, found[found >= 0]] = True
        out[:, -1] = True
        return out

    return present
