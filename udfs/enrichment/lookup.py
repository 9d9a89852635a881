"""The one question to the online store for a whole batch of requests."""

from __future__ import annotations

from collections.abc import Sequence

from udfs.enrichment.vector import Entity, FoundRow, OpenRequest
from udfs.stores.online.base import OnlineReader, State


def look_up(reader: OnlineReader, asked: Sequence[OpenRequest], now: int) -> None:
    """Fill what is present, and say of the other views what they are. Raises `StoreError`.

    Each entity is asked once a view, for all features that any of the requests reads of it.
    """
    features: dict[str, dict[str, None]] = {}
    entities: dict[str, dict[Entity, int]] = {}
    for one in asked:
        for view, need in one.needs().items():
            features.setdefault(view, {}).update(dict.fromkeys(need.features))
            places = entities.setdefault(view, {})
            places.setdefault(one.entities[view], len(places))
    if not features:
        return
    wanted = [(view, tuple(names)) for view, names in features.items()]
    found = reader.read(wanted, [tuple(entities[view]) for view, _ in wanted], now)
    rows = {view: (names, answers) for (view, names), answers in zip(wanted, found, strict=True)}
    for one in asked:
        one.reason = ""
        for view in one.needs():
            names, answers = rows[view]
            answer = answers[entities[view][one.entities[view]]]
            if answer.state is State.PRESENT:
                values = dict(zip(names, answer.values, strict=True))
                one.fill(view, FoundRow(answer.event_time, values))
            else:
                one.missing[view] = answer.state.value
