"""An online store in memory and a creator whose answers a test gives itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.errors import StoreError
from tests.feature_cases import CREATOR, DECLARED, INPUTS
from udfs.enrichment.base import Created
from udfs.stores.online.base import Found, State, StoredView
from udfs.stores.registry.base import OnDemand
from udfs.stores.registry.sql import SqlRegistry


def filled_registry(folder: Path) -> SqlRegistry:
    """`estimate` reads districts_v1:mean_price and houses_v1:price; only the latter has a creator."""
    registry = SqlRegistry(f"sqlite:///{folder}/registry.db")
    registry.apply(DECLARED)
    registry.put_model(INPUTS)
    registry.put_on_demand(CREATOR)
    return registry


class MemoryReader:
    """`rows`: (view, entity) -> event time and values by feature. `away` makes it raise."""

    def __init__(self, ttl_ms: int = 10_000) -> None:
        self.rows: dict[tuple[str, tuple[Any, ...]], tuple[int, dict[str, Any]]] = {}
        self.calls: list[Sequence[tuple[str, Sequence[str]]]] = []
        self.away, self._ttl_ms = False, ttl_ms

    def read(
        self,
        wanted: Sequence[tuple[str, Sequence[str]]],
        entities: Sequence[Sequence[tuple[Any, ...]]],
        now: int,
    ) -> list[list[Found]]:
        self.calls.append(wanted)
        if self.away:
            raise StoreError("the store is away")
        return [
            [self._found(view, names, entity, now) for entity in asked]
            for (view, names), asked in zip(wanted, entities, strict=True)
        ]

    def _found(self, view: str, names: Sequence[str], entity: tuple[Any, ...], now: int) -> Found:
        row = self.rows.get((view, entity))
        if row is None:
            return Found(State.MISSING, 0, (None,) * len(names))
        state = State.PRESENT if now - row[0] <= self._ttl_ms else State.EXPIRED
        return Found(state, row[0], tuple(row[1][name] for name in names))

    def close(self) -> None:
        pass


class HandCreator:
    """Takes at most `places` calls at once; `answer` ends one of them."""

    def __init__(self, places: int = 100) -> None:
        self.running: dict[tuple[str, tuple[Any, ...]], StoredView] = {}
        self.asked: Counter[tuple[str, tuple[Any, ...]]] = Counter()
        self._places = places
        self._done: list[Created] = []

    def ask(self, how: OnDemand, view: StoredView, entity: tuple[Any, ...]) -> bool:
        assert how.view == view.id and (view.id, entity) not in self.running
        if len(self.running) >= self._places:
            return False
        self.running[view.id, entity] = view
        self.asked[view.id, entity] += 1
        return True

    def answer(self, at: int, *entity: Any, error: str = "", **values: Any) -> None:
        key = next(key for key in self.running if key[1] == entity)
        self._done.append(Created(self.running.pop(key), entity, at, values, error))

    def answers(self) -> Sequence[Created]:
        done, self._done = self._done, []
        return done

    def wait(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass
