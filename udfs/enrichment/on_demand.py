"""Rows that are missing or expired, who waits for them, and when their creators are asked."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count

from udfs.enrichment.base import Created, Creator
from udfs.enrichment.vector import Entity, FoundRow, OpenRequest
from udfs.stores.online.base import StoredView
from udfs.stores.registry.base import OnDemand

_Key = tuple[str, Entity]


@dataclass(slots=True)
class _Missing:
    how: OnDemand
    view: StoredView
    waiting: dict[OpenRequest, None] = field(default_factory=dict)
    asked: bool = False


_FRESH_MS = 1000
"""How long a created row is remembered: the store may not have it yet. No view's TTL is shorter."""


class OnDemandFetcher:
    """Requests for the same entity wait for one call. After a failure a creator is left alone for as long as
    its timeout, and then asked again while anybody waits."""

    def __init__(self, creator: Creator) -> None:
        self._creator = creator
        self._missing: dict[_Key, _Missing] = {}
        self._to_ask: defaultdict[str, list[tuple[int, int, _Key]]] = defaultdict(list)
        self._number = count()
        self._fresh: dict[_Key, FoundRow] = {}

    def fill(self, one: OpenRequest, now: int) -> None:
        """With what has been made a moment ago."""
        for view in [*one.missing]:
            row = self._fresh.get((view, one.entities[view]))
            if row is not None and now - row.event_time < _FRESH_MS:
                one.fill(view, row)

    def add(self, one: OpenRequest) -> None:
        for need in one.missing_needs():
            assert need.on_demand is not None
            key = need.view.id, one.entities[need.view.id]
            if key not in self._missing:
                self._missing[key] = _Missing(need.on_demand, need.view)
                self._queue(key)
            self._missing[key].waiting[one] = None

    def ask(self, now: int) -> None:
        """Begin as many calls as there are places, the oldest first."""
        for queue in self._to_ask.values():
            while queue and queue[0][0] <= now:
                _, _, key = queue[0]
                missing = self._missing.get(key)
                if missing is not None and not missing.asked:  # else nobody waits, or it is queued twice
                    missing.asked = self._creator.ask(missing.how, missing.view, key[1])
                    if not missing.asked:
                        break
                heapq.heappop(queue)

    def collect(self, now: int) -> tuple[list[Created], list[OpenRequest]]:
        """What was made, and the requests that are complete with it."""
        made, completed = [], []
        while self._fresh:  # in the order in which they were made
            key, row = next(iter(self._fresh.items()))
            if now - row.event_time < _FRESH_MS:
                break
            del self._fresh[key]
        for answer in self._creator.answers():
            key = answer.view.id, answer.entity
            missing = self._missing.pop(key, None)
            if not answer.error:
                made.append(answer)
                row = FoundRow(answer.event_time, answer.values, on_demand=True)
                self._fresh.pop(key, None)
                self._fresh[key] = row
                for one in missing.waiting if missing else ():
                    one.fill(answer.view.id, row)
                    if not one.missing:
                        completed.append(one)
            elif missing and missing.waiting:
                missing.asked = False
                self._missing[key] = missing
                self._queue(key, now + missing.how.timeout_ms)
                for one in missing.waiting:
                    one.missing[answer.view.id] = answer.error
        return made, completed

    def forget(self, one: OpenRequest) -> None:
        """The request has left. A call that is under way is not called back: its answer is of use."""
        for view in one.missing:
            key = view, one.entities[view]
            missing = self._missing.get(key)
            if missing is None:
                continue
            missing.waiting.pop(one, None)
            if not missing.waiting and not missing.asked:
                del self._missing[key]

    def _queue(self, key: _Key, not_before: int = 0) -> None:
        heapq.heappush(self._to_ask[key[0]], (not_before, next(self._number), key))
