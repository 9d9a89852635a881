"""From declared aggregates to the groups of fields that they need, and from fields to values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa

from schemas.errors import FeatureError
from schemas.features.declarations import (
    Aggregate,
    AggregateFunction,
    Count,
    Custom,
    Distinct,
    FeatureType,
    LastN,
    Max,
    Mean,
    Min,
    Quantile,
    Sum,
    Variance,
)
from schemas.features.feature_batch import ARROW
from udfs.features import scalars, sketches
from udfs.features.base import Aggregation, Fields, FixedAggregation
from udfs.features.functions import resolve
from udfs.features.layout import Group
from udfs.features.sequences import LastValues


@dataclass(frozen=True)
class FeatureReading:
    """A feature: the groups it reads, and its values from their fields (of n windows)."""

    name: str
    groups: tuple[Group, ...]
    result: Callable[[Sequence[Fields]], pa.Array]


def reading(
    feature: Aggregate, types: Mapping[str, FeatureType], nullable: frozenset[str], own: FeatureType
) -> FeatureReading:
    """`types`: of the columns of events. `nullable`: those that may be null. `own`:
    the feature's own type."""
    of, where = feature.of, feature.where
    kind = feature_dtype(of, types)
    if isinstance(of, Count):
        column = of.column if of.column in nullable else ""
        return FeatureReading(feature.name, (scalars.count(column, where),), lambda f: pa.array(f[0][0]))
    if isinstance(of, Variance):
        less = 1.0 if of.sample else 0.0

        def variance(fields: Sequence[Fields]) -> pa.Array:
            n, _, squares = fields[0]
            return _divide(squares, n - less)

        return FeatureReading(feature.name, (scalars.moments(of.column, where),), variance)
    if isinstance(of, (Sum, Mean, Min, Max)):
        counted = scalars.count(of.column if of.column in nullable else "", where)
        if isinstance(of, Mean):
            groups = (scalars.total(of.column, where, np.float64), counted)
            return FeatureReading(feature.name, groups, lambda f: _divide(f[0][0], f[1][0]))
        if isinstance(of, Sum):
            group = scalars.total(of.column, where, kind)
        else:
            group = scalars.extreme(of.column, where, kind, isinstance(of, Max))
        return FeatureReading(feature.name, (group, counted), lambda f: pa.array(f[0][0], mask=f[1][0] == 0))
    return _custom(feature, make_aggregation(of), own)


def make_aggregation(of: AggregateFunction) -> Aggregation | FixedAggregation:
    """Raises `FeatureError` where `of` is none of a class's own, or its class refuses its arguments."""
    match of:
        case LastN(n=n):
            return LastValues(n)
        case Distinct(lg_k=lg_k):
            return sketches.DistinctSketch(lg_k)
        case Quantile(q=q, k=k):
            return sketches.QuantileSketch(q, k)
        case Custom():
            try:
                made: Aggregation | FixedAggregation = resolve(of.aggregation)(**of.arguments)
            except TypeError as e:
                raise FeatureError(f"{of.aggregation} does not take {of.arguments}: {e}") from e
            return made
    raise FeatureError(f"{type(of).__name__} has no class of its own")


def _custom(feature: Aggregate, made: Aggregation | FixedAggregation, kind: FeatureType) -> FeatureReading:
    """An aggregation of a class of its own. Of `Aggregation` it never sees nulls, if it has one column."""
    of, where = feature.of, feature.where
    columns = tuple(getattr(of, "columns", ())) or (of.column,)  # type: ignore[union-attr]
    key = (type(of).__name__, msgspec.json.encode(of), where)
    if isinstance(made, FixedAggregation):
        fixed = made
        return FeatureReading(
            feature.name, (_fixed(fixed, columns, where, key),), lambda f: fixed.results(f[0])
        )
    if not isinstance(made, Aggregation):
        raise FeatureError(f"{feature.name!r}: {type(made).__name__} is no aggregation (udfs.features.base)")
    group = _objects(made, columns, where, key)

    def result(fields: Sequence[Fields]) -> pa.Array:
        return pa.array([made.result(partial) for partial in fields[0][0]], ARROW[kind])

    return FeatureReading(feature.name, (group,), result)


def _fixed(made: FixedAggregation, columns: tuple[str, ...], where: str, key: object) -> Group:
    def lift(batch: pa.RecordBatch) -> Fields:
        fields = made.lift_fields([batch.column(c) for c in columns])
        there = scalars.present(batch, (), where)
        if there is None:
            return fields
        return [np.where(there, f, i) for f, i in zip(fields, made.identity, strict=True)]

    return Group(key, tuple(made.dtypes), tuple(made.identity), lift, made.merge)


def _objects(made: Aggregation, columns: tuple[str, ...], where: str, key: object) -> Group:
    def lift(batch: pa.RecordBatch) -> Fields:
        there = scalars.present(batch, columns if len(columns) == 1 else (), where)
        partials = np.full(batch.num_rows, None, object)
        index = np.arange(batch.num_rows) if there is None else np.flatnonzero(there)
        found = made.lift([batch.column(c).take(pa.array(index)) for c in columns])
        for i, partial in zip(index.tolist(), found, strict=True):
            partials[i] = partial
        return [partials]

    def merge(a: Fields, b: Fields) -> Fields:
        out = np.full(a[0].shape, None, object)
        flat = out.reshape(-1)
        for i, (x, y) in enumerate(zip(a[0].ravel(), b[0].ravel(), strict=True)):
            flat[i] = y if x is None else x if y is None else made.combine(x, y)
        return [out]

    return Group(key, (object,), (None,), lift, merge, (), made.pack, made.unpack)


def feature_dtype(of: object, types: Mapping[str, FeatureType]) -> type:
    return np.float64 if types.get(getattr(of, "column", "")) is FeatureType.FLOAT64 else np.int64


def _divide(above: np.ndarray, below: np.ndarray) -> pa.Array:
    some = below > 0
    found = np.divide(above, below, out=np.zeros(len(above)), where=some)
    return pa.array(found, mask=~some)
