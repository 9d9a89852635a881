"""The point-in-time join: what it is given, and what a row may see.

A label at t sees of each view the row of its entity with the greatest `event_timestamp` <= t, of equal ones
the greatest `created`, unless t - `event_timestamp` > TTL: then null. With a time `known_at` only rows with
`created` <= that. The same rule as Feast's `get_historical_features`.
"""

from __future__ import annotations

from dataclasses import dataclass

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
