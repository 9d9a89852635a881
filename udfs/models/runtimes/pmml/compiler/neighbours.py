"""NearestNeighborModel: what the nearest training rows say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol, slices
from udfs.models.runtimes.pmml.compiler.columns import Column
from udfs.models.runtimes.pmml.compiler.elements import (
    choice,
    flag,
    local,
    number,
    refuse,
    required,
    table_rows,
    text_of,
    to_number,
    whole,
)
from udfs.models.runtimes.pmml.compiler.fields import DataField
from udfs.models.runtimes.pmml.compiler.measures import Fields, Similarity, fields_of, measure
from udfs.models.runtimes.pmml.compiler.place import NYOKA, Categories, Place
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, number_column
from udfs.models.runtimes.pmml.compiler.types import Type, constant

_WEIGHTED = "weightedMajorityVote"
_THRESHOLD = 0.001
# Libraries that sort their categories, and take the first of those with equal votes.
_SORTED = frozenset({NYOKA, "jpmml-sklearn", "jpmml-sklearn library", "sklearn2pmml package"})


@dataclass(frozen=True, slots=True)
class Nearest:
    """`rows`: `(n, neighbours)`, the nearest first, of equals the earlier row; -1 where there are none.
    `affinities`: their distances or similarities, NaN where there are none."""

    rows: NDArray[np.int64]
    affinities: NDArray[np.float64]

    def weights(self, threshold: float) -> NDArray[np.float64]:
        """`(n, neighbours)`: the inverse of each distance and `threshold`, which is for distances of 0 (PMML
        4.4, k-Nearest Neighbors: Scoring); NaN where a distance is below 0, as by a table it may be.

        Without a threshold those at a distance of 0 have all the weight, as in scikit-learn.
        """
        weights = 1.0 / (self.affinities + threshold)
        endless = np.isinf(weights)
        weights = np.where(endless.any(axis=1)[:, None], endless, weights)
        return np.where(self.affinities < 0, np.nan, weights)


Find = Callable[[Batch], Nearest]
Named = Callable[[Batch, Result], Result]


def compile_neighbours(place: Place) -> Scorer:
    """A NearestNeighborModel with its training rows in the document."""
    place.expect("classification", "regression", "mixed", "clustering")
    element = place.element
    count = whole(element, "numberOfNeighbors")
    inputs = element.findall("KNNInputs/KNNInput")
    symbols = [place.scope.find(i.get("field")) for i in inputs]
    training = required(element, "TrainingInstances")
    columns_of = {
        text_of(f, "field"): local(f.get("column") or text_of(f, "field"))
        for f in training.findall("InstanceFields/InstanceField")
    }
    rows = list(table_rows(required(training, "InlineTable")))
    if not 1 <= count <= len(rows) or not inputs:
        refuse(f"a NearestNeighborModel asks {count} of {len(rows)} rows")
    how = measure(required(element, "ComparisonMeasure"), inputs, symbols)
    columns = fields_of(symbols, how)
    points = np.column_stack(
        [
            _transformed(rows, columns_of, s)
            if s.depth and s.name not in columns_of and not flag(training, "isTransformed", False)
            else _cells(rows, columns_of, columns, k)
            for k, s in enumerate(symbols)
        ]
    )
    columns.check_points(points)
    if how.tolerant:
        place.scope.reading.tolerant |= {s.name for s in symbols}
    named = element.get("instanceIdVariable")
    ids = np.array(
        [str(k) if named is None else _text(r, columns_of, named) for k, r in enumerate(rows, 1)], object
    )

    def search(batch: Batch) -> Nearest:
        x = columns.matrix(batch)
        parts = []
        for some in slices(len(x), points.size):
            values = how.values(x[some], points, np.ones(points.shape[1]))
            order = _nearest(how.farness(values), count)
            affinity = np.take_along_axis(values, order, axis=1)
            lacking = np.isnan(values).any(axis=1)
            order[lacking], affinity[lacking] = -1, np.nan
            parts.append((order, affinity))
        orders, affinities = zip(*parts, strict=True)
        return Nearest(np.concatenate(orders), np.concatenate(affinities))

    def nearest(batch: Batch) -> Nearest:
        return batch.once(points, search)

    def named_in(batch: Batch, result: Result) -> Result:
        """The result with its neighbours by rank."""

        def entity(rank: int) -> Column:
            at = nearest(batch).rows[:, rank - 1]
            return Column(ids[at], at < 0 if (at < 0).any() else None)

        def nearness(rank: int) -> NDArray[np.float64]:
            return nearest(batch).affinities[:, rank - 1]

        return replace(result, entity=entity, nearness=nearness)

    if place.function == "clustering":
        return _without_target(place, tuple(ids), nearest, named_in, count)
    scorers = {}
    for target in place.targets:
        texts = [_text(r, columns_of, target.name) for r in rows]
        weighted = (
            target.optype == "continuous" and element.get("continuousScoringMethod") == "weightedAverage"
        )
        weighted |= target.optype != "continuous" and element.get("categoricalScoringMethod") == _WEIGHTED
        if weighted and isinstance(how, Similarity):
            refuse("neighbours are weighted by a similarity; the standard has weights of distances only")
        if weighted and number(element, "threshold", _THRESHOLD) < 0:
            refuse(f"a NearestNeighborModel has the threshold {element.get('threshold')}, which is below 0")
        scorers[target.name] = _for_target(place, target, texts, nearest, named_in, count)
    if not scorers:
        refuse("a NearestNeighborModel has no target")
    main, *others = place.targets
    scorer = scorers[main.name]
    scorer.by_target = {t.name: scorers[t.name] for t in others}
    return scorer


def _without_target(
    place: Place, ids: tuple[str, ...], nearest: Find, named_in: Named, count: int
) -> Scorer:  # fmt: skip
    """The nearest row itself is the result."""
    if place.targets:
        refuse("a NearestNeighborModel of the function 'clustering' has a target")

    def score(batch: Batch) -> Result:
        return named_in(batch, Result(label=nearest(batch).rows[:, 0]))

    return Scorer("clustering", score, categories=ids, entities=count, near=True)


class _Training(dict[str, Column]):
    """The columns of the training rows by field, read where a transformation asks for them."""

    def __init__(self, rows: list[dict[str, str]], columns: dict[str, str]) -> None:
        super().__init__()
        self._rows, self._columns = rows, columns

    def __missing__(self, field: str) -> Column:
        values = np.empty(len(self._rows), object)
        values[:] = [_text(row, self._columns, field) for row in self._rows]
        column = self[field] = Column(values)
        return column


def _transformed(rows: list[dict[str, str]], columns: dict[str, str], symbol: Symbol) -> NDArray[np.float64]:
    """A derived field of training rows that are written as the record's fields are."""
    batch = Batch(len(rows), _Training(rows, columns))
    column = symbol.column(batch)
    values = np.array(column.full(len(rows)), np.float64)
    if batch.refused or column.mask(len(rows)).any() or not np.isfinite(values).all():
        refuse(f"a training row has no {symbol.name!r}")
    return values


def _nearest(distances: NDArray, count: int) -> NDArray[np.int64]:
    """The indices of the `count` least of each row, in order, of equals the earlier ones."""
    bound = np.partition(distances, count - 1, axis=1)[:, count - 1 : count]
    order = np.argsort(np.where(distances <= bound, distances, np.inf), axis=1, kind="stable")
    return order[:, :count]


def _text(row: dict[str, str], columns: dict[str, str], field: str) -> str:
    text = row.get(columns.get(field, ""))
    if text is None:
        refuse(f"a training row has no {field!r}")
    return text


def _cells(
    rows: list[dict[str, str]], columns: dict[str, str], fields: Fields, k: int
) -> NDArray[np.float64]:
    """A field of the training rows as numbers; the codes of values that are none are made here."""
    symbol, codes = fields.symbols[k], fields.codes.get(k)
    texts = [_text(row, columns, symbol.name) for row in rows]
    if codes is not None:
        values = [constant(text, symbol.kind, "a training row") for text in texts]
        return np.array([codes.setdefault(value, float(len(codes))) for value in values])
    numbers = np.array([to_number(text) for text in texts])
    if symbol.kind is Type.BOOLEAN:
        numbers = np.array([float(constant(text, symbol.kind, "a training row")) for text in texts])
    if not np.isfinite(numbers).all():
        refuse(f"a training row holds no number for {symbol.name!r}")
    return numbers


def _for_target(  # noqa: PLR0917
    place: Place, target: DataField, texts: list[str], nearest: Find, named_in: Named, count: int,
) -> Scorer:  # fmt: skip
    element = place.element
    threshold = number(element, "threshold", _THRESHOLD)
    if target.optype == "continuous":
        how = choice(element, "continuousScoringMethod", ("average", "median", "weightedAverage"), "average")
        numbers = np.array([to_number(t) for t in texts])
        if not np.isfinite(numbers).all():
            refuse(f"a training row holds no number for {target.name!r}")

        def score(batch: Batch) -> Result:
            found = nearest(batch)
            values = numbers[found.rows]
            if how == "weightedAverage":
                weights = found.weights(threshold)
                combined = (values * weights).sum(axis=1) / weights.sum(axis=1)
            else:
                combined = (np.mean if how == "average" else np.median)(values, axis=1)
            combined = np.where((found.rows < 0).any(axis=1), np.nan, combined)
            return named_in(batch, Result(value=number_column(combined)))

        return Scorer("regression", score, entities=count, near=True, target=target.name)
    voting = choice(element, "categoricalScoringMethod", ("majorityVote", _WEIGHTED), "majorityVote")
    categories = Categories(target)
    places = np.array(categories.places(texts))
    width = len(categories.names)
    # Of categories with equal votes the one with more training rows wins, then the first by its text.
    rows_of = np.bincount(places, minlength=width) * (place.exporter.name not in _SORTED)
    order = np.array(sorted(range(width), key=lambda k: (-rows_of[k], categories.names[k])))

    def classify(batch: Batch) -> Result:
        found = nearest(batch)
        at = found.rows
        weights = found.weights(threshold) if voting == _WEIGHTED else np.ones(at.shape)
        votes = np.zeros((len(at), width))
        for k in range(count):
            votes[np.arange(len(at)), places[at[:, k]]] += weights[:, k]
        shares = votes / weights.sum(axis=1)[:, None]
        label = order[np.argmax(votes[:, order], axis=1)]
        lacking = (at < 0).any(axis=1) | np.isnan(weights).any(axis=1)
        shares[lacking] = np.nan
        return named_in(batch, Result(label=np.where(lacking, -1, label), probabilities=shares))

    return Scorer("classification", classify, categories=tuple(categories.names), probable=True,
                  entities=count, near=True, target=target.name)  # fmt: skip
