"""TreeModel, and the leaves of all trees of an ensemble as tables."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.elements import describe, number, refuse, to_number
from udfs.models.runtimes.pmml.compiler.forest import Forest, plant
from udfs.models.runtimes.pmml.compiler.place import Categories, Place
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, number_column
from udfs.models.runtimes.pmml.compiler.scope import Scope
from udfs.models.runtimes.pmml.compiler.tree_forks import compile_forks
from udfs.models.runtimes.pmml.compiler.tree_graph import TreeGraph, build_tree
from udfs.models.runtimes.pmml.compiler.types import Type, float32


@dataclass(frozen=True, slots=True)
class Grove:
    """The trees of one ensemble, planted together. `leaves[k]`: the node of leaf k; None
    where a row ends without a prediction, or where no row can end. `forks`: see `TreeGraph`."""

    forest: Forest
    leaves: tuple[ET.Element | None, ...]
    forks: dict[int, ET.Element]


def grow(models: Sequence[tuple[ET.Element, Scope]], rounded: bool) -> Grove:
    """Plant TreeModels, each read in its scope. `rounded`: see `TreeGraph`."""
    graph = TreeGraph(rounded)
    roots = [build_tree(graph, model, scope) for model, scope in models]
    reached = {ref for refs in (graph.yes, graph.no, graph.unknown, roots) for ref in refs if ref < 0}
    leaves = tuple(node if -1 - k in reached else None for k, node in enumerate(graph.leaves))
    return Grove(plant(graph, roots), leaves, graph.forks)


def leaf_numbers(grove: Grove, kind: Type) -> NDArray:
    """`(leaves,)`: the scores of a regression's leaves, NaN where there is none."""
    out = np.full(len(grove.leaves), np.nan, kind.numpy)
    for k, node in enumerate(grove.leaves):
        if node is None or (score := node.get("score")) is None:
            continue
        value = float32(score) if kind is Type.FLOAT else to_number(score)
        if not np.isfinite(value):
            refuse(f"{describe(node)} has the score {score!r}, which is no finite number")
        out[k] = value
    return out


@dataclass(frozen=True, slots=True)
class LeafShares:
    """Of the leaves of classification trees: `label` `(leaves,)`, -1 where there is none, and `shares`
    `(leaves, categories)`, NaN where there is none. `complete`: every leaf with a label has shares."""

    label: NDArray[np.int64]
    shares: NDArray[np.float64]
    confidence: NDArray[np.float64]
    complete: bool


def leaf_shares(grove: Grove, categories: Categories) -> LeafShares:
    """Labels and class distributions of the leaves; new categories are added to `categories`."""
    shares = _plain_shares(grove, categories) or _shares(grove, categories)
    if not categories.names:
        refuse("the trees of a classification name no category")
    return shares


def _shares(grove: Grove, categories: Categories) -> LeafShares:
    """As `leaf_shares`, leaf by leaf."""
    labels = np.full(len(grove.leaves), -1, np.int64)
    distributions = _Distributions(categories)
    probable, sure = _Cells(), _Cells()
    complete = True
    for k, node in enumerate(grove.leaves):
        if node is None:
            continue
        shares, confidences = distributions.of(node)
        score = node.get("score")
        if score is not None:
            labels[k] = categories.place(score)
        elif shares:
            labels[k] = max(shares, key=shares.__getitem__)
        if shares:
            probable.add(k, shares)
        elif labels[k] >= 0:
            complete = False
        if confidences:
            sure.add(k, confidences)
    shape = (len(grove.leaves), len(categories.names))
    return LeafShares(labels, probable.table(shape, 0.0), sure.table(shape, np.nan), complete)


def _plain_shares(grove: Grove, categories: Categories) -> LeafShares | None:
    """As exporters write large forests: a score and the counts of the same categories in each leaf, which
    can be read at once. None for all others, and for what is not as it should be."""
    nodes = [node for node in grove.leaves if node is not None]
    listed = [node.findall("ScoreDistribution") for node in nodes]
    width = len(listed[0]) if listed else 0
    if not width or any(len(entries) != width for entries in listed):
        return None
    entries = list(chain.from_iterable(listed))
    values = [e.get("value") for e in entries]
    said = [e.get("recordCount", "") for e in entries]
    scores = [node.get("score") for node in nodes]
    odd = not {2}.issuperset(len(e.keys()) for e in entries) or "_" in "".join(said)
    if odd or None in scores or None in values[:width] or values != values[:width] * len(nodes):
        return None
    try:
        counts = np.array(list(map(float, said))).reshape(-1, width)
    except ValueError:
        return None
    total = sum(counts.T)  # in the order of the categories, as one by one
    if not np.isfinite(total).all() or (counts < 0).any() or (total <= 0).any():
        return None
    places = [categories.place(value) for value in values[:width] if value is not None]
    if len(set(places)) < width:
        return None
    labels = np.full(len(grove.leaves), -1, np.int64)
    at = np.array([k for k, node in enumerate(grove.leaves) if node is not None])
    labels[at] = [categories.place(score) for score in scores if score is not None]
    table = np.full((len(labels), len(categories.names)), np.nan)
    sure = np.full_like(table, np.nan)
    table[at] = 0.0
    table[at[:, None], places] = counts / np.asarray(total)[:, None]
    return LeafShares(labels, table, sure, True)


class _Cells:
    """Numbers of leaves by category, to be put into a table at once: one by one takes ten times as long."""

    def __init__(self) -> None:
        self._leaves: list[int] = []
        self._lengths: list[int] = []
        self._places: list[int] = []
        self._numbers: list[float] = []

    def add(self, leaf: int, numbers: dict[int, float]) -> None:
        self._leaves.append(leaf)
        self._lengths.append(len(numbers))
        self._places.extend(numbers)
        self._numbers.extend(numbers.values())

    def table(self, shape: tuple[int, int], rest: float) -> NDArray[np.float64]:
        """NaN for leaves without numbers; `rest` for the categories that one with numbers does not list."""
        table = np.full(shape, np.nan)
        if not self._leaves:
            return table
        table[self._leaves] = rest
        table[np.repeat(self._leaves, self._lengths), self._places] = self._numbers
        return table


class _Distributions:
    """Probabilities and confidences of nodes by category; empty where a node has no distribution."""

    def __init__(self, categories: Categories) -> None:
        self._categories = categories
        # of the values of a node, most of which say the same
        self._places: dict[tuple[str, ...], list[int]] = {}

    def of(self, node: ET.Element) -> tuple[dict[int, float], dict[int, float]]:
        entries = node.findall("ScoreDistribution")
        if not entries:
            return {}, {}
        places = self._of_values(tuple([e.get("value", "") for e in entries]), node)
        given = [e.get("probability") for e in entries]
        if given.count(None) == len(given):
            counts = [to_number(e.get("recordCount")) for e in entries]
            total = sum(counts)
            if not math.isfinite(total) or min(counts) < 0:
                refuse(f"{describe(node)} has counts that are no numbers")
            numbers = [c / total for c in counts] if total > 0 else []
        else:
            if None in given:
                refuse(f"{describe(node)} gives probabilities for some categories only")
            numbers = [to_number(g) for g in given]
            if not all(map(math.isfinite, numbers)):
                refuse(f"{describe(node)} has probabilities that are no numbers")
        said = [e.get("confidence") for e in entries]
        confidences = {} if None in said else dict(zip(places, map(to_number, said), strict=True))
        return dict(zip(places, numbers, strict=False)), confidences

    def _of_values(self, values: tuple[str, ...], node: ET.Element) -> list[int]:
        places = self._places.get(values)
        if places is None:
            places = self._places[values] = [self._categories.place(value) for value in values]
            if len(set(places)) < len(places):
                refuse(f"{describe(node)} lists a category twice")
        return places


def node_ids(grove: Grove, model: ET.Element) -> NDArray:
    """The ids of the leaves; where no node of the tree has one, its place in the document, from 1."""
    if any(node.get("id") is not None for node in model.iter("Node")):
        given = [None if node is None else node.get("id") for node in grove.leaves]
    else:
        places = {id(node): str(k) for k, node in enumerate(model.iter("Node"), 1)}
        given = [None if node is None else places[id(node)] for node in grove.leaves]
    out = np.empty(len(given), object)
    out[:] = given
    return out


def compile_tree(place: Place) -> Scorer:
    """A TreeModel by itself."""
    place.expect("classification", "regression")
    _refuse_penalty(place.element)
    grove = grow([(place.element, place.scope)], place.exporter.rounded)
    ids = node_ids(grove, place.element)
    forest = grove.forest

    def entity(leaves: NDArray) -> Column:
        found = ids[leaves]
        absent = np.array([v is None for v in found])
        return Column(np.where(absent, "", found), absent if absent.any() else None)

    if place.function == "regression":
        if grove.forks:
            refuse(
                f"the missing value strategy {place.element.get('missingValueStrategy')!r} is of categories"
            )
        numbers = leaf_numbers(grove, place.kind)

        def score(batch: Batch) -> Result:
            leaves = forest.leaves(batch)[:, 0]
            return Result(value=number_column(numbers[leaves]), entity=lambda rank: entity(leaves))

        return Scorer("regression", score, place.kind, entities=1)
    categories = place.categories()
    forks = compile_forks(place, categories, grove.forks, len(grove.leaves)) if grove.forks else None
    shares = leaf_shares(grove, categories)
    # Of a row that forks, confidences have no probabilities beside them.
    probable = shares.complete and not (forks is not None and forks.weighted)

    def classify(batch: Batch) -> Result:
        leaves = forest.leaves(batch)[:, 0]
        plain = Result(
            label=shares.label[leaves], probabilities=shares.shares[leaves] if probable else None,
            confidence=shares.confidence[leaves], entity=lambda rank: entity(leaves),
        )  # fmt: skip
        return plain if forks is None else forks.settle(batch, leaves, plain)

    return Scorer(
        "classification", classify, categories=tuple(categories.names), probable=probable, entities=1,
        confident=bool(np.isfinite(shares.confidence).any()),
    )  # fmt: skip


def _refuse_penalty(element: ET.Element) -> None:
    """A penalty lessens the confidence of what is scored in spite of a missing value, and nothing else."""
    asked = any(f.get("feature") == "confidence" for f in element.iterfind("Output/OutputField"))
    if asked and number(element, "missingValuePenalty", 1.0) != 1:
        refuse(f"{describe(element)} has a missingValuePenalty, and a confidence is asked for")
