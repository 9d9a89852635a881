"""Views as stores know them."""

from __future__ import annotations

from typing import Literal

from schemas.features.declarations import Declarations
from schemas.features.rules import event_types, feature_types
from udfs.stores.online.base import StoredView


def stored_views(declared: Declarations, target: Literal["online", "history"]) -> dict[str, StoredView]:
    """View id -> what a store must know of it, of the views with this target."""
    return {
        view.id: StoredView(
            view.id,
            tuple((name, event_types(view, declared)[name]) for name in view.entity),
            tuple(feature_types(view, declared).items()),
            view.ttl_ms,
        )
        for view in declared.views
        if target in view.targets
    }
