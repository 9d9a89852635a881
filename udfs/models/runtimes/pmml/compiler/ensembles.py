"""Segments that speak together: votes, averages, sums, medians and maxima of their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch
from udfs.models.runtimes.pmml.compiler.chains import only
from udfs.models.runtimes.pmml.compiler.columns import Mask, some
from udfs.models.runtimes.pmml.compiler.contributors import Votes, contributed
from udfs.models.runtimes.pmml.compiler.elements import refusal, refuse
from udfs.models.runtimes.pmml.compiler.mining import Segmentation
from udfs.models.runtimes.pmml.compiler.predicates import Truth, holds
from udfs.models.runtimes.pmml.compiler.results import (
    Result,
    Scorer,
    most_probable,
    number_column,
    numbers_of,
)
from udfs.models.runtimes.pmml.compiler.tree_graph import FORKING
from udfs.models.runtimes.pmml.compiler.trees import grow, leaf_numbers, leaf_shares

_OF_NUMBERS = ("average", "weightedAverage", "median", "weightedMedian", "max", "sum", "weightedSum")
_Models = Sequence[Scorer] | None
"""The segments' scorers; None of trees that are walked at once."""
_Active = Sequence[Mask | None]
"""For each segment the rows that it applies to; None: all."""
_BY_CONTRIBUTORS = ("max", "median")
_OF_CATEGORIES = ("majorityVote", "weightedMajorityVote", "average", "weightedAverage", *_BY_CONTRIBUTORS)


def compile_ensemble(parts: Segmentation) -> Scorer:
    """A mining model that combines the results of its segments."""
    function = parts.place.function
    inner = {s.element.get("functionName") for s in parts.segments}
    if function == "regression" and inner == {"regression"}:
        if parts.method not in _OF_NUMBERS:
            refuse(f"numbers are combined by {parts.method!r}")
        return _with_asked(_numbers, parts)
    if function == "classification" and inner == {"classification"}:
        if parts.method not in _OF_CATEGORIES:
            refuse(f"categories are combined by {parts.method!r}")
        return _with_asked(_categories, parts)
    if function == "clustering" and inner == {"clustering"}:
        if not parts.method.endswith("Vote"):
            refuse(f"clusters are combined by {parts.method!r}")
        return replace(_with_asked(_categories, parts), function=function, probable=False)
    kinds = ", ".join(sorted(map(str, inner)))
    raise refusal(f"a {function} combines segments of the function {kinds} by {parts.method}")


def _with_asked(combined: Callable[[Segmentation, _Models], Scorer], parts: Segmentation) -> Scorer:
    """With the segments that outputs ask for; of trees that are walked at once they are scored once more."""
    models = None if _together(parts) else [parts.compile(s).scorer for s in parts.segments]
    scorer = combined(parts, models)
    asked = {f.get("segmentId") for f in parts.place.element.iterfind("Output/OutputField")}
    segments = {
        s.name: only(models[k] if models else parts.compile(s).scorer, s.condition)
        for k, s in enumerate(parts.segments)
        if s.name in asked
    }
    return replace(scorer, segments=segments)


def _weights(parts: Segmentation, kind: np.dtype) -> NDArray:
    weighted = parts.method.startswith("weighted")
    return np.array([s.weight if weighted else 1.0 for s in parts.segments], kind)


def _together(parts: Segmentation) -> bool:
    """Whether the segments are trees that can be walked at once, each for all rows."""
    return all(
        s.condition is None
        and s.element.tag == "TreeModel"
        and s.element.find("Targets") is None
        and s.element.get("isScorable", "true") == "true"
        and s.element.get("missingValueStrategy") not in FORKING
        and (s.element.get("x-mathContext", "double") == "float") == parts.place.single
        for s in parts.segments
    )


def _grove(parts: Segmentation):
    place = parts.place
    return grow(
        [(s.element, place.inside(s.element, place.scope)) for s in parts.segments], place.exporter.rounded
    )


def _numbers(parts: Segmentation, models: _Models) -> Scorer:
    kind = parts.place.kind
    dtype = kind.numpy
    weights = _weights(parts, dtype)
    hearing = _hearing(parts)
    summed = parts.method in ("sum", "weightedSum", "average", "weightedAverage")
    if models is None:
        grove = _grove(parts)
        forest, table = grove.forest, leaf_numbers(grove, kind)
        if summed and parts.treatment != "skipSegment":
            divisor = weights.sum(dtype=dtype) if parts.method.endswith("verage") else dtype.type(1)
            columns = np.ascontiguousarray(table[:, None])

            def add(batch: Batch) -> Result:
                return Result(value=number_column(forest.sums(batch, columns, weights)[:, 0] / divisor))

            return Scorer("regression", add, kind)

        def values_of(batch: Batch, active: _Active) -> NDArray:
            return table[forest.leaves(batch)].T

    else:

        def values_of(batch: Batch, active: _Active) -> NDArray:
            pairs = zip(models, active, strict=True)
            found = [batch.within(rows, m.result).value for m, rows in pairs]
            return np.array([numbers_of(v, batch.count) for v in found if v is not None], dtype)

    combine = _OF_ROWS[parts.method]

    def score(batch: Batch) -> Result:
        active = hearing.active(batch)
        votes = hearing.votes(active, values_of(batch, active)[:, :, None], weights)
        return Result(value=number_column(combine(votes)[:, 0]))

    return Scorer("regression", score, kind)


@dataclass(frozen=True, slots=True)
class _Hearing:
    """Which segments count for a row, by their conditions (None: always) and by what is done without a
    prediction (PMML 4.4, Multiple Models: missingPredictionTreatment): `skipping` leaves those out, and by
    `voting` they are votes for none. `threshold`: the share of segments that may be without a prediction."""

    conditions: tuple[Truth | None, ...]
    skipping: bool
    voting: bool
    threshold: float

    def active(self, batch: Batch) -> _Active:
        """By the conditions of the segments."""
        return [None if c is None else holds(c, batch) for c in self.conditions]

    def votes(self, active: _Active, shares: NDArray, weights: NDArray) -> Votes:
        """Of `shares` `(segments, n, k)`, which are of this call alone."""
        heard = np.repeat(weights[:, None], shares.shape[1], axis=1)
        for k, mask in enumerate(active):
            if mask is not None:
                heard[k, ~mask] = 0
                shares[k, ~mask] = 0
        if (self.skipping or self.voting) and some(undefined := np.isnan(shares)):
            lacking = undefined.any(axis=2)
            lost = (heard * lacking).sum(axis=0)
            too_many = lost > self.threshold * heard.sum(axis=0)
            shares = np.where(lacking[:, :, None], shares.dtype.type(0), shares)
            if self.voting:  # the missing result is returned if it gets the most votes
                too_many |= lost > (shares * heard[:, :, None]).sum(axis=0).max(axis=1)
            heard = np.where(lacking | too_many, heard.dtype.type(0), heard)
        return Votes(shares, heard)


def _hearing(parts: Segmentation) -> _Hearing:
    voting = parts.treatment == "continue" and parts.method.endswith("Vote")
    conditions = tuple(s.condition for s in parts.segments)
    return _Hearing(conditions, parts.treatment == "skipSegment", voting, parts.threshold)


def _summed(votes: Votes) -> NDArray:
    """In order of the segments; NaN where none counts."""
    out = np.zeros(votes.shares.shape[1:], votes.shares.dtype)
    for shares, weights in zip(votes.shares, votes.weights, strict=True):
        out += shares * weights[:, None]
    out[~(votes.weights != 0).any(axis=0)] = np.nan
    return out


def _averaged(votes: Votes) -> NDArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return _summed(votes) / votes.weights.sum(axis=0)[:, None]


def _highest(votes: Votes) -> NDArray:
    values = np.where(votes.weights[:, :, None] > 0, votes.shares, -np.inf)
    out = values.max(axis=0)
    return np.where(np.isneginf(out), np.nan, out)


def _median(votes: Votes) -> NDArray:
    if not (votes.weights > 0).all():
        out = np.full(votes.shares.shape[1:], np.nan, votes.shares.dtype)
        for row in range(out.shape[0]):
            counted = votes.shares[votes.weights[:, row] > 0, row]
            if len(counted):
                out[row] = np.median(counted, axis=0)
        return out
    return np.median(votes.shares, axis=0)


def _weighted_median(votes: Votes) -> NDArray:
    """The least value at which half of the weight is reached."""
    values, weights = votes.shares[:, :, 0], votes.weights
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    at = (reached >= 0.5 * reached[-1]).argmax(axis=0)
    out = ordered[at, np.arange(values.shape[1])]
    out = np.where(np.isnan(values).any(axis=0) | (reached[-1] <= 0), np.nan, out)
    return out[:, None].astype(votes.shares.dtype)


_OF_ROWS: dict[str, Callable[[Votes], NDArray]] = {
    "sum": _summed, "weightedSum": _summed, "average": _averaged, "weightedAverage": _averaged,
    "max": _highest,
    "median": _median, "weightedMedian": _weighted_median,
}  # fmt: skip


def _categories(parts: Segmentation, models: _Models) -> Scorer:
    voting = parts.method.endswith("Vote")
    categories = parts.place.categories()
    weights, hearing = _weights(parts, np.dtype(np.float64)), _hearing(parts)
    if models is None:
        grove = _grove(parts)
        forest, leaves = grove.forest, leaf_shares(grove, categories)
        if not voting and not leaves.complete:
            refuse("the probabilities of trees are averaged, and a leaf has none")
        table = np.ascontiguousarray(
            one_hot(leaves.label, len(categories.names)) if voting else leaves.shares
        )

        def shares_of(batch: Batch, active: _Active) -> NDArray:
            return table[forest.leaves(batch)].transpose(1, 0, 2)

        if parts.treatment != "skipSegment" and parts.method not in _BY_CONTRIBUTORS:
            total = weights.sum()

            def add(batch: Batch) -> Result:
                shares = forest.sums(batch, table, weights) / total
                if hearing.voting and some(np.isnan(shares)):
                    active = hearing.active(batch)
                    shares = _averaged(hearing.votes(active, shares_of(batch, active), weights))
                return Result(label=most_probable(shares), probabilities=shares)

            return Scorer("classification", add, categories=tuple(categories.names), probable=True)

    else:
        if not voting and not all(m.probable for m in models):
            refuse("probabilities are averaged, and a segment has none")
        places = [np.array([*categories.places(m.categories), -1]) for m in models]
        width = len(categories.names)

        def shares_of(batch: Batch, active: _Active) -> NDArray:
            out = np.zeros((len(models), batch.count, width))
            for k, rows in enumerate(active):
                result, place = batch.within(rows, models[k].result), places[k]
                assert result.label is not None
                if voting:
                    out[k] = one_hot(place[result.label], width)
                else:
                    assert result.probabilities is not None
                    out[k][:, place[:-1]] = result.probabilities
                    out[k][np.isnan(result.probabilities).any(axis=1)] = np.nan
            return out

    def score(batch: Batch) -> Result:
        active = hearing.active(batch)
        votes = hearing.votes(active, shares_of(batch, active), weights)
        if parts.method in _BY_CONTRIBUTORS:
            label, shares = contributed(votes, median=parts.method == "median")
            return Result(label=label, probabilities=shares)
        shares = _averaged(votes)
        return Result(label=most_probable(shares), probabilities=shares)

    return Scorer("classification", score, categories=tuple(categories.names), probable=True)


def one_hot(label: NDArray, width: int) -> NDArray[np.float64]:
    """`(n, width)`: 1 at each label, a row of NaN where it is -1."""
    out = np.zeros((len(label), width))
    out[np.arange(len(label)), label] = 1.0
    out[label < 0] = np.nan
    return out
