"""What a model says of a micro-batch, and what is known of that when the plan is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Compute
from udfs.models.runtimes.pmml.compiler.columns import Column, some
from udfs.models.runtimes.pmml.compiler.types import Type

Ranked = Callable[[int], Column]


@dataclass(slots=True)
class Result:
    """Of n rows.

    `value`: the predicted number of a regression. `label`: of a classification or clustering the index of the
    predicted category, -1 where there is none. `probabilities`: `(n, categories)`, NaN where there are none.
    `entity`: by rank (from 1) the id of the node, cluster, rule or neighbour, `nearness`: its affinity.
    `affinity`: `(n, clusters)`.
    `reasons`: by rank the reason code, the empty text where there are no more. `chosen`: `(n, asked)`, the
    rules that outputs ask for, -1 for none. `by_target`: by target, the results of further ones.
    """

    value: Column | None = None
    label: NDArray[np.int64] | None = None
    probabilities: NDArray | None = None
    entity: Ranked | None = None
    affinity: NDArray | None = None
    nearness: Callable[[int], NDArray] | None = None
    confidence: NDArray | None = None
    reasons: Ranked | None = None
    chosen: NDArray[np.int64] | None = None
    by_target: dict[str, Result] = field(default_factory=dict)


@dataclass(slots=True)
class Scorer:
    """A compiled model: how it scores, and what its results hold.

    `kind`: the type of the value of a regression. `categories`: what `Result.label` counts, and
    `titles` how those are shown that have names. `probable`: there are probabilities; `confident`: there are
    confidences. `segments`: those of a mining model that are scored
    by themselves, by id. `inner_outputs`: output fields of a chain's segments. `entities`: how many ranks
    `Result.entity` has; `near`: those of `Result.nearness` too; `affinities`: the ids of the columns of
    `Result.affinity`. `rules`: those of an AssociationModel, which
    predicts no value. `winner`: of segments of which one speaks, its id.
    """

    function: str
    score: Callable[[Batch], Result]
    kind: Type = Type.DOUBLE
    categories: tuple[str, ...] = ()
    titles: dict[str, str] = field(default_factory=dict)
    probable: bool = False
    entities: int = 0
    near: bool = False
    affinities: tuple[str, ...] = ()
    reasons: int = 0
    target: str | None = None
    by_target: dict[str, Scorer] = field(default_factory=dict)
    segments: dict[str, Scorer] = field(default_factory=dict)
    confident: bool = False
    inner_outputs: tuple = ()
    rules: Any = None
    winner: Compute | None = None

    def result(self, batch: Batch) -> Result:
        """The result, computed once a call."""
        if batch.partial or batch.caused:
            return batch.once(self, self.score)
        found = batch.memory.get(id(self))
        if found is None:
            found = batch.memory[id(self)] = self.score(batch)
        return found


def labels_of(label: NDArray[np.int64], categories: tuple[str, ...]) -> Column:
    """Category indices as a column of texts."""
    names = np.array([*categories, ""], object)
    missing = label < 0
    return Column(names[label], missing if some(missing) else None)


def most_probable(probabilities: NDArray) -> NDArray[np.int64]:
    """The index of the highest probability, the first of equal ones; -1 where one is NaN."""
    if not probabilities.shape[1]:
        return np.full(len(probabilities), -1)
    best, lacking = probabilities.argmax(axis=1), np.isnan(probabilities)
    return np.where(lacking.any(axis=1), -1, best) if some(lacking) else best


def number_column(values: NDArray) -> Column:
    """Numbers as a column in which NaN is missing."""
    lacking = np.isnan(values)
    return Column(values, lacking if some(lacking) else None)


def numbers_of(column: Column, count: int) -> NDArray:
    """A column of reals as `(n,)` with NaN where it is missing; a copy."""
    values = column.values.copy() if np.ndim(column.values) else column.full(count)
    if column.missing is not None:
        values[column.mask(count)] = np.nan
    return values
