"""The point-in-time join: what it is given, and what a row may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from udfs.stores.online.base import StoredView


@dataclass(frozen=True, slots=True)
class WantedFeatures:
    """Features of one view. `entity_columns`: the label table's columns that hold its entity, in order;
    `history`: a Parquet file, folder or glob. Results are called `names`, one for each of `features`, or else
    with `prefix` `VIEW_vVERSION__FEATURE`, else as the features."""

    view: StoredView
    features: tuple[str, ...]
    entity_columns: tuple[str, ...]
    history: str
    prefix: bool = False
    names: tuple[str, ...] = ()


class PointInTime(Protocol):
    def join(
        self, labels: pa.Table, timestamp: str, wanted: Sequence[WantedFeatures], known_at: str = ""
    ) -> pa.Table:
        """`labels` in their order, with each view's features as of `timestamp` (a column of epoch
        milliseconds or Arrow timestamps; those without zone are UTC; what is below a millisecond is cut off).

        A label at t sees of each view the row of its entity with the greatest `event_timestamp` <= t, of
        equal ones the greatest `created`, unless t - `event_timestamp` > TTL: then null. With `known_at` (a
        column of times) only rows with `created` <= that. The same rule as Feast's `get_historical_features`.
        Raises `FeatureError` for columns that are missing or of another type.
        """
        ...
