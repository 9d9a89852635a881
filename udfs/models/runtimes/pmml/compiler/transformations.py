"""The table-like expressions: NormContinuous, NormDiscrete, Discretize, MapValues."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.models.runtimes.pmml.compiler.batch import Batch, Symbol, full_mask
from udfs.models.runtimes.pmml.compiler.columns import Column, either
from udfs.models.runtimes.pmml.compiler.elements import (
    choice,
    describe,
    local,
    number,
    refuse,
    required,
    table_rows,
    text_of,
)
from udfs.models.runtimes.pmml.compiler.expressions import (
    Expression,
    Site,
    compiles,
    converted,
    read,
    with_missing_as,
)
from udfs.models.runtimes.pmml.compiler.fields import interval
from udfs.models.runtimes.pmml.compiler.types import Type, constant, type_named


@compiles("NormContinuous")
def _norm_continuous(element: ET.Element, site: Site) -> Expression:
    made = converted(read(site.scope.find(element.get("field"))), Type.DOUBLE, describe(element))
    curve = norm_curve(element)
    outliers = choice(element, "outliers", ("asIs", "asMissingValues", "asExtremeValues"), "asIs")
    compute = made.compute

    def norm(batch: Batch) -> Column:
        column = compute(batch)
        values, outside = interpolate(column.values, *curve, outliers == "asExtremeValues")
        missing = either(column.missing, outside) if outliers == "asMissingValues" else column.missing
        return Column(values, missing)

    return with_missing_as(replace(made, compute=norm), element.get("mapMissingTo"), describe(element), site)


def norm_curve(element: ET.Element) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points (orig, norm) of a NormContinuous, in ascending order of orig."""
    points = [(number(p, "orig"), number(p, "norm")) for p in element.findall("LinearNorm")]
    if len(points) == 2:
        points.sort()  # R writes 0 first and the mean behind it, which may be negative: it is the same line
    if len(points) < 2 or any(b[0] <= a[0] for a, b in pairwise(points)):
        refuse(f"{describe(element)} needs two points or more in ascending order")
    return np.array([p[0] for p in points]), np.array([p[1] for p in points])


def interpolate(
    values: NDArray, before: NDArray, after: NDArray, clip: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Piecewise linear, continued beyond the ends or held there (`clip`); and which values lie outside."""
    at = np.clip(np.searchsorted(before, values, side="right") - 1, 0, len(before) - 2)
    rise = (after[at + 1] - after[at]) / (before[at + 1] - before[at])
    made = after[at] + (values - before[at]) * rise
    outside = (values < before[0]) | (values > before[-1])
    if clip:
        made = np.where(values < before[0], after[0], np.where(values > before[-1], after[-1], made))
    return made, outside


@compiles("NormDiscrete")
def _norm_discrete(element: ET.Element, site: Site) -> Expression:
    choice(element, "method", ("indicator",), "indicator")
    symbol = site.scope.find(element.get("field"))
    value = constant(text_of(element, "value"), symbol.kind, describe(element))

    def norm(batch: Batch) -> Column:
        column = symbol.known(batch)
        return Column((column.values == value).astype(np.float64), column.missing)

    made = replace(read(symbol), kind=Type.DOUBLE, compute=norm)
    return with_missing_as(made, element.get("mapMissingTo"), describe(element), site)


@compiles("Discretize")
def _discretize(element: ET.Element, site: Site) -> Expression:
    symbol = site.scope.find(element.get("field"))
    if not symbol.kind.numeric:
        refuse(f"{describe(element)} makes bins of a {symbol.kind.value}")
    kind = _table_type(element, site)
    what = describe(element)
    bins = [
        (interval(required(b, "Interval"), symbol.kind), constant(text_of(b, "binValue"), kind, what))
        for b in element.findall("DiscretizeBin")
    ]
    default = element.get("defaultValue")
    default_value = None if default is None else constant(default, kind, what)

    def discretize(batch: Batch) -> Column:
        column = symbol.known(batch)
        values = np.full(np.shape(column.values), "" if kind is Type.STRING else 0, kind.numpy)
        left = np.ones(np.shape(column.values), bool)
        for one, value in bins:
            inside = one.holds(column.values) & left
            values[inside] = value
            left &= ~inside
        if default_value is not None:
            values[left] = default_value
            return Column(values, column.missing)
        return Column(values, either(column.missing, left) if left.any() else column.missing)

    made = replace(read(symbol), kind=kind, compute=discretize)
    return _where_inputs_miss(made, [symbol], element.get("mapMissingTo"), what, site)


def _table_type(element: ET.Element, site: Site) -> Type:
    named = element.get("dataType")
    return type_named(named, describe(element)) if named is not None else site.wanted or Type.STRING


@compiles("MapValues")
def _map_values(element: ET.Element, site: Site) -> Expression:
    what, kind = describe(element), _table_type(element, site)
    pairs = [
        (site.scope.find(p.get("field")), local(text_of(p, "column")))
        for p in element.findall("FieldColumnPair")
    ]
    if not pairs:
        refuse("a MapValues names no field")
    to = local(text_of(element, "outputColumn"))
    table: dict[Any, Any] = {}
    of_missing = False
    for cells in table_rows(required(element, "InlineTable")):
        if to not in cells:
            refuse("a row of a MapValues lacks its outputColumn")
        keys = [
            _plain(constant(cells[column], symbol.kind, what)) if column in cells else None
            for symbol, column in pairs
        ]
        key = keys[0] if len(keys) == 1 else tuple(keys)
        of_missing |= None in keys
        value = constant(cells[to], kind, what)
        if table.setdefault(key, value) != value:
            refuse(f"a MapValues maps {key!r} to two values")
    default = element.get("defaultValue")
    default_value = None if default is None else constant(default, kind, what)
    fallback = "" if kind is Type.STRING else 0
    symbols = [symbol for symbol, _ in pairs]

    def look_up(batch: Batch) -> Column:
        columns = [s.known(batch) for s in symbols]
        missing = either(*(c.missing for c in columns))
        lists = [c.full(batch.count).tolist() for c in columns]
        rows = lists[0] if len(lists) == 1 else zip(*lists, strict=True)
        found = [table.get(k, default_value) for k in rows]
        if of_missing and missing is not None:
            masks = [c.mask(batch.count) for c in columns]
            for row in np.flatnonzero(full_mask(missing, batch.count)):
                told = [None if m[row] else v[row] for m, v in zip(masks, lists, strict=True)]
                found[row] = table.get(told[0] if len(told) == 1 else tuple(told))
            missing = None
        absent = np.fromiter((v is None for v in found), bool, len(found))
        if absent.any():
            missing = either(missing, absent)
            found = [fallback if v is None else v for v in found]
        values = np.empty(len(found), kind.numpy)
        values[:] = found
        return Column(values, missing)

    reads = frozenset(s.name for s in symbols)
    if of_missing:
        site.scope.reading.tolerant |= reads
    made = Expression(kind, look_up, reads, max(s.depth for s in symbols))
    return _where_inputs_miss(made, symbols, element.get("mapMissingTo"), what, site)


def _where_inputs_miss(
    made: Expression, symbols: Sequence[Symbol], said: str | None, what: str, site: Site
) -> Expression:
    """The constant `said` where an input is missing; a value that no bin or row holds stays missing."""
    if said is None:
        return made
    site.scope.reading.tolerant |= made.reads
    value, compute = constant(said, made.kind, what), made.compute

    def mend(batch: Batch) -> Column:
        column = compute(batch)
        absent = either(*(s.column(batch).missing for s in symbols))
        if absent is None or not absent.any():
            return column
        values = np.array(column.values)
        values[absent] = value
        return Column(values, None if column.missing is None else column.missing & ~absent)

    return replace(made, compute=mend)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
