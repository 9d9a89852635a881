"""NearestNeighborModel: what the nearest training rows say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol
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
from udfs.models.runtimes.pmml.compiler.measures import matrix, measure
from udfs.models.runtimes.pmml.compiler.place import Categories, Place
from udfs.models.runtimes.pmml.compiler.results import Result, Scorer, number_column

_BLOCK = 4_000_000  # numbers in memory at once while distances are taken


def compile_neighbours(place: Place) -> Scorer:
    """A NearestNeighborModel with its training rows in the document."""
    place.expect("classification", "regression", "mixed")
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
    columns = matrix(symbols, element)
    points = np.column_stack(
        [
            _transformed(rows, columns_of, s)
            if s.depth and s.name not in columns_of and not flag(training, "isTransformed", False)
            else np.array([_cell(r, columns_of, s.name) for r in rows])
            for s in symbols
        ]
    )
    how = measure(required(element, "ComparisonMeasure"), inputs)
    place.scope.reading.tolerant |= {s.name for s in symbols}
    named = element.get("instanceIdVariable")
    ids = np.array(
        [str(k) if named is None else _text(r, columns_of, named) for k, r in enumerate(rows, 1)], object
    )
    step = max(1, _BLOCK // points.size)

    def nearest(batch: Batch) -> NDArray[np.int64]:
        """`(n, neighbours)`, the nearest first, of equals the earlier row; -1 where all is missing."""
        found = batch.memory.get(id(points))
        if found is None:
            x = columns(batch)
            parts = []
            for start in range(0, len(x), step):
                part = x[start : start + step]
                distances = how.distances(part, points, np.ones(points.shape[1]))
                order = _nearest(distances, count)
                order[np.isnan(distances).any(axis=1)] = -1
                parts.append(order)
            found = batch.memory[id(points)] = np.concatenate(parts)
        return found

    def entity_of(batch: Batch):
        def entity(rank: int) -> Column:
            at = nearest(batch)[:, rank - 1]
            return Column(ids[at], at < 0 if (at < 0).any() else None)

        return entity

    scorers = {}
    for target in place.targets:
        texts = [_text(r, columns_of, target.name) for r in rows]
        scorers[target.name] = _for_target(place, target, texts, nearest, entity_of, count)
    if not scorers:
        refuse("a NearestNeighborModel has no target")
    main, *others = place.targets
    scorer = scorers[main.name]
    scorer.by_target = {t.name: scorers[t.name] for t in others}
    return scorer


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


def _cell(row: dict[str, str], columns: dict[str, str], field: str) -> float:
    value = to_number(_text(row, columns, field))
    if not np.isfinite(value):
        refuse(f"a training row holds no number for {field!r}")
    return value


def _for_target(place: Place, target: DataField, texts: list[str], nearest, entity_of, count: int) -> Scorer:  # noqa: PLR0917
    element = place.element
    if target.optype == "continuous":
        how = choice(element, "continuousScoringMethod", ("average", "median"), "average")
        numbers = np.array([to_number(t) for t in texts])
        if not np.isfinite(numbers).all():
            refuse(f"a training row holds no number for {target.name!r}")
        combine = np.mean if how == "average" else np.median

        def score(batch: Batch) -> Result:
            at = nearest(batch)
            values = np.where((at < 0).any(axis=1), np.nan, combine(numbers[at], axis=1))
            return Result(value=number_column(values), entity=entity_of(batch))

        return Scorer("regression", score, entities=count, target=target.name)
    choice(element, "categoricalScoringMethod", ("majorityVote",), "majorityVote")
    number(element, "threshold", 0.001)
    categories = Categories(target)
    places = np.array(categories.places(texts))
    width = len(categories.names)
    # Between categories with equal votes the first by its text wins, as in the libraries that sort them.
    order = np.array(sorted(range(width), key=categories.names.__getitem__))

    def classify(batch: Batch) -> Result:
        at = nearest(batch)
        votes = np.zeros((len(at), width))
        for k in range(count):
            votes[np.arange(len(at)), places[at[:, k]]] += 1.0
        shares = votes / count
        label = order[np.argmax(votes[:, order], axis=1)]
        lacking = (at < 0).any(axis=1)
        shares[lacking] = np.nan
        return Result(label=np.where(lacking, -1, label), probabilities=shares, entity=entity_of(batch))

    return Scorer("classification", classify, categories=tuple(categories.names), probable=True,
                  entities=count,
                  target=target.name)  # fmt: skip
