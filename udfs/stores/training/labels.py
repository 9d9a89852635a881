"""Label tables: their times, their entity columns, and what the joined columns are called."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import FeatureError
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import ARROW
from udfs.stores.training.base import WantedFeatures

_FIRST, _BEYOND = 946_684_800_000, 4_102_444_800_000


def times(labels: pa.Table, name: str) -> pa.ChunkedArray:
    """A column as int64 epoch milliseconds. Raises `FeatureError` where it is missing or holds no times, or
    integers that are no milliseconds of this century."""
    column = _column(labels, name)
    if pa.types.is_timestamp(column.type):
        return pc.cast(column, pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
    if pa.types.is_integer(column.type):
        made = column.cast(pa.int64())
        for at in pc.min_max(made).as_py().values():
            if at is not None and not _FIRST <= at < _BEYOND:
                raise FeatureError(
                    f"column {name!r} of the labels has {at}, which is before 2000 or after 2100 as epoch "
                    "milliseconds: give timestamps, which say their unit"
                )
        return made
    raise FeatureError(
        f"column {name!r} of the labels is {column.type}: give timestamps, or epoch milliseconds as integers"
    )


def keys(labels: pa.Table, wanted: WantedFeatures) -> list[pa.ChunkedArray]:
    """The entity's columns in the view's types. Raises `FeatureError` where one is missing or of another."""
    found = []
    for name, (_, kind) in zip(wanted.entity_columns, wanted.view.entity, strict=True):
        column = _column(labels, name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if text is not (kind is FeatureType.STRING) or not (text or pa.types.is_integer(column.type)):
            raise FeatureError(f"column {name!r} of the labels is {column.type} where {kind.value} belongs")
        found.append(column.cast(ARROW[kind]))
    return found


def result_names(taken: Sequence[str], wanted: Sequence[WantedFeatures]) -> list[tuple[str, ...]]:
    """For each of `wanted` the columns that its features become. Raises `FeatureError` where two would be
    called the same, or what is wanted does not fit its view."""
    found = []
    seen = {*taken}
    for one in wanted:
        view = one.view
        if len(one.entity_columns) != len(view.entity):
            entity = ", ".join(name for name, _ in view.entity)
            raise FeatureError(
                f"view {view.id} has the entity {entity}: name one column of the labels for each"
            )
        unknown = {*one.features} - {*dict(view.features)}
        if unknown or not one.features:
            has = ", ".join(name for name, _ in view.features)
            raise FeatureError(f"view {view.id} has {has}, not {', '.join(sorted(unknown)) or 'nothing'}")
        names = one.names or tuple(f"{view.id}__{f}" if one.prefix else f for f in one.features)
        if len(names) != len(one.features):
            raise FeatureError(f"view {view.id}: {len(names)} names for {len(one.features)} features")
        for name in names:
            if name in seen:
                raise FeatureError(f"two columns would be called {name!r}: ask for prefixes, or give names")
            seen.add(name)
        found.append(names)
    return found


def _column(labels: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in labels.schema.names:
        raise FeatureError(f"the labels have no column {name!r}; they have {', '.join(labels.schema.names)}")
    return labels.column(name)
